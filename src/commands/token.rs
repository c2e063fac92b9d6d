//! `token`: the tokens of the cluster, and `generate`, which needs none.

use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use junio_api::config::validate::{is_bootstrap_group, is_token_usage};
use junio_api::config::{BootstrapToken, defaults};
use junio_api::duration::GoDuration;
use junio_api::{Token, yaml};
use junio_phases::tokens::{self, ListedToken};
use junio_phases::{JoinCommand, connect};
use junio_pki::kubeconfig::Kubeconfig;
use serde_json::json;

use super::fleet::find_kubeconfig;
use super::{block_on, pretty, table};
use crate::cli::{CreateArgs, ListOutput, TokenArgs, TokenCommand};
use crate::error::CommandError;
use crate::exit::Exit;
use crate::printer::Printer;
use crate::settings;

pub fn run(args: TokenArgs, printer: &Printer) -> Result<Exit, CommandError> {
    let kubeconfig = args.kubeconfig.unwrap_or_else(find_kubeconfig);
    match args.command {
        TokenCommand::Generate => printer.out(&Token::generate().to_string()),
        TokenCommand::Create(create_args) => create(create_args, &kubeconfig, args.dry_run, printer)?,
        TokenCommand::List { output } => {
            let found = block_on(printer, async |_| Ok(tokens::list(&connect(&kubeconfig, None).await?).await?))?;
            printer.out(&match output {
                ListOutput::Text => text(&found, Timestamp::now()),
                ListOutput::Json => pretty(&json!(found)),
                ListOutput::Yaml => yaml::to_string(&found)?,
            });
        }
        TokenCommand::Delete { tokens } => return delete(&tokens, &kubeconfig, args.dry_run, printer),
    }
    Ok(Exit::Ok)
}

fn create(args: CreateArgs, kubeconfig: &Path, dry_run: bool, printer: &Printer) -> Result<(), CommandError> {
    let wanted = wanted_tokens(&args)?;
    if !dry_run {
        block_on(printer, async |_| {
            let client = connect(kubeconfig, None).await?;
            for token in &wanted {
                tokens::create(&client, token).await?;
            }
            Ok(())
        })?;
    }
    for token in wanted.into_iter().filter_map(|wanted| wanted.token) {
        if args.print_join_command {
            printer.out(&join_command(kubeconfig, token)?.text());
        } else {
            printer.out(&token.to_string());
        }
    }
    Ok(())
}

/// The tokens of the file, or the one of the flags; defaulted and valid.
fn wanted_tokens(args: &CreateArgs) -> Result<Vec<BootstrapToken>, CommandError> {
    if let Some(path) = &args.config {
        return settings::bootstrap_tokens(path, &args.excluded_by_config());
    }
    let given = args.token.as_deref().map(str::parse::<Token>).transpose();
    let token = given.map_err(|e| CommandError::Usage(e.to_string()))?.unwrap_or_else(Token::generate);
    if let Some(usage) = args.usages.iter().find(|usage| !is_token_usage(usage)) {
        return Err(CommandError::Usage(format!("unknown usage {usage:?}, expected signing or authentication")));
    }
    if let Some(group) = args.groups.iter().find(|group| !is_bootstrap_group(group)) {
        return Err(CommandError::Usage(format!(
            "{group:?} is no bootstrap group, it must start with system:bootstrappers:"
        )));
    }
    let mut wanted = BootstrapToken {
        token: Some(token.clone()),
        description: args.description.clone().unwrap_or_default(),
        ttl: args.ttl,
        usages: args.usages.clone(),
        groups: args.groups.clone(),
        ..BootstrapToken::default()
    };
    defaults::bootstrap_token(&mut wanted, &token);
    Ok(vec![wanted])
}

/// Endpoint and CA as the kubeconfig has them.
fn join_command(kubeconfig: &Path, token: Token) -> Result<JoinCommand, CommandError> {
    let missing = |what: &str| CommandError::Usage(format!("{} names no {what}", kubeconfig.display()));
    let config = Kubeconfig::load(kubeconfig)?.ok_or_else(|| missing("cluster"))?;
    let (cluster, _) = config.current().ok_or_else(|| missing("cluster"))?;
    let endpoint = cluster.server.trim_start_matches("https://").trim_end_matches('/').to_owned();
    let ca = config.ca_pem(kubeconfig)?.ok_or_else(|| missing("CA"))?;
    Ok(JoinCommand { endpoint, token: Some(token), ca_cert_hash: junio_pki::token::ca_pin(&ca)? })
}

fn delete(wanted: &[String], kubeconfig: &Path, dry_run: bool, printer: &Printer) -> Result<Exit, CommandError> {
    for text in wanted {
        if text.parse::<Token>().is_err() && !junio_api::token::is_token_id(text) {
            return Err(CommandError::Usage("each must be a token or its first six characters".into()));
        }
    }
    if dry_run {
        for text in wanted {
            let id = text.split('.').next().unwrap_or_default();
            printer.out(&format!("would delete bootstrap token {id:?}"));
        }
        return Ok(Exit::Ok);
    }
    let outcomes = block_on(printer, async |_| {
        let client = connect(kubeconfig, None).await?;
        let mut outcomes = Vec::new();
        for text in wanted {
            let id = text.split('.').next().unwrap_or_default().to_owned();
            outcomes.push((id, tokens::delete(&client, text).await?));
        }
        Ok(outcomes)
    })?;
    for (id, deleted) in outcomes {
        printer.out(&if deleted {
            format!("bootstrap token {id:?} deleted")
        } else {
            format!("there was no bootstrap token {id:?}")
        });
    }
    Ok(Exit::Ok)
}

fn text(found: &[ListedToken], now: Timestamp) -> String {
    let rows: Vec<Vec<String>> = found
        .iter()
        .map(|token| {
            let ttl = token.expires.map_or_else(|| "<forever>".to_owned(), |expires| left(expires, now));
            let expires = token.expires.map_or_else(|| "<never>".to_owned(), |expires| expires.to_string());
            let none = |text: String| if text.is_empty() { "<none>".to_owned() } else { text };
            vec![
                token.token.to_string(),
                ttl,
                expires,
                none(token.usages.join(",")),
                none(token.description.clone()),
                none(token.groups.join(",")),
            ]
        })
        .collect();
    table::render(&["TOKEN", "TTL", "EXPIRES", "USAGES", "DESCRIPTION", "EXTRA GROUPS"], &rows)
}

/// Time that is left, in hours where there are any.
fn left(expires: Timestamp, now: Timestamp) -> String {
    let left: SignedDuration = expires.duration_since(now);
    match u64::try_from(left.as_secs()) {
        Err(_) => "<invalid>".into(),
        Ok(seconds) if seconds >= 3600 => format!("{}h", seconds / 3600),
        Ok(seconds) => GoDuration::from_secs(seconds).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_has_kubeadms_columns() {
        let now: Timestamp = "2026-11-20T00:00:00Z".parse().expect("a time");
        let token = ListedToken {
            token: "abcdef.0123456789abcdef".parse().expect("a token"),
            description: String::new(),
            expires: "2026-11-20T23:30:00Z".parse().ok(),
            usages: vec!["authentication".into(), "signing".into()],
            groups: Vec::new(),
        };
        let shown = text(&[token.clone(), ListedToken { expires: None, ..token }], now);
        assert_eq!(
            shown,
            "TOKEN                     TTL         EXPIRES                USAGES                   DESCRIPTION   EXTRA GROUPS\n\
             abcdef.0123456789abcdef   23h         2026-11-20T23:30:00Z   authentication,signing   <none>        <none>\n\
             abcdef.0123456789abcdef   <forever>   <never>                authentication,signing   <none>        <none>\n"
        );
    }
}
