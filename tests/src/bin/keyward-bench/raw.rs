//! RocksDB alone, the floors of what is done in it.
//!
//! A creation is one synced `WriteBatch` with as many entries, of the same sizes and in the same order
//! of keys, as the driver writes, and nothing besides. A lookup is two reads, of the index and of the
//! record, and nothing is made of what they bring.

use std::path::Path;

use anyhow::{Context as _, bail};
use keyward_core::clock::{Clock as _, Entropy as _, SystemClock, SystemEntropy};
use keyward_core::secret::KeyDigest;
use keyward_rocksdb::raw::{DIGESTS, KEYS};
use rocksdb::{Cache, DB, Options, WriteBatch, WriteOptions};

use crate::bulk;
use crate::questions::KEY_NAME;

const FAMILIES: [&str; 3] = ["keys", "digests", "ids"];
/// The value of a record besides its name: version, digest, creator, time, status, whether there
/// are scopes, and three texts with their ends, of which the first is `sk_live_` with four letters.
const RECORD_LEN: usize = 1 + 32 + 16 + 8 + 1 + 1 + 12 + 3 + KEY_NAME.len();

/// A database with the settings that RocksDB has by itself.
pub struct RawWrites {
    db: DB,
    synced: WriteOptions,
}

impl RawWrites {
    /// Makes it in `directory`.
    pub fn open(directory: &Path) -> Result<Self, rocksdb::Error> {
        let mut options = Options::default();
        options.create_if_missing(true);
        options.create_missing_column_families(true);
        let mut synced = WriteOptions::default();
        synced.set_sync(true);
        Ok(Self { db: DB::open_cf(&options, directory, FAMILIES)?, synced })
    }

    /// Writes one record with its two index entries.
    pub fn write(&self) -> anyhow::Result<()> {
        let [keys, digests, ids] = FAMILIES.map(|name| self.db.cf_handle(name));
        let (Some(keys), Some(digests), Some(ids)) = (keys, digests, ids) else {
            bail!("a column family is missing");
        };
        let mut random = [0; 32 + 16];
        SystemEntropy.fill(&mut random)?;
        let (digest, id) = random.split_at_mut(32);
        let micros = SystemClock.now().as_micros().cast_unsigned();
        // Ids ascend with time, and places descend.
        id[..8].copy_from_slice(&micros.to_be_bytes());
        let mut place = [0; 16 + 8 + 16];
        place[16..24].copy_from_slice(&(!micros).to_be_bytes());
        place[24..].copy_from_slice(id);
        let mut index = [1; 1 + 40];
        index[1..].copy_from_slice(&place);
        let mut record = [1; RECORD_LEN];
        record[1..33].copy_from_slice(digest);
        let mut batch = WriteBatch::default();
        batch.put_cf(keys, place, record);
        batch.put_cf(digests, &*digest, index);
        batch.put_cf(ids, &*id, index);
        Ok(self.db.write_opt(batch, &self.synced)?)
    }
}

/// A store as the driver has left it, read beside whoever uses it.
pub struct RawReads(DB);

impl RawReads {
    /// Opens it with the driver's settings and as much cache.
    pub fn open(directory: &Path) -> Result<Self, rocksdb::Error> {
        let bytes = keyward_rocksdb::Settings::default().block_cache_bytes;
        Ok(Self(bulk::open_to_read(directory, &Cache::new_lru_cache(bytes))?))
    }

    /// Reads the record of a key that is there.
    pub fn find(&self, digest: &KeyDigest) -> anyhow::Result<()> {
        let [keys, digests] = [KEYS, DIGESTS].map(|name| self.0.cf_handle(name));
        let (keys, digests) = keys.zip(digests).context("a column family is missing")?;
        let index = self.0.get_pinned_cf(digests, digest.as_bytes())?.context("no index")?;
        // Behind the version.
        let place = index.get(1..).context("an empty index")?;
        self.0.get_pinned_cf(keys, place)?.context("no record")?;
        Ok(())
    }
}
