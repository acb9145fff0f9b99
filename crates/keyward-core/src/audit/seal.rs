//! The sealer.

use std::collections::BTreeMap;

use crate::audit::{AuditKey, AuditLog, Event, EventPosition, NewLink};
use crate::id::WorkspaceId;
use crate::store::StoreError;

/// Events that are sealed in one step at most.
const PAGE: usize = 1_000;

/// What a sealer did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sealed {
    /// Events that are in their chains now.
    pub sealed: u64,
    /// Events whose signature is not that of the key. They stay outside.
    pub forged: u64,
}

/// Seals the events that wait for it: each becomes the newest link of its workspace. Every node may do
/// so at any time; where two are at it, one of them does nothing.
///
/// An event whose signature is wrong was not written by a node with this key. It is not sealed, so that
/// the chain gives no credit to what somebody put into the database.
///
/// # Errors
///
/// When the store fails. What was sealed stays sealed.
pub async fn seal(log: &dyn AuditLog, key: &AuditKey) -> Result<Sealed, StoreError> {
    let mut done = Sealed::default();
    let mut after = None;
    loop {
        let events = log.unsealed(after, PAGE).await?;
        let (good, forged): (Vec<&Event>, Vec<&Event>) =
            events.iter().partition(|event| event.tag == Some(key.tag(event)));
        done.forged += forged.len() as u64;
        if !good.is_empty() {
            let links = links(log, key, &good).await?;
            if !log.link(&links).await? {
                // Another sealer has seen to them.
                return Ok(done);
            }
            done.sealed += links.len() as u64;
        }
        match events.last().filter(|_| events.len() == PAGE) {
            Some(last) => after = Some(EventPosition::from(last)),
            None => return Ok(done),
        }
    }
}

/// The links that these events become.
async fn links(
    log: &dyn AuditLog,
    key: &AuditKey,
    events: &[&Event],
) -> Result<Vec<NewLink>, StoreError> {
    let mut chains: BTreeMap<WorkspaceId, Vec<&Event>> = BTreeMap::new();
    for event in events {
        chains.entry(event.workspace).or_default().push(event);
    }
    let workspaces: Vec<WorkspaceId> = chains.keys().copied().collect();
    let heads = log.heads(&workspaces).await?;
    let mut links = Vec::with_capacity(events.len());
    for ((workspace, events), mut head) in chains.into_iter().zip(heads) {
        for event in events {
            let Some(tag) = event.tag else { continue };
            let link = key.link(workspace, head, tag);
            links.push(NewLink { workspace, event: event.into(), link });
            head = Some(link);
        }
    }
    Ok(links)
}
