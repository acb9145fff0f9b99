//! Secrets: those of HS256 tokens, and the one that the audit trail is signed with.

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
const MAX_FILE_LEN: usize = 4096;
/// A secret that a storage directory keeps for itself, because nobody gave one.
#[derive(Debug, Clone, Copy)]
pub struct LocalSecret {
    /// Where it lives in the directory.
    file: &'static str,
    /// The flag that gives one.
    flag: &'static str,
}

impl LocalSecret {
    /// What tokens are signed with.
    pub const TOKEN: Self = Self { file: "token.secret", flag: "--token-secret" };
    /// What the audit trail is signed with.
    pub const AUDIT: Self = Self { file: "audit.key", flag: "--audit-key" };
}

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
            "at most {MAX_SECRETS} secrets can be in use, with a comma between them"
        );
        ensure!(
            secrets.iter().all(|secret| secret.len() >= MIN_LEN),
            "a secret must have at least {MIN_LEN} bytes"
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
            .with_context(|| format!("the secret cannot be read from {}", path.display()))
    }

    /// The secret that mints.
    pub fn first(&self) -> &[u8] {
        &self.0[0]
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.0.iter().map(|secret| secret.as_slice())
    }

    fn read_from(file: &File) -> anyhow::Result<Self> {
        // Sized once: a buffer that grew would leave copies of the secret behind it.
        let mut text = Zeroizing::new(String::with_capacity(2 * MAX_FILE_LEN));
        file.take(MAX_FILE_LEN as u64 + 1).read_to_string(&mut text)?;
        ensure!(text.len() <= MAX_FILE_LEN, "it is longer than {MAX_FILE_LEN} bytes");
        Self::parse(&text)
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secrets({} redacted)", self.0.len())
    }
}

/// A secret that a storage directory keeps for itself; made when it is not there yet. The directory must
/// exist.
///
/// Two processes that start at once end with the same secret, and a process that dies in the middle
/// leaves either a whole file or none.
///
/// # Errors
///
/// When the file cannot be read or made, is shorter than a secret, or could be read by others.
pub fn local_secret(
    dir: &Path,
    local: LocalSecret,
    entropy: &dyn Entropy,
) -> anyhow::Result<Secrets> {
    if let Some(secrets) = read_existing(dir, local)? {
        return Ok(secrets);
    }
    make(dir, local, entropy)
        .with_context(|| format!("{} cannot be made", dir.join(local.file).display()))?;
    read_existing(dir, local)?.context("the secret vanished while it was being made")
}

/// As [`local_secret`], for a reader beside the server: it makes nothing.
///
/// # Errors
///
/// As there, and when the file does not exist.
pub fn read_local_secret(dir: &Path, local: LocalSecret) -> anyhow::Result<Secrets> {
    let LocalSecret { file, flag } = local;
    read_existing(dir, local)?.with_context(|| {
        let path = dir.join(file);
        format!("there is no {} yet: start the server once, or give {flag}", path.display())
    })
}

fn read_existing(
    dir: &Path,
    LocalSecret { file, flag }: LocalSecret,
) -> anyhow::Result<Option<Secrets>> {
    let path = dir.join(file);
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            return Err(error).with_context(|| format!("{} cannot be read", path.display()));
        }
    };
    let read = || {
        if file.metadata()?.mode() & NOT_OWNER != 0 {
            bail!("others than its owner have access to it: chmod 600 it, or give {flag}");
        }
        Secrets::read_from(&file)
    };
    read().map(Some).with_context(|| format!("{} cannot be used", path.display()))
}

/// Writes a new secret beside its place and then links it there, which fails when another was
/// quicker and never shows half a file.
fn make(
    dir: &Path,
    LocalSecret { file, .. }: LocalSecret,
    entropy: &dyn Entropy,
) -> anyhow::Result<()> {
    let draft = dir.join(format!("{file}.{}", random::<8>(entropy)?.as_str()));
    let secret = random::<MIN_LEN>(entropy)?;
    let placed = write_new(&draft, &secret).and_then(|()| place(&draft, &dir.join(file)));
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::PathBuf;
    use std::sync::Barrier;

    use keyward_core::clock::SystemEntropy;
    use tempfile::TempDir;

    use super::*;

    const FILE: &str = LocalSecret::TOKEN.file;
    const A: &str = "the first of two secrets that are given";
    const B: &str = "the other of two secrets that are given";

    /// A directory whose `token.secret` holds `text` and has this mode.
    fn holding(text: &str, mode: u32) -> (TempDir, PathBuf) {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join(FILE);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        (dir, path)
    }

    fn message(result: anyhow::Result<Secrets>) -> String {
        format!("{:#}", result.unwrap_err())
    }

    #[test]
    fn one_or_two_secrets_are_given_and_the_first_mints() {
        let one = Secrets::parse(A).unwrap();
        assert_eq!(one.iter().collect::<Vec<_>>(), [A.as_bytes()]);
        let two = Secrets::parse(&format!(" {A} , {B}\n")).unwrap();
        assert_eq!(two.iter().collect::<Vec<_>>(), [A.as_bytes(), B.as_bytes()]);
        assert_eq!(two.first(), A.as_bytes());
    }

    #[test]
    fn a_secret_that_is_too_short_is_refused_and_not_shown() {
        let short = &A[..MIN_LEN - 1];
        let padded = format!("{short}   ");
        let second = format!("{A},{short}");
        let trailing = format!("{A},");
        for text in ["", ",", short, &padded, &second, &trailing] {
            let message = message(Secrets::parse(text));
            assert!(message.contains("at least 32 bytes") && !message.contains(short), "{message}");
        }
        assert!(Secrets::parse(&A[..MIN_LEN]).is_ok());
        let three = message(Secrets::parse(&format!("{A},{B},{A}")));
        assert!(three.contains("at most 2") && !three.contains(A), "{three}");
    }

    #[test]
    fn secrets_are_not_printed() {
        let secrets = Secrets::parse(&format!("{A},{B}")).unwrap();
        assert_eq!(format!("{secrets:?}"), "Secrets(2 redacted)");
    }

    #[test]
    fn a_file_of_the_operator_may_be_readable_and_end_with_a_newline() {
        let (_dir, path) = holding(&format!("{A},{B}\n"), 0o444);
        assert_eq!(Secrets::read(&path).unwrap().iter().count(), 2);
        let (_dir, path) = holding("short\n", 0o600);
        let refusal = message(Secrets::read(&path));
        assert!(refusal.contains("at least 32 bytes") && !refusal.contains("short"), "{refusal}");
        let (_dir, path) = holding(&"x".repeat(MAX_FILE_LEN + 1), 0o600);
        assert!(message(Secrets::read(&path)).contains("longer than 4096 bytes"));
        assert!(message(Secrets::read(Path::new("no/such/file"))).contains("no/such/file"));
    }

    #[test]
    fn a_local_secret_is_made_once_for_its_owner_alone() {
        let dir = TempDir::new().unwrap();
        let made = local_secret(dir.path(), LocalSecret::TOKEN, &SystemEntropy).unwrap();
        let file = fs::metadata(dir.path().join(FILE)).unwrap();
        assert_eq!(file.mode() & 0o777, 0o600);
        assert_eq!(made.first().len(), 2 * MIN_LEN);
        let again = local_secret(dir.path(), LocalSecret::TOKEN, &SystemEntropy).unwrap();
        assert_eq!(again.first(), made.first());
        assert_eq!(
            read_local_secret(dir.path(), LocalSecret::TOKEN).unwrap().first(),
            made.first()
        );
        let other = TempDir::new().unwrap();
        assert_ne!(
            local_secret(other.path(), LocalSecret::TOKEN, &SystemEntropy).unwrap().first(),
            made.first()
        );
    }

    #[test]
    fn starts_at_the_same_time_end_with_one_secret_and_no_drafts() {
        let dir = TempDir::new().unwrap();
        let together = Barrier::new(16);
        let start = || {
            together.wait();
            local_secret(dir.path(), LocalSecret::TOKEN, &SystemEntropy).unwrap().first().to_vec()
        };
        let secrets: Vec<_> = std::thread::scope(|scope| {
            let starts: Vec<_> = (0..16).map(|_| scope.spawn(start)).collect();
            starts.into_iter().map(|start| start.join().unwrap()).collect()
        });
        assert!(secrets.iter().all(|secret| *secret == secrets[0]));
        let names: Vec<_> =
            fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, [FILE]);
    }

    #[test]
    fn a_local_secret_that_others_can_reach_is_refused() {
        for mode in [0o644, 0o640, 0o604, 0o602, 0o660] {
            let (dir, _) = holding(A, mode);
            for result in [
                local_secret(dir.path(), LocalSecret::TOKEN, &SystemEntropy),
                read_local_secret(dir.path(), LocalSecret::TOKEN),
            ] {
                let refusal = message(result);
                assert!(refusal.contains("chmod 600") && !refusal.contains(A), "{refusal}");
            }
        }
        for mode in [0o600, 0o400] {
            let (dir, _) = holding(A, mode);
            assert_eq!(
                read_local_secret(dir.path(), LocalSecret::TOKEN).unwrap().first(),
                A.as_bytes()
            );
        }
    }

    #[test]
    fn a_local_secret_that_is_damaged_is_refused_rather_than_replaced() {
        for damaged in ["", "\n", "short", "\0"] {
            let (dir, path) = holding(damaged, 0o600);
            let refusal = message(local_secret(dir.path(), LocalSecret::TOKEN, &SystemEntropy));
            assert!(refusal.contains("at least 32 bytes"), "{refusal}");
            assert_eq!(fs::read_to_string(path).unwrap(), damaged);
        }
        let (dir, path) = holding("", 0o600);
        fs::write(path, [0xff; 40]).unwrap();
        assert!(
            message(local_secret(dir.path(), LocalSecret::TOKEN, &SystemEntropy))
                .contains("cannot be used")
        );
    }

    #[test]
    fn who_only_reads_makes_nothing() {
        let dir = TempDir::new().unwrap();
        assert!(
            message(read_local_secret(dir.path(), LocalSecret::TOKEN))
                .contains("start the server once")
        );
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        let missing = dir.path().join("missing");
        assert!(
            message(local_secret(&missing, LocalSecret::TOKEN, &SystemEntropy))
                .contains("cannot be made")
        );
        assert!(!missing.exists());
    }
}
