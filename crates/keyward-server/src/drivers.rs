//! The drivers of this build. The only place that names one.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{bail, ensure};
use futures_util::future::BoxFuture;
use keyward_core::memory::MemoryStore;
use keyward_core::store::KeyStore;

use crate::config::DatabaseOptions;

/// A storage that is being opened.
type Opening<'a> = BoxFuture<'a, anyhow::Result<Arc<dyn KeyStore>>>;

/// A kind of storage.
struct Driver {
    /// The scheme of its URLs.
    scheme: &'static str,
    /// Opens the storage at this URL.
    open: for<'a> fn(&'a Url, &'a DatabaseOptions) -> Opening<'a>,
    /// Opens it to read, beside whoever uses it.
    open_to_read: for<'a> fn(&'a Url, &'a DatabaseOptions) -> Opening<'a>,
    /// The directory of its own in which a secret can be kept, where it has one.
    directory: fn(&str) -> Option<PathBuf>,
}

const DRIVERS: &[Driver] = &[
    #[cfg(feature = "rocksdb")]
    Driver {
        scheme: "rocksdb",
        open: open_rocksdb,
        open_to_read: open_rocksdb_to_read,
        directory: |place| Some(place.into()),
    },
    #[cfg(feature = "postgres")]
    Driver {
        scheme: "postgres",
        open: open_postgres,
        open_to_read: open_postgres_to_read,
        directory: |_| None,
    },
    #[cfg(feature = "postgres")]
    Driver {
        scheme: "postgresql",
        open: open_postgres,
        open_to_read: open_postgres_to_read,
        directory: |_| None,
    },
    Driver { scheme: "memory", open: open_memory, open_to_read: open_memory, directory: |_| None },
];

/// A URL in two parts: what stands before `://`, and what follows it.
struct Url {
    #[cfg_attr(not(feature = "postgres"), expect(dead_code, reason = "only Postgres needs it"))]
    scheme: &'static str,
    place: String,
}

/// Where keys are stored, not opened yet.
pub struct Storage {
    driver: &'static Driver,
    url: Url,
}

impl Storage {
    /// Reads a storage URL.
    ///
    /// # Errors
    ///
    /// When this build has no such driver. The URL is not repeated: it may hold a password.
    pub fn parse(url: &str) -> anyhow::Result<Self> {
        let schemes = || {
            let schemes = DRIVERS.iter().map(|driver| format!("{}://", driver.scheme));
            schemes.collect::<Vec<_>>().join(", ")
        };
        let Some((scheme, place)) = url.split_once("://") else {
            bail!("the storage is not a URL; this build has {}", schemes());
        };
        match DRIVERS.iter().find(|driver| driver.scheme == scheme) {
            Some(driver) => {
                let url = Url { scheme: driver.scheme, place: place.to_owned() };
                Ok(Self { driver, url })
            }
            None => bail!("no storage driver has this scheme; this build has {}", schemes()),
        }
    }

    /// The driver's name.
    pub fn name(&self) -> &'static str {
        // One driver has two schemes, because its users write both.
        if self.driver.scheme == "postgresql" { "postgres" } else { self.driver.scheme }
    }

    /// Whether anything outlives the process.
    pub fn is_durable(&self) -> bool {
        self.driver.scheme != "memory"
    }

    /// Whether both name the same place. The same place by two names is not recognised.
    pub fn is_at_the_place_of(&self, other: &Self) -> bool {
        self.name() == other.name() && self.url.place == other.url.place
    }

    /// Opens the storage. May take a while.
    pub async fn open(&self, options: &DatabaseOptions) -> anyhow::Result<Arc<dyn KeyStore>> {
        (self.driver.open)(&self.url, options).await
    }

    /// Opens the storage to read it, also while a server uses it.
    pub async fn open_to_read(
        &self,
        options: &DatabaseOptions,
    ) -> anyhow::Result<Arc<dyn KeyStore>> {
        (self.driver.open_to_read)(&self.url, options).await
    }

    /// The storage's own directory, where it has one.
    pub fn directory(&self) -> Option<PathBuf> {
        (self.driver.directory)(&self.url.place)
    }
}

#[cfg(feature = "rocksdb")]
fn open_rocksdb<'a>(url: &'a Url, _: &'a DatabaseOptions) -> Opening<'a> {
    use keyward_rocksdb::{RocksStore, Settings};
    Box::pin(async {
        ensure!(!url.place.is_empty(), "rocksdb:// needs a directory, such as rocksdb://data");
        let open = || RocksStore::open(url.place.as_ref(), Settings::default());
        Ok(Arc::new(tokio::task::block_in_place(open)?) as _)
    })
}

#[cfg(feature = "rocksdb")]
fn open_rocksdb_to_read<'a>(url: &'a Url, _: &'a DatabaseOptions) -> Opening<'a> {
    use keyward_rocksdb::{RocksStore, Settings};
    Box::pin(async {
        let open = || RocksStore::open_to_read(url.place.as_ref(), Settings::default());
        Ok(Arc::new(tokio::task::block_in_place(open)?) as _)
    })
}

#[cfg(feature = "postgres")]
fn open_postgres<'a>(url: &'a Url, options: &'a DatabaseOptions) -> Opening<'a> {
    use keyward_postgres::PostgresStore;
    Box::pin(async {
        let url = format!("{}://{}", url.scheme, url.place);
        Ok(Arc::new(PostgresStore::connect(&url, postgres_settings(options)).await?) as _)
    })
}

#[cfg(feature = "postgres")]
fn open_postgres_to_read<'a>(url: &'a Url, options: &'a DatabaseOptions) -> Opening<'a> {
    use keyward_postgres::PostgresStore;
    Box::pin(async {
        let url = format!("{}://{}", url.scheme, url.place);
        Ok(Arc::new(PostgresStore::connect_to_read(&url, postgres_settings(options)).await?) as _)
    })
}

#[cfg(feature = "postgres")]
fn postgres_settings(options: &DatabaseOptions) -> keyward_postgres::Settings {
    keyward_postgres::Settings {
        pool_size: options.pool_size,
        pool_wait: options.pool_wait,
        window: options.revocation_window,
    }
}

fn open_memory<'a>(url: &'a Url, _: &'a DatabaseOptions) -> Opening<'a> {
    Box::pin(async {
        ensure!(url.place.is_empty(), "memory:// has no place: nothing may follow it");
        Ok(Arc::new(MemoryStore::new()) as _)
    })
}
