//! The reference driver: everything in the memory of one process, gone when it ends.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use crate::clock::Timestamp;
use crate::id::{KeyId, WorkspaceId};
use crate::key::ApiKey;
use crate::secret::KeyDigest;
use crate::store::{KeyStore, ListPosition, StoreError, StoredKey, Unique};

/// A [`KeyStore`] that is durable for as long as its process lives. For trying out, for tests, and
/// as the specification that other drivers are compared with.
#[derive(Debug, Default)]
pub struct MemoryStore {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    closed: bool,
    records: HashMap<KeyId, StoredKey>,
    digests: HashMap<KeyDigest, KeyId>,
    /// Newest first, equal times by id: the order of the list.
    order: BTreeSet<(WorkspaceId, Reverse<Timestamp>, KeyId)>,
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
}

impl State {
    fn in_workspace(&self, workspace: WorkspaceId, id: KeyId) -> Option<&StoredKey> {
        self.records.get(&id).filter(|stored| stored.key.workspace_id == workspace)
    }
}

#[async_trait]
impl KeyStore for MemoryStore {
    async fn create(&self, key: &ApiKey, digest: &KeyDigest) -> Result<(), StoreError> {
        let mut state = self.open()?;
        if state.records.contains_key(&key.id) {
            return Err(StoreError::Conflict(Unique::Id));
        }
        if state.digests.contains_key(digest) {
            return Err(StoreError::Conflict(Unique::Digest));
        }
        state.digests.insert(*digest, key.id);
        state.order.insert((key.workspace_id, Reverse(key.created_at), key.id));
        state.records.insert(key.id, StoredKey { key: key.clone(), digest: *digest });
        Ok(())
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
        after: Option<ListPosition>,
        limit: usize,
    ) -> Result<Vec<ApiKey>, StoreError> {
        use std::ops::Bound::{Excluded, Included, Unbounded};
        let state = self.open()?;
        let start = match after {
            Some(position) => Excluded((workspace, Reverse(position.created_at), position.id)),
            None => Included((workspace, Reverse(Timestamp::MAX), KeyId::from_bytes([0; 16]))),
        };
        let page = state
            .order
            .range((start, Unbounded))
            .take_while(|(owner, ..)| *owner == workspace)
            .take(limit)
            .filter_map(|(.., id)| state.records.get(id))
            .map(|stored| stored.key.clone())
            .collect();
        Ok(page)
    }

    async fn revoke(
        &self,
        workspace: WorkspaceId,
        id: KeyId,
        at: Timestamp,
    ) -> Result<Option<ApiKey>, StoreError> {
        let mut state = self.open()?;
        let record = state.records.get_mut(&id).filter(|it| it.key.workspace_id == workspace);
        Ok(record.map(|stored| {
            stored.key.revoke(at);
            stored.key.clone()
        }))
    }

    async fn ready(&self) -> Result<(), StoreError> {
        self.open().map(drop)
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).closed = true;
        Ok(())
    }
}
