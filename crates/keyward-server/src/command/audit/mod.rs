//! `keyward audit`: what was done to keys, and whether the record of it is whole.

mod list;
mod options;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use keyward_core::audit::{AuditLog, Findings, Link, verify};
use keyward_core::id::WorkspaceId;
use keyward_core::store::KeyStore;
use serde_json::json;

pub use self::options::{AuditAction, AuditOptions};
use self::options::{HeadOptions, TrailOptions, VerifyOptions};
use super::keys::Failure;
use super::output;
use crate::config::DatabaseOptions;

/// One question at a time, and patience with a busy database.
const DATABASE: DatabaseOptions = DatabaseOptions {
    pool_size: 2,
    pool_wait: Duration::from_secs(10),
    ..DatabaseOptions::DEFAULT
};
/// Workspaces that are read at a time.
const PAGE: usize = 1_000;

/// Does what was asked for.
pub fn run(action: &AuditAction) -> anyhow::Result<()> {
    // RocksDB is opened on a thread that may wait.
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(async {
        match action {
            AuditAction::List(options) => list::list(options).await,
            AuditAction::Verify(options) => {
                let whole = verify_trail(options).await;
                if whole.map_err(|error| unread(&error))? {
                    return Ok(());
                }
                Err(Failure::Refused("the audit trail is not what it was".into()).into())
            }
            AuditAction::Head(options) => {
                print_heads(options).await.map_err(|error| unread(&error))
            }
        }
    })
}

/// That nothing could be found out is told from what was found.
fn unread(error: &anyhow::Error) -> anyhow::Error {
    Failure::NoAnswer(format!("{error:#}")).into()
}

/// Whether the trail is whole.
async fn verify_trail(options: &VerifyOptions) -> anyhow::Result<bool> {
    let key = options.key.known_of(&options.trail.storage.parse()?)?;
    let kept = options.heads.as_deref().map(read_heads).transpose()?.unwrap_or_default();
    let json = options.trail.json;
    let mut whole = true;
    if !json {
        output::write(&format!(
            "{:<36}  {:>10}  {:>8}  {:>6}\n",
            "WORKSPACE", "SEALED", "UNSEALED", "FAULTS"
        ))?;
    }
    let store = open(&options.trail).await?;
    let outcome = async {
        let mut workspaces = Workspaces::of(&options.trail, store.audit());
        // A workspace of which nothing is left has only its kept link to show that there was one.
        let mut vanished = kept.clone();
        while let Some(workspace) = workspaces.next().await? {
            vanished.remove(&workspace);
            let link = kept.get(&workspace).copied();
            let found = verify(store.audit(), &key, workspace, link).await?;
            whole &= found.fault_count == 0;
            show(workspace, &found, json)?;
        }
        if options.trail.workspace.is_none() {
            for (workspace, link) in vanished {
                let found = verify(store.audit(), &key, workspace, Some(link)).await?;
                whole = false;
                show(workspace, &found, json)?;
            }
        }
        Ok::<_, anyhow::Error>(())
    };
    let outcome = outcome.await;
    store.close().await.context("the storage did not close cleanly")?;
    outcome?;
    Ok(whole)
}

fn show(workspace: WorkspaceId, found: &Findings, json: bool) -> anyhow::Result<()> {
    let Findings { sealed, unsealed, faults, fault_count, head } = found;
    let text = if json {
        let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
        let head = head.map(|head| head.to_string());
        let workspace = workspace.to_string();
        let report = json!({
            "workspace_id": workspace, "sealed": sealed, "unsealed": unsealed,
            "fault_count": fault_count, "faults": faults, "head": head,
        });
        format!("{report}\n")
    } else {
        let mut text = format!("{workspace:<36}  {sealed:>10}  {unsealed:>8}  {fault_count:>6}\n");
        text.extend(faults.iter().map(|fault| format!("  {fault}\n")));
        let more = fault_count - faults.len() as u64;
        text.extend((more > 0).then(|| format!("  and {more} more\n")));
        text
    };
    Ok(output::write(&text)?)
}

async fn print_heads(options: &HeadOptions) -> anyhow::Result<()> {
    let store = open(&options.trail).await?;
    let outcome = async {
        let mut workspaces = Workspaces::of(&options.trail, store.audit());
        while let Some(workspace) = workspaces.next().await? {
            let head = store.audit().heads(&[workspace]).await?.into_iter().next().flatten();
            let Some(head) = head else { continue };
            let text = if options.trail.json {
                let (workspace, head) = (workspace.to_string(), head.to_string());
                format!("{}\n", json!({ "workspace_id": workspace, "head": head }))
            } else {
                format!("{workspace} {head}\n")
            };
            output::write(&text)?;
        }
        Ok(())
    };
    let outcome = outcome.await;
    store.close().await.context("the storage did not close cleanly")?;
    outcome
}

async fn open(trail: &TrailOptions) -> anyhow::Result<std::sync::Arc<dyn KeyStore>> {
    let storage = trail.storage.parse()?;
    if !storage.is_durable() {
        bail!("what is in the memory of another process cannot be read from here");
    }
    storage.open_to_read(&DATABASE).await
}

/// What head has printed, a line for each workspace.
fn read_heads(path: &Path) -> anyhow::Result<BTreeMap<WorkspaceId, Link>> {
    let read = || -> anyhow::Result<_> {
        let mut heads = BTreeMap::new();
        for line in std::fs::read_to_string(path)?.lines().filter(|line| !line.trim().is_empty()) {
            let (workspace, link) =
                line.trim().split_once(' ').context("a line is not one of head")?;
            heads.insert(workspace.parse()?, link.trim().parse()?);
        }
        Ok(heads)
    };
    read().with_context(|| format!("{} cannot be used", path.display()))
}

/// The workspaces that were asked for, a page at a time.
struct Workspaces<'a> {
    log: &'a dyn AuditLog,
    page: Vec<WorkspaceId>,
    last: Option<WorkspaceId>,
    more: bool,
}

impl<'a> Workspaces<'a> {
    fn of(trail: &TrailOptions, log: &'a dyn AuditLog) -> Self {
        let more = trail.workspace.is_none();
        Self { log, page: trail.workspace.into_iter().collect(), last: None, more }
    }

    async fn next(&mut self) -> anyhow::Result<Option<WorkspaceId>> {
        if self.page.is_empty() && self.more {
            self.page = self.log.workspaces(self.last, PAGE).await?;
            self.more = self.page.len() == PAGE;
            self.page.reverse();
        }
        let next = self.page.pop();
        self.last = next.or(self.last);
        Ok(next)
    }
}
