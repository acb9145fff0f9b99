//! The schema changes while nodes run.

use keyward_tests::cluster::Cluster;
use keyward_tests::tenant::{KeyObject, Tenant};

use crate::node_on;

#[tokio::test]
async fn a_schema_that_grows_is_not_noticed_by_the_nodes_that_run() {
    let cluster = Cluster::start().await;
    let node = node_on(cluster.url()).start().await;
    let tenant = node.tenant();
    let key = use_everything(&tenant, None).await;
    for statement in [
        "ALTER TABLE keyward.api_keys ADD COLUMN of_later_times timestamptz",
        "ALTER TABLE keyward.api_keys ADD COLUMN hits bigint NOT NULL DEFAULT 0",
        "ALTER TABLE keyward.settings ADD COLUMN later boolean NOT NULL DEFAULT false",
        "CREATE INDEX ON keyward.api_keys (created_by)",
        "ANALYZE keyward.api_keys",
    ] {
        cluster.run(&[statement]).await;
        for _ in 0..6 {
            use_everything(&tenant, Some(&key)).await;
        }
    }
    let logs = node.logs();
    let troubled = |line: &&str| line.contains(" WARN ") || line.contains(" ERROR ");
    // Every cluster of the tests is warned of: none of them syncs.
    let complaints: Vec<&str> =
        logs.lines().filter(troubled).filter(|line| !line.contains("fsync off")).collect();
    assert!(complaints.is_empty(), "{complaints:?}");
}

/// Creates, lists, verifies and revokes, and verifies a key that is there already.
async fn use_everything(tenant: &Tenant, old: Option<&KeyObject>) -> KeyObject {
    let (kept, dropped) = tokio::join!(tenant.create("kept"), tenant.create("dropped"));
    tenant.revoke(dropped.id).await;
    assert_eq!(tenant.verdict(dropped.raw()).await, "revoked");
    for key in old.into_iter().chain([&kept]) {
        assert_eq!(tenant.verdict(key.raw()).await, "valid");
    }
    assert!(tenant.list().await.contains(&kept.clone().without_raw()));
    kept
}
