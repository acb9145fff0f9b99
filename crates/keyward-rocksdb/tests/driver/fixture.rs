//! A store in a directory of its own, and records to put into it.

use std::fs;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use keyward_core::audit::{Origin, Trace};
use keyward_core::change::Change;
use keyward_core::clock::{SystemEntropy, Timestamp};
use keyward_core::details::SparseDetails;
use keyward_core::id::{EventId, KeyId, WorkspaceId};
use keyward_core::key::{ApiKey, KeyName, Status};
use keyward_core::secret::{KeyDigest, KeyPrefix};
use keyward_core::store::{Addition, KeyStore, StoreError, StoredKey};
use keyward_rocksdb::{RocksStore, Settings};
use tempfile::TempDir;
use uuid::Uuid;

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
    let id = EventId::mint(at, &SystemEntropy).unwrap();
    Trace { id, at, account: None, credential: None, origin: Origin::default(), key: None }
}

/// A directory for a store, removed in the end.
pub struct Place {
    _parent: Option<TempDir>,
    dir: PathBuf,
}

impl Place {
    pub fn new() -> Self {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("data");
        Self { _parent: Some(parent), dir }
    }

    /// A directory that something else removes.
    pub fn at(dir: PathBuf) -> Self {
        Self { _parent: None, dir }
    }

    /// A directory with the same files.
    pub fn copy(&self) -> Self {
        let copy = Self::new();
        fs::create_dir(&copy.dir).unwrap();
        for entry in fs::read_dir(&self.dir).unwrap() {
            let path = entry.unwrap().path();
            fs::copy(&path, copy.dir.join(path.file_name().unwrap())).unwrap();
        }
        copy
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub fn open(&self) -> RocksStore {
        RocksStore::open(&self.dir, Settings::default()).unwrap()
    }

    /// What opening says that cannot succeed.
    pub fn refusal(&self) -> keyward_rocksdb::OpenError {
        match RocksStore::open(&self.dir, Settings::default()) {
            Ok(_) => panic!("{} was opened", self.dir.display()),
            Err(error) => error,
        }
    }

    /// A store with the first `keys` keys of workspace 1, each created after the one before was
    /// acknowledged, and closed.
    pub async fn with_keys(keys: u64) -> Self {
        let place = Self::new();
        let store = place.open();
        for n in 0..keys {
            let key = key(1, n);
            store.create(&key, &digest(&key)).await.unwrap();
        }
        store.close().await.unwrap();
        place
    }
}

pub fn workspace(n: u128) -> WorkspaceId {
    Uuid::from_u128(n).into()
}

pub fn at(micros: u64) -> Timestamp {
    let micros = 1_705_311_000_000_000 + i64::try_from(micros).unwrap();
    Timestamp::from_micros(micros).unwrap()
}

/// The `n`th active key of a workspace, made `n` microseconds after a fixed time.
pub fn key(workspace_id: u128, n: u64) -> ApiKey {
    ApiKey {
        id: Uuid::from_u128((workspace_id << 64) | u128::from(n)).into(),
        workspace_id: workspace(workspace_id),
        name: KeyName::new(&format!("a key {n}")).unwrap(),
        key_prefix: KeyPrefix::from_stored("sk_live_abc1").unwrap(),
        status: Status::Active,
        created_by: Uuid::from_u128(77).into(),
        created_at: at(n),
        updated_at: at(n),
        named_scopes: None,
        details: SparseDetails::default(),
    }
}

/// The digest of that key, as evenly distributed as a real one.
pub fn digest(key: &ApiKey) -> KeyDigest {
    let half = Uuid::new_v5(&Uuid::NAMESPACE_OID, key.id.as_bytes());
    let other = Uuid::new_v5(&Uuid::NAMESPACE_DNS, key.id.as_bytes());
    let mut bytes = [0; 32];
    bytes[..16].copy_from_slice(half.as_bytes());
    bytes[16..].copy_from_slice(other.as_bytes());
    KeyDigest::from_bytes(bytes)
}
