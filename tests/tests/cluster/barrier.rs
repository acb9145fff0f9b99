//! What becomes of the promise without the barrier, and without a window.

use std::time::Duration;

use crate::fleet::Fleet;
use crate::load::Load;

const REVOCATIONS: usize = 100;

/// Takes away the rule that revocations wait for as long as nodes answer from memory.
const WITHOUT_THE_RULE: &str = "DO $$
DECLARE
    rule text;
BEGIN
    FOR rule IN
        SELECT conname FROM pg_constraint
        WHERE conrelid = 'keyward.change_clock'::regclass AND contype = 'c'
          AND pg_get_constraintdef(oid) LIKE '%barrier_window_ms%node_window_ms%'
           OR conrelid = 'keyward.change_clock'::regclass AND contype = 'c'
          AND pg_get_constraintdef(oid) LIKE '%node_window_ms%barrier_window_ms%'
    LOOP
        EXECUTE format('ALTER TABLE keyward.change_clock DROP CONSTRAINT %I', rule);
    END LOOP;
END $$";

/// The same load and the same judgement as everywhere: what passes there means something, because
/// this does not pass.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_barrier_revoked_keys_are_accepted_and_it_is_noticed() {
    let fleet = Fleet::start().await;
    let no_barrier = "UPDATE keyward.change_clock SET barrier_window_ms = 0";
    fleet.cluster.run(&[WITHOUT_THE_RULE, no_barrier]).await;
    let load = Load::begin(&fleet);
    load.revoke(REVOCATIONS).await;
    load.end().await.assert_stale();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_window_of_nothing_deletions_do_not_wait_and_nothing_revoked_is_accepted() {
    let fleet = Fleet::with_window("0s").await;
    let load = Load::begin(&fleet);
    load.revoke(REVOCATIONS).await;
    let report = load.end().await;
    report.assert_strict().assert_calm().assert_deleted_within(Duration::ZERO);
    let half = report.figures.deletion_within(50);
    assert!(half < Duration::from_millis(200), "{}", report.figures);
}
