//! Many nodes, and people, on one database.

use std::time::Duration;

use keyward_tests::cluster::Cluster;
use keyward_tests::server::Server;
use keyward_tests::tenant::{KeyObject, Tenant};
use keyward_tests::wait::within;
use sqlx::AssertSqlSafe;
use tokio::task::{JoinSet, LocalSet};

use crate::node_on;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_nodes_that_start_at_once_on_an_empty_database_all_serve() {
    let cluster = Cluster::start().await;
    let launch = node_on(cluster.url()).flag("--pool-size", "4");
    let local = LocalSet::new();
    let nodes = local.run_until(async {
        let mut starting = JoinSet::new();
        for _ in 0..10 {
            let launch = launch.clone();
            starting.spawn_local(async move { launch.start().await });
        }
        starting.join_all().await
    });
    let nodes = nodes.await;
    let tenant = nodes[0].tenant();
    for (n, node) in nodes.iter().enumerate() {
        tenant.on(node.client()).create(&format!("made on node {n}")).await;
    }
    for node in &nodes {
        let tenant = tenant.on(node.client());
        assert_eq!(tenant.list().await.len(), nodes.len());
    }
}

#[tokio::test]
async fn what_is_typed_in_psql_holds_on_every_node_at_once_and_takes_an_epoch() {
    let cluster = Cluster::start().await;
    let (nodes, tenants) = three_nodes(&cluster).await;
    let keys = [tenants[0].create("one").await, tenants[0].create("two").await];
    for (tenant, key) in every(&tenants, &keys) {
        assert_eq!(tenant.auth(key.raw()).await, 200, "it is in memory everywhere now");
    }
    assert_eq!(cluster.number("SELECT epoch FROM keyward.change_clock").await, 0);

    let revoke = "UPDATE keyward.api_keys SET status = 'revoked', updated_at = now()";
    cluster.run(&[revoke]).await;
    for (tenant, key) in every(&tenants, &keys) {
        assert_eq!(tenant.auth(key.raw()).await, 401);
    }
    assert_eq!(cluster.number("SELECT epoch FROM keyward.change_clock").await, 2);
    let noted = "SELECT count(DISTINCT changes.digest) FROM keyward.key_changes AS changes
                 JOIN keyward.api_keys AS keys USING (digest) WHERE epoch IN (1, 2)";
    assert_eq!(cluster.number(noted).await, 2, "one epoch for each record");

    cluster.run(&["UPDATE keyward.api_keys SET name = name"]).await;
    assert_eq!(cluster.number("SELECT epoch FROM keyward.change_clock").await, 2, "no change");
    cluster.run(&["DELETE FROM keyward.api_keys WHERE name = 'one'"]).await;
    assert_eq!(cluster.number("SELECT epoch FROM keyward.change_clock").await, 3);
    for tenant in &tenants {
        assert_eq!(tenant.verdict(keys[0].raw()).await, "unknown");
    }
    drop(nodes);
}

#[tokio::test]
async fn nobody_makes_a_revoked_key_active_or_takes_keys_away_without_a_trace() {
    let cluster = Cluster::start().await;
    let (_nodes, tenants) = three_nodes(&cluster).await;
    let key = tenants[0].create("revoked").await;
    tenants[0].revoke(key.id).await;
    let mut admin = cluster.admin().await;
    for (statement, told) in [
        ("UPDATE keyward.api_keys SET status = 'active'", "a revoked key stays revoked"),
        ("TRUNCATE keyward.api_keys", "use DELETE"),
        ("UPDATE keyward.api_keys SET status = 'lost'", "a revoked key stays revoked"),
        ("UPDATE keyward.api_keys SET digest = 'short'", "api_keys_digest_check"),
        (
            "BEGIN ISOLATION LEVEL SERIALIZABLE; UPDATE keyward.api_keys SET name = 'x'",
            "only in READ COMMITTED",
        ),
    ] {
        let refused = sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut admin).await;
        let error = refused.expect_err(statement).to_string();
        assert!(error.contains(told), "{error}");
        sqlx::raw_sql("ROLLBACK").execute(&mut admin).await.unwrap();
    }
    for tenant in &tenants {
        assert_eq!(tenant.verdict(key.raw()).await, "revoked");
    }
}

/// Each takes many records in one statement, and somebody in psql takes them too, each in an order of
/// their own. Locks are taken in one order: the clock first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn revocations_of_the_same_keys_from_all_sides_are_all_answered() {
    let cluster = Cluster::start().await;
    let (nodes, tenants) = three_nodes(&cluster).await;
    for _ in 0..15 {
        let mut keys = Vec::new();
        for n in 0..24 {
            keys.push(tenants[n % tenants.len()].create("a").await);
        }
        let mut under_way = JoinSet::new();
        for (n, tenant) in tenants.iter().enumerate() {
            let mut order = keys.clone();
            match n {
                0 => {}
                1 => order.reverse(),
                _ => order.rotate_left(11),
            }
            for key in order {
                let tenant = tenant.clone();
                under_way.spawn(async move { tenant.revoke(key.id).await });
            }
        }
        let typed = cluster.run(&[
            "UPDATE keyward.api_keys SET status = 'revoked' WHERE status = 'active'",
            "UPDATE keyward.api_keys SET name = name || '.' WHERE id IN (
                 SELECT id FROM keyward.api_keys ORDER BY id DESC LIMIT 10)",
        ]);
        let all = async { tokio::join!(typed, under_way.join_all()) };
        Box::pin(within(Duration::from_mins(1), "all revocations", all)).await;
        for (tenant, key) in every(&tenants, &keys) {
            assert_eq!(tenant.verdict(key.raw()).await, "revoked");
        }
    }
    let again = nodes.iter().map(Server::logs).find(|log| log.contains("deadlock"));
    assert_eq!(again, None, "nobody met a deadlock");
}

async fn three_nodes(cluster: &Cluster) -> (Vec<Server>, Vec<Tenant>) {
    let launch = node_on(cluster.url());
    let mut nodes = Vec::new();
    for _ in 0..3 {
        nodes.push(launch.start().await);
    }
    let tenant = nodes[0].tenant();
    let tenants = nodes.iter().map(|node| tenant.on(node.client())).collect();
    (nodes, tenants)
}

fn every<'a>(
    tenants: &'a [Tenant],
    keys: &'a [KeyObject],
) -> impl Iterator<Item = (&'a Tenant, &'a KeyObject)> {
    tenants.iter().flat_map(move |tenant| keys.iter().map(move |key| (tenant, key)))
}
