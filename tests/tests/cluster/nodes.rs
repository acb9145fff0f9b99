//! Nodes that are stopped and killed, and clients that go away.

use std::time::Duration;

use keyward_tests::history::Outcome;
use keyward_tests::raw::Raw;
use keyward_tests::wait::{eventually, soon};
use tokio::time::sleep;

use crate::fleet::{Fleet, NODES};
use crate::load::{Load, Shown, below};
use crate::{WINDOW, rounds};

/// Its memory is as old as its sleep was long, and requests wait in front of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_was_stopped_for_ten_seconds_accepts_nothing_that_was_revoked_meanwhile() {
    let mut fleet = Fleet::start().await;
    let load = Load::begin(&fleet);
    load.revoke(20).await;
    fleet.nodes[2].pause();
    let stopped = load.recorder().now();
    load.revoke(20).await;
    sleep(Duration::from_secs(10).saturating_sub(load.recorder().since(stopped).length())).await;
    fleet.nodes[2].resume();
    load.revoke(rounds(20)).await;
    load.end().await.assert_strict();
    fleet.assert_serves().await;
}

/// They may be stopped anywhere: between a proof and the look into memory, between a poll and what
/// follows from it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_stutter_accept_nothing_that_was_revoked() {
    let mut fleet = Fleet::start().await;
    let load = Load::begin(&fleet);
    for _ in 0..rounds(40) {
        let node = below(NODES);
        fleet.nodes[node].pause();
        sleep(Duration::from_millis(20 + u64::try_from(below(380)).expect("it is small"))).await;
        fleet.nodes[node].resume();
        sleep(Duration::from_millis(20)).await;
    }
    load.revoke(10).await;
    load.end().await.assert_strict();
    fleet.assert_serves().await;
}

/// A new node knows nothing, neither keys nor what has become of them, and is asked from its first
/// moment on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_take_the_place_of_others_accept_nothing_that_was_revoked() {
    let mut fleet = Fleet::start().await;
    let fronts = fleet.front().await;
    let load = Load::begin(&fleet);
    for round in 0..rounds(9) {
        load.revoke(10).await;
        fleet.replace(round % NODES).await;
        fronts[round % NODES].turn_to(fleet.nodes[round % NODES].address());
    }
    load.revoke(10).await;
    load.end().await.assert_strict();
    fleet.assert_serves().await;
}

/// The first has committed and answered nobody. The second finds nothing left to do, and yet must not
/// answer while nodes may remember.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revocation_whose_node_died_in_its_wait_holds_when_it_is_asked_again() {
    let fleet = Fleet::start().await;
    let load = Load::begin(&fleet);
    let mut cut_off = 0;
    for round in 0..rounds(5) {
        let key = load.key().await;
        let (revoker, tenant) = fleet.one_more().await;
        load.threaten(&key);
        let id = key.id;
        let asked = tokio::spawn(async move {
            let request = tenant.client().delete(&tenant.key_path(id)).bearer(tenant.token());
            request.try_send().await.is_ok()
        });
        committed(&fleet, &key).await;
        revoker.kill().await;
        cut_off += usize::from(!soon(asked).await.expect("a request does not panic"));
        revoke_again(&load, &key, round % NODES).await;
    }
    assert!(cut_off > 0, "every answer came before the node was killed");
    load.end().await.assert_strict();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revocation_whose_client_went_away_holds_when_it_is_asked_again() {
    let fleet = Fleet::start().await;
    let load = Load::begin(&fleet);
    for round in 0..rounds(20) {
        let key = load.key().await;
        load.threaten(&key);
        let tenant = &fleet.tenants[round % NODES];
        let mut gone = fleet.nodes[round % NODES].raw().await;
        let (path, token) = (tenant.key_path(key.id), tenant.token());
        let head = format!("DELETE {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}");
        leave(&mut gone, &head).await;
        drop(gone);
        revoke_again(&load, &key, (round + 1) % NODES).await;
    }
    load.end().await.assert_strict().assert_calm();
}

/// Sends a request, and stays a little, but seldom long enough for the answer.
async fn leave(raw: &mut Raw, head: &str) {
    raw.send(format!("{head}\r\n\r\n")).await;
    if below(3) == 0 {
        raw.reset_on_close();
    }
    let most = usize::try_from(WINDOW.as_millis()).expect("a window is short");
    sleep(Duration::from_millis(u64::try_from(below(most)).expect("it was short"))).await;
}

/// Revokes a key that may be revoked already, and has all nodes asked right after the answer.
async fn revoke_again(load: &Load, key: &Shown, node: usize) {
    eventually("the repeated deletion is answered", async || {
        load.delete(node, key).await == Outcome::Answered
    })
    .await;
    load.ask_everywhere(key).await;
}

/// Waits until the database says that the key is revoked.
async fn committed(fleet: &Fleet, key: &Shown) {
    let revoked = format!(
        "SELECT count(*) FROM keyward.api_keys WHERE status = 'revoked' AND id = '{}'",
        key.id
    );
    eventually("the revocation is committed", async || fleet.cluster.number(&revoked).await == 1)
        .await;
}
