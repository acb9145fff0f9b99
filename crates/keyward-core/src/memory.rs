//! The reference driver: everything in the memory of one process, gone when it ends.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound::{Excluded, Included, Unbounded};
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use crate::audit::{AuditLog, Trace};
use crate::change::{Change, Outcome};
use crate::clock::Timestamp;
use crate::id::{KeyId, WorkspaceId};
use crate::key::ApiKey;
use crate::memory::events::Events;
use crate::secret::KeyDigest;
use crate::store::{
    Added, Addition, ChangeFeed, Changed, Filter, Imported, KeyPlace, KeyStore, ListPosition, Once,
    StoreError, StoredKey, Unique, Use,
};

mod events;

/// A [`KeyStore`] that is durable for as long as its process lives. For trying out, for tests, and
/// as the specification that other drivers are compared with.
#[derive(Debug, Default)]
pub struct MemoryStore {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    closed: bool,
    sealed: bool,
    records: BTreeMap<KeyId, StoredKey>,
    digests: HashMap<KeyDigest, KeyId>,
    /// Newest first, equal times by id: the order of the list.
    order: BTreeSet<(WorkspaceId, Reverse<Timestamp>, KeyId)>,
    events: Events,
    uses: HashMap<(WorkspaceId, KeyId), Timestamp>,
    /// What was made once, by the name of its request.
    once: HashMap<[u8; 32], Remembered>,
}

/// A record that was made once.
#[derive(Debug, Clone, Copy)]
struct Remembered {
    content: [u8; 32],
    id: KeyId,
    at: Timestamp,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    fn open(&self) -> Result<MutexGuard<'_, State>, StoreError> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.closed {
            Err(StoreError::Unavailable("the store is closed".into()))
        } else {
            Ok(state)
        }
    }

    /// As [`MemoryStore::open`], for a change.
    fn unsealed_store(&self) -> Result<MutexGuard<'_, State>, StoreError> {
        let state = self.open()?;
        if state.sealed { Err(StoreError::Sealed) } else { Ok(state) }
    }
}

impl State {
    fn in_workspace(&self, workspace: WorkspaceId, id: KeyId) -> Option<&StoredKey> {
        self.records.get(&id).filter(|stored| stored.key.workspace_id == workspace)
    }

    /// Fails where the record could not be added.
    fn vacant(&self, key: &ApiKey, digest: &KeyDigest) -> Result<(), StoreError> {
        if self.records.contains_key(&key.id) {
            Err(StoreError::Conflict(Unique::Id))
        } else if self.digests.contains_key(digest) {
            Err(StoreError::Conflict(Unique::Digest))
        } else {
            Ok(())
        }
    }

    fn add(&mut self, stored: StoredKey) {
        let key = &stored.key;
        self.digests.insert(stored.digest, key.id);
        self.order.insert((key.workspace_id, Reverse(key.created_at), key.id));
        self.records.insert(key.id, stored);
    }

    /// What a request with this name has made before.
    fn before(&mut self, once: &Once) -> Option<Added> {
        self.once.retain(|_, it| it.at >= once.since);
        let remembered = self.once.get(&once.name)?;
        if remembered.content != once.content {
            return Some(Added::Other);
        }
        let stored = self.records.get(&remembered.id)?;
        Some(Added::Before(Box::new(stored.key.clone())))
    }

    /// What becomes of an imported record: itself where it is new, what it makes of the one that is
    /// there, or nothing.
    fn absorb(&self, given: &StoredKey) -> Result<Option<StoredKey>, StoreError> {
        let Some(known) = self.records.get(&given.key.id) else {
            return self.vacant(&given.key, &given.digest).map(|()| Some(given.clone()));
        };
        let mut stored = known.clone();
        let same = stored.digest == given.digest;
        match stored.key.absorb(&given.key) {
            Ok(changed) if same => Ok(changed.then_some(stored)),
            _ => Err(StoreError::Conflict(Unique::Id)),
        }
    }
}

#[async_trait]
impl KeyStore for MemoryStore {
    fn feed(&self) -> Option<&dyn ChangeFeed> {
        None
    }

    fn audit(&self) -> &dyn AuditLog {
        self
    }

    async fn add(&self, addition: Addition) -> Result<Added, StoreError> {
        let mut state = self.unsealed_store()?;
        let Addition { stored, trace, once } = addition;
        if let Some(added) = once.as_ref().and_then(|once| state.before(once)) {
            return Ok(added);
        }
        state.vacant(&stored.key, &stored.digest)?;
        if let Some(Once { name, content, .. }) = once {
            let (id, at) = (stored.key.id, stored.key.created_at);
            state.once.insert(name, Remembered { content, id, at });
        }
        state.events.add(trace.of_creation(&stored.key));
        state.add(stored);
        Ok(Added::New)
    }

    async fn get(
        &self,
        workspace: WorkspaceId,
        id: KeyId,
    ) -> Result<Option<StoredKey>, StoreError> {
        Ok(self.open()?.in_workspace(workspace, id).cloned())
    }

    async fn find(&self, digest: &KeyDigest) -> Result<Option<ApiKey>, StoreError> {
        let state = self.open()?;
        let stored = state.digests.get(digest).and_then(|id| state.records.get(id));
        Ok(stored.map(|stored| stored.key.clone()))
    }

    async fn list(
        &self,
        workspace: WorkspaceId,
        filter: &Filter,
        after: Option<ListPosition>,
        limit: usize,
    ) -> Result<Vec<ApiKey>, StoreError> {
        let state = self.open()?;
        let start = match after {
            Some(position) => Excluded((workspace, Reverse(position.created_at), position.id)),
            None => Included((workspace, Reverse(Timestamp::MAX), KeyId::from_bytes([0; 16]))),
        };
        let page = state
            .order
            .range((start, Unbounded))
            .take_while(|(owner, ..)| *owner == workspace)
            .filter_map(|(.., id)| state.records.get(id))
            .filter(|stored| filter.lets_through(&stored.key))
            .take(limit)
            .map(|stored| stored.key.clone())
            .collect();
        Ok(page)
    }

    async fn change(
        &self,
        workspace: WorkspaceId,
        id: KeyId,
        change: &Change,
        trace: &Trace,
    ) -> Result<Option<Changed>, StoreError> {
        let mut state = self.unsealed_store()?;
        let Some(mut stored) = state.in_workspace(workspace, id).cloned() else { return Ok(None) };
        let before = stored.key.clone();
        let outcome = change.apply(&mut stored.key);
        let (key, digest) = (stored.key.clone(), stored.digest);
        if let Outcome::Succeeded(successor) = &outcome {
            state.vacant(&successor.key, &successor.digest)?;
            state.add(StoredKey::clone(successor));
        }
        if let Some(event) = trace.of_change(&before, &key) {
            state.events.add(event);
        }
        state.records.insert(id, stored);
        Ok(Some(Changed { key, digest, outcome }))
    }

    async fn scan(&self, after: Option<KeyId>, limit: usize) -> Result<Vec<StoredKey>, StoreError> {
        let state = self.open()?;
        let start = after.map_or(Unbounded, Excluded);
        let page = state.records.range((start, Unbounded)).take(limit);
        Ok(page.map(|(_, stored)| stored.clone()).collect())
    }

    async fn import(&self, records: &[StoredKey]) -> Result<Imported, StoreError> {
        let mut state = self.unsealed_store()?;
        let changes: Vec<Option<StoredKey>> =
            records.iter().map(|given| state.absorb(given)).collect::<Result<_, _>>()?;
        let mut imported = Imported::default();
        for change in changes {
            match change {
                None => imported.unchanged += 1,
                Some(stored) if state.records.contains_key(&stored.key.id) => {
                    imported.changed += 1;
                    state.records.insert(stored.key.id, stored);
                }
                Some(stored) => {
                    imported.added += 1;
                    state.add(stored);
                }
            }
        }
        Ok(imported)
    }

    async fn record_uses(&self, uses: &[Use]) -> Result<(), StoreError> {
        let mut state = self.open()?;
        for Use { key, at } in uses {
            let last = state.uses.entry((key.workspace, key.position.id)).or_insert(*at);
            *last = (*last).max(*at);
        }
        Ok(())
    }

    async fn last_uses(&self, keys: &[KeyPlace]) -> Result<Vec<Option<Timestamp>>, StoreError> {
        let state = self.open()?;
        let last = |key: &KeyPlace| state.uses.get(&(key.workspace, key.position.id)).copied();
        Ok(keys.iter().map(last).collect())
    }

    async fn seal(&self, sealed: bool) -> Result<(), StoreError> {
        self.open()?.sealed = sealed;
        Ok(())
    }

    async fn ready(&self) -> Result<(), StoreError> {
        self.open().map(drop)
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).closed = true;
        Ok(())
    }
}
