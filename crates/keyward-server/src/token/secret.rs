//! The secrets of HS256 tokens.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use anyhow::{Context as _, bail, ensure};
use keyward_core::clock::{Entropy, EntropyError};
use zeroize::Zeroizing;

/// Fewest bytes of a secret: as many as HS256 has bits of security to give (RFC 7518, section 3.2).
const MIN_LEN: usize = 32;
/// Most secrets at once: the one that mints and the one that it follows or precedes.
const MAX_SECRETS: usize = 2;
/// Most bytes of a file of secrets, lest a wrong path fill the memory.
const MAX_FILE_LEN: u64 = 64 * 1024;
/// Where the secret that nobody gave lives in a storage directory.
const LOCAL_FILE: &str = "token.secret";
/// Bits that would let anybody but the owner at a file.
const NOT_OWNER: u32 = 0o077;

/// One or two secrets of HS256 tokens. All of them verify and the first one mints, so that a new
/// secret can be brought in before the old one is taken away.
///
/// They are wiped from memory when they go, and are not printed.
#[derive(Clone)]
pub struct Secrets(Vec<Zeroizing<Vec<u8>>>);

impl Secrets {
    /// The secrets in `text`: one, or two with a comma between them. Space around a secret does not
    /// belong to it, so that a file may end with a newline.
    ///
    /// # Errors
    ///
    /// When there are more than two or one is shorter than 32 bytes.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        let secrets: Vec<_> = text
            .split(',')
            .take(MAX_SECRETS + 1)
            .map(|secret| Zeroizing::new(secret.trim().as_bytes().to_vec()))
            .collect();
        ensure!(
            secrets.len() <= MAX_SECRETS,
            "at most {MAX_SECRETS} token secrets can be in use, with a comma between them"
        );
        ensure!(
            secrets.iter().all(|secret| secret.len() >= MIN_LEN),
            "a token secret must have at least {MIN_LEN} bytes"
        );
        Ok(Self(secrets))
    }

    /// The secrets in a file that the operator wrote, as in [`Secrets::parse`]. Who may read it is
    /// the operator's affair: container platforms hand out secrets that all of a container can read.
    ///
    /// # Errors
    ///
    /// When the file cannot be read or does not hold secrets.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        File::open(path)
            .map_err(anyhow::Error::from)
            .and_then(|file| Self::read_from(&file))
            .with_context(|| format!("the token secret cannot be read from {}", path.display()))
    }

    /// The secret that mints.
    pub(super) fn first(&self) -> &[u8] {
        &self.0[0]
    }

    /// All of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.0.iter().map(|secret| secret.as_slice())
    }

    fn read_from(file: &File) -> anyhow::Result<Self> {
        // Sized once: a buffer that grew would leave copies of the secret behind it.
        let mut text = Zeroizing::new(String::with_capacity(4096));
        file.take(MAX_FILE_LEN).read_to_string(&mut text)?;
        Self::parse(&text)
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secrets({} redacted)", self.0.len())
    }
}

/// The secret that a storage directory keeps for itself, in `token.secret`; made when it is not
/// there yet. The directory must exist.
///
/// Two processes that start at once end with the same secret, and a process that dies in the middle
/// leaves either a whole file or none.
///
/// # Errors
///
/// When the file cannot be read or made, is shorter than a secret, or could be read by others.
pub fn local_secret(dir: &Path, entropy: &dyn Entropy) -> anyhow::Result<Secrets> {
    if let Some(secrets) = read_existing(dir)? {
        return Ok(secrets);
    }
    make(dir, entropy)
        .with_context(|| format!("{} cannot be made", dir.join(LOCAL_FILE).display()))?;
    read_existing(dir)?.context("the token secret vanished while it was being made")
}

/// As [`local_secret`], for a reader beside the server: it makes nothing.
///
/// # Errors
///
/// As there, and when the file does not exist.
pub fn read_local_secret(dir: &Path) -> anyhow::Result<Secrets> {
    read_existing(dir)?.with_context(|| {
        format!(
            "there is no {} yet: start the server once, or give --token-secret",
            dir.join(LOCAL_FILE).display()
        )
    })
}

fn read_existing(dir: &Path) -> anyhow::Result<Option<Secrets>> {
    let path = dir.join(LOCAL_FILE);
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            return Err(error).with_context(|| format!("{} cannot be read", path.display()));
        }
    };
    let read = || {
        if file.metadata()?.mode() & NOT_OWNER != 0 {
            bail!("others than its owner have access to it: chmod 600 it, or give --token-secret");
        }
        Secrets::read_from(&file)
    };
    read().map(Some).with_context(|| format!("{} cannot be used", path.display()))
}

/// Writes a new secret beside its place and then links it there, which fails when another was
/// quicker and never shows half a file.
fn make(dir: &Path, entropy: &dyn Entropy) -> anyhow::Result<()> {
    let draft = dir.join(format!("{LOCAL_FILE}.{}", random::<8>(entropy)?.as_str()));
    let secret = random::<MIN_LEN>(entropy)?;
    let placed = write_new(&draft, &secret).and_then(|()| place(&draft, &dir.join(LOCAL_FILE)));
    // What is left of a draft that failed is of no use to anyone.
    let removed = fs::remove_file(&draft);
    placed?;
    removed?;
    File::open(dir)?.sync_all()?;
    Ok(())
}

fn write_new(path: &Path, secret: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(secret.as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()
}

fn place(draft: &Path, path: &Path) -> io::Result<()> {
    match fs::hard_link(draft, path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        result => result,
    }
}

/// `N` random bytes in hexadecimal digits.
fn random<const N: usize>(entropy: &dyn Entropy) -> Result<Zeroizing<String>, EntropyError> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut bytes = Zeroizing::new([0; N]);
    entropy.fill(&mut *bytes)?;
    // Sized once: a buffer that grew would leave copies of the secret behind it.
    let mut text = Zeroizing::new(String::with_capacity(2 * N));
    for byte in bytes.iter() {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    Ok(text)
}
