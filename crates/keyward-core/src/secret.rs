//! What a key looks like, and what is kept of it.
//!
//! ```text
//! sk_live_<43 random characters><6 characters of checksum>
//! ```
//!
//! The random part is drawn evenly from the 62 characters `0-9A-Za-z`, which makes 256 bits. The
//! checksum is CRC-32/ISO-HDLC over everything before it (prefix, underscore and random part), as six
//! base62 digits, most significant first, padded with `0`. It lets scanners confirm a leaked key
//! offline and lets the server refuse noise without touching storage; it protects nothing else.
//!
//! Stored is the SHA-256 of the whole key, never the key: with 256 random bits there is nothing for
//! a slow password hash to slow down.

use std::fmt;

use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::clock::{Entropy, EntropyError};

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Random characters in a key: 62^43 is just above 2^256.
const RANDOM_LEN: usize = 43;
/// Base62 digits of a 32-bit checksum.
const CHECKSUM_LEN: usize = 6;
/// Random characters that [`KeyPrefix`] publishes.
const PUBLISHED_LEN: usize = 4;
/// Longest prefix that may be configured.
const MAX_PREFIX_LEN: usize = 32;

/// Configured prefixes with which no deployment can work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPrefix {
    /// One of them could not be told apart from the rest of a key, or has no place in a header.
    #[error(
        "a key prefix is 1 to {MAX_PREFIX_LEN} letters, digits and underscores that begin with a \
         letter and do not end with an underscore; several are separated by commas alone"
    )]
    Malformed,
    /// One of them is listed twice, which is a slip: another was meant.
    #[error("a key prefix is listed twice")]
    Repeated,
}

/// What was presented does not have the shape or the checksum of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the key is malformed")]
pub struct MalformedKey;

/// How the keys of this deployment begin, and with it how they are minted and recognised.
///
/// It may have several prefixes, so that the prefix can be changed while keys with the old one are in
/// use. A key has one of them at most, even where one prefix begins another (`sk` and `sk_live`): two
/// prefixes of the same length differ within the key, and two of different lengths make keys of
/// different lengths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyFormat {
    /// The prefixes, each with the underscore that ends it. The first begins new keys.
    leads: Box<[String]>,
}

impl KeyFormat {
    /// The format of keys that begin with one of `prefixes` (such as `sk_live`, or
    /// `acme_live,sk_live`) and an underscore. New keys get the first.
    ///
    /// # Errors
    ///
    /// When there is no prefix, one of them is malformed, or one is there twice.
    pub fn new(prefixes: &str) -> Result<Self, InvalidPrefix> {
        let mut leads = Vec::new();
        for prefix in prefixes.split(',') {
            let lead = lead(prefix).ok_or(InvalidPrefix::Malformed)?;
            if leads.contains(&lead) {
                return Err(InvalidPrefix::Repeated);
            }
            leads.push(lead);
        }
        Ok(Self { leads: leads.into() })
    }

    /// Makes a new key.
    ///
    /// # Errors
    ///
    /// When the source of randomness fails.
    pub fn mint(&self, entropy: &dyn Entropy) -> Result<PlainKey, EntropyError> {
        let lead = &*self.leads[0];
        // Sized once: a buffer that grew would leave copies of the secret behind it.
        let mut text = Zeroizing::new(String::with_capacity(key_len(lead)));
        text.push_str(lead);
        let mut pool = Zeroizing::new([0; 64]);
        while text.len() < lead.len() + RANDOM_LEN {
            entropy.fill(&mut *pool)?;
            // 248 is the largest multiple of 62 in a byte; beyond it some characters would be
            // more likely than others.
            for byte in pool.iter().filter(|&&byte| byte < 248) {
                if text.len() == lead.len() + RANDOM_LEN {
                    break;
                }
                text.push(char::from(ALPHABET[usize::from(byte % 62)]));
            }
        }
        let checksum = checksum(text.as_bytes());
        text.extend(checksum.map(char::from));
        Ok(PlainKey { text, published: lead.len() + PUBLISHED_LEN })
    }

    /// Recognises a presented key and gives its digest, by which alone it is looked up.
    ///
    /// # Errors
    ///
    /// When the shape or the checksum is wrong. No storage needs to be asked then.
    pub fn digest(&self, presented: &str) -> Result<KeyDigest, MalformedKey> {
        let bytes = presented.as_bytes();
        let fits =
            |lead: &&String| bytes.len() == key_len(lead) && bytes.starts_with(lead.as_bytes());
        let lead = self.leads.iter().find(fits).ok_or(MalformedKey)?;
        let (body, claimed) = bytes.split_at(bytes.len() - CHECKSUM_LEN);
        let random = &body[lead.len()..];
        if !random.iter().all(u8::is_ascii_alphanumeric) || claimed != checksum(body) {
            return Err(MalformedKey);
        }
        Ok(KeyDigest::of(bytes))
    }

    /// Whether a key, or the beginning of one, may be in `text`: one of the prefixes and its underscore
    /// are.
    pub fn may_be_in(&self, text: &str) -> bool {
        self.leads.iter().any(|lead| text.contains(lead))
    }
}

/// What a key with this prefix begins with, or `None` where none can.
fn lead(prefix: &str) -> Option<String> {
    let good = prefix.len() <= MAX_PREFIX_LEN
        && prefix.starts_with(|c: char| c.is_ascii_alphabetic())
        && !prefix.ends_with('_')
        && prefix.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    good.then(|| format!("{prefix}_"))
}

fn key_len(lead: &str) -> usize {
    lead.len() + RANDOM_LEN + CHECKSUM_LEN
}

fn checksum(body: &[u8]) -> [u8; CHECKSUM_LEN] {
    let mut rest = crc32fast::hash(body);
    let mut digits = [b'0'; CHECKSUM_LEN];
    for digit in digits.iter_mut().rev() {
        *digit = ALPHABET[(rest % 62) as usize];
        rest /= 62;
    }
    digits
}

/// A raw key between its making and the one answer that shows it.
///
/// It cannot be copied, printed or serialised, and its memory is wiped when it goes.
pub struct PlainKey {
    text: Zeroizing<String>,
    published: usize,
}

impl PlainKey {
    /// The digest under which the key is stored.
    pub fn digest(&self) -> KeyDigest {
        KeyDigest::of(self.text.as_bytes())
    }

    /// The first characters, which may be shown.
    pub fn key_prefix(&self) -> KeyPrefix {
        KeyPrefix(self.text[..self.published].into())
    }

    /// Gives the secret away. This ends the value: there is one answer that shows it.
    pub fn reveal(self) -> Zeroizing<String> {
        self.text
    }
}

impl fmt::Debug for PlainKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PlainKey(redacted)")
    }
}

/// The SHA-256 of a whole key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyDigest([u8; 32]);

impl KeyDigest {
    fn of(key: &[u8]) -> Self {
        let mut hasher = Sha256::new();
        hasher.update(key);
        Self(hasher.finalize().into())
    }

    /// The digest with these bytes, as a driver read them back.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes of the digest, for a driver to store.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// A digest is no secret that opens anything, but it has no business in a log either.
impl fmt::Debug for KeyDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyDigest({:02x}{:02x}…)", self.0[0], self.0[1])
    }
}

/// The first characters of a key, such as `sk_live_abc1`: prefix, underscore and four of the 43
/// random characters. It identifies a key to a person; nothing is ever looked up by it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct KeyPrefix(Box<str>);

impl KeyPrefix {
    /// The prefix as a driver read it back, or `None` where the text cannot have been one.
    pub fn from_stored(text: &str) -> Option<Self> {
        let longest = MAX_PREFIX_LEN + 1 + PUBLISHED_LEN;
        let good = (PUBLISHED_LEN + 2..=longest).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        good.then(|| Self(text.into()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod fuzz;

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;
    use crate::clock::{SeededEntropy, SystemEntropy};

    fn format() -> KeyFormat {
        KeyFormat::new("sk_live").unwrap()
    }

    fn mint(seed: u64) -> String {
        format().mint(&SeededEntropy::new(seed)).unwrap().reveal().to_string()
    }

    proptest! {
        #[test]
        fn what_is_minted_parses(seed: u64) {
            let key = format().mint(&SeededEntropy::new(seed)).unwrap();
            let (digest, prefix) = (key.digest(), key.key_prefix());
            let text = key.reveal();
            prop_assert_eq!(text.len(), 57);
            prop_assert_eq!(format().digest(&text), Ok(digest));
            prop_assert_eq!(prefix.as_str(), &text[..12]);
            prop_assert_eq!(KeyPrefix::from_stored(prefix.as_str()), Some(prefix));
        }

        #[test]
        fn a_changed_character_is_refused(seed: u64, at in 0..57_usize, to in 0..128_u8) {
            let key = mint(seed);
            let mut changed = key.clone().into_bytes();
            prop_assume!(changed[at] != to);
            changed[at] = to;
            prop_assert_eq!(format().digest(&String::from_utf8(changed).unwrap()), Err(MalformedKey));
        }

        #[test]
        fn two_swapped_neighbours_are_refused(seed: u64, at in 0..56_usize) {
            let mut swapped = mint(seed).into_bytes();
            prop_assume!(swapped[at] != swapped[at + 1]);
            swapped.swap(at, at + 1);
            prop_assert_eq!(format().digest(&String::from_utf8(swapped).unwrap()), Err(MalformedKey));
        }

        #[test]
        fn a_dropped_or_added_character_is_refused(seed: u64, at in 0..57_usize, extra in "[0-9A-Za-z]") {
            let key = mint(seed);
            let dropped = format!("{}{}", &key[..at], &key[at + 1..]);
            prop_assert_eq!(format().digest(&dropped), Err(MalformedKey));
            let added = format!("{}{extra}{}", &key[..at], &key[at..]);
            prop_assert_eq!(format().digest(&added), Err(MalformedKey));
        }

        /// Of whatever prefixes, the one of another or not: no key is one of two of them.
        #[test]
        fn a_key_has_one_prefix_at_most(
            first in "[ab](_?[ab]){0,3}",
            second in "[ab](_?[ab]){0,3}",
            seed: u64,
        ) {
            prop_assume!(first != second);
            let (one, other) = (KeyFormat::new(&first).unwrap(), KeyFormat::new(&second).unwrap());
            let key = one.mint(&SeededEntropy::new(seed)).unwrap();
            let (digest, text) = (key.digest(), key.reveal());
            prop_assert_eq!(other.digest(&text), Err(MalformedKey));
            let both = KeyFormat::new(&format!("{second},{first}")).unwrap();
            prop_assert_eq!(both.digest(&text), Ok(digest));
        }
    }

    #[test]
    fn another_prefix_is_another_format() {
        let key = mint(1);
        assert_eq!(KeyFormat::new("pk_live").unwrap().digest(&key), Err(MalformedKey));
        for bad in ["", "_sk", "sk_", "1sk", "sk-live", "sk live", &"s".repeat(33)] {
            for list in [bad, &format!("sk_live,{bad}"), &format!("{bad},sk_live")] {
                assert_eq!(KeyFormat::new(list), Err(InvalidPrefix::Malformed), "{list}");
            }
        }
    }

    #[test]
    fn the_first_prefix_begins_new_keys_and_all_are_recognised() {
        let (old, both) = (format(), KeyFormat::new("acme_live,sk_live").unwrap());
        let (old_key, new_key) = (mint(1), both.mint(&SeededEntropy::new(1)).unwrap());
        assert_eq!(new_key.key_prefix().as_str(), format!("acme_live_{}", &old_key[8..12]));
        let (digest, new_key) = (new_key.digest(), new_key.reveal());
        assert_eq!(both.digest(&new_key), Ok(digest));
        assert_eq!(both.digest(&old_key), old.digest(&old_key));
        assert_eq!(old.digest(&new_key), Err(MalformedKey));
        let neither = KeyFormat::new("acme_test,sk").unwrap();
        assert_eq!(neither.digest(&old_key), Err(MalformedKey));
        assert_eq!(neither.digest(&new_key), Err(MalformedKey));
    }

    #[test]
    fn a_prefix_that_is_listed_twice_is_refused() {
        for list in ["sk,sk", "sk,pk,sk"] {
            assert_eq!(KeyFormat::new(list), Err(InvalidPrefix::Repeated), "{list}");
        }
        assert!(KeyFormat::new("sk,SK,sk_sk").is_ok());
    }

    #[test]
    fn a_text_with_any_of_the_prefixes_may_have_a_key_in_it() {
        let format = KeyFormat::new("acme,sk_live").unwrap();
        assert!(["sk_live_abc1", "trace-acme_"].iter().all(|text| format.may_be_in(text)));
        assert!(!["acme", "sk_test_abc1", ""].iter().any(|text| format.may_be_in(text)));
    }

    /// The check value of CRC-32/ISO-HDLC over `123456789` is `cbf43926` in the catalogue of
    /// parametrised CRC algorithms; in base62 that is `3jZRME`.
    #[test]
    fn the_checksum_is_crc32_iso_hdlc_in_base62() {
        assert_eq!(checksum(b"123456789")[..], *b"3jZRME");
        assert_eq!(checksum(b"")[..], *b"000000");
    }

    /// Pearson's chi-squared with 61 degrees of freedom: the mean is 61 and the deviation 11, so 130
    /// is more than six deviations out.
    #[test]
    fn characters_are_evenly_distributed() {
        let entropy = SeededEntropy::new(7);
        let mut counts = [0_u32; 128];
        let keys = 20_000;
        for _ in 0..keys {
            let key = format().mint(&entropy).unwrap().reveal();
            for byte in key[8..51].bytes() {
                counts[usize::from(byte)] += 1;
            }
        }
        let expected = f64::from(keys) * 43.0 / 62.0;
        let chi_squared: f64 = ALPHABET
            .iter()
            .map(|&c| (f64::from(counts[usize::from(c)]) - expected).powi(2) / expected)
            .sum();
        assert!(chi_squared < 130.0, "{chi_squared}");
    }

    #[test]
    fn a_million_keys_are_all_different() {
        let mut seen = HashSet::with_capacity(1_000_000);
        for _ in 0..1_000_000 {
            assert!(seen.insert(format().mint(&SystemEntropy).unwrap().digest()));
        }
    }

    #[test]
    fn a_key_is_not_printed() {
        let key = format().mint(&SystemEntropy).unwrap();
        assert_eq!(format!("{key:?}"), "PlainKey(redacted)");
    }
}
