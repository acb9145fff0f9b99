//! `kill -9` under concurrent creates and revocations.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use keyward_tests::launch::{Launch, Storage};
use keyward_tests::ledger::{Known, Ledger, check, check_list};
use keyward_tests::server::Server;
use keyward_tests::tenant::{KeyObject, Tenant};
use keyward_tests::tokens;
use keyward_tests::wait::eventually;
use tokio::task::JoinSet;

const ROUNDS: usize = 20;
const WRITERS: usize = 8;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_answered_outlives_twenty_kills() {
    let launch = Launch::on(Storage::new());
    let mut server = launch.start().await;
    let tenant = server.tenant();
    let mut known = Vec::new();
    for _ in 0..ROUNDS {
        let round = work_until_killed(server, &tenant).await;
        server = launch.start().await;
        let tenant = tenant.on(server.client());
        for (key, state) in &round {
            check(&tenant, key, *state).await;
        }
        known.extend(round);
        check_list(&tenant, &known).await;
    }
    // What was kept over one crash is kept over all of them; and what is not revoked can be.
    let tenant = tenant.on(server.client());
    for some in known.chunks(100) {
        let mut revocations = JoinSet::new();
        for (key, state) in some.iter().cloned() {
            let tenant = tenant.clone();
            revocations.spawn(async move {
                check(&tenant, &key, state).await;
                tenant.revoke(key.id).await;
                assert_eq!(tenant.verdict(key.raw()).await, "revoked");
            });
        }
        revocations.join_all().await;
    }
}

/// Creates and revokes from several clients until a number of answers has come, then kills the server
/// in the midst of it. Returns what the clients know.
async fn work_until_killed(server: Server, tenant: &Tenant) -> Vec<(KeyObject, Known)> {
    let ledger = Ledger::default();
    let killed = Arc::new(AtomicBool::new(false));
    let mut writers = JoinSet::new();
    for n in 0..WRITERS {
        let (tenant, ledger) = (tenant.on(server.client()), ledger.clone());
        let killed = Arc::clone(&killed);
        writers.spawn(async move {
            while !killed.load(Ordering::SeqCst) {
                ledger.create_and_maybe_revoke(&tenant, n % 2 == 0).await;
            }
        });
    }
    let enough = 25 + usize::from(tokens::random::<1>()[0]) / 2;
    eventually("the clients are answered", async || ledger.len() >= enough).await;
    server.kill().await;
    killed.store(true, Ordering::SeqCst);
    writers.join_all().await;
    ledger.entries()
}
