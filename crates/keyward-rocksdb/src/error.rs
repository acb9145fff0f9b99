//! What can go wrong, told apart once.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use keyward_core::store::{BoxError, StoreError};
use rocksdb::ErrorKind;

use crate::codec::Malformed;
use crate::layout::FORMAT;

/// Why a data directory could not be opened: one sentence for the operator, which names the
/// directory as it was given. What RocksDB or the operating system said is its source.
#[derive(Debug, thiserror::Error)]
#[error("the data directory {} {fault}", dir.display())]
pub struct OpenError {
    dir: PathBuf,
    fault: Fault,
    source: Option<BoxError>,
}

impl OpenError {
    pub(crate) fn new(dir: &Path, fault: Fault) -> Self {
        Self { dir: dir.to_owned(), fault, source: None }
    }

    /// The same error, caused by `source`.
    pub(crate) fn because(self, source: impl Into<BoxError>) -> Self {
        Self { source: Some(source.into()), ..self }
    }

    pub(crate) fn from_io(dir: &Path, error: io::Error) -> Self {
        let fault = match error.kind() {
            io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => Fault::NotADirectory,
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                Fault::NotPermitted
            }
            _ => Fault::Failed,
        };
        Self::new(dir, fault).because(error)
    }

    pub(crate) fn from_rocksdb(dir: &Path, error: rocksdb::Error) -> Self {
        let text: &str = error.as_ref();
        let fault = match error.kind() {
            ErrorKind::Corruption => Fault::Damaged,
            // RocksDB has a lock file of its own, which its command line tools heed.
            ErrorKind::IOError if text.contains("/LOCK: ") => Fault::InUse,
            ErrorKind::IOError if text.contains("Permission denied") => Fault::NotPermitted,
            // A file that the manifest names is not there.
            ErrorKind::IOError if text.contains("No such file") => Fault::Damaged,
            _ => Fault::Failed,
        };
        Self::new(dir, fault).because(error)
    }

    /// What is wrong with the directory.
    pub fn fault(&self) -> Fault {
        self.fault
    }
}

/// What is wrong with a data directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Another process has it open, or this one already has.
    InUse,
    /// It is a file, or one stands in its way.
    NotADirectory,
    /// The operating system forbids what a store needs.
    NotPermitted,
    /// Another user owns it, and only the owner may close it to others.
    NotOwned,
    /// A later version wrote it, in this format.
    Newer(u32),
    /// It holds other files, or another program's database.
    Foreign,
    /// Files are missing or changed. To open it could mean to forget changes that were
    /// acknowledged, revocations among them.
    Damaged,
    /// Something else failed; the source says what.
    Failed,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse => f.write_str("is in use by another process"),
            Self::NotADirectory => f.write_str("cannot be one, because there is a file in its place"),
            Self::NotPermitted => f.write_str("may not be read and written by this user"),
            Self::NotOwned => f.write_str(
                "belongs to another user and cannot be closed to others; name one within it",
            ),
            Self::Newer(format) => write!(
                f,
                "was written by a later version of Keyward, in format {format}, and this one knows \
                 format {FORMAT}"
            ),
            Self::Foreign => f.write_str("holds something other than Keyward's data; name an empty one"),
            Self::Damaged => f.write_str(
                "is damaged, and opening it could undo acknowledged changes; restore it from a backup",
            ),
            Self::Failed => f.write_str("could not be opened"),
        }
    }
}

/// Why a read of the database gave nothing.
#[derive(Debug)]
pub enum ReadError {
    /// The read was not to touch the disk, and would have to.
    NotInMemory,
    /// The read failed.
    Failed(StoreError),
}

impl From<rocksdb::Error> for ReadError {
    fn from(error: rocksdb::Error) -> Self {
        if error.kind() == ErrorKind::Incomplete {
            Self::NotInMemory
        } else {
            Self::Failed(classify(error))
        }
    }
}

impl From<Malformed> for ReadError {
    fn from(malformed: Malformed) -> Self {
        Self::Failed(StoreError::Corrupt(malformed.into()))
    }
}

impl From<ReadError> for StoreError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::NotInMemory => unavailable("the disk was not asked"),
            ReadError::Failed(error) => error,
        }
    }
}

/// Tells damaged data, which stays so, from a store that may answer later.
pub fn classify(error: rocksdb::Error) -> StoreError {
    match error.kind() {
        ErrorKind::Corruption => StoreError::Corrupt(error.into()),
        _ => StoreError::Unavailable(error.into()),
    }
}

/// The store cannot be asked now, because `why`.
pub fn unavailable(why: &'static str) -> StoreError {
    StoreError::Unavailable(why.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_operating_system_forbids_is_said_in_one_sentence() {
        let error = OpenError::from_io(Path::new("data"), io::ErrorKind::PermissionDenied.into());
        assert_eq!(error.fault(), Fault::NotPermitted);
        let expected = "the data directory data may not be read and written by this user";
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn what_rocksdb_says_is_told_apart() {
        let dir = tempfile::TempDir::new().unwrap();
        let missing = rocksdb::DB::open(&rocksdb::Options::default(), dir.path()).err().unwrap();
        assert!(matches!(classify(missing.clone()), StoreError::Unavailable(_)), "{missing}");
        std::fs::write(dir.path().join("CURRENT"), "MANIFEST-").unwrap();
        let damaged = rocksdb::DB::open(&rocksdb::Options::default(), dir.path()).err().unwrap();
        assert!(matches!(classify(damaged.clone()), StoreError::Corrupt(_)), "{damaged}");
        assert_eq!(OpenError::from_rocksdb(dir.path(), damaged).fault(), Fault::Damaged);
    }
}
