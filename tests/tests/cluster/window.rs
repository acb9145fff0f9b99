//! The window, while it is changed, and while very many wait for it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use keyward_tests::launch::keyward;
use keyward_tests::tenant::KeyObject;
use tokio::task::JoinSet;

use crate::fleet::{Fleet, NODES, judgement};
use crate::load::Load;
use crate::{LEEWAY, WINDOW, rounds};

/// A node is stopped meanwhile, and so does not hear of the new window before it goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_window_is_changed_under_load_and_nothing_revoked_is_accepted() {
    let mut fleet = Fleet::start().await;
    let load = Load::begin(&fleet);
    for (round, window) in ["1s", "50ms", "600ms", "0s", "250ms"].into_iter().enumerate() {
        load.revoke(10).await;
        let stopped = round % NODES;
        fleet.nodes[stopped].pause();
        set_window(&fleet, window).await.expect("nobody else changes it");
        fleet.nodes[stopped].resume();
        load.revoke(rounds(20)).await;
    }
    let report = load.end().await;
    report.assert_strict().assert_deleted_within(Duration::from_secs(1));
}

/// Each makes it another one, and waits for what may still rely on the one before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_window_is_changed_from_two_sides_and_nothing_revoked_is_accepted() {
    let fleet = Fleet::start().await;
    let load = Load::begin(&fleet);
    for (one, other) in [("50ms", "500ms"), ("400ms", "0s"), ("100ms", "20ms")] {
        let _at_most_one_is_told_of_the_other =
            tokio::join!(set_window(&fleet, one), set_window(&fleet, other));
        load.revoke(rounds(20)).await;
    }
    load.end().await.assert_strict().assert_calm();
}

/// Sets it as an operator does, or says what came of it.
async fn set_window(fleet: &Fleet, window: &str) -> Result<(), String> {
    let url = fleet.cluster.url();
    let ended = keyward(&["window", "set", window, "--storage", &url]).await;
    if ended.status.success() { Ok(()) } else { Err(ended.to_string()) }
}

/// They share commits and wait side by side, and nobody holds a connection while waiting.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_revocations_at_once_end_together_and_hold_no_connections() {
    const KEYS: usize = 1_000;
    const POOL: i64 = 10;
    let fleet = Arc::new(Fleet::start().await);
    let keys = created(&fleet, KEYS).await;
    assert_all(&fleet, &keys, 200).await;

    let begun = Instant::now();
    let mut deletions = JoinSet::new();
    for (n, key) in keys.iter().enumerate() {
        let (tenant, id) = (fleet.tenants[n % NODES].clone(), key.id);
        deletions.spawn(async move {
            tenant.revoke(id).await;
            begun.elapsed()
        });
    }
    let mut connections = 0;
    let mut took = Duration::ZERO;
    while !deletions.is_empty() {
        connections = connections.max(fleet.cluster.connections().await);
        while let Some(deletion) = deletions.try_join_next() {
            took = took.max(deletion.expect("every deletion is answered"));
        }
    }
    eprintln!("{KEYS} revocations at once: {took:?}, {connections} connections at most");
    assert!(took < WINDOW + LEEWAY, "{took:?}");
    let nodes = i64::try_from(NODES).expect("there are few");
    // Beside its pool each node has a connection for polls.
    assert!(connections <= nodes * (POOL + 1), "{connections} connections");
    assert_all(&fleet, &keys, 401).await;
}

async fn created(fleet: &Arc<Fleet>, count: usize) -> Vec<KeyObject> {
    let mut creations = JoinSet::new();
    for _ in 0..count {
        let fleet = Arc::clone(fleet);
        creations.spawn(async move { fleet.create("one of many").await });
    }
    creations.join_all().await
}

/// All nodes say this of all keys.
async fn assert_all(fleet: &Fleet, keys: &[KeyObject], status: u16) {
    // Fewer at a time than a node looks up at once.
    const AT_ONCE: usize = 100;
    for keys in keys.chunks(AT_ONCE) {
        let mut calls = JoinSet::new();
        for (tenant, key) in
            fleet.tenants.iter().flat_map(|it| keys.iter().map(move |key| (it, key)))
        {
            let (tenant, key) = (tenant.clone(), key.clone());
            calls.spawn(async move { judgement(&tenant, &key).await });
        }
        for answer in calls.join_all().await {
            assert_eq!(answer, status);
        }
    }
}
