//! The drivers of this build. The only place that names one.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{bail, ensure};
use keyward_core::memory::MemoryStore;
use keyward_core::store::KeyStore;

/// A kind of storage.
struct Driver {
    /// The scheme of its URLs.
    scheme: &'static str,
    /// Opens the storage at what follows the scheme.
    open: fn(&str) -> anyhow::Result<Arc<dyn KeyStore>>,
    /// The directory of its own in which a secret can be kept, where it has one.
    directory: fn(&str) -> Option<PathBuf>,
}

const DRIVERS: &[Driver] = &[
    #[cfg(feature = "rocksdb")]
    Driver { scheme: "rocksdb", open: open_rocksdb, directory: |place| Some(place.into()) },
    Driver { scheme: "memory", open: open_memory, directory: |_| None },
];

/// Where keys are stored, not opened yet.
pub struct Storage {
    driver: &'static Driver,
    place: String,
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
            Some(driver) => Ok(Self { driver, place: place.to_owned() }),
            None => bail!("no storage driver has this scheme; this build has {}", schemes()),
        }
    }

    /// The driver's name.
    pub fn name(&self) -> &'static str {
        self.driver.scheme
    }

    /// Opens the storage. May take a while and may block.
    pub fn open(&self) -> anyhow::Result<Arc<dyn KeyStore>> {
        (self.driver.open)(&self.place)
    }

    /// The storage's own directory, where it has one.
    pub fn directory(&self) -> Option<PathBuf> {
        (self.driver.directory)(&self.place)
    }
}

#[cfg(feature = "rocksdb")]
fn open_rocksdb(place: &str) -> anyhow::Result<Arc<dyn KeyStore>> {
    ensure!(!place.is_empty(), "rocksdb:// needs a directory, such as rocksdb://data");
    Ok(Arc::new(keyward_rocksdb::RocksStore::open(
        place.as_ref(),
        keyward_rocksdb::Settings::default(),
    )?))
}

fn open_memory(place: &str) -> anyhow::Result<Arc<dyn KeyStore>> {
    ensure!(place.is_empty(), "memory:// has no place: nothing may follow it");
    Ok(Arc::new(MemoryStore::new()))
}
