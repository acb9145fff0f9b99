//! Where keys are, used in this process: the driver alone, without the server.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use keyward_core::clock::{Clock as _, Entropy, SystemClock, SystemEntropy, Timestamp};
use keyward_core::details::SparseDetails;
use keyward_core::id::{AccountId, KeyId};
use keyward_core::key::{ApiKey, KeyName, Status};
use keyward_core::secret::{KeyFormat, PlainKey};
use keyward_core::store::KeyStore;
use keyward_postgres::PostgresStore;
use keyward_rocksdb::RocksStore;
use keyward_tests::records::Calls as _;
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

use crate::questions::{KEY_NAME, WORKSPACE};

/// Connections to Postgres, as the server has them where no flag says otherwise.
const POOL: keyward_postgres::Settings = keyward_postgres::Settings {
    pool_size: 10,
    pool_wait: Duration::from_millis(500),
    window: Duration::from_millis(250),
};
/// Creations under way at once while a storage is filled: enough to share each sync among many.
const FILLING: usize = 1_000;

/// Where keys are.
#[derive(Clone, Serialize, Deserialize)]
pub enum Storage {
    /// In a directory.
    RocksDb(PathBuf),
    /// In the database at this URL.
    Postgres(String),
}

impl Storage {
    /// As `--storage` takes it.
    pub fn url(&self) -> String {
        match self {
            Self::RocksDb(directory) => format!("rocksdb://{}", directory.display()),
            Self::Postgres(url) => url.clone(),
        }
    }

    /// Opens the driver in this process.
    pub async fn open(&self) -> anyhow::Result<Arc<dyn KeyStore>> {
        Ok(match self {
            Self::RocksDb(directory) => {
                Arc::new(RocksStore::open(directory, keyward_rocksdb::Settings::default())?)
            }
            Self::Postgres(url) => Arc::new(PostgresStore::connect(url, POOL).await?),
        })
    }

    /// Opens the driver in this process to read what is there, beside another that uses it.
    pub async fn open_to_read(&self) -> anyhow::Result<Arc<dyn KeyStore>> {
        match self {
            Self::RocksDb(directory) => {
                let settings = keyward_rocksdb::Settings::default();
                Ok(Arc::new(RocksStore::open_to_read(directory, settings)?))
            }
            Self::Postgres(_) => self.open().await,
        }
    }

    /// The ids of all keys.
    pub async fn ids(&self) -> anyhow::Result<Vec<KeyId>> {
        let store = self.open_to_read().await?;
        let records = store.scan(None, usize::MAX).await?;
        store.close().await?;
        Ok(records.iter().map(|record| record.key.id).collect())
    }

    /// Makes `count` keys in it and returns them, as clients present them. Their order is not that
    /// in which they were stored, so that asking for one after the other finds them anywhere.
    pub async fn fill(&self, count: usize) -> anyhow::Result<Vec<String>> {
        let store = self.open().await?;
        let mint = Mint::new()?;
        let mut keys = Vec::with_capacity(count);
        let mut creations = JoinSet::new();
        for _ in 0..count {
            if creations.len() == FILLING {
                creations.join_next().await.context("a creation is under way")???;
            }
            let (key, plain) = mint.key()?;
            let digest = plain.digest();
            keys.push(plain.reveal().to_string());
            let store = Arc::clone(&store);
            creations.spawn(async move { store.create(&key, &digest).await });
        }
        while let Some(created) = creations.join_next().await {
            created??;
        }
        store.close().await?;
        keys.sort_unstable();
        Ok(keys)
    }
}

/// Makes keys, as the service does.
#[derive(Clone)]
pub struct Mint {
    format: KeyFormat,
    model: ApiKey,
}

impl Mint {
    pub fn new() -> anyhow::Result<Self> {
        let format = KeyFormat::new("sk_live")?;
        let now = SystemClock.now();
        let model = ApiKey {
            id: KeyId::mint(now, &SystemEntropy)?,
            workspace_id: WORKSPACE.parse()?,
            name: KeyName::new(KEY_NAME)?,
            key_prefix: format.mint(&SystemEntropy)?.key_prefix(),
            status: Status::Active,
            created_by: AccountId::from_bytes([7; 16]),
            created_at: now,
            updated_at: now,
            named_scopes: None,
            details: SparseDetails::default(),
        };
        Ok(Self { format, model })
    }

    /// A new key.
    pub fn key(&self) -> anyhow::Result<(ApiKey, PlainKey)> {
        self.key_at(SystemClock.now(), &SystemEntropy)
    }

    /// A new key of that time, of this randomness.
    pub fn key_at(
        &self,
        at: Timestamp,
        entropy: &dyn Entropy,
    ) -> anyhow::Result<(ApiKey, PlainKey)> {
        let plain = self.format.mint(entropy)?;
        let key = ApiKey {
            id: KeyId::mint(at, entropy)?,
            key_prefix: plain.key_prefix(),
            created_at: at,
            updated_at: at,
            ..self.model.clone()
        };
        Ok((key, plain))
    }
}
