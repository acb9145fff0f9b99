//! The fingerprint of many records: two stores that have the same one hold the same.
//!
//! It is the SHA-256 of all records by ascending id, in an encoding of its own, which no driver
//! knows and no two different sequences share. Version 2 is the text `keyward records 2\n`, followed
//! by each record as eleven fields, each of them its length (32 bits, big-endian) and its bytes:
//!
//! | field | bytes |
//! |---|---|
//! | `id`, `workspace_id` | 16 each |
//! | digest of the key | 32 |
//! | `name`, `key_prefix`, `status` | UTF-8; the status is its documented word |
//! | `created_by` | 16 |
//! | `created_at`, `updated_at` | microseconds since 1970, 64 bits, signed, big-endian |
//! | scopes | none where none were named; else a byte 1, and the scopes separated by spaces |
//! | details | none where there are none; else fields in their turn: description, `expires_at`, `rotated_from`, `rotated_to`, `revoked_at`, `revoked_by`, `revoked_reason`, each empty where it is unset, and then names and values of the metadata |

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

use crate::clock::Timestamp;
use crate::details::{Details, Reason};
use crate::id::KeyId;
use crate::scope::Scopes;
use crate::store::StoredKey;

const VERSION: &[u8] = b"keyward records 2\n";

/// The fingerprint of the records that were added so far.
#[derive(Debug, Clone)]
pub struct Fingerprint(Sha256);

impl Fingerprint {
    /// The fingerprint of no records.
    pub fn new() -> Self {
        Self(Sha256::new_with_prefix(VERSION))
    }

    /// Adds a record. Those of a store are added by ascending id.
    pub fn add(&mut self, stored: &StoredKey) {
        let StoredKey { key, digest } = stored;
        self.field(key.id.as_bytes());
        self.field(key.workspace_id.as_bytes());
        self.field(digest.as_bytes());
        self.field(key.name.as_str().as_bytes());
        self.field(key.key_prefix.as_str().as_bytes());
        self.field(key.status.as_str().as_bytes());
        self.field(key.created_by.as_bytes());
        self.field(&key.created_at.as_micros().to_be_bytes());
        self.field(&key.updated_at.as_micros().to_be_bytes());
        self.field(&scopes_field(key.named_scopes.as_ref()));
        self.field(&details_field(&key.details));
    }

    /// The fingerprint, in 64 hexadecimal digits.
    pub fn finish(self) -> String {
        self.0.finalize().iter().fold(String::with_capacity(64), |mut text, byte| {
            // Writing to a string does not fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
    }

    fn field(&mut self, bytes: &[u8]) {
        self.0.update(length(bytes));
        self.0.update(bytes);
    }
}

impl Default for Fingerprint {
    fn default() -> Self {
        Self::new()
    }
}

/// A field of four gigabytes is not among them: names and scopes have their bounds.
fn length(bytes: &[u8]) -> [u8; 4] {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes()
}

fn details_field(details: &Details) -> Vec<u8> {
    if *details == Details::NONE {
        return Vec::new();
    }
    let time = |time: Timestamp| time.as_micros().to_be_bytes().to_vec();
    let id = |id: KeyId| id.as_bytes().to_vec();
    let revocation = details.revocation;
    let reason = revocation.and_then(|it| it.reason).map(Reason::as_str);
    let fields = [
        details.description.as_ref().map(|it| it.as_str().as_bytes().to_vec()),
        details.expires_at.map(time),
        details.rotated_from.map(id),
        details.rotated_to.map(id),
        revocation.map(|it| time(it.at)),
        revocation.and_then(|it| it.by).map(|by| by.as_bytes().to_vec()),
        reason.map(|reason| reason.as_bytes().to_vec()),
    ];
    let metadata = details.metadata.iter().flat_map(|(name, value)| [name, value]);
    let metadata = metadata.map(|text| text.as_bytes().to_vec());
    let all = fields.into_iter().map(Option::unwrap_or_default).chain(metadata);
    all.flat_map(|field| [length(&field).to_vec(), field].concat()).collect()
}

fn scopes_field(named: Option<&Scopes>) -> Vec<u8> {
    named.map(|scopes| [&[1], scopes.to_string().as_bytes()].concat()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::details::{Description, Metadata, Revocation};
    use crate::id::{AccountId, WorkspaceId};
    use crate::key::{ApiKey, KeyName, Status};
    use crate::secret::{KeyDigest, KeyPrefix};
    use crate::testing::key;

    fn stored() -> StoredKey {
        let key_prefix = KeyPrefix::from_stored("sk_live_abc1").unwrap();
        let key = ApiKey { key_prefix, ..key(2, 1) };
        StoredKey { key, digest: KeyDigest::from_bytes([4; 32]) }
    }

    fn later() -> Timestamp {
        Timestamp::from_micros(1_705_311_000_000_001).unwrap()
    }

    fn metadata(name: &str, value: &str) -> Metadata {
        Metadata::new([(name.into(), value.into())].into()).unwrap()
    }

    fn revocation(by: Option<AccountId>, reason: Option<Reason>) -> Revocation {
        Revocation { at: later(), by, reason }
    }

    fn of(records: &[StoredKey]) -> String {
        let mut fingerprint = Fingerprint::new();
        for record in records {
            fingerprint.add(record);
        }
        fingerprint.finish()
    }

    /// Two versions of this program may compare what they printed.
    #[test]
    fn version_2_is_these_bytes() {
        let mut scoped = stored();
        scoped.key.named_scopes = Some(Scopes::from_claim("b a"));
        scoped.key.revoke(later());
        assert_eq!(of(&[]), "941f9320f24d81be456f6c8b137b6d22d1e11c6d11be5fd68abd92ef402aedee");
        assert_eq!(
            of(&[stored(), scoped]),
            "a2aa7a5acff4401c3beec11ae190ba728d796bec486ae97a3272fdf5525e724a"
        );
    }

    #[test]
    fn every_field_counts() {
        let change = |change: fn(&mut StoredKey)| {
            let mut stored = stored();
            change(&mut stored);
            of(&[stored])
        };
        let mut all = vec![
            of(&[stored()]),
            change(|it| it.key.id = KeyId::from_bytes([9; 16])),
            change(|it| it.key.workspace_id = WorkspaceId::from_bytes([9; 16])),
            change(|it| it.digest = KeyDigest::from_bytes([9; 32])),
            change(|it| it.key.name = KeyName::new("another").unwrap()),
            change(|it| it.key.key_prefix = KeyPrefix::from_stored("sk_live_abc2").unwrap()),
            change(|it| it.key.status = Status::Revoked),
            change(|it| it.key.created_at = later()),
            change(|it| it.key.updated_at = later()),
            change(|it| it.key.created_by = AccountId::from_bytes([9; 16])),
            change(|it| it.key.named_scopes = Some(Scopes::from_claim(""))),
            change(|it| it.key.named_scopes = Some(Scopes::from_claim("a"))),
            change(|it| it.key.details.description = Description::new("a").ok()),
            change(|it| it.key.details.metadata = metadata("a", "")),
            change(|it| it.key.details.metadata = metadata("a", "b")),
            change(|it| it.key.details.expires_at = Some(later())),
            change(|it| it.key.details.rotated_from = Some(it.key.id)),
            change(|it| it.key.details.rotated_to = Some(it.key.id)),
            change(|it| it.key.details.revocation = Some(later().into())),
            change(|it| {
                it.key.details.revocation = Some(revocation(Some(it.key.created_by), None));
            }),
            change(|it| {
                it.key.details.revocation = Some(revocation(None, Some(Reason::Superseded)));
            }),
        ];
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
    }
}
