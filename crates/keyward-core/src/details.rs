//! What a key may have beyond the documented fields. All of it is optional.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::str::FromStr;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::id::{AccountId, KeyId};

/// Longest description, in characters after trimming.
pub const MAX_DESCRIPTION_CHARS: usize = 1_000;
/// Most entries of a key's metadata.
pub const MAX_METADATA_ENTRIES: usize = 32;
/// Longest name of an entry, in bytes.
pub const MAX_METADATA_NAME: usize = 64;
/// Most bytes of all names and values together.
pub const MAX_METADATA_BYTES: usize = 4_096;

/// What a key may have beyond the documented fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Details {
    /// What it is for, in the words of whoever made it.
    pub description: Option<Description>,
    /// What whoever made it attached to it; empty where nothing was.
    pub metadata: Metadata,
    /// From this moment on it is refused; `None` for never.
    pub expires_at: Option<Timestamp>,
    /// The key in whose place it was made.
    pub rotated_from: Option<KeyId>,
    /// The key that was made in its place.
    pub rotated_to: Option<KeyId>,
    /// How it was revoked. `None` for an active key, and for one that was revoked before this was
    /// recorded.
    pub revocation: Option<Revocation>,
}

impl Details {
    /// No details.
    pub const NONE: Self = Self {
        description: None,
        metadata: Metadata(Vec::new()),
        expires_at: None,
        rotated_from: None,
        rotated_to: None,
        revocation: None,
    };
}

/// The details of a key as its record holds them. Most keys have none, and millions of records are
/// remembered: a record without details has room for a pointer to them and no more.
#[derive(Debug, Clone, Default)]
pub struct SparseDetails(Option<Box<Details>>);

impl From<Details> for SparseDetails {
    fn from(details: Details) -> Self {
        Self((details != Details::NONE).then(|| Box::new(details)))
    }
}

impl Deref for SparseDetails {
    type Target = Details;

    fn deref(&self) -> &Details {
        static NONE: Details = Details::NONE;
        self.0.as_deref().unwrap_or(&NONE)
    }
}

impl DerefMut for SparseDetails {
    fn deref_mut(&mut self) -> &mut Details {
        self.0.get_or_insert_with(|| Box::new(Details::NONE))
    }
}

/// Equal where the details are, whether there is room for them or not.
impl PartialEq for SparseDetails {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for SparseDetails {}

/// A text that is not a description.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidDescription {
    /// Nothing but white space, or nothing at all.
    #[error("is empty")]
    Empty,
    /// Longer than [`MAX_DESCRIPTION_CHARS`].
    #[error("is longer than {MAX_DESCRIPTION_CHARS} characters")]
    TooLong,
    /// With a control character other than a line feed or a tab.
    #[error("has a control character other than a line feed or a tab")]
    Control,
}

/// What a key is for: 1 to 1,000 characters, trimmed; of control characters only line feeds and tabs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description(Box<str>);

impl Description {
    /// The description that is left of `text` after trimming.
    ///
    /// # Errors
    ///
    /// When what is left is empty or too long, or has a control character.
    pub fn new(text: &str) -> Result<Self, InvalidDescription> {
        let text = text.trim();
        if text.is_empty() {
            Err(InvalidDescription::Empty)
        } else if has_control(text) {
            Err(InvalidDescription::Control)
        } else if text.chars().count() > MAX_DESCRIPTION_CHARS {
            Err(InvalidDescription::TooLong)
        } else {
            Ok(Self(text.into()))
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn has_control(text: &str) -> bool {
    text.chars().any(|c| c.is_control() && c != '\n' && c != '\t')
}

/// Entries that cannot be a key's metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidMetadata {
    /// More than [`MAX_METADATA_ENTRIES`].
    #[error("has more than {MAX_METADATA_ENTRIES} entries")]
    TooMany,
    /// More than [`MAX_METADATA_BYTES`].
    #[error("has names and values of more than {MAX_METADATA_BYTES} bytes together")]
    TooLarge,
    /// A name that is empty, or longer than [`MAX_METADATA_NAME`].
    #[error("has a name that is not of 1 to {MAX_METADATA_NAME} bytes")]
    Name,
    /// With a control character other than a line feed or a tab in a value.
    #[error("has a control character")]
    Control,
}

/// A flat map of texts, in the order of their names.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Metadata(Vec<(Box<str>, Box<str>)>);

impl Metadata {
    /// The metadata with these entries.
    ///
    /// # Errors
    ///
    /// When they are too many or too long, or have a control character.
    pub fn new(entries: BTreeMap<String, String>) -> Result<Self, InvalidMetadata> {
        if entries.len() > MAX_METADATA_ENTRIES {
            return Err(InvalidMetadata::TooMany);
        }
        let mut bytes = 0;
        for (name, value) in &entries {
            if !(1..=MAX_METADATA_NAME).contains(&name.len()) {
                return Err(InvalidMetadata::Name);
            }
            if name.chars().any(char::is_control) || has_control(value) {
                return Err(InvalidMetadata::Control);
            }
            bytes += name.len() + value.len();
        }
        if bytes > MAX_METADATA_BYTES {
            return Err(InvalidMetadata::TooLarge);
        }
        Ok(Self(entries.into_iter().map(|(name, value)| (name.into(), value.into())).collect()))
    }

    /// Whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The entries, each a name and a value, by ascending name.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }
}

/// What the operator says of the time for which keys are good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ExpiryPolicy {
    /// No key is made to be good for longer.
    pub longest: Option<Duration>,
    /// No key is good for ever.
    pub required: bool,
}

/// How a key was revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Revocation {
    /// When.
    pub at: Timestamp,
    /// The account that asked for it; `None` where the key itself was shown for it.
    pub by: Option<AccountId>,
    /// Why, where that was said.
    pub reason: Option<Reason>,
}

impl From<Timestamp> for Revocation {
    /// A revocation of which nothing else is known.
    fn from(at: Timestamp) -> Self {
        Self { at, by: None, reason: None }
    }
}

/// Why a key was revoked: reasons for which certificates are, in the names of RFC 5280,
/// section 5.3.1, written with underscores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// Somebody has it who should not.
    KeyCompromise,
    /// Whoever used it is not, or not in this role, with the workspace any more.
    AffiliationChanged,
    /// Another key has taken its place.
    Superseded,
    /// Nothing needs it any more.
    CessationOfOperation,
    /// It was to have been less than it is.
    PrivilegeWithdrawn,
}

impl Reason {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::KeyCompromise,
        Self::AffiliationChanged,
        Self::Superseded,
        Self::CessationOfOperation,
        Self::PrivilegeWithdrawn,
    ];

    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::KeyCompromise => "key_compromise",
            Self::AffiliationChanged => "affiliation_changed",
            Self::Superseded => "superseded",
            Self::CessationOfOperation => "cessation_of_operation",
            Self::PrivilegeWithdrawn => "privilege_withdrawn",
        }
    }
}

/// A text that is none of [`Reason::ALL`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidReason;

impl fmt::Display for InvalidReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = Reason::ALL.map(Reason::as_str).join(", ");
        write!(f, "a reason is one of {words}")
    }
}

impl std::error::Error for InvalidReason {}

impl FromStr for Reason {
    type Err = InvalidReason;

    fn from_str(text: &str) -> Result<Self, InvalidReason> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == text).ok_or(InvalidReason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_is_trimmed_and_has_1_to_1000_characters() {
        assert_eq!(Description::new(" for\n\tCI ").unwrap().as_str(), "for\n\tCI");
        assert!(Description::new(&"é".repeat(1_000)).is_ok());
        assert_eq!(Description::new(&"é".repeat(1_001)), Err(InvalidDescription::TooLong));
        assert_eq!(Description::new(" \n "), Err(InvalidDescription::Empty));
        for control in ["a\0b", "a\u{1b}[2J", "a\rb", "a\u{85}b"] {
            assert_eq!(Description::new(control), Err(InvalidDescription::Control), "{control:?}");
        }
    }

    #[test]
    fn metadata_has_its_bounds() {
        let of = |entries: &[(&str, &str)]| {
            Metadata::new(entries.iter().map(|&(n, v)| (n.into(), v.into())).collect())
        };
        let sorted = of(&[("b", "2"), ("a", "")]).unwrap();
        assert_eq!(sorted.iter().collect::<Vec<_>>(), [("a", ""), ("b", "2")]);
        assert!(of(&[]).unwrap().is_empty());
        assert_eq!(of(&[("", "a")]), Err(InvalidMetadata::Name));
        assert_eq!(of(&[(&"n".repeat(65), "a")]), Err(InvalidMetadata::Name));
        assert_eq!(of(&[("a\n", "a")]), Err(InvalidMetadata::Control));
        assert_eq!(of(&[("a", "\0")]), Err(InvalidMetadata::Control));
        assert!(of(&[("a", &"v".repeat(4_095))]).is_ok());
        assert_eq!(of(&[("a", &"v".repeat(4_096))]), Err(InvalidMetadata::TooLarge));
        let many = |n: u32| Metadata::new((0..n).map(|n| (n.to_string(), String::new())).collect());
        assert!(many(32).is_ok());
        assert_eq!(many(33), Err(InvalidMetadata::TooMany));
    }

    #[test]
    fn every_reason_is_read_back_from_its_word() {
        for reason in Reason::ALL {
            assert_eq!(reason.as_str().parse(), Ok(reason));
        }
        assert_eq!("leaked".parse::<Reason>(), Err(InvalidReason));
    }
}
