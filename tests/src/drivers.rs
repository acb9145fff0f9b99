//! The drivers that the conformance list is run on.

use std::future::Future;
use std::sync::Arc;

use keyward_core::memory::MemoryStore;
use keyward_core::store::KeyStore;
use keyward_rocksdb::{RocksStore, Settings};
use tempfile::TempDir;

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
        let store = RocksStore::open(self.directory.path(), Settings::default());
        Arc::new(store.expect("the store opens"))
    }
}
