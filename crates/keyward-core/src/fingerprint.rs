//! The fingerprint of many records: two stores that have the same one hold the same.
//!
//! It is the SHA-256 of all records by ascending id, in an encoding of its own, which no driver
//! knows and no two different sequences share. Version 1 is the text `keyward records 1\n`, followed
//! by each record as ten fields, each of them its length (32 bits, big-endian) and its bytes:
//!
//! | field | bytes |
//! |---|---|
//! | `id`, `workspace_id` | 16 each |
//! | digest of the key | 32 |
//! | `name`, `key_prefix`, `status` | UTF-8; the status is its documented word |
//! | `created_by` | 16 |
//! | `created_at`, `updated_at` | microseconds since 1970, 64 bits, signed, big-endian |
//! | scopes | none where none were named; else a byte 1, and the scopes separated by spaces |

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

use crate::scope::Scopes;
use crate::store::StoredKey;

const VERSION: &[u8] = b"keyward records 1\n";

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
        // A field of four gigabytes is not among them: names and scopes have their bounds.
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        self.0.update(length.to_be_bytes());
        self.0.update(bytes);
    }
}

impl Default for Fingerprint {
    fn default() -> Self {
        Self::new()
    }
}

fn scopes_field(named: Option<&Scopes>) -> Vec<u8> {
    named.map(|scopes| [&[1], scopes.to_string().as_bytes()].concat()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::id::{AccountId, KeyId, WorkspaceId};
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

    fn of(records: &[StoredKey]) -> String {
        let mut fingerprint = Fingerprint::new();
        for record in records {
            fingerprint.add(record);
        }
        fingerprint.finish()
    }

    /// Two versions of this program may compare what they printed.
    #[test]
    fn version_1_is_these_bytes() {
        let mut scoped = stored();
        scoped.key.named_scopes = Some(Scopes::from_claim("b a"));
        scoped.key.revoke(later());
        assert_eq!(of(&[]), "26d887d799a8087b2dea5874a7d6b53b72ee0bf5e3e9274c8de2f64910bdc0b9");
        assert_eq!(
            of(&[stored(), scoped]),
            "7cd0841be3881b49af607a37f7b13e09c32c30f56e4fb928c98e63d70f254b5b"
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
        ];
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
    }
}
