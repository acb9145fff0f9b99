//! `keyward token`.

use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;
use keyward_core::clock::{Clock as _, SystemClock};
use keyward_core::id::{AccountId, WorkspaceId};

use crate::config::{SecretOptions, StorageOption, time};
use crate::token::{self, Mint, parse_scopes};

/// Flags of `keyward token`.
#[derive(Debug, Args)]
pub struct TokenOptions {
    /// Workspace that the token is for; may be repeated.
    #[arg(
        long = "workspace",
        env = "KEYWARD_WORKSPACE",
        value_name = "UUID",
        value_delimiter = ',',
        required = true
    )]
    pub workspaces: Vec<WorkspaceId>,

    /// Account that it acts for; one fixed account when left out.
    #[arg(long, env = "KEYWARD_ACCOUNT", value_name = "UUID")]
    pub account: Option<AccountId>,

    /// Scope that it has; may be repeated, or several with spaces between them. Left out:
    /// `api_keys:read` and `api_keys:write`.
    #[arg(long = "scope", env = "KEYWARD_SCOPE", value_name = "SCOPE")]
    pub scopes: Vec<String>,

    /// How long it is good for.
    #[arg(long, env = "KEYWARD_TTL", value_name = "TIME", default_value = "1h", value_parser = time)]
    pub ttl: Duration,

    #[command(flatten)]
    pub secret: SecretOptions,

    /// The storage whose own secret signs it, where no secret is given. It is not opened, so this
    /// works beside a running server.
    #[command(flatten)]
    pub storage: StorageOption,
}

/// Mints a token and prints it, alone, on standard output.
pub fn run(options: &TokenOptions) -> anyhow::Result<()> {
    let storage = options.storage.parse()?;
    let secrets = match (options.secret.secrets()?, storage.directory()) {
        (Some(secrets), _) => secrets,
        (None, Some(directory)) => token::read_local_secret(&directory, token::LocalSecret::TOKEN)?,
        (None, None) => bail!(
            "{}:// keeps no secret of its own: give --token-secret or --token-secret-file",
            storage.name()
        ),
    };
    let scopes = match options.scopes.as_slice() {
        [] => None,
        named => Some(parse_scopes(named).context("--scope")?),
    };
    let token = token::mint(
        &secrets,
        &Mint {
            workspaces: options.workspaces.clone(),
            account: options.account,
            scopes,
            ttl: options.ttl,
            now: SystemClock.now(),
        },
    )?;
    println!("{token}");
    Ok(())
}
