//! The audit trail: what was done to keys, when, by whom and from where.
//!
//! Every change of a key writes its event in the same step, so that there is neither a change without
//! an event nor an event without a change. Events are never changed and never removed.
//!
//! # What shows that nobody tampered with it
//!
//! Whoever can write to the database could change its events. So each is **signed** by the node that
//! writes it, and each workspace's events are **chained**: a moment later ([`Sealer`]) where in the
//! transaction of the change all changes of a workspace would wait for each other. Both are
//! HMAC-SHA-256 (RFC 2104) with a key that the database never sees ([`AuditKey`]):
//!
//! ```text
//! tag    = HMAC(key, "keyward audit event 1\n" ‖ event)
//! hash n = HMAC(key, "keyward audit link 1\n" ‖ workspace ‖ n ‖ hash n-1 ‖ tag of event n)
//! ```
//!
//! A number is 64 bits, big-endian, and the first is 1; before the first stand 32 zero bytes. A
//! chain finds an event that was removed, changed, inserted or moved ([`verify()`]). That its end was cut
//! off it cannot show, unless somebody keeps its newest link elsewhere.

mod event;
mod log;
mod seal;
mod verify;

use std::fmt::{self, Write as _};
use std::sync::Arc;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

pub use self::event::{Action, Event, Malformed, Origin, Trace};
pub use self::log::{AuditLog, EventPosition, NewLink, Recorded};
pub use self::seal::{Sealed, Sealer};
pub use self::verify::{Fault, Findings, verify};
use crate::id::WorkspaceId;

/// Fewest bytes of an [`AuditKey`]: as many as HMAC-SHA-256 has bits of security to give.
pub const MIN_KEY_LEN: usize = 32;

const EVENT: &[u8] = b"keyward audit event 1\n";
const LINK: &[u8] = b"keyward audit link 1\n";

/// A key that is too short to sign with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an audit key must have at least {MIN_KEY_LEN} bytes")]
pub struct ShortKey;

/// The key that events are signed and chained with. Wiped from memory when its last copy goes, and
/// never printed.
#[derive(Clone)]
pub struct AuditKey(Arc<Zeroizing<[u8; BLOCK]>>);

/// Bytes of a block of SHA-256, which HMAC brings its key to.
const BLOCK: usize = 64;

impl AuditKey {
    /// The key with these bytes.
    ///
    /// # Errors
    ///
    /// When they are too few.
    pub fn new(bytes: &[u8]) -> Result<Self, ShortKey> {
        if bytes.len() < MIN_KEY_LEN {
            return Err(ShortKey);
        }
        let mut block = Zeroizing::new([0; BLOCK]);
        if bytes.len() <= BLOCK {
            block[..bytes.len()].copy_from_slice(bytes);
        } else {
            block[..32].copy_from_slice(&Sha256::digest(bytes));
        }
        Ok(Self(Arc::new(block)))
    }

    /// The signature of an event, whatever signature it has.
    pub fn tag(&self, event: &Event) -> Tag {
        Tag(self.mac(&[EVENT, &event.encode()]))
    }

    /// The link behind `previous`, to an event with this signature.
    pub fn link(&self, workspace: WorkspaceId, previous: Option<Link>, tag: Tag) -> Link {
        let Link { number, hash } = previous.unwrap_or(Link { number: 0, hash: [0; 32] });
        let number = number + 1;
        let parts = [LINK, workspace.as_bytes(), &number.to_be_bytes(), &hash, &tag.0];
        Link { number, hash: self.mac(&parts) }
    }

    fn mac(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut mac = Hmac::<Sha256>::new((&**self.0).into());
        for part in parts {
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }
}

impl fmt::Debug for AuditKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AuditKey(redacted)")
    }
}

/// The signature of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tag(pub [u8; 32]);

/// A link of the chain of a workspace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// Its place in the chain, from 1 on.
    pub number: u64,
    /// What stands for its event and for all before it.
    pub hash: [u8; 32],
}

impl Link {
    /// The hash in hexadecimal digits.
    pub fn digits(&self) -> String {
        self.hash.iter().fold(String::with_capacity(64), |mut text, byte| {
            // Writing to a string does not fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
    }
}

/// `N:HASH`, the hash in hexadecimal digits.
impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.number, self.digits())
    }
}

/// A text that is not a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a link: a number, a colon and 64 hexadecimal digits are expected")]
pub struct InvalidLink;

impl std::str::FromStr for Link {
    type Err = InvalidLink;

    fn from_str(text: &str) -> Result<Self, InvalidLink> {
        let (number, digits) = text.split_once(':').ok_or(InvalidLink)?;
        let number = number.parse().ok().filter(|number| *number > 0).ok_or(InvalidLink)?;
        if digits.len() != 64 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(InvalidLink);
        }
        let mut hash = [0; 32];
        for (n, byte) in hash.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&digits[2 * n..2 * n + 2], 16).map_err(|_| InvalidLink)?;
        }
        Ok(Self { number, hash })
    }
}

#[cfg(test)]
mod tests;
