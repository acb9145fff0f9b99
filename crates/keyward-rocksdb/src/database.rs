//! The open database: every read and write of it.

mod events;
mod once;
mod uses;

use std::path::Path;

use keyward_core::id::{KeyId, WorkspaceId};
use keyward_core::key::ApiKey;
use keyward_core::secret::KeyDigest;
use keyward_core::store::{Filter, ListPosition, StoreError, StoredKey};
use rocksdb::{
    Cache, ColumnFamily, ColumnFamilyDescriptor, DB, DBPinnableSlice, Options, ReadOptions,
    WriteBatch, WriteOptions,
};

use crate::codec;
use crate::directory::Directory;
use crate::error::{ReadError, unavailable};
use crate::layout::{self, DIGESTS, FORMAT, FORMAT_KEY, IDS, KEYS, Place, SEALED_KEY};
use crate::setup::{Reach, family_options, options, read_options, synced};

/// An open database, and the directory that it is in. Whoever uses it last closes it.
pub struct Database {
    db: DB,
    from_memory: ReadOptions,
    from_disk: ReadOptions,
    synced: WriteOptions,
    /// Let go of after the fields above, when the files are closed. None where another process may have
    /// it, and this one only reads.
    _directory: Option<Directory>,
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
        // Into a sorted file, so that damage to the log cannot make it seem another program's.
        database.db.flush()?;
        Ok(database)
    }

    /// Makes the format that of this program, in a directory of an earlier one: from here on that
    /// program refuses it, in place of each record that it does not know.
    pub fn adopt(&self) -> Result<(), rocksdb::Error> {
        self.db.put_opt(FORMAT_KEY, FORMAT.to_be_bytes(), &self.synced)
    }

    fn open_with(
        options: &Options,
        directory: Directory,
        block_cache_bytes: usize,
    ) -> Result<Self, rocksdb::Error> {
        let families = families(&Cache::new_lru_cache(block_cache_bytes));
        let db = DB::open_cf_descriptors(options, directory.path(), families)?;
        Ok(Self::new(db, Some(directory)))
    }

    /// Opens the database in `dir` as it is now, beside a process that may be changing it. What that
    /// one changes later is not seen.
    pub fn open_to_read(dir: &Path, block_cache_bytes: usize) -> Result<Self, rocksdb::Error> {
        let families = families(&Cache::new_lru_cache(block_cache_bytes));
        let db = DB::open_cf_descriptors_read_only(&options(), dir, families, false)?;
        Ok(Self::new(db, None))
    }

    fn new(db: DB, directory: Option<Directory>) -> Self {
        Self {
            db,
            from_memory: read_options(Reach::Memory),
            from_disk: read_options(Reach::Disk),
            synced: synced(),
            _directory: directory,
        }
    }

    /// The record with this digest: two point reads.
    pub fn find(&self, digest: &KeyDigest, reach: Reach) -> Result<Option<StoredKey>, ReadError> {
        let options = self.options(reach);
        let Some(place) = self.place(DIGESTS, digest.as_bytes(), options)? else {
            return Ok(None);
        };
        let stored = self.record(&place, options)?;
        if stored.digest == *digest { Ok(Some(stored)) } else { Err(disagreement()) }
    }

    /// The record with this id: two point reads, or one where there is none in `workspace`.
    pub fn get(
        &self,
        workspace: WorkspaceId,
        id: KeyId,
        reach: Reach,
    ) -> Result<Option<StoredKey>, ReadError> {
        let options = self.options(reach);
        let place = self.place_of(id, options)?.filter(|place| place.workspace() == workspace);
        place.map(|place| self.record(&place, options)).transpose()
    }

    /// The record of any workspace with this id.
    pub fn by_id(&self, id: KeyId) -> Result<Option<StoredKey>, ReadError> {
        let place = self.place_of(id, &self.from_disk)?;
        place.map(|place| self.record(&place, &self.from_disk)).transpose()
    }

    /// Whether a record of any workspace has this id.
    pub fn has_id(&self, id: KeyId) -> Result<bool, ReadError> {
        Ok(self.value(IDS, id.as_bytes(), &self.from_disk)?.is_some())
    }

    /// Whether a record of any workspace has this digest.
    pub fn has_digest(&self, digest: &KeyDigest) -> Result<bool, ReadError> {
        Ok(self.value(DIGESTS, digest.as_bytes(), &self.from_disk)?.is_some())
    }

    /// One page of a workspace: one scan that ends when the page is full, or with the workspace.
    pub fn page(
        &self,
        workspace: WorkspaceId,
        filter: &Filter,
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
            let key = codec::decode_record(&Place::from_bytes(place), value)?.key;
            if filter.lets_through(&key) {
                page.push(key);
            }
            scan.next();
        }
        Ok(page)
    }

    /// One page of all records: a scan of the ids, and a point read for each. A snapshot makes one
    /// moment of them.
    pub fn scan(
        &self,
        after: Option<KeyId>,
        limit: usize,
        reach: Reach,
    ) -> Result<Vec<StoredKey>, ReadError> {
        let moment = self.db.snapshot();
        let mut options = read_options(reach);
        options.set_snapshot(&moment);
        let mut bounded = read_options(reach);
        bounded.set_iterate_lower_bound(layout::behind(after));
        let mut ids = moment.raw_iterator_cf_opt(self.family(IDS)?, bounded);
        ids.seek_to_first();
        let mut page = Vec::new();
        while page.len() < limit {
            let Some((id, value)) = ids.item() else {
                // The last id, unless the status says otherwise.
                ids.status()?;
                break;
            };
            let place = codec::decode_index(value)?;
            if *id != *place.id().as_bytes() {
                return Err(disagreement());
            }
            page.push(self.record(&place, &options)?);
            ids.next();
        }
        Ok(page)
    }

    /// Whether the store is sealed.
    pub fn sealed(&self) -> Result<bool, rocksdb::Error> {
        Ok(self.db.get_pinned_opt(SEALED_KEY, &self.from_disk)?.is_some())
    }

    /// Whether the database answers, and is what it was when it was opened.
    pub fn check(&self, reach: Reach) -> Result<(), ReadError> {
        match self.value("default", FORMAT_KEY, self.options(reach))? {
            Some(format) if *format == FORMAT.to_be_bytes() => Ok(()),
            _ => Err(codec::Malformed::Field("format").into()),
        }
    }

    /// Adds a new record and its two index entries to `batch`.
    pub fn stage_new(&self, batch: &mut WriteBatch, stored: &StoredKey) -> Result<(), ReadError> {
        let (digests, ids) = (self.family(DIGESTS)?, self.family(IDS)?);
        self.stage(batch, stored)?;
        let index = codec::encode_index(&Place::of(&stored.key));
        batch.put_cf(digests, stored.digest.as_bytes(), index);
        batch.put_cf(ids, stored.key.id.as_bytes(), index);
        Ok(())
    }

    /// Adds the new state of a record to `batch`.
    pub fn stage(&self, batch: &mut WriteBatch, stored: &StoredKey) -> Result<(), ReadError> {
        let place = Place::of(&stored.key);
        batch.put_cf(self.family(KEYS)?, place.as_bytes(), codec::encode_record(stored));
        Ok(())
    }

    /// Adds to `batch` that the store is sealed, or that it is not.
    pub fn stage_seal(batch: &mut WriteBatch, sealed: bool) {
        if sealed {
            batch.put(SEALED_KEY, []);
        } else {
            batch.delete(SEALED_KEY);
        }
    }

    /// Makes the changes of `batch`, all or none. When this returns they are on the disk.
    pub fn write(&self, batch: WriteBatch) -> Result<(), rocksdb::Error> {
        self.db.write_opt(batch, &self.synced)
    }

    /// The number of the newest entry that was written.
    #[cfg(test)]
    pub fn newest_entry(&self) -> u64 {
        self.db.latest_sequence_number()
    }

    /// Waits until the log is on the disk.
    pub fn sync(&self) -> Result<(), rocksdb::Error> {
        self.db.flush_wal(true)
    }

    fn place_of(&self, id: KeyId, options: &ReadOptions) -> Result<Option<Place>, ReadError> {
        match self.place(IDS, id.as_bytes(), options)? {
            Some(place) if place.id() != id => Err(disagreement()),
            place => Ok(place),
        }
    }

    fn place(
        &self,
        index: &'static str,
        key: &[u8],
        options: &ReadOptions,
    ) -> Result<Option<Place>, ReadError> {
        let value = self.value(index, key, options)?;
        Ok(value.as_deref().map(codec::decode_index).transpose()?)
    }

    fn record(&self, place: &Place, options: &ReadOptions) -> Result<StoredKey, ReadError> {
        let value = self.value(KEYS, place.as_bytes(), options)?.ok_or_else(disagreement)?;
        Ok(codec::decode_record(place, &value)?)
    }

    fn value(
        &self,
        family: &'static str,
        key: &[u8],
        options: &ReadOptions,
    ) -> Result<Option<DBPinnableSlice<'_>>, ReadError> {
        Ok(self.db.get_pinned_cf_opt(self.family(family)?, key, options)?)
    }

    fn default_value(
        &self,
        key: &[u8],
        reach: Reach,
    ) -> Result<Option<DBPinnableSlice<'_>>, ReadError> {
        Ok(self.db.get_pinned_opt(key, self.options(reach))?)
    }

    fn options(&self, reach: Reach) -> &ReadOptions {
        match reach {
            Reach::Memory => &self.from_memory,
            Reach::Disk => &self.from_disk,
        }
    }

    fn family(&self, name: &'static str) -> Result<&ColumnFamily, ReadError> {
        let missing = || ReadError::Failed(unavailable("a column family is missing"));
        self.db.cf_handle(name).ok_or_else(missing)
    }
}

/// The column families, which share `cache`.
fn families(cache: &Cache) -> [ColumnFamilyDescriptor; 4] {
    let family = |name| ColumnFamilyDescriptor::new(name, family_options(cache));
    ["default", KEYS, DIGESTS, IDS].map(family)
}

/// Removes the database in `dir`.
pub fn destroy(dir: &Path) -> Result<(), rocksdb::Error> {
    DB::destroy(&options(), dir)
}

/// An index entry and a record contradict each other.
fn disagreement() -> ReadError {
    ReadError::Failed(StoreError::Corrupt("an index does not agree with the records".into()))
}

#[cfg(test)]
pub mod tests;
