//! The open database: how it is set up, and every read and write of it.

use std::path::Path;

use keyward_core::id::{KeyId, WorkspaceId};
use keyward_core::key::ApiKey;
use keyward_core::secret::KeyDigest;
use keyward_core::store::{ListPosition, StoreError, StoredKey};
use rocksdb::{
    BlockBasedOptions, Cache, ColumnFamily, ColumnFamilyDescriptor, DB, DBCompressionType,
    DBPinnableSlice, DBRecoveryMode, Options, ReadOptions, ReadTier, WriteBatch, WriteOptions,
};

use crate::codec;
use crate::directory::Directory;
use crate::error::{ReadError, unavailable};
use crate::layout::{self, DIGESTS, FORMAT, FORMAT_KEY, IDS, KEYS, Place};

/// Bits of bloom filter for each key: one in a hundred absent keys costs a read of the disk.
const BLOOM_BITS: f64 = 10.0;
/// Changes held in memory before they are written to sorted files, over all column families.
const WRITE_BUFFER_BYTES: usize = 32 << 20;
/// The log is no longer than this, and with it the time that opening takes after a crash.
const MAX_LOG_BYTES: u64 = 64 << 20;
const MAX_OPEN_FILES: i32 = 512;
/// RocksDB's own diary, `LOG`: this many files of this many bytes.
const DIARY_FILES: usize = 4;
const DIARY_BYTES: usize = 4 << 20;

/// How far a read may reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Into memory: what is not there is [`ReadError::NotInMemory`].
    Memory,
    /// To the disk, where the calling thread waits.
    Disk,
}

/// An open database, and the directory that it is in. Whoever uses it last closes it.
pub struct Database {
    db: DB,
    from_memory: ReadOptions,
    from_disk: ReadOptions,
    synced: WriteOptions,
    /// Let go of after the fields above, when the files are closed.
    _directory: Directory,
}

impl Database {
    /// Opens the database in `directory`, which must hold one of this format.
    pub fn open(directory: Directory, block_cache_bytes: usize) -> Result<Self, rocksdb::Error> {
        Self::open_with(&options(), directory, block_cache_bytes)
    }

    /// Makes the database in `directory`, which must hold none. When this returns, it is on the
    /// disk.
    pub fn create(directory: Directory, block_cache_bytes: usize) -> Result<Self, rocksdb::Error> {
        let mut options = options();
        options.create_if_missing(true);
        options.create_missing_column_families(true);
        options.set_error_if_exists(true);
        let database = Self::open_with(&options, directory, block_cache_bytes)?;
        database.db.put_opt(FORMAT_KEY, FORMAT.to_be_bytes(), &database.synced)?;
        Ok(database)
    }

    fn open_with(
        options: &Options,
        directory: Directory,
        block_cache_bytes: usize,
    ) -> Result<Self, rocksdb::Error> {
        let cache = Cache::new_lru_cache(block_cache_bytes);
        let family = |name| ColumnFamilyDescriptor::new(name, family_options(&cache));
        let families = ["default", KEYS, DIGESTS, IDS].map(family);
        Ok(Self {
            db: DB::open_cf_descriptors(options, directory.path(), families)?,
            from_memory: read_options(Reach::Memory),
            from_disk: read_options(Reach::Disk),
            synced: synced(),
            _directory: directory,
        })
    }

    /// The record with this digest: two point reads.
    pub fn find(&self, digest: &KeyDigest, reach: Reach) -> Result<Option<StoredKey>, ReadError> {
        let Some(place) = self.place(DIGESTS, digest.as_bytes(), reach)? else {
            return Ok(None);
        };
        let stored = self.record(&place, reach)?;
        if stored.digest == *digest { Ok(Some(stored)) } else { Err(disagreement()) }
    }

    /// The record with this id: two point reads, or one where there is none in `workspace`.
    pub fn get(
        &self,
        workspace: WorkspaceId,
        id: KeyId,
        reach: Reach,
    ) -> Result<Option<StoredKey>, ReadError> {
        match self.place(IDS, id.as_bytes(), reach)? {
            Some(place) if place.id() != id => Err(disagreement()),
            Some(place) if place.workspace() == workspace => self.record(&place, reach).map(Some),
            _ => Ok(None),
        }
    }

    /// Whether a record of any workspace has this id.
    pub fn has_id(&self, id: KeyId) -> Result<bool, ReadError> {
        Ok(self.value(IDS, id.as_bytes(), Reach::Disk)?.is_some())
    }

    /// Whether a record of any workspace has this digest.
    pub fn has_digest(&self, digest: &KeyDigest) -> Result<bool, ReadError> {
        Ok(self.value(DIGESTS, digest.as_bytes(), Reach::Disk)?.is_some())
    }

    /// One page of a workspace: one scan that ends with the page or with the workspace.
    pub fn page(
        &self,
        workspace: WorkspaceId,
        after: Option<ListPosition>,
        limit: usize,
        reach: Reach,
    ) -> Result<Vec<ApiKey>, ReadError> {
        let mut options = read_options(reach);
        let (lower, upper) = layout::stretch(workspace, after);
        options.set_iterate_lower_bound(lower);
        options.set_iterate_upper_bound(upper);
        let mut scan = self.db.raw_iterator_cf_opt(self.family(KEYS)?, options);
        scan.seek_to_first();
        let mut page = Vec::new();
        while page.len() < limit {
            let Some((place, value)) = scan.item() else {
                // The end of the stretch, unless the status says otherwise.
                scan.status()?;
                break;
            };
            let place = place.try_into().map_err(|_| codec::Malformed::Field("place"))?;
            page.push(codec::decode_record(&Place::from_bytes(place), value)?.key);
            scan.next();
        }
        Ok(page)
    }

    /// Whether the database answers, and is what it was when it was opened.
    pub fn check(&self, reach: Reach) -> Result<(), ReadError> {
        match self.value("default", FORMAT_KEY, reach)? {
            Some(format) if *format == FORMAT.to_be_bytes() => Ok(()),
            _ => Err(codec::Malformed::Field("format").into()),
        }
    }

    /// Adds a new record and its two index entries to `batch`.
    pub fn stage_new(&self, batch: &mut WriteBatch, stored: &StoredKey) -> Result<(), ReadError> {
        let place = Place::of(&stored.key);
        let index = codec::encode_index(&place);
        batch.put_cf(self.family(DIGESTS)?, stored.digest.as_bytes(), index);
        batch.put_cf(self.family(IDS)?, stored.key.id.as_bytes(), index);
        self.stage(batch, stored)
    }

    /// Adds the new state of a record to `batch`.
    pub fn stage(&self, batch: &mut WriteBatch, stored: &StoredKey) -> Result<(), ReadError> {
        let place = Place::of(&stored.key);
        batch.put_cf(self.family(KEYS)?, place.as_bytes(), codec::encode_record(stored));
        Ok(())
    }

    /// Makes the changes of `batch`, all or none. When this returns they are on the disk.
    pub fn write(&self, batch: WriteBatch) -> Result<(), rocksdb::Error> {
        self.db.write_opt(batch, &self.synced)
    }

    /// Waits until the log is on the disk.
    pub fn sync(&self) -> Result<(), rocksdb::Error> {
        self.db.flush_wal(true)
    }

    fn place(
        &self,
        index: &'static str,
        key: &[u8],
        reach: Reach,
    ) -> Result<Option<Place>, ReadError> {
        let value = self.value(index, key, reach)?;
        Ok(value.as_deref().map(codec::decode_index).transpose()?)
    }

    fn record(&self, place: &Place, reach: Reach) -> Result<StoredKey, ReadError> {
        let value = self.value(KEYS, place.as_bytes(), reach)?.ok_or_else(disagreement)?;
        Ok(codec::decode_record(place, &value)?)
    }

    fn value(
        &self,
        family: &'static str,
        key: &[u8],
        reach: Reach,
    ) -> Result<Option<DBPinnableSlice<'_>>, ReadError> {
        let options = match reach {
            Reach::Memory => &self.from_memory,
            Reach::Disk => &self.from_disk,
        };
        Ok(self.db.get_pinned_cf_opt(self.family(family)?, key, options)?)
    }

    fn family(&self, name: &'static str) -> Result<&ColumnFamily, ReadError> {
        let missing = || ReadError::Failed(unavailable("a column family is missing"));
        self.db.cf_handle(name).ok_or_else(missing)
    }
}

/// The format of the database in `dir`, which is neither changed nor locked by looking. `None`
/// where it has none and is therefore not Keyward's.
pub fn stored_format(dir: &Path) -> Result<Option<Vec<u8>>, rocksdb::Error> {
    DB::open_for_read_only(&options(), dir, false)?.get(FORMAT_KEY)
}

/// Removes the database in `dir`.
pub fn destroy(dir: &Path) -> Result<(), rocksdb::Error> {
    DB::destroy(&options(), dir)
}

/// An index entry and a record contradict each other.
fn disagreement() -> ReadError {
    ReadError::Failed(StoreError::Corrupt("an index does not agree with the records".into()))
}

fn options() -> Options {
    let mut options = Options::default();
    options.set_paranoid_checks(true);
    // A record that was being written when the machine stopped is cut off. Damage before it is
    // refused; the default would silently forget everything behind the damage.
    options.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
    options.set_recycle_log_file_num(0);
    options.set_track_and_verify_wals_in_manifest(true);
    options.set_max_total_wal_size(MAX_LOG_BYTES);
    // The column families reach the sorted files together, so that an index and its record are
    // never of different ages.
    options.set_atomic_flush(true);
    options.set_db_write_buffer_size(WRITE_BUFFER_BYTES);
    options.set_max_open_files(MAX_OPEN_FILES);
    options.set_keep_log_file_num(DIARY_FILES);
    options.set_max_log_file_size(DIARY_BYTES);
    options.set_stats_dump_period_sec(0);
    options.set_stats_persist_period_sec(0);
    options
}

fn family_options(cache: &Cache) -> Options {
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(cache);
    table.set_bloom_filter(BLOOM_BITS, false);
    table.set_whole_key_filtering(true);
    // Filters and indexes count as cache, so that memory does not grow with the number of keys.
    table.set_cache_index_and_filter_blocks(true);
    table.set_cache_index_and_filter_blocks_with_high_priority(true);
    table.set_pin_l0_filter_and_index_blocks_in_cache(true);
    let mut options = Options::default();
    options.set_block_based_table_factory(&table);
    options.set_compression_type(DBCompressionType::Lz4);
    options
}

fn read_options(reach: Reach) -> ReadOptions {
    let mut options = ReadOptions::default();
    options.set_verify_checksums(true);
    options.set_read_tier(match reach {
        Reach::Memory => ReadTier::BlockCache,
        Reach::Disk => ReadTier::All,
    });
    options
}

fn synced() -> WriteOptions {
    let mut options = WriteOptions::default();
    options.set_sync(true);
    options
}
