//! Tells a torn log from a damaged one, where RocksDB does not.
//!
//! When the machine stops, the last batch in the log may be torn: begun and never acknowledged. It
//! is cut off, and nothing is lost. RocksDB takes more than that for a torn end, though. A length
//! that points beyond the end of the file, or a header of zeros, ends its reading without an error,
//! even where acknowledged changes follow; they would be undone in silence.
//!
//! The difference can be seen. A batch is written when the one before it is on the disk, and changes
//! are numbered without a gap. So a batch that begins behind a broken one proves that the broken one
//! had been finished, and its number shows that something is missing.
//!
//! RocksDB also takes less for a torn end. After a power failure the file may have its new length
//! while some of the batch has not reached the disk and reads as zeros. It calls that damage, and
//! would not open again.
//!
//! A log is a row of blocks, and a block a row of fragments: checksum (4), length (2), kind (1),
//! payload. A batch is one full fragment, or a first, middle ones and a last. It begins with the
//! number of its first change (8) and how many changes it makes (4). All are little-endian.

use std::fs::{self, File};
use std::io::{self, Read, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use crate::crc32c::masked_crc32c;

const BLOCK_LEN: usize = 32 << 10;
const HEADER_LEN: usize = 7;
const BATCH_HEAD_LEN: usize = 12;
/// What a disk writes as a whole, or not at all.
const SECTOR_LEN: usize = 512;
/// More zeros than a batch has in a row: they were never written.
const MIN_UNWRITTEN: usize = 64;

/// The kinds of fragments; 3 is a middle one.
const FULL: u8 = 1;
const FIRST: u8 = 2;
const LAST: u8 = 4;

/// What is wrong with the log.
#[derive(Debug, thiserror::Error)]
pub enum LogFault {
    /// A file cannot be read.
    #[error("the log cannot be read")]
    Unreadable(#[from] io::Error),
    /// There is none, though there is one from the first opening on.
    #[error("the log is missing")]
    Missing,
    /// Intact changes follow what is damaged or missing.
    #[error("changes in or before the log {} are damaged, and intact ones follow", .0.display())]
    Damaged(PathBuf),
}

/// Looks through the logs in `dir`, but for those whose number is below `oldest`: what they hold
/// stands in sorted files already.
pub fn inspect(dir: &Path, oldest: u64) -> Result<(), LogFault> {
    let mut logs = logs(dir)?;
    if logs.is_empty() {
        return Err(LogFault::Missing);
    }
    logs.retain(|(number, _)| *number >= oldest);
    follow(logs).map(drop)
}

/// Cuts off the last batch of a log in `dir` if some of it was never written. Returns whether there
/// was one.
pub fn cut_unwritten(dir: &Path) -> Result<bool, LogFault> {
    let mut cut = false;
    for (path, torn_from) in follow(logs(dir)?)? {
        let mut log = File::options().read(true).write(true).open(path)?;
        if has_unwritten_sector(&mut log, torn_from)? {
            log.set_len(torn_from)?;
            log.sync_all()?;
            cut = true;
        }
    }
    Ok(cut)
}

/// Looks through logs in their order, and tells which are torn, and where.
fn follow(logs: Vec<(u64, PathBuf)>) -> Result<Vec<(PathBuf, u64)>, LogFault> {
    let mut changes = Changes::default();
    let mut torn = Vec::new();
    for (_, path) in logs {
        match changes.follow_log(File::open(&path)?)? {
            LogEnd::Whole => {}
            LogEnd::Torn(from) => torn.push((path, from)),
            LogEnd::Damaged => return Err(LogFault::Damaged(path)),
        }
    }
    Ok(torn)
}

/// Whether a sector behind `from`, or what there is of the last one, holds nothing but zeros.
fn has_unwritten_sector(log: &mut File, from: u64) -> io::Result<bool> {
    log.seek(SeekFrom::Start(from.next_multiple_of(SECTOR_LEN as u64)))?;
    let mut sector = Vec::with_capacity(SECTOR_LEN);
    loop {
        sector.clear();
        log.take(SECTOR_LEN as u64).read_to_end(&mut sector)?;
        if sector.len() < MIN_UNWRITTEN {
            return Ok(false);
        }
        if sector.iter().all(|&byte| byte == 0) {
            return Ok(true);
        }
    }
}

/// The logs in `dir` with their numbers, oldest first.
fn logs(dir: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut logs = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let number = path.file_stem().and_then(|stem| stem.to_str()?.parse().ok());
        if let Some(number) = number.filter(|_| path.extension().is_some_and(|it| it == "log")) {
            logs.push((number, path));
        }
    }
    logs.sort_unstable();
    Ok(logs)
}

struct Fragment<'a> {
    kind: u8,
    payload: &'a [u8],
}

impl<'a> Fragment<'a> {
    /// The fragment that begins here, if one does and is intact.
    fn at(bytes: &'a [u8]) -> Option<Self> {
        let (checksum, rest) = bytes.split_first_chunk()?;
        let (length, rest) = rest.split_first_chunk()?;
        let length = usize::from(u16::from_le_bytes(*length));
        let (&kind, payload) = rest.split_first()?;
        if !(FULL..=LAST).contains(&kind) || payload.len() < length {
            return None;
        }
        let intact = masked_crc32c(&rest[..=length]) == u32::from_le_bytes(*checksum);
        intact.then_some(Self { kind, payload: &payload[..length] })
    }
}

/// How a log ends.
#[derive(Debug, PartialEq, Eq)]
enum LogEnd {
    /// With a finished batch, or it is empty.
    Whole,
    /// With a batch that begins here and is not finished.
    Torn(u64),
    /// Before its end, with a batch that proves that something before it is missing.
    Damaged,
}

/// How far the changes of the logs have been followed.
#[derive(Default)]
struct Changes {
    /// The number of the next change; unknown until the first batch was read.
    next: Option<u64>,
    /// Whether anything broken was met, in any log.
    broken: bool,
    /// The beginning of the batch whose fragments are being read.
    head: Option<Vec<u8>>,
    /// Where, in this log, the batch begins that is not finished.
    unfinished: Option<u64>,
}

impl Changes {
    fn follow_log(&mut self, mut log: impl Read) -> io::Result<LogEnd> {
        let mut block = Vec::with_capacity(BLOCK_LEN);
        let mut at = 0;
        loop {
            block.clear();
            log.by_ref().take(BLOCK_LEN as u64).read_to_end(&mut block)?;
            if block.is_empty() {
                break;
            }
            if !self.follow_block(at, &block) {
                return Ok(LogEnd::Damaged);
            }
            at += block.len() as u64;
        }
        self.head = None;
        self.broken |= self.unfinished.is_some();
        Ok(self.unfinished.take().map_or(LogEnd::Whole, LogEnd::Torn))
    }

    /// Follows on through the block that begins at `start` of its log. Returns false where something
    /// before it, or in it, is missing.
    fn follow_block(&mut self, start: u64, block: &[u8]) -> bool {
        let mut offset = 0;
        // Fewer bytes than a header has are filling, or the end of a torn log.
        while block.len() - offset >= HEADER_LEN {
            let at = start + offset as u64;
            if let Some(fragment) = Fragment::at(&block[offset..]) {
                if !self.join(at, &fragment) {
                    return false;
                }
                offset += HEADER_LEN + fragment.payload.len();
            } else {
                self.broken = true;
                self.head = None;
                self.unfinished.get_or_insert(at);
                // A broken length does not tell where the next fragment begins.
                let begins = |&at: &usize| Fragment::at(&block[at..]).is_some();
                offset = (offset + 1..block.len()).find(begins).unwrap_or(block.len());
            }
        }
        // What is left of a torn header is the beginning of a batch, and filling is zeros.
        if block[offset..].iter().any(|&byte| byte != 0) {
            self.unfinished.get_or_insert(start + offset as u64);
        }
        true
    }

    /// Follows on with an intact fragment. Returns false where something before it is missing.
    fn join(&mut self, at: u64, fragment: &Fragment<'_>) -> bool {
        if matches!(fragment.kind, FULL | FIRST) {
            self.head = Some(Vec::with_capacity(BATCH_HEAD_LEN));
            self.unfinished = Some(at);
        }
        // What goes on without having begun is the rest of something broken.
        let Some(head) = &mut self.head else { return true };
        let lacking = BATCH_HEAD_LEN - head.len();
        head.extend(fragment.payload.iter().take(lacking));
        let Some((first, count)) = parse_head(head) else { return true };
        let follows = match self.next {
            Some(next) => first <= next,
            None => !self.broken,
        };
        if matches!(fragment.kind, FULL | LAST) {
            self.next = Some(first.saturating_add(count.into()));
            self.head = None;
            self.unfinished = None;
        }
        follows
    }
}

fn parse_head(head: &[u8]) -> Option<(u64, u32)> {
    let (first, rest) = head.split_first_chunk()?;
    let (count, _) = rest.split_first_chunk()?;
    Some((u64::from_le_bytes(*first), u32::from_le_bytes(*count)))
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    /// A batch of `count` changes from number `first` on, as fragments of at most `most` bytes.
    fn batch(first: u64, count: u32, len: usize, most: usize) -> Vec<u8> {
        let mut payload = first.to_le_bytes().to_vec();
        payload.extend(count.to_le_bytes());
        payload.resize(len, b'x');
        let pieces: Vec<&[u8]> = payload.chunks(most).collect();
        let last = pieces.len() - 1;
        let kind = |n| match (n == 0, n == last) {
            (true, true) => FULL,
            (true, false) => FIRST,
            (false, true) => LAST,
            (false, false) => 3,
        };
        pieces.iter().enumerate().flat_map(|(n, piece)| fragment(kind(n), piece)).collect()
    }

    fn fragment(kind: u8, payload: &[u8]) -> Vec<u8> {
        let body = [&[kind], payload].concat();
        let mut bytes = masked_crc32c(&body).to_le_bytes().to_vec();
        bytes.extend(u16::try_from(payload.len()).unwrap().to_le_bytes());
        bytes.extend(body);
        bytes
    }

    /// How each of these logs ends.
    fn ends(logs: &[&[u8]]) -> Vec<LogEnd> {
        let mut changes = Changes::default();
        logs.iter().map(|log| changes.follow_log(*log).unwrap()).collect()
    }

    fn pass(logs: &[&[u8]]) -> bool {
        !ends(logs).contains(&LogEnd::Damaged)
    }

    #[test]
    fn a_batch_cut_short_at_the_end_passes() {
        let log = [batch(1, 3, 100, 100), batch(4, 3, 100, 30)].concat();
        let first = batch(1, 3, 100, 100).len();
        for end in 0..=log.len() {
            let expected = match end {
                0 => LogEnd::Whole,
                _ if end == first || end == log.len() => LogEnd::Whole,
                _ if end < first => LogEnd::Torn(0),
                _ => LogEnd::Torn(first as u64),
            };
            assert_eq!(ends(&[&log[..end]]), [expected], "{end}");
            assert!(pass(&[&[&log[..end], &[0; 50]].concat()]), "{end} and zeros");
        }
    }

    #[test]
    fn a_changed_byte_before_the_last_batch_does_not_pass() {
        let [one, two, three] = [batch(1, 3, 80, 80), batch(4, 3, 80, 9), batch(7, 3, 80, 80)];
        let last = one.len() + two.len();
        let log = [one, two, three].concat();
        assert!(pass(&[&log]));
        for at in 0..log.len() {
            for bit in 0..8 {
                let mut log = log.clone();
                log[at] ^= 1 << bit;
                assert_eq!(pass(&[&log]), at >= last, "bit {bit} of byte {at}");
            }
        }
    }

    #[test]
    fn zeros_before_the_last_batch_do_not_pass() {
        let (one, two) = (batch(1, 3, 80, 80), batch(4, 3, 80, 80));
        assert!(!pass(&[&[&vec![0; one.len()][..], &two].concat()]));
        let block = [&one[..], &vec![0; BLOCK_LEN - one.len()]].concat();
        assert!(pass(&[&[&block[..], &two].concat()]));
        assert!(!pass(&[&[&block[..], &batch(5, 3, 80, 80)].concat()]));
    }

    #[test]
    fn a_torn_batch_whose_later_blocks_are_there_passes() {
        let mut torn = batch(4, 3, 300, 100);
        torn[110] ^= 1;
        assert!(pass(&[&[batch(1, 3, 80, 80), torn].concat()]));
    }

    #[test]
    fn a_log_goes_on_where_the_one_before_ended() {
        let (one, two) = (batch(1, 3, 80, 80), batch(4, 3, 80, 80));
        assert!(pass(&[&one, &two]));
        assert!(pass(&[&one, b"", &two]));
        assert!(pass(&[&one, &two[..50], &two]), "a torn batch whose number was used again");
        assert!(!pass(&[&one, &batch(5, 3, 80, 80)]));
        assert!(!pass(&[&one[..50], &two]));
    }

    #[test]
    fn a_log_that_is_needed_no_more_does_not_count() {
        let dir = TempDir::new().unwrap();
        for (n, log) in [(9, batch(1, 3, 80, 80)), (11, batch(7, 3, 80, 80))] {
            fs::write(dir.path().join(format!("{n:06}.log")), log).unwrap();
        }
        assert!(inspect(dir.path(), 10).is_ok());
        assert!(matches!(inspect(dir.path(), 9), Err(LogFault::Damaged(_))));
    }
    #[test]
    fn a_directory_without_a_log_is_a_fault() {
        let dir = TempDir::new().unwrap();
        fs::write(dir.path().join("notes.log"), "").unwrap();
        assert!(matches!(inspect(dir.path(), 0), Err(LogFault::Missing)));
    }
}
