//! Walking through two storages side by side.

use std::cmp::Ordering;
use std::sync::Arc;
use std::vec;

use anyhow::Context as _;
use keyward_core::id::KeyId;
use keyward_core::key::DifferentKey;
use keyward_core::store::{KeyStore, StoreError, StoredKey};
use tokio::task::JoinHandle;

/// Records that are read, and imported, at a time: enough that round trips and fsyncs are few, and
/// few enough that memory stays small and a live target's nodes hardly notice.
const PAGE: usize = 1_000;

/// All records of a storage by ascending id, of which the next page is always being read.
pub struct Walk {
    side: &'static str,
    store: Arc<dyn KeyStore>,
    page: vec::IntoIter<StoredKey>,
    coming: Option<Reading>,
}

type Reading = JoinHandle<Result<Vec<StoredKey>, StoreError>>;

impl Walk {
    /// Begins to read `store`, which errors call the `side`.
    pub fn start(side: &'static str, store: &Arc<dyn KeyStore>) -> Self {
        let coming = Some(read(store, None));
        Self { side, store: Arc::clone(store), page: vec::IntoIter::default(), coming }
    }

    /// The next page; empty when there are no more.
    pub async fn next_page(&mut self) -> anyhow::Result<Vec<StoredKey>> {
        let Some(coming) = self.coming.take() else { return Ok(Vec::new()) };
        let page = coming.await?.with_context(|| format!("the {} cannot be read", self.side))?;
        if let Some(last) = page.last().filter(|_| page.len() == PAGE) {
            self.coming = Some(read(&self.store, Some(last.key.id)));
        }
        Ok(page)
    }

    /// The next record.
    async fn next(&mut self) -> anyhow::Result<Option<StoredKey>> {
        if self.page.as_slice().is_empty() {
            self.page = self.next_page().await?.into_iter();
        }
        Ok(self.page.next())
    }
}

fn read(store: &Arc<dyn KeyStore>, after: Option<KeyId>) -> Reading {
    let store = Arc::clone(store);
    tokio::spawn(async move { store.scan(after, PAGE).await })
}

/// What the two storages have under one id.
pub enum Pair {
    /// A record that only the source has.
    OnlySource(StoredKey),
    /// A record that only the target has.
    OnlyTarget,
    /// The source's record and the target's.
    Both(StoredKey, StoredKey),
}

/// Two walks, joined by id.
pub struct Pairs {
    source: Walk,
    target: Walk,
    /// What was read and not given yet.
    next_of_source: Option<StoredKey>,
    next_of_target: Option<StoredKey>,
}

impl Pairs {
    /// Joins two walks from their beginning.
    pub fn new(source: Walk, target: Walk) -> Self {
        Self { source, target, next_of_source: None, next_of_target: None }
    }

    /// The next pair by ascending id; `None` when both walks have ended.
    pub async fn next(&mut self) -> anyhow::Result<Option<Pair>> {
        if self.next_of_source.is_none() {
            self.next_of_source = self.source.next().await?;
        }
        if self.next_of_target.is_none() {
            self.next_of_target = self.target.next().await?;
        }
        let pair = match (self.next_of_source.take(), self.next_of_target.take()) {
            (None, None) => return Ok(None),
            (Some(source), None) => Pair::OnlySource(source),
            (None, Some(_)) => Pair::OnlyTarget,
            (Some(source), Some(target)) => match source.key.id.cmp(&target.key.id) {
                Ordering::Equal => Pair::Both(source, target),
                Ordering::Less => {
                    self.next_of_target = Some(target);
                    Pair::OnlySource(source)
                }
                Ordering::Greater => {
                    self.next_of_source = Some(source);
                    Pair::OnlyTarget
                }
            },
        };
        Ok(Some(pair))
    }
}

/// What the target must have of a key that both have, see
/// [`keyward_core::key::ApiKey::absorb`].
pub fn merged(source: &StoredKey, target: &StoredKey) -> Result<StoredKey, DifferentKey> {
    let mut key = target.key.clone();
    key.absorb(&source.key)?;
    Ok(StoredKey { key, digest: source.digest })
}
