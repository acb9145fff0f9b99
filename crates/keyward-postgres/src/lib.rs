//! The Postgres driver of Keyward.

use std::time::Duration;

/// How a store uses its database.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Connections at most.
    pub pool_size: u32,
    /// Longest wait for a free connection, or for a new one.
    pub pool_wait: Duration,
}

/// Keys in a Postgres database.
#[derive(Debug)]
pub struct PostgresStore;

impl PostgresStore {
    /// Connects.
    pub async fn connect(
        _: &str,
        _: Settings,
    ) -> Result<keyward_core::memory::MemoryStore, sqlx::Error> {
        Err(sqlx::Error::PoolClosed)
    }
}
