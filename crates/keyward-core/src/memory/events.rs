//! The audit trail of the reference driver.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound::{Excluded, Included, Unbounded};

use async_trait::async_trait;

use super::MemoryStore;
use crate::audit::{AuditLog, Event, EventPosition, Link, NewLink, Recorded};
use crate::clock::Timestamp;
use crate::id::{EventId, WorkspaceId};
use crate::store::StoreError;

/// Newest first, equal times by id: the order in which events are shown.
type Place = (WorkspaceId, Reverse<Timestamp>, EventId);

/// The events of all workspaces.
#[derive(Debug, Default)]
pub struct Events {
    all: BTreeMap<Place, Recorded>,
    chains: BTreeMap<(WorkspaceId, u64), Place>,
    heads: HashMap<WorkspaceId, Link>,
    unsealed: BTreeSet<(EventPosition, WorkspaceId)>,
}

fn place(workspace: WorkspaceId, position: EventPosition) -> Place {
    (workspace, Reverse(position.at), position.id)
}

impl Events {
    /// Adds an event.
    pub fn add(&mut self, event: Event) {
        self.put(Recorded { event, link: None });
    }

    fn put(&mut self, recorded: Recorded) {
        let position = EventPosition::from(&recorded.event);
        let workspace = recorded.event.workspace;
        match recorded.link {
            Some(link) => self.chain(workspace, position, link),
            None if recorded.event.tag.is_some() => {
                self.unsealed.insert((position, workspace));
            }
            None => {}
        }
        self.all.insert(place(workspace, position), recorded);
    }

    fn chain(&mut self, workspace: WorkspaceId, position: EventPosition, link: Link) {
        self.unsealed.remove(&(position, workspace));
        self.chains.insert((workspace, link.number), place(workspace, position));
        let head = self.heads.entry(workspace).or_insert(link);
        if head.number < link.number {
            *head = link;
        }
    }

    /// Whether all of these can be added, one after the other.
    fn fit(&self, links: &[NewLink]) -> bool {
        let mut ends: HashMap<WorkspaceId, u64> = HashMap::new();
        links.iter().all(|new| {
            let workspace = new.event.workspace;
            let head = || self.heads.get(&workspace).map_or(0, |head| head.number);
            let end = ends.entry(workspace).or_insert_with(head);
            *end += 1;
            *end == new.link.number && self.unsealed.contains(&((&new.event).into(), workspace))
        })
    }
}

#[async_trait]
impl AuditLog for MemoryStore {
    async fn events(
        &self,
        workspace: WorkspaceId,
        after: Option<EventPosition>,
        limit: usize,
    ) -> Result<Vec<Recorded>, StoreError> {
        let state = self.open()?;
        let start = match after {
            Some(position) => Excluded(place(workspace, position)),
            None => Included((workspace, Reverse(Timestamp::MAX), EventId::from_bytes([0; 16]))),
        };
        let page = state.events.all.range((start, Unbounded));
        let page = page.take_while(|((owner, ..), _)| *owner == workspace).take(limit);
        Ok(page.map(|(_, recorded)| recorded.clone()).collect())
    }

    async fn chain(
        &self,
        workspace: WorkspaceId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<Recorded>, StoreError> {
        let state = self.open()?;
        let chain = (Excluded((workspace, after)), Included((workspace, u64::MAX)));
        let places = state.events.chains.range(chain).take(limit);
        Ok(places.filter_map(|(_, place)| state.events.all.get(place).cloned()).collect())
    }

    async fn unsealed(
        &self,
        after: Option<EventPosition>,
        limit: usize,
    ) -> Result<Vec<Event>, StoreError> {
        let state = self.open()?;
        let behind = |it: &&(EventPosition, WorkspaceId)| after.is_none_or(|after| it.0 > after);
        let places = state.events.unsealed.iter().filter(behind).take(limit);
        let events = places.filter_map(|(position, workspace)| {
            state.events.all.get(&place(*workspace, *position))
        });
        Ok(events.map(|recorded| recorded.event.clone()).collect())
    }

    async fn heads(&self, workspaces: &[WorkspaceId]) -> Result<Vec<Option<Link>>, StoreError> {
        let state = self.open()?;
        Ok(workspaces.iter().map(|it| state.events.heads.get(it).copied()).collect())
    }

    async fn workspaces(
        &self,
        after: Option<WorkspaceId>,
        limit: usize,
    ) -> Result<Vec<WorkspaceId>, StoreError> {
        let state = self.open()?;
        let all: BTreeSet<WorkspaceId> = state.events.all.keys().map(|(it, ..)| *it).collect();
        Ok(all.range((after.map_or(Unbounded, Excluded), Unbounded)).take(limit).copied().collect())
    }

    async fn link(&self, links: &[NewLink]) -> Result<bool, StoreError> {
        let mut state = self.unsealed_store()?;
        if !state.events.fit(links) {
            return Ok(false);
        }
        for new in links {
            let (workspace, position) = (new.event.workspace, EventPosition::from(&new.event));
            if let Some(recorded) = state.events.all.get_mut(&place(workspace, position)) {
                recorded.link = Some(new.link);
            }
            state.events.chain(workspace, position, new.link);
        }
        Ok(true)
    }

    async fn import_events(&self, events: &[Recorded]) -> Result<(), StoreError> {
        let mut state = self.unsealed_store()?;
        for recorded in events {
            let place = place(recorded.event.workspace, (&recorded.event).into());
            let known = state.events.all.get(&place);
            // It may have come before it was sealed there.
            if known.is_none_or(|it| it.link.is_none() && it.event == recorded.event) {
                state.events.put(recorded.clone());
            }
        }
        Ok(())
    }
}
