//! A node that does not reach Postgres, while the others do.

use keyward_tests::proxy::Proxy;
use keyward_tests::wait::eventually;

use crate::fleet::Fleet;
use crate::load::Load;
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
