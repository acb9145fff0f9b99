//! What others change in a shared store.

use std::time::Duration;

use async_trait::async_trait;

use crate::clock::Timestamp;
use crate::secret::KeyDigest;
use crate::store::StoreError;

/// A place in the history of a shared store: one change, and no other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// The number of the change. A change that is committed later has a higher one.
    pub epoch: u64,
    /// Random bytes of the change, by which it is told from another that was given the same number:
    /// by a store that has lost the first in a failover, or was put back to a backup.
    pub nonce: [u8; 16],
}

/// What a poll of a shared store found, all of it at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Poll {
    /// The newest change. `None` where the store cannot name it; the next poll then knows no better.
    pub newest: Option<Mark>,
    /// What has changed.
    pub news: News,
    /// How long nodes may rely on it, from when it was sent.
    pub windows: Windows,
    /// The clock of the store at that moment.
    pub time: Timestamp,
}

/// What has changed since a mark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// The records with these digests, each at least once and in any order, and no others.
    Changed(Vec<KeyDigest>),
    /// Anything may have: no mark was given, too much changed to be told, or the mark is not in the
    /// history of the store (any more).
    Anything,
}

/// How long a poll serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Windows {
    /// How long nodes may rely on a poll.
    pub node: Duration,
    /// How long a change that narrows a key must take them to do so. It is longer while the window
    /// is being made smaller, and never shorter.
    pub barrier: Duration,
}

/// A change of the windows that has been begun, see [`ChangeFeed::begin_window`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowChange {
    /// The windows until it is finished.
    pub windows: Windows,
    /// Tells it from other changes of the windows.
    pub nonce: [u8; 16],
}

/// What others change in a shared store.
///
/// **History.** Every change of a record that was there before, by whomever and in whatever way it
/// was made, is one [`Mark`] of the history, in the order in which the changes became visible. A new
/// record is none: nobody remembers what was not there.
#[async_trait]
pub trait ChangeFeed: Send + Sync {
    /// What has changed after `after`, at one moment between the call and its answer: no change that
    /// was visible at that moment is missing, however the changes overlapped. A poll is answered or
    /// fails within the window or half a second, whichever is longer.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] where the store cannot be asked, and where what was asked may be
    /// behind the store that is written (a standby): that is no poll.
    async fn poll(&self, after: Option<Mark>) -> Result<Poll, StoreError>;

    /// The windows at one moment between the call and its answer.
    async fn windows(&self) -> Result<Windows, StoreError>;

    /// Begins to change the windows to `window`. The barrier is not made smaller yet: nodes rely on
    /// the old window until they poll again. Whoever has begun waits until none can any more, and
    /// then finishes.
    async fn begin_window(&self, window: Duration) -> Result<WindowChange, StoreError>;

    /// Makes the barrier what `change` made the window. `false` where another change of the windows
    /// was begun since: that one will be finished in its place.
    async fn finish_window(&self, change: &WindowChange) -> Result<bool, StoreError>;

    /// Forgets the part of the history that no node should still need, and never its newest change.
    /// To be called now and then.
    async fn prune(&self) -> Result<(), StoreError>;
}
