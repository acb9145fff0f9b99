//! The drivers that the conformance list is run on.

use std::future::Future;
use std::sync::Arc;

use keyward_core::memory::MemoryStore;
use keyward_core::store::KeyStore;

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
