//! Postgres goes away, or hangs, and comes back.

use std::time::{Duration, Instant};

use keyward_tests::cluster::Cluster;
use keyward_tests::proxy::Proxy;
use keyward_tests::tenant::{KeyObject, Tenant};
use keyward_tests::wait::{eventually, within};
use sqlx::{Connection as _, Executor as _};

use crate::calls::{
    AT_ONCE, IN_THE_END, LEEWAY, URGENT, assert_outage, assert_unavailable, every_call,
};
use crate::node_on;

/// Within this time after Postgres has come back, everything works again.
const BACK: Duration = Duration::from_secs(2);

#[tokio::test]
async fn without_postgres_every_call_is_told_at_once_and_with_it_again_works() {
    let mut cluster = Cluster::start().await;
    let node = node_on(cluster.url()).start().await;
    let tenant = node.tenant();
    let key = tenant.create("good").await;
    for _ in 0..3 {
        cluster.stop().await;
        assert_outage(&tenant, &key, |_| AT_ONCE).await;
        cluster.start_again().await;
        assert_back(&tenant, &key).await;
    }
    assert_eq!(tenant.list().await, [key.without_raw()], "what was answered 503 was not made");
}

#[tokio::test]
async fn a_postgres_that_hangs_keeps_nobody_waiting_and_costs_no_connection() {
    let cluster = Cluster::start().await;
    let node = node_on(cluster.url()).flag("--pool-size", "6").start().await;
    let tenant = node.tenant();
    let key = tenant.create("good").await;
    every_call_but_revoke(&tenant, &key).await;

    cluster.pause();
    // What was polled just before is good for the rest of the window.
    eventually("nothing proves what is remembered", async || tenant.auth(key.raw()).await == 503)
        .await;
    let limit = |call: &str| if URGENT.contains(&call) { AT_ONCE } else { IN_THE_END };
    assert_outage(&tenant, &key, limit).await;
    cluster.resume();
    // What hung may have been done when Postgres went on.
    within(BACK + LEEWAY, "service", async {
        eventually("it is ready again", async || {
            tenant.client().get("/readyz").send().await.status == 200
        })
        .await;
    })
    .await;
    let listed = tenant.list().await;
    let status = listed.iter().find(|it| it.id == key.id).map(|it| it.status.as_str());
    let expected = if status == Some("active") { "valid" } else { "revoked" };
    assert_eq!(tenant.verdict(key.raw()).await, expected);
    eventually("the connections are those of the pool", async || cluster.connections().await <= 6)
        .await;
}

#[tokio::test]
async fn a_locked_table_holds_up_nobody_for_long_and_nothing_afterwards() {
    let cluster = Cluster::start().await;
    let node = node_on(cluster.url()).flag("--pool-size", "2").start().await;
    let tenant = node.tenant();
    let key = tenant.create("good").await;

    let mut somebody = cluster.admin().await;
    let mut transaction = somebody.begin().await.unwrap();
    transaction.execute("LOCK TABLE keyward.api_keys IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let calls = || within(IN_THE_END + LEEWAY, "an answer", every_call(&tenant, &key));
    for _ in 0..3 {
        let (told, ready): (Vec<_>, Vec<_>) =
            calls().await.into_iter().partition(|it| it.call != "readyz");
        assert_unavailable(&told);
        // It asks another table, if it comes to a connection.
        assert!(matches!(ready[0].answer.status, 200 | 503), "{ready:?}");
    }
    let held = cluster.connections().await;
    assert!(held <= 2 + 1, "{held} connections are held at the table");
    transaction.rollback().await.unwrap();
    assert_back(&tenant, &key).await;
}

/// What has a lane of its own is verification: no crowd in front of the list may keep it waiting.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_of_lists_does_not_turn_verifications_away() {
    let cluster = Cluster::start().await;
    let node = node_on(cluster.url()).flag("--pool-size", "4").start().await;
    let tenant = node.tenant();
    let key = tenant.create("good").await;
    cluster
        .run(&["INSERT INTO keyward.api_keys
             SELECT gen_random_uuid(), workspace_id, sha256(n::text::bytea), name, key_prefix,
                    status, created_by, created_at, updated_at, scopes
             FROM keyward.api_keys, generate_series(1, 5000) AS n"])
        .await;
    let crowd: Vec<_> = (0..200)
        .map(|_| {
            let tenant = tenant.clone();
            tokio::spawn(async move { tenant.request("GET").try_send().await.map(drop) })
        })
        .collect();
    let begun = Instant::now();
    let mut verified = 0;
    while crowd.iter().any(|list| !list.is_finished()) && begun.elapsed() < LEEWAY {
        assert_eq!(tenant.verdict(key.raw()).await, "valid");
        verified += 1;
    }
    assert!(verified > 10, "only {verified} verifications beside the crowd");
}

#[tokio::test]
async fn a_standby_is_never_asked_whether_a_key_is_good() {
    let cluster = Cluster::start().await;
    let proxy = Proxy::of(cluster.address()).await;
    let node = node_on(cluster.url_at(proxy.address())).start().await;
    let tenant = node.tenant();
    let key = tenant.create("good").await;
    let standby = Cluster::standby_of(&cluster).await;

    proxy.turn_to(standby.address());
    assert_outage(&tenant, &key, |_| AT_ONCE).await;
    let ended = node_on(standby.url()).run().await;
    assert_eq!(ended.status.code(), Some(1), "{ended}");
    assert!(ended.stderr.contains("read-only: the primary is needed"), "{ended}");

    proxy.turn_to(cluster.address());
    assert_back(&tenant, &key).await;
}

/// Connections that were ended by somebody, or by a restart that nobody noticed, are not noticed by
/// those who verify.
#[tokio::test]
async fn connections_that_were_ended_are_replaced_unnoticed() {
    let mut cluster = Cluster::start().await;
    let node = node_on(cluster.url()).start().await;
    let tenant = node.tenant();
    let key = tenant.create("good").await;
    for _ in 0..10 {
        every_call_but_revoke(&tenant, &key).await;
        cluster
            .run(&["SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                 WHERE usename = 'keyward'"])
            .await;
        assert_eq!(tenant.verdict(key.raw()).await, "valid");
    }
    every_call_but_revoke(&tenant, &key).await;
    cluster.stop().await;
    cluster.start_again().await;
    assert_eq!(tenant.verdict(key.raw()).await, "valid");
    assert_eq!(tenant.auth(key.raw()).await, 200);
}

/// Several connections come to be.
async fn every_call_but_revoke(tenant: &Tenant, key: &KeyObject) {
    let (verdict, auth, _) =
        tokio::join!(tenant.verdict(key.raw()), tenant.auth(key.raw()), tenant.list());
    assert_eq!((verdict.as_str(), auth), ("valid", 200));
}

/// Everything works again soon.
async fn assert_back(tenant: &Tenant, key: &KeyObject) {
    let back = eventually("the key is good again", async || {
        let answer = tenant.client().get("/api/v1/auth").header("x-api-key", key.raw());
        let status = answer.send().await.status;
        assert!(matches!(status, 200 | 503), "{status}");
        status == 200
    });
    within(BACK + LEEWAY, "service", back).await;
    tenant.client().get("/readyz").send().await.expect(200);
    tenant.list().await;
}
