//! `keyward token`.

use anyhow::{Context as _, bail};
use keyward_core::clock::{Clock as _, SystemClock};

use crate::config::TokenOptions;
use crate::token::{self, Mint, parse_scopes};

/// Mints a token and prints it, alone, on standard output.
pub fn run(options: &TokenOptions) -> anyhow::Result<()> {
    let storage = options.storage.parse()?;
    let secrets = match (options.secret.secrets()?, storage.directory()) {
        (Some(secrets), _) => secrets,
        (None, Some(directory)) => token::read_local_secret(&directory)?,
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
