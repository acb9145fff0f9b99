//! Changes on their way through the committer: asked for, decided, answered.

use std::collections::HashSet;

use keyward_core::audit::{NewLink, Recorded, Trace};
use keyward_core::change::Change as KeyChange;
use keyward_core::id::{KeyId, WorkspaceId};
use keyward_core::secret::KeyDigest;
use keyward_core::store::{Added, Addition, Changed, Imported, StoreError, StoredKey, Use};
use tokio::sync::oneshot;

use crate::error::classify;

/// Where the answer to a change goes. Nobody may be waiting for it any more.
pub type Answer<T> = oneshot::Sender<Result<T, StoreError>>;

/// A change that waits to be made.
pub enum Change {
    /// [`keyward_core::store::KeyStore::add`].
    Add(Box<Addition>, Answer<Added>),
    /// [`keyward_core::store::KeyStore::change`].
    Alter(Box<Alter>, Answer<Option<Changed>>),
    /// [`keyward_core::store::KeyStore::import`].
    Import { records: Vec<StoredKey>, answer: Answer<Imported> },
    /// [`keyward_core::audit::AuditLog::link`].
    Link { links: Vec<NewLink>, answer: Answer<bool> },
    /// [`keyward_core::audit::AuditLog::import_events`].
    Events { events: Vec<Recorded>, answer: Answer<()> },
    /// [`keyward_core::store::KeyStore::record_uses`], without those that are known already.
    Use { uses: Vec<Use>, answer: Answer<()> },
    /// [`keyward_core::store::KeyStore::seal`].
    Seal { sealed: bool, answer: Answer<()> },
}

/// A change of a record that is there.
pub struct Alter {
    pub workspace: WorkspaceId,
    pub id: KeyId,
    pub change: KeyChange,
    pub trace: Trace,
}

impl Change {
    /// Answers that the change is not made.
    pub fn refuse(self, why: StoreError) {
        // That the caller has gone changes nothing here.
        match self {
            Self::Add(_, answer) => drop(answer.send(Err(why))),
            Self::Link { answer, .. } => drop(answer.send(Err(why))),
            Self::Use { answer, .. } | Self::Events { answer, .. } | Self::Seal { answer, .. } => {
                drop(answer.send(Err(why)));
            }
            Self::Alter(_, answer) => drop(answer.send(Err(why))),
            Self::Import { answer, .. } => drop(answer.send(Err(why))),
        }
    }
}

/// A change that was decided; the answer waits for the write.
pub enum Decided {
    /// Uses, the seal, or events of another store.
    Made(Answer<()>, Result<(), StoreError>),
    /// A new record.
    Added(Answer<Added>, Result<Added, StoreError>),
    /// Links of chains.
    Linked(Answer<bool>, Result<bool, StoreError>),
    /// A change of a record.
    Altered(Answer<Option<Changed>>, Box<Result<Option<Changed>, StoreError>>),
    /// An import.
    Imported(Answer<Imported>, Result<Imported, StoreError>),
}

impl Decided {
    /// Answers what was decided, or that the write failed.
    pub fn answer(self, written: &Result<(), rocksdb::Error>) {
        match self {
            Self::Made(answer, outcome) => settle(answer, outcome, written),
            Self::Added(answer, outcome) => settle(answer, outcome, written),
            Self::Linked(answer, outcome) => settle(answer, outcome, written),
            Self::Altered(answer, outcome) => settle(answer, *outcome, written),
            Self::Imported(answer, outcome) => settle(answer, outcome, written),
        }
    }
}

fn settle<T>(
    answer: Answer<T>,
    outcome: Result<T, StoreError>,
    written: &Result<(), rocksdb::Error>,
) {
    let outcome = match written {
        Ok(()) => outcome,
        Err(error) => Err(classify(error.clone())),
    };
    // An error means that the caller has gone, which changes nothing here.
    let _ = answer.send(outcome);
}

/// What the changes of a group are about.
#[derive(Default)]
pub struct Touched {
    ids: HashSet<KeyId>,
    digests: HashSet<KeyDigest>,
    /// The names of requests that make something once.
    names: HashSet<[u8; 32]>,
}

impl Touched {
    /// Adds what `change` is about, unless some of it was touched before, or it is a change that
    /// goes alone: an import and links are many changes already, and the seal is about all of them.
    pub fn add(&mut self, change: &Change) -> bool {
        match change {
            Change::Add(addition, _) => {
                let Addition { stored: StoredKey { key, digest }, once, .. } = &**addition;
                let new = !self.ids.contains(&key.id) && self.digests.insert(*digest);
                let new = new && once.is_none_or(|once| self.names.insert(once.name));
                new && self.ids.insert(key.id)
            }
            Change::Alter(alter, _) => {
                let new = match &alter.change {
                    KeyChange::Rotate(it) if self.ids.contains(&it.id) => false,
                    KeyChange::Rotate(it) => self.digests.insert(it.digest),
                    _ => true,
                };
                if let KeyChange::Rotate(it) = &alter.change {
                    self.ids.insert(it.id);
                }
                new && self.ids.insert(alter.id)
            }
            // Nothing that others look at.
            Change::Use { .. } => true,
            Change::Import { .. }
            | Change::Link { .. }
            | Change::Events { .. }
            | Change::Seal { .. } => false,
        }
    }
}
