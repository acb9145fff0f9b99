//! A node that does not reach Postgres, while the others do.

use std::time::Duration;

use keyward_tests::proxy::Proxy;
use keyward_tests::wait::eventually;
use sqlx::Executor as _;
use tokio::time::sleep;

use crate::fleet::{Fleet, NODES};
use crate::load::{Load, below};
use crate::rounds;

const CUT_OFF: usize = 1;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_cut_off_from_postgres_says_so_and_accepts_nothing_that_was_revoked() {
    without_postgres(Proxy::cut).await;
}

/// What was on its way arrives when the network works again: an answer to a poll, say, that is as old
/// as the failure was long.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_connections_hang_says_so_and_accepts_nothing_that_was_revoked() {
    without_postgres(Proxy::hold).await;
}

/// The answer to a poll says how things were when it was asked, and arrives when the revocation of
/// something else has been answered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn polls_whose_answers_are_late_prove_nothing_of_what_came_after_them() {
    let fleet = Fleet::start().await;
    let load = Load::begin(&fleet);
    for _ in 0..rounds(20) {
        let proxy = &fleet.proxies[below(NODES)];
        proxy.hold_answers();
        // Within the time after which the answer would not be believed any more.
        sleep(Duration::from_millis(300 + u64::try_from(below(150)).expect("it is small"))).await;
        proxy.mend();
        sleep(Duration::from_millis(20)).await;
    }
    load.revoke(10).await;
    load.end().await.assert_strict();
    fleet.assert_serves().await;
}

/// A lookup from before a revocation may be answered long after the poll that tells of it. There is
/// always one under way, because somebody renames the keys that are active all the time, and nobody
/// waits for a window.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lookups_that_come_late_put_nothing_revoked_back_into_memory() {
    let fleet = Fleet::with_window("0s").await;
    for proxy in &fleet.proxies {
        proxy.make_late(Duration::from_millis(60));
    }
    let load = Load::with(&fleet, 12, 24);
    let mut somebody = fleet.cluster.admin().await;
    let renaming = tokio::spawn(async move {
        loop {
            let rename = "UPDATE keyward.api_keys SET name = gen_random_uuid()
                WHERE status = 'active'";
            somebody.execute(rename).await.expect("the server answers");
            sleep(Duration::from_millis(10)).await;
        }
    });
    load.revoke(rounds(100)).await;
    assert!(!renaming.is_finished(), "the keys were renamed all the time");
    renaming.abort();
    load.end().await.assert_strict();
    let discarded = fleet.metric("keyward_fills_discarded_total").await;
    assert!(discarded > 0.0, "no lookup was overtaken by a change");
}

async fn without_postgres(fail: fn(&Proxy)) {
    let fleet = Fleet::start().await;
    let good = fleet.remembered_key("good").await;
    let node = &fleet.tenants[CUT_OFF];
    let load = Load::begin(&fleet);
    for _ in 0..rounds(2) {
        load.revoke(10).await;
        fail(&fleet.proxies[CUT_OFF]);
        eventually("the node cannot say", async || node.auth(good.raw()).await == 503).await;
        load.revoke(20).await;
        assert_eq!(node.auth(good.raw()).await, 503, "nothing has changed");
        node.client().get("/readyz").send().await.expect_problem(503);
        fleet.proxies[CUT_OFF].mend();
        eventually("the node serves", async || node.auth(good.raw()).await == 200).await;
    }
    load.revoke(10).await;
    load.end().await.assert_strict();
    fleet.assert_serves().await;
}
