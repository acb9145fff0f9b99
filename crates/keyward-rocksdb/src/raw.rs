//! What it takes to write and read the files of a store without the driver: the same settings and the
//! same bytes. The bench measures the driver beside RocksDB alone, and makes stores of many millions
//! of keys in minutes. Nothing else should want it.

use keyward_core::store::StoredKey;

use crate::codec::{encode_index, encode_record};
use crate::layout::Place;

pub use crate::layout::{DIGESTS, IDS, KEYS};
pub use crate::setup::{family_options, options};

/// A column family, and a key and a value in it.
pub type Entry = (&'static str, Vec<u8>, Vec<u8>);

/// What stands in each column family of a record, besides its events: in [`KEYS`], in [`DIGESTS`]
/// and in [`IDS`].
#[must_use]
pub fn entries(stored: &StoredKey) -> [Entry; 3] {
    let place = Place::of(&stored.key);
    let index = encode_index(&place).to_vec();
    [
        (KEYS, place.as_bytes().to_vec(), encode_record(stored)),
        (DIGESTS, stored.digest.as_bytes().to_vec(), index.clone()),
        (IDS, stored.key.id.as_bytes().to_vec(), index),
    ]
}
