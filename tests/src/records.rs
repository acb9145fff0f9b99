//! Records to store.

use std::sync::Arc;

use async_trait::async_trait;
use keyward_core::audit::{Origin, Trace};
use keyward_core::change::Change;
use keyward_core::clock::{SystemEntropy, Timestamp};
use keyward_core::details::SparseDetails;
use keyward_core::id::{EventId, KeyId, WorkspaceId};
use keyward_core::key::{ApiKey, KeyName, Status};
use keyward_core::secret::{KeyDigest, KeyFormat};
use keyward_core::store::{Addition, Filter, KeyStore, ListPosition, StoreError, StoredKey};
use tokio::task::JoinSet;
use uuid::Uuid;

/// 2024-01-15T09:30:00Z, the hour that the documentation's example keys were made at.
pub const MORNING: i64 = 1_705_311_000_000_000;

/// Enough writers at once that a driver which gathers them can, few enough not to be refused.
const WRITERS: usize = 64;

/// A record, with the key that it was made for.
#[derive(Debug, Clone)]
pub struct Sample {
    /// What is stored.
    pub key: ApiKey,
    /// What it is found by.
    pub digest: KeyDigest,
    /// What a verifier is shown.
    pub plain: String,
}

impl Sample {
    /// The record with its digest, as [`KeyStore::get`] gives it.
    pub fn stored(&self) -> StoredKey {
        StoredKey { key: self.key.clone(), digest: self.digest }
    }

    /// Creates the record in `store`, which must take it.
    pub async fn create(&self, store: &dyn KeyStore) {
        store.create(&self.key, &self.digest).await.expect("a new record is taken");
    }
}

/// The calls that most tests make, with an event of which no more is said.
#[async_trait]
pub trait Calls {
    /// Adds the record.
    async fn create(&self, key: &ApiKey, digest: &KeyDigest) -> Result<(), StoreError>;

    /// Revokes the record at that time, and returns it as it is then.
    async fn revoke(
        &self,
        workspace: WorkspaceId,
        id: KeyId,
        at: Timestamp,
    ) -> Result<Option<ApiKey>, StoreError>;
}

#[async_trait]
impl<T: KeyStore + ?Sized> Calls for T {
    async fn create(&self, key: &ApiKey, digest: &KeyDigest) -> Result<(), StoreError> {
        let stored = StoredKey { key: key.clone(), digest: *digest };
        let addition = Addition { stored, trace: trace(key.created_at), once: None };
        self.add(addition).await.map(drop)
    }

    async fn revoke(
        &self,
        workspace: WorkspaceId,
        id: KeyId,
        at: Timestamp,
    ) -> Result<Option<ApiKey>, StoreError> {
        let change = Change::Revoke(at.into());
        let changed = self.change(workspace, id, &change, &trace(at)).await?;
        Ok(changed.map(|changed| changed.key))
    }
}

/// What an event is made of, of which no more than the time is said.
pub fn trace(at: Timestamp) -> Trace {
    let id = EventId::mint(at, &SystemEntropy).expect("the system has randomness");
    Trace { id, at, account: None, credential: None, origin: Origin::default(), key: None }
}

/// The format of the keys of all samples.
pub fn format() -> KeyFormat {
    KeyFormat::new("sk_live").expect("the default prefix is good")
}

/// The moment this many microseconds after 1970.
pub fn at(micros: i64) -> Timestamp {
    Timestamp::from_micros(micros).expect("the moment can be written")
}

/// A workspace that nothing else uses.
pub fn workspace() -> WorkspaceId {
    WorkspaceId::from_bytes(*new_id(at(MORNING)).as_bytes())
}

/// The id with this number.
pub fn id<T: From<Uuid>>(number: u128) -> T {
    Uuid::from_u128(number).into()
}

/// An active key of `workspace`, made in the [`MORNING`].
pub fn sample(workspace: WorkspaceId) -> Sample {
    sample_at(workspace, at(MORNING))
}

/// An active key of `workspace`, made at `created_at`.
pub fn sample_at(workspace: WorkspaceId, created_at: Timestamp) -> Sample {
    let plain = format().mint(&SystemEntropy).expect("the system has randomness");
    let key = ApiKey {
        id: new_id(created_at),
        workspace_id: workspace,
        name: KeyName::new("CI/CD Pipeline Key").expect("the name is good"),
        key_prefix: plain.key_prefix(),
        status: Status::Active,
        created_by: id(77),
        created_at,
        updated_at: created_at,
        named_scopes: None,
        details: SparseDetails::default(),
    };
    Sample { key, digest: plain.digest(), plain: plain.reveal().to_string() }
}

/// `count` active keys of `workspace`, one a second from the [`MORNING`] on.
pub fn samples(workspace: WorkspaceId, count: i64) -> Vec<Sample> {
    (0..count).map(|n| sample_at(workspace, at(MORNING + n * 1_000_000))).collect()
}

/// Creates all `samples`, many at once.
pub async fn create_all(store: &Arc<dyn KeyStore>, samples: &[Sample]) {
    let mut writers = JoinSet::new();
    for share in samples.chunks(samples.len().div_ceil(WRITERS).max(1)) {
        let (store, share) = (Arc::clone(store), share.to_vec());
        writers.spawn(async move {
            for sample in share {
                sample.create(&*store).await;
            }
        });
    }
    writers.join_all().await;
}

/// The order that a list must have: newest first, equal times by id.
pub fn in_list_order(samples: &[Sample]) -> Vec<ApiKey> {
    let mut keys: Vec<ApiKey> = samples.iter().map(|sample| sample.key.clone()).collect();
    keys.sort_by_key(|key| (std::cmp::Reverse(key.created_at), key.id));
    keys
}

/// The whole list of `workspace`, read in pages of `limit`.
pub async fn list_all(store: &dyn KeyStore, workspace: WorkspaceId, limit: usize) -> Vec<ApiKey> {
    let mut all = Vec::new();
    loop {
        let after = all.last().map(ListPosition::from);
        let page =
            store.list(workspace, &Filter::ALL, after, limit).await.expect("the store lists");
        let ended = page.len() < limit;
        assert!(page.len() <= limit, "{} records on a page of {limit}", page.len());
        all.extend(page);
        if ended {
            return all;
        }
    }
}

/// The order that a scan must have.
pub fn in_id_order(samples: &[Sample]) -> Vec<StoredKey> {
    let mut records: Vec<StoredKey> = samples.iter().map(Sample::stored).collect();
    records.sort_by_key(|stored| stored.key.id);
    records
}

/// All records of the store, read in pages of `limit`.
pub async fn scan_all(store: &dyn KeyStore, limit: usize) -> Vec<StoredKey> {
    let mut all: Vec<StoredKey> = Vec::new();
    loop {
        let after = all.last().map(|stored| stored.key.id);
        let page = store.scan(after, limit).await.expect("the store scans");
        let ended = page.len() < limit;
        assert!(page.len() <= limit, "{} records on a page of {limit}", page.len());
        all.extend(page);
        if ended {
            return all;
        }
    }
}

fn new_id(at: Timestamp) -> KeyId {
    KeyId::mint(at, &SystemEntropy).expect("the system has randomness")
}
