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
//! A record of version 2 is one that has details. It goes on with
//!
//! | bytes | field |
//! |---|---|
//! | 1 | which of the next follow: 1 `expires_at`, 2 `rotated_from`, 4 `rotated_to`, 8 `revoked_at`, 16 `revoked_by`, 32 the reason |
//! | 8, 16, 16, 8, 16, 1 | those, in this order; a reason is its place in [`REASONS`] |
//! | 1 | how many entries the metadata has |
//! | … | the description, and then names and values of the metadata, each ended by a zero byte |
//!
//! No text among them can hold a zero byte. What the key of the entry says already (workspace,
//! time of creation, id) is not said again.
//!
//! Reading is strict: a value of another version, or with anything missing, amiss or left over, is
//! an error and never a guess. A later version may append fields; a program that does not know it
//! refuses the record by the first byte instead of overlooking, say, that the key has expired.

pub mod events;

use std::collections::BTreeMap;

use keyward_core::clock::Timestamp;
use keyward_core::details::{Description, Details, Metadata, Reason, Revocation};
use keyward_core::id::{AccountId, KeyId};
use keyward_core::key::{ApiKey, KeyName, Status};
use keyward_core::scope::{Scope, Scopes};
use keyward_core::secret::{KeyDigest, KeyPrefix};
use keyward_core::store::StoredKey;

use crate::layout::{PLACE_LEN, Place};

/// Of a record without details, and of one with some.
const PLAIN: u8 = 1;
const DETAILED: u8 = 2;
const INDEX_VERSION: u8 = 1;

/// In the order of their numbers, to which only the end may add.
const REASONS: [Reason; 5] = [
    Reason::KeyCompromise,
    Reason::AffiliationChanged,
    Reason::Superseded,
    Reason::CessationOfOperation,
    Reason::PrivilegeWithdrawn,
];

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
    let detailed = *key.details != Details::NONE;
    value.push(if detailed { DETAILED } else { PLAIN });
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
    if detailed {
        encode_details(&mut value, &key.details);
    }
    value
}

fn encode_details(value: &mut Vec<u8>, details: &Details) {
    let flags = value.len();
    value.push(0);
    let revocation = details.revocation;
    let time = |time: Timestamp| time.as_micros().to_be_bytes().to_vec();
    let id = |id: KeyId| id.as_bytes().to_vec();
    let fields = [
        details.expires_at.map(time),
        details.rotated_from.map(id),
        details.rotated_to.map(id),
        revocation.map(|it| time(it.at)),
        revocation.and_then(|it| it.by).map(|by| by.as_bytes().to_vec()),
        revocation.and_then(|it| it.reason).map(|reason| vec![number(reason)]),
    ];
    for (at, field) in fields.into_iter().enumerate() {
        if let Some(field) = field {
            value[flags] |= 1 << at;
            value.extend(field);
        }
    }
    // There are 32 at most.
    value.push(details.metadata.iter().len().try_into().unwrap_or(u8::MAX));
    let description = details.description.as_ref().map_or("", Description::as_str);
    let metadata = details.metadata.iter().flat_map(|(name, value)| [name, value]);
    for text in std::iter::once(description).chain(metadata) {
        value.extend(text.as_bytes());
        value.push(0);
    }
}

fn number(reason: Reason) -> u8 {
    REASONS.iter().zip(0..).find_map(|(it, number)| (*it == reason).then_some(number)).unwrap_or(0)
}

/// The record that stands at `place` with this value.
pub fn decode_record(place: &Place, value: &[u8]) -> Result<StoredKey, Malformed> {
    let detailed = value.first() == Some(&DETAILED);
    let mut fields = Fields::of(value, if detailed { DETAILED } else { PLAIN })?;
    let digest = KeyDigest::from_bytes(fields.array("digest")?);
    let created_by = AccountId::from_bytes(fields.array("created_by")?);
    let updated_at = fields.timestamp("updated_at")?;
    let status = fields.status()?;
    let scopes_named = fields.flag("scopes")?;
    let key_prefix = fields.text("key_prefix")?;
    let name = fields.text("name")?;
    let scopes = fields.text("scopes")?;
    let details = if detailed { decode_details(&mut fields)? } else { Details::NONE };
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
        details: details.into(),
    };
    Ok(StoredKey { key, digest })
}

fn decode_details(fields: &mut Fields<'_>) -> Result<Details, Malformed> {
    let [flags] = fields.array("flags")?;
    let has = |field: u8| flags & (1 << field) != 0;
    if flags >= 1 << 6 || (!has(3) && (has(4) || has(5))) {
        return Err(Malformed::Field("flags"));
    }
    let expires_at = has(0).then(|| fields.timestamp("expires_at")).transpose()?;
    let rotated_from = has(1).then(|| fields.array("rotated_from")).transpose()?;
    let rotated_to = has(2).then(|| fields.array("rotated_to")).transpose()?;
    let revoked_at = has(3).then(|| fields.timestamp("revoked_at")).transpose()?;
    let by = has(4).then(|| fields.array("revoked_by")).transpose()?;
    let reason = has(5).then(|| fields.reason()).transpose()?;
    let [count] = fields.array("metadata")?;
    let description = decode_description(fields.text("description")?)?;
    let mut entries = BTreeMap::new();
    for _ in 0..count {
        let name = fields.text("metadata")?.to_owned();
        // They are written in order and without repeats.
        if entries.last_key_value().is_some_and(|(last, _)| *last >= name) {
            return Err(Malformed::Field("metadata"));
        }
        entries.insert(name, fields.text("metadata")?.to_owned());
    }
    let details = Details {
        description,
        metadata: Metadata::new(entries).map_err(|_| Malformed::Field("metadata"))?,
        expires_at,
        rotated_from: rotated_from.map(KeyId::from_bytes),
        rotated_to: rotated_to.map(KeyId::from_bytes),
        revocation: revoked_at.map(|at| Revocation {
            at,
            by: by.map(AccountId::from_bytes),
            reason,
        }),
    };
    // Else it would have been written without.
    if details == Details::NONE { Err(Malformed::Field("details")) } else { Ok(details) }
}

fn decode_description(text: &str) -> Result<Option<Description>, Malformed> {
    let malformed = Malformed::Field("description");
    if text.is_empty() {
        return Ok(None);
    }
    let description = Description::new(text).map_err(|_| malformed)?;
    if description.as_str() == text { Ok(Some(description)) } else { Err(malformed) }
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

    fn timestamp(&mut self, field: &'static str) -> Result<Timestamp, Malformed> {
        let micros = i64::from_be_bytes(self.array(field)?);
        Timestamp::from_micros(micros).ok_or(Malformed::Field(field))
    }

    fn reason(&mut self) -> Result<Reason, Malformed> {
        let [number] = self.array("revoked_reason")?;
        REASONS.get(usize::from(number)).copied().ok_or(Malformed::Field("revoked_reason"))
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
mod fuzz;

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
        fn a_value_with_bytes_missing_or_left_over_is_refused(stored in stored_keys(), cut: prop::sample::Index) {
            let place = Place::of(&stored.key);
            let value = encode_record(&stored);
            prop_assert!(decode_record(&place, &value[..cut.index(value.len())]).is_err());
            let longer = [&value[..], &[0]].concat();
            prop_assert!(decode_record(&place, &longer).is_err());
        }
    }

    #[test]
    fn a_record_of_a_later_version_is_refused_by_its_first_byte() {
        let stored = StoredKey { key: key(1, 1), digest: KeyDigest::from_bytes([1; 32]) };
        let mut value = encode_record(&stored);
        value[0] = 3;
        value.extend(b"a field of later times");
        assert_eq!(decode_record(&Place::of(&stored.key), &value), Err(Malformed::Version(3)));
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

    #[test]
    fn version_2_is_version_1_and_these_bytes() {
        let plain = StoredKey { key: key(1, 1), digest: KeyDigest::from_bytes([0xd1; 32]) };
        let mut stored = plain.clone();
        let at = |micros| Timestamp::from_micros(micros);
        let (by, reason) = (Some(AccountId::from_bytes([5; 16])), Some(Reason::Superseded));
        stored.key.details = Details {
            description: Description::new("for CI").ok(),
            metadata: Metadata::new([("team".into(), "a".into())].into()).unwrap(),
            expires_at: at(1),
            rotated_from: Some(KeyId::from_bytes([2; 16])),
            rotated_to: Some(KeyId::from_bytes([3; 16])),
            revocation: at(4).map(|at| Revocation { at, by, reason }),
        }
        .into();
        let mut expected = encode_record(&plain);
        expected[0] = 2;
        expected.push(0b11_1111);
        expected.extend(1_i64.to_be_bytes());
        expected.extend([2; 16]);
        expected.extend([3; 16]);
        expected.extend(4_i64.to_be_bytes());
        expected.extend([5; 16]);
        expected.extend([2, 1]);
        expected.extend(b"for CI\0team\0a\0");
        assert_eq!(encode_record(&stored), expected);
        assert_eq!(REASONS, Reason::ALL, "a new reason has a number too");
    }
}
