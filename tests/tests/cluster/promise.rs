//! The promise itself, while nothing fails.

use crate::fleet::Fleet;
use crate::load::Load;
use crate::{WINDOW, many};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_accepted_once_its_deletion_was_answered_and_memory_does_the_work() {
    let fleet = Fleet::start().await;
    let load = Load::begin(&fleet);
    load.revoke(many(500, 20)).await;
    let report = load.end().await;
    report.assert_strict().assert_calm().assert_deleted_within(WINDOW);

    // A lookup for each key at each node when it is new, and when it was revoked; seldom a few more.
    let hits = fleet.metric("keyward_cache_hits_total").await;
    let lookups = fleet.metric("keyward_store_lookups_total").await;
    eprintln!("{hits} hits, {lookups} lookups");
    assert!(hits > 3.0 * lookups, "{hits} hits and {lookups} lookups");
}
