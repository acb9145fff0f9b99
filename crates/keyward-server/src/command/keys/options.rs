//! The flags of `keyward keys`.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use keyward_core::clock::{Clock as _, SystemClock, Timestamp};
use keyward_core::details::Reason;
use keyward_core::id::AccountId;
use serde_json::{Map, Value, json};

use crate::command::check::PresentedKey;
use crate::config::{SecretText, time};

const EXIT_CODES: &str = "\
Exit codes:
  0  done; of verify: the key is good
  1  refused by the server (4xx), or the answer could not be written; of verify: the key is not good
  2  the command line is wrong
  3  no answer, or none for now (5xx, 408, 429): try again. What was asked for may have been done:
     before a second create or rotate, look at the list, or give create an --idempotency-key";

/// Flags of `keyward keys`.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub struct KeysOptions {
    /// What to do.
    #[command(subcommand)]
    pub action: Action,

    #[command(flatten)]
    pub connection: Connection,

    /// Workspace that the keys are in; for verify: that the key must be of.
    #[arg(long, env = "KEYWARD_WORKSPACE", value_name = "UUID", global = true)]
    pub workspace: Option<String>,

    /// Print the server's JSON.
    #[arg(long, env = "KEYWARD_KEYS_JSON", global = true)]
    pub json: bool,
}

/// Which server is asked, and by whom.
#[derive(Debug, Args)]
#[command(next_help_heading = "Server")]
pub struct Connection {
    /// The server. Who vouches for one with https:// is for the system to know, or for the file that
    /// `SSL_CERT_FILE` names.
    #[arg(
        long,
        env = "KEYWARD_URL",
        hide_env_values = true,
        value_name = "URL",
        default_value = "http://127.0.0.1:8080",
        global = true
    )]
    pub url: String,

    /// Token or API key that calls are made with. Better given by the environment or a file: other
    /// users of this machine see the arguments of every process. verify needs none.
    #[arg(
        long,
        env = "KEYWARD_TOKEN",
        hide_env_values = true,
        value_name = "TOKEN",
        global = true,
        allow_hyphen_values = true,
        conflicts_with = "token_file"
    )]
    pub token: Option<SecretText>,

    /// File that holds the token.
    #[arg(long, env = "KEYWARD_TOKEN_FILE", value_name = "FILE", global = true)]
    pub token_file: Option<PathBuf>,
}

/// What `keyward keys` does.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// Create a key and show it, this once.
    Create(NewKey),
    /// List the keys of the workspace, newest first.
    List(Filter),
    /// Show one key.
    Get(KeyId),
    /// Change what a key may do, what is written about it, or its end. What is not named stays.
    Edit(Change),
    /// Give a key another name.
    Rename {
        #[command(flatten)]
        id: KeyId,

        /// The new name.
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Make a new key in the place of one, and show it, this once.
    Rotate {
        #[command(flatten)]
        id: KeyId,

        /// How long the old key stays good, such as `1d`: 0s to 7d.
        #[arg(long, value_name = "TIME", default_value = "0s", value_parser = grace)]
        grace: Duration,

        #[command(flatten)]
        quiet: Quiet,
    },
    /// Revoke a key, for ever. Once this has ended with 0, no node accepts it.
    Revoke {
        #[command(flatten)]
        id: KeyId,

        /// Why, for the record.
        #[arg(long, value_name = "REASON", value_parser = reason())]
        reason: Option<String>,
    },
    /// Say whether a key is good, and show it if so.
    Verify {
        #[command(flatten)]
        presented: PresentedKey,

        /// Scope that it must hold; may be repeated.
        #[arg(long = "scope", value_name = "SCOPE")]
        scopes: Vec<String>,
    },
}

/// Which key.
#[derive(Debug, Args)]
pub struct KeyId {
    /// Id of the key, as list shows it.
    // Not read as a UUID here: whoever gives the key itself by mistake is not to see it in a message.
    #[arg(value_name = "ID")]
    pub id: SecretText,
}

/// Whether only the secret is shown.
#[derive(Debug, Args)]
pub struct Quiet {
    /// Print the new key alone, for a pipe into a secret manager.
    #[arg(long, short, conflicts_with = "json")]
    pub quiet: bool,
}

/// Flags of `keyward keys create`.
#[derive(Debug, Args)]
pub struct NewKey {
    /// Name of the key.
    #[arg(value_name = "NAME")]
    pub name: String,

    #[command(flatten)]
    pub details: Details,

    /// Name for this request, such as a UUID. Sent again with the same name, it makes no second key: for
    /// when the answer did not come (exit code 3).
    #[arg(long, value_name = "NAME")]
    pub idempotency_key: Option<String>,

    #[command(flatten)]
    pub quiet: Quiet,
}

/// What may be said of a key.
#[derive(Debug, Args)]
pub struct Details {
    /// Scope of the key; may be repeated. What is named is all that it has. A key that is created
    /// without any holds `api_keys:read`.
    #[arg(long = "scope", value_name = "SCOPE", conflicts_with = "no_scopes")]
    scopes: Vec<String>,

    /// No scopes at all.
    #[arg(long)]
    no_scopes: bool,

    /// What the key is for.
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,

    /// Text to attach to the key; may be repeated. What is named is all that it has.
    #[arg(long, value_name = "NAME=VALUE", value_parser = entry)]
    metadata: Vec<(String, String)>,

    /// From when on it is refused, such as `2030-01-15T09:30:00Z`.
    #[arg(long, value_name = "RFC3339", value_parser = moment, conflicts_with = "ttl")]
    expires_at: Option<Timestamp>,

    /// How long it is good from now on, by this machine's clock, such as `90d`.
    #[arg(long, value_name = "TIME", value_parser = time)]
    ttl: Option<Duration>,
}

impl Details {
    /// The body of a request that says this.
    pub fn body(&self) -> Map<String, Value> {
        let mut body = Map::new();
        if self.no_scopes || !self.scopes.is_empty() {
            body.insert("scopes".into(), json!(self.scopes));
        }
        if let Some(description) = &self.description {
            body.insert("description".into(), json!(description));
        }
        if !self.metadata.is_empty() {
            let entries = self.metadata.iter().cloned().map(|(name, value)| (name, value.into()));
            body.insert("metadata".into(), Value::Object(entries.collect()));
        }
        let end = self.expires_at.or_else(|| Some(SystemClock.now().plus(self.ttl?)));
        if let Some(end) = end {
            body.insert("expires_at".into(), json!(end.to_string()));
        }
        body
    }
}

/// Flags of `keyward keys edit`.
#[derive(Debug, Args)]
pub struct Change {
    #[command(flatten)]
    pub id: KeyId,

    #[command(flatten)]
    details: Details,

    /// Take the description away.
    #[arg(long, conflicts_with = "description")]
    no_description: bool,

    /// Take all metadata away.
    #[arg(long, conflicts_with = "metadata")]
    no_metadata: bool,

    /// Let it never expire.
    #[arg(long, conflicts_with_all = ["expires_at", "ttl"])]
    no_expiry: bool,
}

impl Change {
    /// The body of a request that says this. What is taken away is null.
    pub fn body(&self) -> Map<String, Value> {
        let mut body = self.details.body();
        let taken = [
            ("description", self.no_description),
            ("metadata", self.no_metadata),
            ("expires_at", self.no_expiry),
        ];
        for (name, _) in taken.into_iter().filter(|&(_, taken)| taken) {
            body.insert(name.into(), Value::Null);
        }
        body
    }
}

/// Flags of `keyward keys list`.
#[derive(Debug, Args)]
pub struct Filter {
    /// Only keys with this status.
    #[arg(long, value_name = "STATUS", value_parser = ["active", "revoked"])]
    status: Option<String>,

    /// Only keys that this account created.
    #[arg(long, value_name = "UUID")]
    created_by: Option<AccountId>,

    /// Only keys with exactly this name.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
}

impl Filter {
    /// The parameters that ask for it.
    pub fn query(&self) -> Vec<(&'static str, String)> {
        let parameters = [
            ("status", self.status.clone()),
            ("created_by", self.created_by.map(|it| it.to_string())),
            ("name", self.name.clone()),
        ];
        parameters.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }
}

fn reason() -> clap::builder::PossibleValuesParser {
    Reason::ALL.map(Reason::as_str).into()
}

fn entry(text: &str) -> anyhow::Result<(String, String)> {
    let (name, value) = text.split_once('=').context("metadata is a name, =, and a value")?;
    Ok((name.to_owned(), value.to_owned()))
}

fn moment(text: &str) -> anyhow::Result<Timestamp> {
    Timestamp::parse(text).context("a time is written as 2030-01-15T09:30:00Z")
}

/// Longest time for which a rotated key may stay good.
const LONGEST_GRACE: Duration = Duration::from_hours(7 * 24);

fn grace(text: &str) -> anyhow::Result<Duration> {
    let grace =
        humantime::parse_duration(text).context("a time is a number and a unit: 1d, 12h")?;
    if grace > LONGEST_GRACE || grace.subsec_nanos() != 0 {
        bail!("grace is 0s to 7d, in whole seconds");
    }
    Ok(grace)
}
