//! What a store keeps of the audit trail.

use async_trait::async_trait;

use crate::audit::{Event, Link};
use crate::clock::Timestamp;
use crate::id::{EventId, WorkspaceId};
use crate::store::StoreError;

/// A place among the events of a workspace: just behind the event with this time and id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct EventPosition {
    /// [`Event::at`] of that event.
    pub at: Timestamp,
    /// [`Event::id`] of that event.
    pub id: EventId,
}

impl From<&Event> for EventPosition {
    fn from(event: &Event) -> Self {
        Self { at: event.at, id: event.id }
    }
}

/// An event as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// The event.
    pub event: Event,
    /// Its link in the chain of its workspace, once it is sealed.
    pub link: Option<Link>,
}

/// A link that is to be added to the chain of a workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewLink {
    /// The event that is sealed, as [`AuditLog::unsealed`] gave it.
    pub event: Event,
    /// The link.
    pub link: Link,
}

/// The audit trail of a store. Its events are written by [`crate::store::KeyStore::add`] and
/// [`crate::store::KeyStore::change`], in one step with what they tell of.
///
/// Where its changes happen one at a time anyway, a store may seal an event in that step too; else the
/// [`Sealer`](super::Sealer) does it behind them.
///
/// What holds for every method of a store holds for these. No method changes an event, but for its
/// link, which it is given once; and none removes one.
#[async_trait]
pub trait AuditLog: Send + Sync {
    /// One page of the events of a workspace: at most `limit`, newest first by [`Event::at`], equal
    /// times by ascending [`Event::id`], behind `after` where it is given. Fewer than `limit` mean
    /// that there are no more.
    async fn events(
        &self,
        workspace: WorkspaceId,
        after: Option<EventPosition>,
        limit: usize,
    ) -> Result<Vec<Recorded>, StoreError>;

    /// One page of the chain of a workspace: at most `limit` events that are sealed, by ascending
    /// number, those behind the number `after`.
    async fn chain(
        &self,
        workspace: WorkspaceId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<Recorded>, StoreError>;

    /// One page of the events of all workspaces that are signed and not sealed: at most `limit`,
    /// oldest first, equal times by ascending id, behind `after` where it is given.
    async fn unsealed(
        &self,
        after: Option<EventPosition>,
        limit: usize,
    ) -> Result<Vec<Event>, StoreError>;

    /// The newest link of each of these workspaces, in their order.
    async fn heads(&self, workspaces: &[WorkspaceId]) -> Result<Vec<Option<Link>>, StoreError>;

    /// One page of the workspaces that have events, by ascending id, behind `after` where it is given.
    async fn workspaces(
        &self,
        after: Option<WorkspaceId>,
        limit: usize,
    ) -> Result<Vec<WorkspaceId>, StoreError>;

    /// Adds links to the chains of their workspaces: all, or none. `false`, and nothing, where a
    /// chain does not end just before the first of its links, or an event is not there or sealed
    /// already: somebody else was quicker. The links of one workspace follow each other.
    ///
    /// # Errors
    ///
    /// [`StoreError::Sealed`] in a store that is sealed itself.
    async fn link(&self, links: &[NewLink]) -> Result<bool, StoreError>;

    /// Adds events of another store, with their links. One that is there stays as it is, but for its
    /// link, which it is given if it has none.
    ///
    /// # Errors
    ///
    /// [`StoreError::Sealed`] in a store that is sealed itself.
    async fn import_events(&self, events: &[Recorded]) -> Result<(), StoreError>;
}
