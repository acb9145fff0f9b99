//! The values: how a record is written, and read back.
//!
//! The first byte of every value is its version. A record of version 1 is
//!
//! | bytes | field |
//! |---|---|
//! | 1 | version |
//! | 32 | digest of the key |
//! | 16 | `created_by` |
//! | 8 | `updated_at`, microseconds, signed, big-endian |
//! | 1 | status: 0 active, 1 revoked |
//! | 1 | scopes: 0 none were named, 1 they were |
//! | … | `key_prefix`, name and scopes (separated by spaces), each ended by a zero byte |
//!
//! No prefix, name or scope can hold a zero byte. What the key of the entry says already (workspace,
//! time of creation, id) is not said again.
//!
//! Reading is strict: a value of another version, or with anything missing, amiss or left over, is
//! an error and never a guess. A later version may append fields; a program that does not know it
//! refuses the record by the first byte instead of overlooking, say, that the key has expired.

use keyward_core::clock::Timestamp;
use keyward_core::id::AccountId;
use keyward_core::key::{ApiKey, KeyName, Status};
use keyward_core::scope::{Scope, Scopes};
use keyward_core::secret::{KeyDigest, KeyPrefix};
use keyward_core::store::StoredKey;

use crate::layout::{PLACE_LEN, Place};

const RECORD_VERSION: u8 = 1;
const INDEX_VERSION: u8 = 1;

/// Bytes that no version of this program wrote, or that a later one did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// A value of a version that this program does not know.
    #[error("a value has version {0}, which this program does not know")]
    Version(u8),
    /// A field that is missing or cannot be what it should be.
    #[error("a value is malformed: {0}")]
    Field(&'static str),
}

/// The value of an entry in `digests` or `ids`.
pub fn encode_index(place: &Place) -> [u8; 1 + PLACE_LEN] {
    let mut value = [INDEX_VERSION; 1 + PLACE_LEN];
    value[1..].copy_from_slice(place.as_bytes());
    value
}

/// The place that an entry in `digests` or `ids` points to.
pub fn decode_index(value: &[u8]) -> Result<Place, Malformed> {
    let mut fields = Fields::of(value, INDEX_VERSION)?;
    let place = fields.array("place")?;
    fields.end()?;
    Ok(Place::from_bytes(place))
}

/// The value of an entry in `keys`.
pub fn encode_record(stored: &StoredKey) -> Vec<u8> {
    let StoredKey { key, digest } = stored;
    let mut value = Vec::with_capacity(128);
    value.push(RECORD_VERSION);
    value.extend(digest.as_bytes());
    value.extend(key.created_by.as_bytes());
    value.extend(key.updated_at.as_micros().to_be_bytes());
    value.push(match key.status {
        Status::Active => 0,
        Status::Revoked => 1,
    });
    value.push(u8::from(key.named_scopes.is_some()));
    let scopes = key.named_scopes.as_ref().map(Scopes::to_string).unwrap_or_default();
    for text in [key.key_prefix.as_str(), key.name.as_str(), &scopes] {
        value.extend(text.as_bytes());
        value.push(0);
    }
    value
}

/// The record that stands at `place` with this value.
pub fn decode_record(place: &Place, value: &[u8]) -> Result<StoredKey, Malformed> {
    let mut fields = Fields::of(value, RECORD_VERSION)?;
    let digest = KeyDigest::from_bytes(fields.array("digest")?);
    let created_by = AccountId::from_bytes(fields.array("created_by")?);
    let updated_at = fields.timestamp()?;
    let status = fields.status()?;
    let scopes_named = fields.flag("scopes")?;
    let key_prefix = fields.text("key_prefix")?;
    let name = fields.text("name")?;
    let scopes = fields.text("scopes")?;
    fields.end()?;
    let key = ApiKey {
        id: place.id(),
        workspace_id: place.workspace(),
        name: decode_name(name)?,
        key_prefix: KeyPrefix::from_stored(key_prefix).ok_or(Malformed::Field("key_prefix"))?,
        status,
        created_by,
        created_at: place.created_at().ok_or(Malformed::Field("created_at"))?,
        updated_at,
        named_scopes: decode_scopes(scopes_named, scopes)?,
    };
    Ok(StoredKey { key, digest })
}

fn decode_name(text: &str) -> Result<KeyName, Malformed> {
    let name = KeyName::new(text).map_err(|_| Malformed::Field("name"))?;
    // Trimming must leave it as it is: what was written had been trimmed.
    if name.as_str() == text { Ok(name) } else { Err(Malformed::Field("name")) }
}

fn decode_scopes(named: bool, text: &str) -> Result<Option<Scopes>, Malformed> {
    let malformed = Malformed::Field("scopes");
    if !named {
        return if text.is_empty() { Ok(None) } else { Err(malformed) };
    }
    let scopes: Result<Scopes, _> = text.split_terminator(' ').map(str::parse::<Scope>).collect();
    let scopes = scopes.map_err(|_| malformed)?;
    // They are written in order and without repeats.
    if scopes.to_string() == text { Ok(Some(scopes)) } else { Err(malformed) }
}

/// The rest of a value, taken field by field.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn of(value: &'a [u8], version: u8) -> Result<Self, Malformed> {
        match value.split_first() {
            Some((&first, rest)) if first == version => Ok(Self(rest)),
            Some((&first, _)) => Err(Malformed::Version(first)),
            None => Err(Malformed::Field("version")),
        }
    }

    fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], Malformed> {
        let (array, rest) = self.0.split_first_chunk().ok_or(Malformed::Field(field))?;
        self.0 = rest;
        Ok(*array)
    }

    fn timestamp(&mut self) -> Result<Timestamp, Malformed> {
        let micros = i64::from_be_bytes(self.array("updated_at")?);
        Timestamp::from_micros(micros).ok_or(Malformed::Field("updated_at"))
    }

    fn status(&mut self) -> Result<Status, Malformed> {
        Ok(if self.flag("status")? { Status::Revoked } else { Status::Active })
    }

    fn flag(&mut self, field: &'static str) -> Result<bool, Malformed> {
        match self.array(field)? {
            [0] => Ok(false),
            [1] => Ok(true),
            _ => Err(Malformed::Field(field)),
        }
    }

    fn text(&mut self, field: &'static str) -> Result<&'a str, Malformed> {
        let malformed = Malformed::Field(field);
        let end = self.0.iter().position(|&byte| byte == 0).ok_or(malformed)?;
        let text = str::from_utf8(&self.0[..end]).map_err(|_| malformed)?;
        self.0 = &self.0[end + 1..];
        Ok(text)
    }

    fn end(self) -> Result<(), Malformed> {
        if self.0.is_empty() { Ok(()) } else { Err(Malformed::Field("bytes left over")) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{key, places, stored_keys};

    proptest! {
        #[test]
        fn a_record_is_read_back_as_it_was_written(stored in stored_keys()) {
            let place = Place::of(&stored.key);
            prop_assert_eq!(decode_record(&place, &encode_record(&stored)), Ok(stored));
        }

        #[test]
        fn a_place_is_read_back_as_it_was_written(place in places()) {
            prop_assert_eq!(decode_index(&encode_index(&place)), Ok(place));
        }

        #[test]
        fn no_bytes_make_reading_panic(
            place in places(),
            value in prop::collection::vec(any::<u8>(), 0..300),
        ) {
            let _ = decode_record(&place, &value);
            let _ = decode_index(&value);
            let known = [&[RECORD_VERSION][..], &value].concat();
            let _ = decode_record(&place, &known);
        }

        #[test]
        fn what_can_be_read_is_what_would_be_written(
            stored in stored_keys(),
            at: prop::sample::Index,
            to: u8,
        ) {
            let mut value = encode_record(&stored);
            let at = at.index(value.len());
            value[at] = to;
            if let Ok(read) = decode_record(&Place::of(&stored.key), &value) {
                prop_assert_eq!(encode_record(&read), value);
            }
        }

        #[test]
        fn a_value_with_bytes_missing_or_left_over_is_refused(stored in stored_keys(), cut: prop::sample::Index) {
            let place = Place::of(&stored.key);
            let value = encode_record(&stored);
            prop_assert!(decode_record(&place, &value[..cut.index(value.len())]).is_err());
            let longer = [&value[..], &[0]].concat();
            prop_assert_eq!(decode_record(&place, &longer), Err(Malformed::Field("bytes left over")));
        }
    }

    #[test]
    fn a_record_of_a_later_version_is_refused_by_its_first_byte() {
        let stored = StoredKey { key: key(1, 1), digest: KeyDigest::from_bytes([1; 32]) };
        let mut value = encode_record(&stored);
        value[0] = 2;
        value.extend(b"a field of later times");
        assert_eq!(decode_record(&Place::of(&stored.key), &value), Err(Malformed::Version(2)));
        let mut value = encode_index(&Place::of(&stored.key));
        value[0] = 2;
        assert_eq!(decode_index(&value), Err(Malformed::Version(2)));
    }

    /// The format stands in data directories, so it may only change together with its version.
    #[test]
    fn version_1_is_these_bytes() {
        let mut key = key(1, 1);
        key.named_scopes = Some(Scopes::from_claim("b a"));
        let stored = StoredKey { key, digest: KeyDigest::from_bytes([0xd1; 32]) };
        let mut expected = vec![1];
        expected.extend([0xd1; 32]);
        expected.extend(77_u128.to_be_bytes());
        expected.extend(1_705_311_000_000_001_i64.to_be_bytes());
        expected.extend([0, 1]);
        expected.extend(b"sk_live_abc1\0a key 1\0a b\0");
        assert_eq!(encode_record(&stored), expected);
    }
}
