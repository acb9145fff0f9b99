//! Looks through the log for damage that RocksDB would pass over.
//!
//! When the machine stops, the last record of the log may be torn: begun and never acknowledged. It
//! is cut off, and nothing is lost. RocksDB takes more than that for a torn tail, though. A length
//! that points beyond the end of the file, or a header of zeros, ends its reading without an error,
//! even where acknowledged changes follow; they would be undone in silence.
//!
//! The difference can be seen. A batch is written when the one before it is on the disk, and changes
//! are numbered without a gap. So a batch that begins behind a broken one proves that the broken one
//! had been finished, and its number shows that something is missing.
//!
//! A log is a row of blocks, and a block a row of fragments: checksum (4), length (2), kind (1),
//! payload. A batch is one full fragment, or a first, middle ones and a last. It begins with the
//! number of its first change (8) and how many changes it makes (4). All are little-endian.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

const BLOCK_LEN: usize = 32 << 10;
const HEADER_LEN: usize = 7;
const BATCH_HEAD_LEN: usize = 12;

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
    logs.sort_unstable();
    let mut changes = Changes::default();
    for (_, path) in logs.into_iter().filter(|(number, _)| *number >= oldest) {
        if !inspect_log(File::open(&path)?, &mut changes)? {
            return Err(LogFault::Damaged(path));
        }
    }
    Ok(())
}

fn logs(dir: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut logs = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let number = path.file_stem().and_then(|stem| stem.to_str()?.parse().ok());
        if let Some(number) = number.filter(|_| path.extension().is_some_and(|it| it == "log")) {
            logs.push((number, path));
        }
    }
    Ok(logs)
}

/// Whether the changes in a log go on where those before have ended.
fn inspect_log(mut log: impl Read, changes: &mut Changes) -> io::Result<bool> {
    let mut block = Vec::with_capacity(BLOCK_LEN);
    loop {
        block.clear();
        log.by_ref().take(BLOCK_LEN as u64).read_to_end(&mut block)?;
        if block.is_empty() {
            changes.interrupt();
            return Ok(true);
        }
        if !inspect_block(&block, changes) {
            return Ok(false);
        }
    }
}

fn inspect_block(block: &[u8], changes: &mut Changes) -> bool {
    let mut rest = block;
    while rest.len() >= HEADER_LEN {
        if let Some(fragment) = Fragment::at(rest) {
            if !changes.join(&fragment) {
                return false;
            }
            rest = &rest[HEADER_LEN + fragment.payload.len()..];
        } else {
            changes.interrupt();
            // A broken length does not tell where the next fragment begins, so each byte is tried.
            let next = (1..rest.len()).find(|&at| Fragment::at(&rest[at..]).is_some());
            rest = next.map_or(&[], |at| &rest[at..]);
        }
    }
    true
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

/// How far the changes of the logs have been followed.
#[derive(Default)]
struct Changes {
    /// The number of the next change; unknown until the first batch was read.
    next: Option<u64>,
    /// Whether something broken was met.
    interrupted: bool,
    /// The beginning of the batch whose fragments are being read.
    head: Option<Vec<u8>>,
}

impl Changes {
    /// Notes that what was being read ends here without having been finished.
    fn interrupt(&mut self) {
        self.interrupted = true;
        self.head = None;
    }

    /// Follows on with an intact fragment. Returns false where something before it is missing.
    fn join(&mut self, fragment: &Fragment<'_>) -> bool {
        if matches!(fragment.kind, FULL | FIRST) {
            self.head = Some(Vec::with_capacity(BATCH_HEAD_LEN));
        }
        // What goes on without having begun is the rest of something broken.
        let Some(head) = &mut self.head else { return true };
        let lacking = BATCH_HEAD_LEN - head.len();
        head.extend(fragment.payload.iter().take(lacking));
        let Some((first, count)) = parse_head(head) else { return true };
        let follows = match self.next {
            Some(next) => first <= next,
            None => !self.interrupted,
        };
        if matches!(fragment.kind, FULL | LAST) {
            self.next = Some(first.saturating_add(count.into()));
            self.head = None;
        }
        follows
    }
}

fn parse_head(head: &[u8]) -> Option<(u64, u32)> {
    let (first, rest) = head.split_first_chunk()?;
    let (count, _) = rest.split_first_chunk()?;
    Some((u64::from_le_bytes(*first), u32::from_le_bytes(*count)))
}

/// CRC-32C, turned round as the log keeps it, so that a checksum over bytes that hold a checksum
/// stays a good one.
fn masked_crc32c(bytes: &[u8]) -> u32 {
    let step = |crc: u32, &byte: &u8| CRC32C[usize::from(crc.to_le_bytes()[0] ^ byte)] ^ (crc >> 8);
    let crc = !bytes.iter().fold(!0, step);
    crc.rotate_right(15).wrapping_add(0xa282_ead8)
}

/// The remainder of each byte, by the reversed Castagnoli polynomial.
const CRC32C: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte: u32 = 0;
    while byte < 256 {
        let mut remainder = byte;
        let mut bit = 0;
        while bit < 8 {
            let odd = remainder & 1 == 1;
            remainder = (remainder >> 1) ^ if odd { 0x82f6_3b78 } else { 0 };
            bit += 1;
        }
        table[byte as usize] = remainder;
        byte += 1;
    }
    table
};

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

    /// Whether logs with these contents pass.
    fn pass(logs: &[&[u8]]) -> bool {
        let mut changes = Changes::default();
        logs.iter().all(|log| inspect_log(*log, &mut changes).unwrap())
    }

    /// The check value of CRC-32C over `123456789` is `e3069283` in the catalogue of parametrised
    /// CRC algorithms.
    #[test]
    fn the_checksum_is_crc32c() {
        let unmasked = masked_crc32c(b"123456789").wrapping_sub(0xa282_ead8).rotate_left(15);
        assert_eq!(unmasked, 0xe306_9283);
    }

    #[test]
    fn a_batch_cut_short_at_the_end_passes() {
        let log = [batch(1, 3, 100, 100), batch(4, 3, 100, 30)].concat();
        for end in 0..=log.len() {
            assert!(pass(&[&log[..end]]), "{end}");
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
