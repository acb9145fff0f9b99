//! The drivers that the conformance list is run on.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use keyward_core::memory::MemoryStore;
use keyward_core::store::KeyStore;
use keyward_postgres::PostgresStore;
use keyward_rocksdb::RocksStore;
use keyward_test_postgres::database::Database;
use tempfile::TempDir;

use crate::launch::Storage;
use crate::postgres;

/// Makes stores of one driver. Each value has a place of its own, empty at first, which goes when
/// the value is dropped.
pub trait Driver: Sized + Send + Sync {
    /// A driver with an empty place.
    ///
    /// Panics where the driver cannot be started: it must never be passed over.
    fn new() -> Self;

    /// Opens the store at that place. What was stored there before is in it if the driver is
    /// durable; another store must not be open there.
    fn open(&self) -> impl Future<Output = Arc<dyn KeyStore>> + Send;
}

/// [`MemoryStore`], which is gone when it is closed.
#[derive(Debug)]
pub struct Memory;

impl Driver for Memory {
    fn new() -> Self {
        Self
    }

    async fn open(&self) -> Arc<dyn KeyStore> {
        Arc::new(MemoryStore::new())
    }
}

/// [`RocksStore`] in a directory of its own.
#[derive(Debug)]
pub struct Rocks {
    directory: TempDir,
}

impl Driver for Rocks {
    fn new() -> Self {
        Self { directory: TempDir::new().expect("there is room for a directory") }
    }

    async fn open(&self) -> Arc<dyn KeyStore> {
        let store = RocksStore::open(self.directory.path(), keyward_rocksdb::Settings::default());
        Arc::new(store.expect("the store opens"))
    }
}

/// [`PostgresStore`] in a database of its own.
#[derive(Debug)]
pub struct Postgres {
    database: Database,
}

impl Driver for Postgres {
    fn new() -> Self {
        Self { database: postgres::database() }
    }

    async fn open(&self) -> Arc<dyn KeyStore> {
        // As the server has it where no flag says otherwise, but with patience for a busy machine.
        let settings = keyward_postgres::Settings {
            pool_size: 10,
            pool_wait: Duration::from_secs(30),
            window: Duration::from_millis(10),
        };
        let store = PostgresStore::connect(self.database.url(), settings).await;
        Arc::new(store.expect("the store opens"))
    }
}

/// Opens the store that a server may have used, or will.
pub async fn open(storage: &Storage) -> Arc<dyn KeyStore> {
    match storage {
        Storage::Memory | Storage::Elsewhere(_) => panic!("the storage is nobody else's"),
        Storage::Rocks(_) => {
            let directory = storage.directory().expect("RocksDB has a directory");
            let store = RocksStore::open(&directory, keyward_rocksdb::Settings::default());
            Arc::new(store.expect("the store opens"))
        }
        Storage::Postgres(database) => {
            let settings = keyward_postgres::Settings {
                pool_size: 4,
                pool_wait: Duration::from_secs(30),
                window: Duration::from_millis(10),
            };
            let store = PostgresStore::connect(database.url(), settings).await;
            Arc::new(store.expect("the store opens"))
        }
    }
}
