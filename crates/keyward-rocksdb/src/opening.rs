//! What must hold before a database is opened, and how a new one is made.

use std::path::Path;

use rocksdb::properties::MIN_LOG_NUMBER_TO_KEEP;
use rocksdb::{DB, ErrorKind};
use tokio::sync::oneshot;

use crate::database::{self, Database};
use crate::directory::{self, Claim, Contents, Directory};
use crate::error::{Fault, OpenError};
use crate::layout::{FORMAT, FORMAT_KEY};
use crate::setup::options;
use crate::wal::{self, LogFault};

/// Opens the database in `dir`, or makes it. The receiver ends when the database has been closed.
pub fn open(
    dir: &Path,
    block_cache_bytes: usize,
) -> Result<(Database, oneshot::Receiver<()>), OpenError> {
    let Claim { directory, contents, released } = Directory::claim(dir)?;
    let database = match contents {
        Contents::Nothing => make(directory, dir, block_cache_bytes)?,
        Contents::Database => {
            let format = inspect(dir)?;
            directory.close_to_others()?;
            let opened = Database::open(directory, block_cache_bytes);
            let opened = opened.map_err(|error| OpenError::from_rocksdb(dir, error))?;
            if format < FORMAT {
                opened.adopt().map_err(|error| OpenError::from_rocksdb(dir, error))?;
            }
            opened
        }
    };
    Ok((database, released))
}

/// Opens the database in `dir` as it is now, beside a process that may be changing it.
pub fn open_to_read(dir: &Path, block_cache_bytes: usize) -> Result<Database, OpenError> {
    let found = survey(dir).map_err(|error| OpenError::from_rocksdb(dir, error))?;
    known(dir, found.format)?;
    Database::open_to_read(dir, block_cache_bytes)
        .map_err(|error| OpenError::from_rocksdb(dir, error))
}

fn make(directory: Directory, dir: &Path, block_cache_bytes: usize) -> Result<Database, OpenError> {
    directory.close_to_others()?;
    directory::begin(dir).map_err(|error| OpenError::from_io(dir, error))?;
    // What an earlier attempt left behind, if there was one.
    let made = database::destroy(dir).and_then(|()| Database::create(directory, block_cache_bytes));
    let database = made.map_err(|error| OpenError::from_rocksdb(dir, error))?;
    directory::finish(dir).map_err(|error| OpenError::from_io(dir, error))?;
    Ok(database)
}

/// All is judged before anything is changed: a later version, or another program, may have written
/// what this one would spoil, and RocksDB would cut off what it takes for the end of a damaged log.
/// What comes back is the format.
fn inspect(dir: &Path) -> Result<u32, OpenError> {
    let damaged = |fault| match fault {
        LogFault::Unreadable(error) => OpenError::from_io(dir, error),
        fault => OpenError::new(dir, Fault::Damaged).because(fault),
    };
    let mut found = survey(dir);
    if found.as_ref().is_err_and(|error| error.kind() == ErrorKind::Corruption)
        && wal::cut_unwritten(dir).map_err(damaged)?
    {
        found = survey(dir);
    }
    let found = found.map_err(|error| OpenError::from_rocksdb(dir, error))?;
    let format = known(dir, found.format)?;
    wal::inspect(dir, found.oldest_log).map_err(damaged)?;
    Ok(format)
}

/// The format that stands in a database, which must be one that this program knows.
fn known(dir: &Path, format: Option<Vec<u8>>) -> Result<u32, OpenError> {
    let Some(format) = format else {
        return Err(OpenError::new(dir, Fault::Foreign));
    };
    match format.try_into().map(u32::from_be_bytes) {
        Ok(format @ 1..=FORMAT) => Ok(format),
        Ok(format) if format > FORMAT => Err(OpenError::new(dir, Fault::Newer(format))),
        _ => Err(OpenError::new(dir, Fault::Damaged)),
    }
}

/// What is known of a database without opening it for changes.
struct Survey {
    /// The format that stands in it; `None` where it has none and is therefore not Keyward's.
    format: Option<Vec<u8>>,
    /// The number of the oldest log whose changes do not all stand in sorted files.
    oldest_log: u64,
}

/// Looks into the database in `dir`, which is neither changed nor locked by that; RocksDB only
/// begins a new diary.
fn survey(dir: &Path) -> Result<Survey, rocksdb::Error> {
    let db = DB::open_for_read_only(&options(), dir, false)?;
    let oldest_log = db.property_int_value(MIN_LOG_NUMBER_TO_KEEP)?.unwrap_or(0);
    Ok(Survey { format: db.get(FORMAT_KEY)?, oldest_log })
}
