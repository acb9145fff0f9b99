//! The flags of `keyward audit`, and those of `keyward serve` that are about the audit trail.

use std::net::IpAddr;
use std::path::PathBuf;

use anyhow::{Context as _, bail, ensure};
use clap::{Args, Subcommand};
use ipnet::IpNet;
use keyward_core::audit::AuditKey;
use keyward_core::clock::SystemEntropy;
use keyward_core::id::WorkspaceId;

use crate::command::keys::Connection;
use crate::config::{SecretText, StorageOption};
use crate::drivers::Storage;
use crate::token::{LocalSecret, Secrets, local_secret, read_local_secret};

/// What is recorded of changes.
#[derive(Debug, Args)]
#[command(next_help_heading = "Audit")]
pub struct AuditOptions {
    #[command(flatten)]
    pub key: AuditKeyOptions,

    /// Networks of the proxies in front, separated by commas, such as `10.0.0.0/8,::1/128`. What they say
    /// in X-Forwarded-For is recorded as where a change came from; of everybody else it is their own
    /// address.
    #[arg(long, env = "KEYWARD_TRUSTED_PROXIES", value_name = "CIDR,…", value_delimiter = ',',
        value_parser = network)]
    pub trusted_proxies: Vec<IpNet>,
}

/// The key that the audit trail is signed with.
#[derive(Debug, Args)]
pub struct AuditKeyOptions {
    /// Key that audit events are signed and chained with, at least 32 bytes, the same on every node, and
    /// for good: what was signed with another is taken for forged. RocksDB has one of its own, made on
    /// first start as DIR/audit.key; on Postgres events stay unsigned without one.
    #[arg(
        long,
        env = "KEYWARD_AUDIT_KEY",
        hide_env_values = true,
        value_name = "SECRET",
        allow_hyphen_values = true,
        conflicts_with = "audit_key_file"
    )]
    audit_key: Option<SecretText>,

    /// File that holds the key.
    #[arg(long, env = "KEYWARD_AUDIT_KEY_FILE", value_name = "FILE")]
    audit_key_file: Option<PathBuf>,
}

impl AuditKeyOptions {
    /// The key that was given, if one was.
    fn key(&self) -> anyhow::Result<Option<AuditKey>> {
        let given = match (&self.audit_key, &self.audit_key_file) {
            (Some(text), _) => Secrets::parse(text).context("--audit-key")?,
            (None, Some(file)) => Secrets::read(file).context("--audit-key-file")?,
            (None, None) => return Ok(None),
        };
        audit_key(&given).map(Some)
    }
}

impl AuditKeyOptions {
    /// The key that was given, or that the storage has of its own, made if it has none yet.
    pub fn or_of(&self, storage: &Storage) -> anyhow::Result<Option<AuditKey>> {
        match (self.key()?, storage.directory()) {
            (None, Some(directory)) => {
                let secrets = local_secret(&directory, LocalSecret::AUDIT, &SystemEntropy)?;
                audit_key(&secrets).map(Some)
            }
            (key, _) => Ok(key),
        }
    }

    /// As [`AuditKeyOptions::or_of`], for a reader beside the server, who makes nothing.
    pub fn known_of(&self, storage: &Storage) -> anyhow::Result<AuditKey> {
        match (self.key()?, storage.directory()) {
            (Some(key), _) => Ok(key),
            (None, Some(directory)) => {
                audit_key(&read_local_secret(&directory, LocalSecret::AUDIT)?)
            }
            (None, None) => bail!("--audit-key or --audit-key-file is needed"),
        }
    }
}

/// The one secret, as a key of the audit trail.
fn audit_key(secrets: &Secrets) -> anyhow::Result<AuditKey> {
    ensure!(secrets.iter().count() == 1, "there is one audit key, and it stays");
    Ok(AuditKey::new(secrets.first())?)
}

/// A network, or a single address.
fn network(text: &str) -> anyhow::Result<IpNet> {
    let address = || text.parse::<IpAddr>().map(IpNet::from);
    text.parse().or_else(|_| address()).context("a network is written as 10.0.0.0/8")
}

/// What `keyward audit` does.
#[derive(Debug, Subcommand)]
pub enum AuditAction {
    /// List what was done to the keys of a workspace, newest first: the API of a server.
    List(ListOptions),
    /// Verify that no event was removed, changed, put in or moved: reads the storage, also while servers
    /// use it, and needs the key that they sign with. Ends with 0 where all is well, 1 where something is
    /// not, and 3 where that could not be found out.
    Verify(VerifyOptions),
    /// Print the newest link of each chain. Kept elsewhere, it shows later that the end was not cut off,
    /// which a chain alone cannot: give it to verify.
    Head(HeadOptions),
}

/// Flags of `keyward audit list`.
#[derive(Debug, Args)]
pub struct ListOptions {
    #[command(flatten)]
    pub connection: Connection,

    /// Workspace of the keys.
    #[arg(long, env = "KEYWARD_WORKSPACE", value_name = "UUID")]
    pub workspace: WorkspaceId,

    /// Most events to list. Left out: all of them.
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,

    /// Print the server's JSON.
    #[arg(long, env = "KEYWARD_AUDIT_JSON")]
    pub json: bool,
}

/// Flags of `keyward audit verify`.
#[derive(Debug, Args)]
pub struct VerifyOptions {
    #[command(flatten)]
    pub trail: TrailOptions,

    #[command(flatten)]
    pub key: AuditKeyOptions,

    /// File with what head printed at another time: these links must still be in their chains.
    #[arg(long, value_name = "FILE")]
    pub heads: Option<PathBuf>,
}

/// Flags of `keyward audit head`.
#[derive(Debug, Args)]
pub struct HeadOptions {
    #[command(flatten)]
    pub trail: TrailOptions,
}

/// Which trail.
#[derive(Debug, Args)]
pub struct TrailOptions {
    #[command(flatten)]
    pub storage: StorageOption,

    /// Only this workspace. Left out: all of them.
    #[arg(long, env = "KEYWARD_WORKSPACE", value_name = "UUID")]
    pub workspace: Option<WorkspaceId>,

    /// Print one JSON object for each workspace.
    #[arg(long, env = "KEYWARD_AUDIT_JSON")]
    pub json: bool,
}
