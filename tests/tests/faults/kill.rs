//! `SIGKILL` of all of Postgres under concurrent creates and revocations.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use keyward_tests::cluster::Cluster;
use keyward_tests::ledger::{Ledger, check, check_list};
use keyward_tests::tenant::Tenant;
use keyward_tests::tokens;
use keyward_tests::wait::eventually;
use tokio::task::JoinSet;

use crate::node_on;

const ROUNDS: usize = 10;
const WRITERS: usize = 8;

/// Also where the database leaves commits to be written some ten seconds later: what our commits wait
/// for is not left to its defaults.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_answered_outlives_ten_kills_of_postgres() {
    let mut cluster = Cluster::with(&["wal_writer_delay=10s", "synchronous_commit=off"]).await;
    cluster
        .administer(
            "postgres",
            &[
                "ALTER DATABASE keyward SET synchronous_commit = off",
                "ALTER ROLE keyward SET synchronous_commit = off",
            ],
        )
        .await;
    let node = node_on(cluster.url()).start().await;
    let tenant = node.tenant();
    let mut known = Vec::new();
    for _ in 0..ROUNDS {
        let ledger = work_until_killed(&mut cluster, &tenant).await;
        cluster.start_again().await;
        eventually("service", async || tenant.client().get("/readyz").send().await.status == 200)
            .await;
        for (key, state) in ledger.entries() {
            check(&tenant, &key, state).await;
        }
        known.extend(ledger.entries());
        check_list(&tenant, &known).await;
    }
    for (key, state) in &known {
        check(&tenant, key, *state).await;
        tenant.revoke(key.id).await;
        assert_eq!(tenant.verdict(key.raw()).await, "revoked");
    }
}

/// Creates and revokes from several clients until a number of answers has come, then kills Postgres
/// in the midst of it.
async fn work_until_killed(cluster: &mut Cluster, tenant: &Tenant) -> Ledger {
    let ledger = Ledger::default();
    let killed = Arc::new(AtomicBool::new(false));
    let mut writers = JoinSet::new();
    for n in 0..WRITERS {
        let (tenant, ledger, killed) = (tenant.clone(), ledger.clone(), Arc::clone(&killed));
        writers.spawn(async move {
            while !killed.load(Ordering::SeqCst) {
                ledger.create_and_maybe_revoke(&tenant, n % 2 == 0).await;
            }
        });
    }
    let enough = 40 + usize::from(tokens::random::<1>()[0]);
    eventually("the clients are answered", async || ledger.len() >= enough).await;
    cluster.kill();
    killed.store(true, Ordering::SeqCst);
    writers.join_all().await;
    ledger
}
