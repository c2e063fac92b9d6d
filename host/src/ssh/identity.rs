//! Which keys are tried in which order.
//!
//! A host counts wrong keys and hangs up after a few (`MaxAuthTries`), so keys that were named for it come first:
//! those that the agent holds, then the files; after them what else the agent has, and the default files last.

use russh::keys::PublicKey;
use russh::keys::agent::AgentIdentity;

use super::keyfile::Found;
use super::route::Origin;

pub(super) enum Candidate {
    Agent(Box<AgentIdentity>),
    File(Box<Found>),
}

impl Candidate {
    /// As errors name it.
    pub fn describe(&self) -> String {
        match self {
            Self::Agent(identity) => format!("{} of the agent", identity.comment()),
            Self::File(found) => found.path.display().to_string(),
        }
    }
}

pub(super) fn order(files: Vec<(Origin, Found)>, agent: Vec<AgentIdentity>, identities_only: bool) -> Vec<Candidate> {
    let is_key = |identity: &AgentIdentity, key: &PublicKey| identity.public_key().key_data() == key.key_data();
    let (mut held, mut others) = (Vec::new(), agent);
    let (mut named, mut defaults) = (Vec::new(), Vec::new());
    for (origin, found) in files {
        let mut in_agent = false;
        if let Some(public) = &found.public {
            let matching = others.extract_if(.., |identity| is_key(identity, public)).collect::<Vec<_>>();
            in_agent = !matching.is_empty();
            held.extend(matching);
        }
        if !in_agent {
            if origin == Origin::Default { &mut defaults } else { &mut named }.push(found);
        }
    }
    if identities_only {
        others.clear();
    }
    let of_agent =
        |identities: Vec<AgentIdentity>| identities.into_iter().map(|identity| Candidate::Agent(Box::new(identity)));
    let of_files = |files: Vec<Found>| files.into_iter().map(|found| Candidate::File(Box::new(found)));
    of_agent(held).chain(of_files(named)).chain(of_agent(others)).chain(of_files(defaults)).collect()
}
