//! The audit trail of the store.

use async_trait::async_trait;
use keyward_core::audit::{AuditLog, Event, EventPosition, Link, NewLink, Recorded};
use keyward_core::id::WorkspaceId;
use keyward_core::store::StoreError;

use crate::RocksStore;
use crate::change::Change;

#[async_trait]
impl AuditLog for RocksStore {
    async fn events(
        &self,
        workspace: WorkspaceId,
        after: Option<EventPosition>,
        limit: usize,
    ) -> Result<Vec<Recorded>, StoreError> {
        self.read(move |database, reach| database.events(workspace, after, limit, reach)).await
    }

    async fn chain(
        &self,
        workspace: WorkspaceId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<Recorded>, StoreError> {
        self.read(move |database, reach| database.chain(workspace, after, limit, reach)).await
    }

    async fn unsealed(
        &self,
        after: Option<EventPosition>,
        limit: usize,
    ) -> Result<Vec<Event>, StoreError> {
        self.read(move |database, reach| database.unsealed(after, limit, reach)).await
    }

    async fn heads(&self, workspaces: &[WorkspaceId]) -> Result<Vec<Option<Link>>, StoreError> {
        let workspaces = workspaces.to_vec();
        self.read(move |database, reach| {
            workspaces.iter().map(|workspace| database.head(*workspace, reach)).collect()
        })
        .await
    }

    async fn workspaces(
        &self,
        after: Option<WorkspaceId>,
        limit: usize,
    ) -> Result<Vec<WorkspaceId>, StoreError> {
        self.read(move |database, reach| database.event_workspaces(after, limit, reach)).await
    }

    async fn link(&self, links: &[NewLink]) -> Result<bool, StoreError> {
        let links = links.to_vec();
        self.commit(|answer| Change::Link { links, answer }).await
    }

    async fn import_events(&self, events: &[Recorded]) -> Result<(), StoreError> {
        let events = events.to_vec();
        self.commit(|answer| Change::Events { events, answer }).await
    }
}
