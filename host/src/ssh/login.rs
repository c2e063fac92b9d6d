//! Logging in with keys: the host says which public key it would take, and only then a secret is needed.

use std::sync::Arc;
use std::time::Duration;

use russh::MethodKind;
use russh::client::AuthResult;
use russh::keys::agent::AgentIdentity;
use russh::keys::{Algorithm, Certificate, HashAlg, PrivateKey, PrivateKeyWithHashAlg, PublicKey};
use tokio::time::timeout;

use super::agent::Agent;
use super::client::describe;
use super::connect::Link;
use super::identity::{self, Candidate};
use super::keyfile::{self, Found};
use super::route::Origin;
use super::{Prompter, SshError};

/// A host may look a user up somewhere slow.
const ANSWER: Duration = Duration::from_secs(30);
/// A person may have to confirm a signature at the agent; sshd waits two minutes for a login.
const SIGNATURE: Duration = Duration::from_secs(110);
/// As OpenSSH.
const PASSPHRASES: usize = 3;

/// Tries keys until the host takes one.
pub(super) async fn login(link: &mut Link, prompter: &dyn Prompter) -> Result<(), SshError> {
    let mut login = Login { link, prompter, tried: Vec::new(), methods: Vec::new() };
    let (candidates, mut agent, mut excuse) = login.candidates().await?;
    for candidate in candidates {
        login.tried.push(candidate.describe());
        let attempt = match &candidate {
            Candidate::Agent(identity) => login.with_agent(identity, agent.as_mut()).await?,
            Candidate::File(found) => match login.with_file(found).await {
                // another key may do; if none does, this is what the user must know
                Err(error @ SshError::KeyEncrypted { .. }) => {
                    excuse.get_or_insert(error);
                    continue;
                }
                other => other?,
            },
        };
        match attempt {
            AuthResult::Success => return Ok(()),
            AuthResult::Failure { remaining_methods, .. } => {
                login.methods = remaining_methods.iter().map(String::from).collect();
                if !remaining_methods.contains(&MethodKind::PublicKey) {
                    break;
                }
            }
        }
    }
    Err(excuse.unwrap_or_else(|| login.refused()))
}

struct Login<'a> {
    link: &'a mut Link,
    prompter: &'a dyn Prompter,
    tried: Vec<String>,
    /// What the host would take, as it said last.
    methods: Vec<String>,
}

impl Login<'_> {
    /// The keys to try; the agent, when keys of it are among them; and the error to give when no other key is taken.
    async fn candidates(&mut self) -> Result<(Vec<Candidate>, Option<Agent>, Option<SshError>), SshError> {
        let hop = &self.link.hop;
        let (mut files, mut excuse) = (Vec::new(), None);
        for key in &hop.keys {
            match keyfile::look(&key.path) {
                Ok(Some(found)) => files.push((key.origin, found)),
                Ok(None) if key.origin == Origin::Settings => {
                    return Err(SshError::Key { key: key.path.clone(), reason: "there is no such file".to_owned() });
                }
                Ok(None) => {}
                Err(error) if key.origin == Origin::Settings => return Err(error),
                Err(error) => {
                    self.tried.push(format!("{} (not usable)", key.path.display()));
                    excuse.get_or_insert(error);
                }
            }
        }
        let mut agent = None;
        if let Some(socket) = &hop.agent {
            match Agent::open(socket, self.link.handle.agent_session_binding()).await {
                Ok(opened) => agent = Some(opened),
                Err(reason) => self.tried.push(format!("the agent at {} ({reason})", socket.display())),
            }
        }
        let identities = agent.as_mut().map(|agent| std::mem::take(&mut agent.identities)).unwrap_or_default();
        Ok((identity::order(files, identities, hop.identities_only), agent, excuse))
    }

    async fn with_agent(
        &mut self,
        identity: &AgentIdentity,
        agent: Option<&mut Agent>,
    ) -> Result<AuthResult, SshError> {
        let Some(agent) = agent else { return Err(self.refused()) };
        let public = identity.public_key().into_owned();
        let hash = self.hash(&public.algorithm()).await?;
        let user = self.link.hop.user.clone();
        let attempt = async {
            match identity {
                AgentIdentity::PublicKey { key, .. } => {
                    self.link.handle.authenticate_publickey_with(user, key.clone(), hash, &mut agent.client).await
                }
                AgentIdentity::Certificate { certificate, .. } => {
                    let certificate = certificate.clone();
                    self.link.handle.authenticate_certificate_with(user, certificate, hash, &mut agent.client).await
                }
            }
        };
        match timeout(SIGNATURE, attempt).await {
            Err(_) => Err(self.late(SIGNATURE)),
            Ok(Ok(result)) => self.answered(result),
            Ok(Err(error)) => {
                // the agent would not sign (declined, or the key is gone): go on with the next key
                if let Some(last) = self.tried.last_mut() {
                    *last = format!("{last} ({error})");
                }
                Ok(AuthResult::Failure {
                    remaining_methods: [MethodKind::PublicKey][..].into(),
                    partial_success: false,
                })
            }
        }
    }

    async fn with_file(&mut self, found: &Found) -> Result<AuthResult, SshError> {
        let certificate = found.certificate.as_ref();
        // a passphrase is asked for only if the host would take the key; what it makes of a certificate it says only then
        if found.encrypted
            && certificate.is_none()
            && let Some(public) = &found.public
            && let Some(refused) = self.probe(public).await?
        {
            return Ok(refused);
        }
        let key = if found.encrypted {
            self.unlock(found).await?
        } else {
            found.open(None)?.ok_or_else(|| wrong(found, false))?
        };
        let key = Arc::new(key);
        // the library would sign with SHA-1 for the certificate of an RSA key
        if let Some(certificate) = certificate.filter(|certificate| !certificate.algorithm().is_rsa()) {
            let result = self.with_certificate(&key, certificate.clone()).await?;
            if !matches!(&result, AuthResult::Failure { remaining_methods, .. } if remaining_methods.contains(&MethodKind::PublicKey))
            {
                return Ok(result);
            }
        }
        self.with_key(key).await
    }

    async fn with_certificate(
        &mut self,
        key: &Arc<PrivateKey>,
        certificate: Certificate,
    ) -> Result<AuthResult, SshError> {
        let user = self.link.hop.user.clone();
        let attempt = self.link.handle.authenticate_openssh_cert(user, Arc::clone(key), certificate);
        match timeout(ANSWER, attempt).await {
            Err(_) => Err(self.late(ANSWER)),
            Ok(Ok(result)) => self.answered(result),
            Ok(Err(_)) => Err(self.link.lost("logging in")),
        }
    }

    async fn unlock(&self, found: &Found) -> Result<PrivateKey, SshError> {
        for _ in 0..PASSPHRASES {
            let Some(passphrase) = self.prompter.passphrase(&found.path).await else { return Err(wrong(found, false)) };
            if let Some(key) = found.open(Some(&passphrase))? {
                return Ok(key);
            }
        }
        Err(wrong(found, true))
    }

    /// `None` when the host would take the key.
    async fn probe(&mut self, public: &PublicKey) -> Result<Option<AuthResult>, SshError> {
        let hash = self.hash(&public.algorithm()).await?;
        let user = self.link.hop.user.clone();
        let mut unwilling = Unwilling;
        let asking = self.link.handle.authenticate_publickey_with(user, public.clone(), hash, &mut unwilling);
        match timeout(ANSWER, asking).await {
            Err(_) => Err(self.late(ANSWER)),
            Ok(Ok(result)) => self.answered(result).map(Some),
            Ok(Err(Asked::Sign)) => Ok(None),
            Ok(Err(Asked::Lost)) => Err(self.link.lost("logging in")),
        }
    }

    async fn with_key(&mut self, key: Arc<PrivateKey>) -> Result<AuthResult, SshError> {
        let hash = self.hash(&key.algorithm()).await?;
        let user = self.link.hop.user.clone();
        let attempt = self.link.handle.authenticate_publickey(user, PrivateKeyWithHashAlg::new(key, hash));
        match timeout(ANSWER, attempt).await {
            Err(_) => Err(self.late(ANSWER)),
            Ok(Ok(result)) => self.answered(result),
            Ok(Err(_)) => Err(self.link.lost("logging in")),
        }
    }

    /// The library takes a lost connection for a refusal.
    fn answered(&self, result: AuthResult) -> Result<AuthResult, SshError> {
        match &result {
            AuthResult::Failure { remaining_methods, .. }
                if remaining_methods.is_empty() && self.link.handle.is_closed() =>
            {
                // as sshd does after MaxAuthTries keys
                Err(if self.tried.len() > 1 { self.refused() } else { self.link.lost("logging in") })
            }
            _ => Ok(result),
        }
    }

    /// The hash that signs with an RSA key; no SHA-1.
    async fn hash(&self, algorithm: &Algorithm) -> Result<Option<HashAlg>, SshError> {
        if !algorithm.clone().is_rsa() {
            return Ok(None);
        }
        match timeout(ANSWER, self.link.handle.best_supported_rsa_hash()).await {
            Err(_) => Err(self.late(ANSWER)),
            Ok(Ok(best)) => Ok(best.flatten().or(Some(HashAlg::Sha512))),
            Ok(Err(error)) => Err(self.link.lost(format!("logging in ({})", describe(&error)))),
        }
    }

    fn late(&self, limit: Duration) -> SshError {
        let (host, port) = (self.link.hop.name.clone(), self.link.hop.port);
        SshError::Timeout { host, port, seconds: limit.as_secs(), during: "we log in" }
    }

    fn refused(&self) -> SshError {
        let hop = &self.link.hop;
        SshError::NoKeyAccepted {
            user: hop.user.clone(),
            host: hop.name.clone(),
            port: hop.port,
            tried: self.tried.clone(),
            methods: self.methods.clone(),
        }
    }
}

fn wrong(found: &Found, wrong: bool) -> SshError {
    SshError::KeyEncrypted { key: found.path.clone(), wrong }
}

/// Signs nothing: that it was asked is the answer.
struct Unwilling;

enum Asked {
    Sign,
    Lost,
}

impl From<russh::SendError> for Asked {
    fn from(_: russh::SendError) -> Self {
        Self::Lost
    }
}

impl russh::Signer for Unwilling {
    type Error = Asked;

    async fn auth_sign(&mut self, _: &AgentIdentity, _: Option<HashAlg>, _: Vec<u8>) -> Result<Vec<u8>, Asked> {
        Err(Asked::Sign)
    }
}
