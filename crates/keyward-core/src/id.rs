//! Typed ids. All of them are UUIDs; the types keep one kind from standing where another belongs.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

use crate::clock::{Entropy, EntropyError, Timestamp};

/// A string that is not a UUID in its hyphenated form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a UUID: 36 characters such as 550e8400-e29b-41d4-a716-446655440000 are expected")]
pub struct InvalidId;

/// Reads the hyphenated form alone: the library's parser also takes braces, a URN and bare
/// digits, which would give one resource several paths.
fn parse_hyphenated(text: &str) -> Result<Uuid, InvalidId> {
    if text.len() != 36 {
        return Err(InvalidId);
    }
    Uuid::try_parse(text).map_err(|_| InvalidId)
}

macro_rules! typed_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Uuid);

        impl $name {
            /// The id whose sixteen bytes are these, in network order.
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(Uuid::from_bytes(bytes))
            }

            /// The sixteen bytes of the id, in network order.
            pub const fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }

            /// The id as the UUID that it is.
            pub const fn as_uuid(&self) -> Uuid {
                self.0
            }
        }

        impl From<Uuid> for $name {
            fn from(uuid: Uuid) -> Self {
                Self(uuid)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                parse_hyphenated(text).map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0.as_hyphenated(), f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0.as_hyphenated())
            }
        }
    };
}

typed_id! {
    /// Names one API key, for life. Not a secret.
    KeyId
}
typed_id! {
    /// Names the workspace that a key belongs to.
    WorkspaceId
}
typed_id! {
    /// Names one event of the audit trail.
    EventId
}
typed_id! {
    /// Names the account that created a key, and for which the key acts.
    AccountId
}

impl KeyId {
    /// A new id: UUID version 7 (RFC 9562, section 5.7), which carries the milliseconds of `at` and
    /// is otherwise random.
    ///
    /// # Errors
    ///
    /// When the source of randomness fails.
    pub fn mint(at: Timestamp, entropy: &dyn Entropy) -> Result<Self, EntropyError> {
        mint(at, entropy).map(Self)
    }
}

impl EventId {
    /// A new id, made as those of keys are.
    ///
    /// # Errors
    ///
    /// When the source of randomness fails.
    pub fn mint(at: Timestamp, entropy: &dyn Entropy) -> Result<Self, EntropyError> {
        mint(at, entropy).map(Self)
    }
}

fn mint(at: Timestamp, entropy: &dyn Entropy) -> Result<Uuid, EntropyError> {
    let mut random = [0; 10];
    entropy.fill(&mut random)?;
    let milliseconds = u64::try_from(at.as_micros() / 1000).unwrap_or(0);
    Ok(uuid::Builder::from_unix_timestamp_millis(milliseconds, &random).into_uuid())
}

impl AccountId {
    /// The account behind an identity provider's subject: the subject itself where it is a UUID,
    /// else a UUID version 5 (RFC 9562, section 5.5) of issuer and subject, so that the same
    /// subject is the same account on every node and two issuers never share one.
    pub fn from_subject(issuer: &str, subject: &str) -> Self {
        subject.parse().unwrap_or_else(|InvalidId| {
            let issuer = Uuid::new_v5(&Uuid::NAMESPACE_URL, issuer.as_bytes());
            Self(Uuid::new_v5(&issuer, subject.as_bytes()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemEntropy;

    #[test]
    fn only_the_hyphenated_form_is_an_id() {
        let id: KeyId = "550E8400-e29b-41d4-a716-446655440000".parse().unwrap();
        assert_eq!(id.to_string(), "550e8400-e29b-41d4-a716-446655440000");
        for bad in [
            "",
            "550e8400e29b41d4a716446655440000",
            "{550e8400-e29b-41d4-a716-446655440000}",
            "urn:uuid:550e8400-e29b-41d4-a716-446655440000",
            "550e8400-e29b-41d4-a716-44665544000g",
            "550e8400-e29b-41d4-a716-4466554400000",
        ] {
            assert_eq!(bad.parse::<KeyId>(), Err(InvalidId), "{bad}");
        }
    }

    #[test]
    fn a_minted_id_is_version_7_and_carries_its_time() {
        let at = Timestamp::from_micros(1_705_311_000_123_456).unwrap();
        let id = KeyId::mint(at, &SystemEntropy).unwrap();
        assert_eq!(id.as_uuid().get_version_num(), 7);
        let (seconds, nanos) = id.as_uuid().get_timestamp().unwrap().to_unix();
        assert_eq!((seconds, nanos), (1_705_311_000, 123_000_000));
    }

    #[test]
    fn a_subject_is_an_account_of_its_issuer_alone() {
        let uuid = "770e8400-e29b-41d4-a716-446655440000";
        assert_eq!(AccountId::from_subject("a", uuid).to_string(), uuid);
        let account = AccountId::from_subject("https://a", "ann");
        assert_eq!(account, AccountId::from_subject("https://a", "ann"));
        assert_ne!(account, AccountId::from_subject("https://b", "ann"));
        assert_eq!(account.as_uuid().get_version_num(), 5);
    }
}
