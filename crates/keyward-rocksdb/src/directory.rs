//! The data directory before RocksDB touches it: whose it is, and that nobody else uses it.
//!
//! Making a database takes many steps, and the machine may stop between any two. Therefore
//! `keyward.unfinished` stands in the directory from before the first step until after the last.
//! Where it is found, nothing was ever answered from what lies beside it, and that is made anew.
//! In a directory without it everything must be there, and what is not is damage.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use tokio::sync::oneshot;

use crate::error::{Fault, OpenError};

const LOCK: &str = "keyward.lock";
const UNFINISHED: &str = "keyward.unfinished";
/// The file that RocksDB makes last, when its first manifest is whole.
const CURRENT: &str = "CURRENT";
/// What may stand in a directory before there is a database: our own two files, the secrets that
/// caller tokens and the audit trail are signed with, and what a file system puts into its root.
const NOT_FOREIGN: [&str; 5] = [LOCK, UNFINISHED, "token.secret", "audit.key", "lost+found"];

/// What a directory holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contents {
    /// Nothing yet, or what never became a database.
    Nothing,
    /// A database.
    Database,
}

/// A directory that this process alone uses, as long as this value lives.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    _lock: File,
    /// Dropped after the lock, which tells whoever waits that the directory is free.
    _released: oneshot::Sender<()>,
}

/// A directory of which possession was taken.
#[derive(Debug)]
pub struct Claim {
    /// The directory.
    pub directory: Directory,
    /// What it held then.
    pub contents: Contents,
    /// Ends, without a value, when the directory is let go of.
    pub released: oneshot::Receiver<()>,
}

impl Directory {
    /// Takes possession of `path`, which is made if it is not there.
    ///
    /// # Errors
    ///
    /// When it holds other files, or is in use, or cannot be one. Nothing was changed then, beyond
    /// making an empty directory.
    pub fn claim(path: &Path) -> Result<Claim, OpenError> {
        let failed = |error| OpenError::from_io(path, error);
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed)?;
        survey(path)?;
        let lock = lock(path)?;
        // Once more, because another process may have had it until now.
        let contents = survey(path)?;
        let (sender, released) = oneshot::channel();
        let directory = Self { path: path.to_owned(), _lock: lock, _released: sender };
        Ok(Claim { directory, contents, released })
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Closes the directory to other users of the machine. The mode is set apart from the making,
    /// where the process's mask would have a say.
    ///
    /// # Errors
    ///
    /// When it belongs to another user, who alone may do so.
    pub fn close_to_others(&self) -> Result<(), OpenError> {
        let failed = |error| OpenError::from_io(&self.path, error);
        let mode = fs::metadata(&self.path).map_err(failed)?.permissions().mode();
        if mode & 0o777 == 0o700 {
            return Ok(());
        }
        match fs::set_permissions(&self.path, Permissions::from_mode(0o700)) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                Err(OpenError::new(&self.path, Fault::NotOwned).because(error))
            }
            outcome => outcome.map_err(failed),
        }
    }
}

/// Notes that a database is being made in `path`.
pub fn begin(path: &Path) -> io::Result<()> {
    File::create(path.join(UNFINISHED))?.sync_all()?;
    sync(path)?;
    // The directory itself may be new. Its parent cannot be synced where it cannot be read.
    let path = path.canonicalize()?;
    match path.parent().map(File::open) {
        Some(Ok(parent)) => parent.sync_all(),
        _ => Ok(()),
    }
}

/// Notes that the database in `path` is whole.
pub fn finish(path: &Path) -> io::Result<()> {
    fs::remove_file(path.join(UNFINISHED))?;
    sync(path)
}

fn sync(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

fn survey(path: &Path) -> Result<Contents, OpenError> {
    let names: io::Result<BTreeSet<_>> =
        fs::read_dir(path).and_then(|entries| entries.map(|it| Ok(it?.file_name())).collect());
    let names = names.map_err(|error| OpenError::from_io(path, error))?;
    let has = |name: &str| names.contains(OsStr::new(name));
    if has(UNFINISHED) {
        Ok(Contents::Nothing)
    } else if has(CURRENT) {
        Ok(Contents::Database)
    } else if names.iter().all(|name| NOT_FOREIGN.iter().any(|known| name == known)) {
        Ok(Contents::Nothing)
    } else {
        Err(OpenError::new(path, Fault::Foreign))
    }
}

fn lock(path: &Path) -> Result<File, OpenError> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    let file = options.open(path.join(LOCK)).map_err(|error| OpenError::from_io(path, error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::new(path, Fault::InUse)),
        Err(TryLockError::Error(error)) => Err(OpenError::from_io(path, error)),
    }
}
