//! The format of a data directory: which bytes stand where.
//!
//! | column family | key | value |
//! |---|---|---|
//! | `keys` | workspace (16) ‖ age (8) ‖ id (16): a [`Place`] | the record, see [`crate::codec`] |
//! | `digests` | SHA-256 of a key (32) | version (1) ‖ place (40) |
//! | `ids` | id of a key (16) | version (1) ‖ place (40) |
//! | `default` | the text `format` | format of the directory, 32 bits, big-endian |
//! | `default` | the text `sealed` | empty; it is there as long as the store is sealed |
//! | `default` | `event/` ‖ workspace (16) ‖ age (8) ‖ id (16) | an event of the audit trail, see [`crate::codec::events`] |
//! | `default` | `unsealed/` ‖ time (8) ‖ id (16) | workspace (16) of an event that is signed and not sealed |
//! | `default` | `chain/` ‖ workspace (16) ‖ number (8) | age (8) ‖ id (16) of the event that is sealed there |
//! | `default` | `head/` ‖ workspace (16) | number (8) ‖ hash (32) of the newest link |
//! | `default` | `once/` ‖ name of a request (32) | version (1) ‖ its content (32) ‖ place (40) of what it made |
//! | `default` | `made/` ‖ time (8) ‖ name of a request (32) | empty; finds those that are over |
//! | `default` | the text `used/` ‖ place (40) | version (1) ‖ when the key was last used, in microseconds (8, signed, big-endian) |
//!
//! Where workspace, time and id are zero stands no key: the last use there is the last moment at which
//! keys were verified without their uses being noted.
//!
//! A time is in microseconds, with its sign turned round so that bytes ascend as it does; an age is a
//! time turned round whole, so that the bytes ascend as the time descends. A workspace is therefore one
//! stretch of `keys` that reads from its newest record to its oldest, equal times by ascending id, which is the order of the list.
//!
//! A record never moves: its workspace, its time of creation and its id are settled for life. The
//! two indexes are written once, with the record, and a change rewrites the record alone.
//!
//! Beside the files of RocksDB the directory holds `keyward.lock`, which the process that uses it
//! keeps locked, and until it has been made, `keyward.unfinished`; see [`crate::directory`].

use keyward_core::audit::EventPosition;
use keyward_core::clock::Timestamp;
use keyward_core::id::{EventId, KeyId, WorkspaceId};
use keyward_core::key::ApiKey;
use keyward_core::store::ListPosition;

/// The format that this program reads and writes.
pub const FORMAT: u32 = 3;
/// Where the format of the directory stands, in the default column family.
pub const FORMAT_KEY: &[u8] = b"format";

/// What stands before the place of a key in the default column family where its last use is kept. So the
/// uses of a workspace are one stretch, in the order of its list.
pub const USED: &[u8; 5] = b"used/";

/// What stands in the default column family as long as the store is sealed.
pub const SEALED_KEY: &[u8] = b"sealed";

/// The column family of the records.
pub const KEYS: &str = "keys";
/// The column family that finds records by digest.
pub const DIGESTS: &str = "digests";
/// The column family that finds records by id.
pub const IDS: &str = "ids";

/// Bytes of a [`Place`].
pub const PLACE_LEN: usize = 40;

const SIGN: u64 = 1 << 63;

/// Where a record stands in `keys`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place([u8; PLACE_LEN]);

impl Place {
    /// The place of `key`.
    pub fn of(key: &ApiKey) -> Self {
        Self::new(key.workspace_id, key.into())
    }

    /// The place in `workspace` that `position` names, whether or not a record stands there.
    pub fn new(workspace: WorkspaceId, position: ListPosition) -> Self {
        let mut bytes = [0; PLACE_LEN];
        bytes[..16].copy_from_slice(workspace.as_bytes());
        bytes[16..24].copy_from_slice(&age(position.created_at));
        bytes[24..].copy_from_slice(position.id.as_bytes());
        Self(bytes)
    }

    /// The place that these bytes are, as read from the store.
    pub const fn from_bytes(bytes: [u8; PLACE_LEN]) -> Self {
        Self(bytes)
    }

    /// The bytes, as they stand in the store.
    pub const fn as_bytes(&self) -> &[u8; PLACE_LEN] {
        &self.0
    }

    /// The workspace.
    pub fn workspace(&self) -> WorkspaceId {
        WorkspaceId::from_bytes(self.part(0))
    }

    /// The time of creation; `None` where the bytes cannot have been one.
    pub fn created_at(&self) -> Option<Timestamp> {
        let age = u64::from_be_bytes(self.part(16));
        Timestamp::from_micros((!age ^ SIGN).cast_signed())
    }

    /// The id.
    pub fn id(&self) -> KeyId {
        KeyId::from_bytes(self.part(24))
    }

    fn part<const N: usize>(&self, at: usize) -> [u8; N] {
        std::array::from_fn(|n| self.0[at + n])
    }
}

/// What begins the keys of the default column family, one for each kind of entry.
pub const EVENT: &[u8] = b"event/";
pub const UNSEALED: &[u8] = b"unsealed/";
pub const CHAIN: &[u8] = b"chain/";
pub const HEAD: &[u8] = b"head/";
pub const ONCE: &[u8] = b"once/";
pub const MADE: &[u8] = b"made/";

/// Bytes of what follows [`EVENT`] and the workspace, and of what follows [`UNSEALED`].
pub const POSITION_LEN: usize = 24;

/// Where an event stands among those of its workspace.
pub fn event_position(position: EventPosition) -> [u8; POSITION_LEN] {
    joined(age(position.at), position.id)
}

/// Where an event stands among those that are not sealed.
pub fn unsealed_position(position: EventPosition) -> [u8; POSITION_LEN] {
    joined(time(position.at), position.id)
}

/// The position that these bytes of the key of an event that is not sealed are; `None` where they cannot
/// have been one.
pub fn read_unsealed_position(bytes: [u8; POSITION_LEN]) -> Option<EventPosition> {
    let (time, id) = bytes.split_first_chunk::<8>()?;
    let at = Timestamp::from_micros((u64::from_be_bytes(*time) ^ SIGN).cast_signed())?;
    Some(EventPosition { at, id: EventId::from_bytes(id.try_into().ok()?) })
}

fn joined(time: [u8; 8], id: EventId) -> [u8; POSITION_LEN] {
    let mut bytes = [0; POSITION_LEN];
    bytes[..8].copy_from_slice(&time);
    bytes[8..].copy_from_slice(id.as_bytes());
    bytes
}

/// A time in the bytes of a key.
pub fn time(at: Timestamp) -> [u8; 8] {
    (at.as_micros().cast_unsigned() ^ SIGN).to_be_bytes()
}

/// The keys that begin with `prefix`, those behind `prefix ‖ after`: from the first byte string up
/// to, but without, the second. No kind of entry ends in the last byte there is.
pub fn kind(prefix: &[u8], after: Option<&[u8]>) -> (Vec<u8>, Vec<u8>) {
    let lower = after.map_or_else(|| prefix.to_vec(), |after| next(&[prefix, after].concat()));
    // Longer than any key of the kind, and not less than any.
    let upper = [prefix, &[0xff; PLACE_LEN + 1]].concat();
    (lower, upper)
}

/// Where the last use of the key at `place` stands, in the default column family.
pub fn used(place: &Place) -> Vec<u8> {
    [&USED[..], place.as_bytes()].concat()
}

/// Flipping the sign bit lets negative times sort before positive ones; turning all bits round
/// lets the newest sort first.
fn age(created_at: Timestamp) -> [u8; 8] {
    (!(created_at.as_micros().cast_unsigned() ^ SIGN)).to_be_bytes()
}

/// The stretch of `keys` that a list reads: from its first byte string up to, but without, its
/// second.
pub fn stretch(workspace: WorkspaceId, after: Option<ListPosition>) -> (Vec<u8>, Vec<u8>) {
    let lower = match after {
        Some(position) => next(Place::new(workspace, position).as_bytes()),
        None => workspace.as_bytes().to_vec(),
    };
    // Longer than any place of the workspace, and not less than any.
    let upper = [&workspace.as_bytes()[..], &[0xff; PLACE_LEN - 16 + 1]].concat();
    (lower, upper)
}

/// Where a scan of `ids` begins: behind `after`, or at the first.
pub fn behind(after: Option<KeyId>) -> Vec<u8> {
    after.map(|id| next(id.as_bytes())).unwrap_or_default()
}

/// The first byte string behind `bytes`: none lies between them and themselves with a zero appended.
pub fn next(bytes: &[u8]) -> Vec<u8> {
    [bytes, &[0]].concat()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::timestamps;

    fn place(workspace: [u8; 16], created_at: Timestamp, id: [u8; 16]) -> Place {
        let position = ListPosition { created_at, id: KeyId::from_bytes(id) };
        Place::new(WorkspaceId::from_bytes(workspace), position)
    }

    proptest! {
        #[test]
        fn a_place_gives_back_what_it_was_made_of(
            workspace: [u8; 16],
            created_at in timestamps(),
            id: [u8; 16],
        ) {
            let place = place(workspace, created_at, id);
            prop_assert_eq!(place.workspace(), WorkspaceId::from_bytes(workspace));
            prop_assert_eq!(place.created_at(), Some(created_at));
            prop_assert_eq!(place.id(), KeyId::from_bytes(id));
        }

        #[test]
        fn bytes_order_as_the_list_does(
            one in (0..3_u8, timestamps(), 0..3_u8),
            other in (0..3_u8, timestamps(), 0..3_u8),
        ) {
            let bytes = |(workspace, at, id)| place([workspace; 16], at, [id; 16]);
            let rank = |(workspace, at, id): (u8, Timestamp, u8)| (workspace, std::cmp::Reverse(at), id);
            prop_assert_eq!(bytes(one).cmp(&bytes(other)), rank(one).cmp(&rank(other)));
        }

        #[test]
        fn a_stretch_holds_its_workspace_and_no_other(
            workspace in prop_oneof![Just([0; 16]), Just([0xff; 16]), any::<[u8; 16]>()],
            other: [u8; 16],
            created_at in timestamps(),
            id in prop_oneof![Just([0; 16]), Just([0xff; 16]), any::<[u8; 16]>()],
        ) {
            let (lower, upper) = stretch(WorkspaceId::from_bytes(workspace), None);
            let holds = |place: Place| {
                (&lower[..]..&upper[..]).contains(&&place.as_bytes()[..])
            };
            prop_assert!(holds(place(workspace, created_at, id)));
            prop_assert_eq!(holds(place(other, created_at, id)), other == workspace);
        }

        #[test]
        fn a_stretch_behind_a_place_begins_with_the_next(
            created_at in timestamps(),
            id: [u8; 16],
            next in 1..=255_u8,
        ) {
            let position = ListPosition { created_at, id: KeyId::from_bytes(id) };
            let (lower, _) = stretch(WorkspaceId::from_bytes([7; 16]), Some(position));
            prop_assert!(place([7; 16], created_at, id).as_bytes()[..] < lower[..]);
            let mut following = id;
            following[15] = following[15].saturating_add(next);
            prop_assume!(following != id);
            prop_assert!(place([7; 16], created_at, following).as_bytes()[..] > lower[..]);
        }
    }
}
