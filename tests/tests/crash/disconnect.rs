//! A client that goes away in the middle of its DELETE.

use std::time::Duration;

use keyward_tests::launch::{Launch, Storage};
use keyward_tests::raw::Raw;
use keyward_tests::server::Server;
use keyward_tests::tenant::{KeyObject, Tenant};
use keyward_tests::tokens;
use keyward_tests::wait::eventually;

const ROUNDS: usize = 150;

/// The revocation may be made or not; but if it was, it was made everywhere. A handler that dies
/// with its client between the write and the eviction leaves the key active in memory for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revocation_whose_client_is_gone_is_whole_or_absent() {
    let server = Launch::on(Storage::new()).start().await;
    let tenant = server.tenant();
    let (mut revoked, mut active) = (0, Vec::new());
    for round in 0..ROUNDS {
        let key = tenant.create("a").await;
        assert_eq!(tenant.verdict(key.raw()).await, "valid", "it is in memory now");
        delete_and_leave(&server, &tenant, &key, round).await;
        if is_listed_revoked(&tenant, &key).await {
            revoked += 1;
            eventually("a key that is listed as revoked is refused", async || {
                tenant.verdict(key.raw()).await == "revoked" && tenant.auth(key.raw()).await == 401
            })
            .await;
        } else {
            active.push(key);
        }
    }
    // Some were not revoked when they were looked at, and may come to be at any time.
    for key in &active {
        eventually("list and verification agree", async || {
            let status = if is_listed_revoked(&tenant, key).await { "revoked" } else { "valid" };
            tenant.verdict(key.raw()).await == status
        })
        .await;
    }
    assert!(revoked > ROUNDS / 4, "only {revoked} of {ROUNDS} revocations came through");
}

/// Sends a DELETE and closes the connection: at once, a little later, or with a reset.
async fn delete_and_leave(server: &Server, tenant: &Tenant, key: &KeyObject, round: usize) {
    let request = format!(
        "DELETE {} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n\r\n",
        tenant.key_path(key.id),
        tenant.token()
    );
    let mut raw: Raw = server.raw().await;
    raw.send(request).await;
    if round.is_multiple_of(3) {
        raw.reset_on_close();
    }
    if !round.is_multiple_of(4) {
        let [fraction] = tokens::random::<1>();
        tokio::time::sleep(Duration::from_micros(u64::from(fraction) * 10)).await;
    }
}

/// Whether the key comes to be listed as revoked within a few looks.
async fn is_listed_revoked(tenant: &Tenant, key: &KeyObject) -> bool {
    for _ in 0..5 {
        let list = tenant.list().await;
        if list.iter().any(|listed| listed.id == key.id && listed.status == "revoked") {
            return true;
        }
    }
    false
}
