//! Servers that are running meanwhile.

use keyward_tests::launch::{Launch, Storage, keyward};
use keyward_tests::server::Server;
use keyward_tests::tenant::{KeyObject, Tenant};

use crate::fixture::{Done, copy, fail, put, serve_like, storages};

/// A RocksDB directory is one process's alone. A database is not: its nodes go on verifying.
#[tokio::test]
async fn a_server_on_what_was_moved_verifies_and_takes_no_changes() {
    for (from, to) in storages() {
        let launch = Launch::on(from.clone());
        let mut server = launch.start().await;
        let tenant = server.tenant();
        let (kept, revoked) = (tenant.create("kept").await, tenant.create("revoked").await);
        tenant.revoke(revoked.id).await;
        assert_eq!(tenant.verdict(kept.raw()).await, "valid");
        if from.directory().is_some() {
            fail(&from, &to, &[], "in use").await;
            tenant.create("not sealed").await;
            server.terminate().await;
            copy(&from, &to, &[]).await;
            server = launch.start().await;
        } else {
            copy(&from, &to, &[]).await;
        }
        let tenant = tenant.on(server.client());
        assert_verifies_and_takes_no_changes(&server, &tenant, &kept, &revoked).await;

        if from.directory().is_some() {
            server.terminate().await;
        }
        let ended = keyward(&["copy", "--from", &from.url(), "--unseal"]).await;
        assert!(ended.status.success(), "{ended}");
        let server = serve_like(&launch, &from).await;
        let tenant = tenant.on(server.client());
        tenant.create("new").await;
        tenant.revoke(kept.id).await;
        assert_eq!(tenant.verdict(kept.raw()).await, "revoked");
    }
}

async fn assert_verifies_and_takes_no_changes(
    server: &Server,
    tenant: &Tenant,
    kept: &KeyObject,
    revoked: &KeyObject,
) {
    for _ in 0..2 {
        for answer in [tenant.post(r#"{"name":"a"}"#).await, tenant.delete(kept.id).await] {
            let answer = answer.expect_problem(503);
            assert!(answer.header("retry-after").parse::<u32>().is_ok(), "{answer:?}");
        }
        server.client().get("/readyz").send().await.expect(200);
        assert_eq!(tenant.verdict(kept.raw()).await, "valid");
        assert_eq!(tenant.auth(kept.raw()).await, 200);
        assert_eq!(tenant.verdict(revoked.raw()).await, "revoked");
        let stranger = server.tenant();
        stranger.delete(kept.id).await;
        assert_eq!(tenant.verdict(kept.raw()).await, "valid");
    }
}

#[tokio::test]
async fn the_nodes_of_a_live_target_know_every_key_when_the_copy_has_ended() {
    for (from, to) in storages() {
        if to.directory().is_some() {
            let server = Launch::on(to.clone()).start().await;
            put(&from, &[]).await;
            fail(&from, &to, &[], "in use").await;
            server.tenant().create("it goes on").await;
            continue;
        }
        let launch = Launch::on(from.clone());
        let source = launch.start().await;
        let tenant = source.tenant();
        let (kept, revoked) = (tenant.create("kept").await, tenant.create("revoked").await);
        tenant.revoke(revoked.id).await;
        source.terminate().await;

        let target = serve_like(&launch, &to).await;
        let tenant = tenant.on(target.client());
        for key in [&kept, &revoked] {
            assert_eq!(tenant.verdict(key.raw()).await, "unknown");
        }
        copy(&from, &to, &[]).await;
        assert_eq!(tenant.verdict(kept.raw()).await, "valid");
        assert_eq!(tenant.verdict(revoked.raw()).await, "revoked");
        // A key that is revoked elsewhere is refused here, whatever this node had found before.
        let from = Storage::clone(&from);
        let ended = keyward(&["copy", "--from", &from.url(), "--unseal"]).await;
        assert!(ended.status.success(), "{ended}");
        let source = serve_like(&launch, &from).await;
        tenant.on(source.client()).revoke(kept.id).await;
        source.terminate().await;
        let done = copy(&from, &to, &[]).await;
        assert_eq!(done, Done { records: 2, changed: 1, unchanged: 1, ..Done::default() });
        assert_eq!(tenant.verdict(kept.raw()).await, "revoked");
    }
}
