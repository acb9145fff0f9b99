//! The sealer.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::audit::{AuditKey, AuditLog, Event, EventPosition, NewLink};
use crate::clock::Timestamp;
use crate::id::{EventId, WorkspaceId};
use crate::store::StoreError;

/// Events that are sealed in one step at most.
const PAGE: usize = 1_000;
/// How far behind the newest event that it has sealed a sealer looks: another node's clock may be behind,
/// and its change may have been long under way. What is older is found by a look from the beginning.
const BACK: Duration = Duration::from_mins(1);
/// Every so many looks one is from the beginning.
const WHOLE: u32 = 120;

/// What a look of a sealer came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sealed {
    /// Events that are in their chains now.
    pub sealed: u64,
    /// Events whose signature is not that of the key. They stay outside.
    pub forged: u64,
    /// Events that the store did not take into their chains: somebody else was quicker, or their chain
    /// does not end where it should.
    pub refused: u64,
}

/// Puts signed events into the chains of their workspaces. Every node may have one at any time; where two
/// are at it, one of them does nothing.
///
/// An event whose signature is wrong was not written by a node with this key. It is not sealed, so that
/// the chain gives no credit to what somebody put into the database.
#[derive(Debug)]
pub struct Sealer {
    key: AuditKey,
    looks: u32,
    newest: Option<Timestamp>,
}

impl Sealer {
    /// A sealer that has seen nothing yet.
    pub fn new(key: AuditKey) -> Self {
        Self { key, looks: 0, newest: None }
    }

    /// Seals the events that wait for it.
    ///
    /// # Errors
    ///
    /// When the store fails. What was sealed stays sealed.
    pub async fn look(&mut self, log: &dyn AuditLog) -> Result<Sealed, StoreError> {
        // Not from the beginning each time: a store may go over all that once waited there.
        let from = self.newest.filter(|_| !self.looks.is_multiple_of(WHOLE));
        let nil = EventId::from_bytes([0; 16]);
        let mut after = from.map(|at| EventPosition { at: at.minus(BACK), id: nil });
        let mut done = Sealed::default();
        loop {
            let events = log.unsealed(after, PAGE).await?;
            let Some(last) = events.last() else { break };
            after = Some(last.into());
            self.newest = self.newest.max(Some(last.at));
            let is_good = |event: &Event| event.tag == Some(self.key.tag(event));
            let (good, forged): (Vec<Event>, Vec<Event>) = events.into_iter().partition(is_good);
            done.forged += forged.len() as u64;
            self.link(log, good, &mut done).await?;
        }
        self.looks = self.looks.wrapping_add(1);
        Ok(done)
    }

    /// Adds these events to their chains: all in one step, and where the store does not take that, each
    /// workspace by itself, so that one whose chain was broken does not keep the others from theirs.
    async fn link(
        &self,
        log: &dyn AuditLog,
        events: Vec<Event>,
        done: &mut Sealed,
    ) -> Result<(), StoreError> {
        let chains = self.chains(log, events).await?;
        let links = chains.concat();
        if links.is_empty() {
            return Ok(());
        }
        match log.link(&links).await {
            Ok(true) => {
                done.sealed += links.len() as u64;
                return Ok(());
            }
            Err(error @ (StoreError::Unavailable(_) | StoreError::Sealed)) => return Err(error),
            Ok(false) | Err(_) => {}
        }
        for links in chains {
            match log.link(&links).await {
                Ok(true) => done.sealed += links.len() as u64,
                Err(error @ (StoreError::Unavailable(_) | StoreError::Sealed)) => {
                    return Err(error);
                }
                Ok(false) | Err(_) => done.refused += links.len() as u64,
            }
        }
        Ok(())
    }

    /// The links that these events become, for each workspace.
    async fn chains(
        &self,
        log: &dyn AuditLog,
        events: Vec<Event>,
    ) -> Result<Vec<Vec<NewLink>>, StoreError> {
        let mut chains: BTreeMap<WorkspaceId, Vec<Event>> = BTreeMap::new();
        for event in events {
            chains.entry(event.workspace).or_default().push(event);
        }
        let workspaces: Vec<WorkspaceId> = chains.keys().copied().collect();
        let heads = log.heads(&workspaces).await?;
        let chains = chains.into_iter().zip(heads).map(|((workspace, events), mut head)| {
            let links = events.into_iter().filter_map(|event| {
                let link = self.key.link(workspace, head, event.tag?);
                head = Some(link);
                Some(NewLink { event, link })
            });
            links.collect()
        });
        Ok(chains.collect())
    }
}
