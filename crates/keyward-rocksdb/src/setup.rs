//! How RocksDB is set up.

use rocksdb::{
    BlockBasedIndexType, BlockBasedOptions, Cache, DBCompressionType, DBRecoveryMode, Options,
    ReadOptions, ReadTier, WriteOptions,
};

/// Bits of bloom filter for each key: one in a hundred absent keys costs a read of the disk.
const BLOOM_BITS: f64 = 10.0;
/// Changes held in memory before they are written to sorted files, over all column families.
const WRITE_BUFFER_BYTES: usize = 32 << 20;
/// The log is hardly longer than this, which bounds the time that opening takes.
const MAX_LOG_BYTES: u64 = 64 << 20;
const MAX_OPEN_FILES: i32 = 512;
/// RocksDB's own diary, `LOG`: this many files of this many bytes.
const DIARY_FILES: usize = 4;
const DIARY_BYTES: usize = 4 << 20;

/// How far a read may reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Into memory: what is not there is [`NotInMemory`](crate::error::ReadError::NotInMemory).
    Memory,
    /// To the disk, where the calling thread waits.
    Disk,
}

/// The settings of a whole database.
pub fn options() -> Options {
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

/// The settings of each column family; they share `cache`.
pub fn family_options(cache: &Cache) -> Options {
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(cache);
    table.set_bloom_filter(BLOOM_BITS, false);
    table.set_whole_key_filtering(true);
    // Filters and indexes count as cache, so that memory does not grow with the number of keys. They
    // are in small parts: in one piece, the filter of a million keys is larger than what a shard of
    // the cache takes, and would be read and checked anew, a megabyte, for every lookup.
    table.set_cache_index_and_filter_blocks(true);
    table.set_cache_index_and_filter_blocks_with_high_priority(true);
    table.set_pin_l0_filter_and_index_blocks_in_cache(true);
    table.set_index_type(BlockBasedIndexType::TwoLevelIndexSearch);
    table.set_partition_filters(true);
    table.set_pin_top_level_index_and_filter(true);
    let mut options = Options::default();
    options.set_block_based_table_factory(&table);
    options.set_compression_type(DBCompressionType::Lz4);
    options
}

/// The settings of a read.
pub fn read_options(reach: Reach) -> ReadOptions {
    let mut options = ReadOptions::default();
    options.set_verify_checksums(true);
    options.set_read_tier(match reach {
        Reach::Memory => ReadTier::BlockCache,
        Reach::Disk => ReadTier::All,
    });
    options
}

/// The settings of a write that is on the disk when it returns.
pub fn synced() -> WriteOptions {
    let mut options = WriteOptions::default();
    options.set_sync(true);
    options
}
