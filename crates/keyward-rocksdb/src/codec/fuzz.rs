//! Whatever stands in a data directory as a value.

use keyward_test_fuzz::fuzz;

use super::*;
use crate::testing::key;

const CORPUS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/corpus/values");

/// A value that two programs could read as the same record is one that neither of them would know
/// to be damaged.
#[test]
fn a_value_is_a_record_that_would_be_written_so_or_refused() {
    let place = Place::of(&key(1, 1));
    fuzz(CORPUS, |value| {
        if let Ok(stored) = decode_record(&place, value) {
            assert_eq!(encode_record(&stored), value);
        }
        if let Ok(place) = decode_index(value) {
            assert_eq!(encode_index(&place)[..], *value);
        }
    });
}
