//! A disk that takes no more.

use keyward_tests::launch::{Launch, Storage};
use keyward_tests::server::Server;
use keyward_tests::tenant::KeyObject;
use rustix::process::{Resource, Rlimit, prlimit};

/// From the moment that nothing can be written, changes are answered 503, nobody is told that a
/// change was made, and what is known of keys goes on being answered. After a restart everything
/// that was answered is there.
#[tokio::test]
async fn a_disk_that_takes_no_more_is_told_and_loses_nothing() {
    let launch = Launch::on(Storage::rocksdb()).surviving_full_files();
    let mut server = launch.start().await;
    let tenant = server.tenant();
    let (kept, revoked) = (tenant.create("kept").await, tenant.create("revoked").await);
    let doubtful = tenant.create("doubtful").await;
    tenant.revoke(revoked.id).await;
    server.client().get("/readyz").send().await.expect(200);

    limit_files_to_nothing(&mut server);
    let answer = tenant.post(r#"{"name":"too much"}"#).await.expect_problem(503);
    assert!(answer.header("retry-after").parse::<u32>().is_ok(), "{answer:?}");
    let answer = tenant.delete(doubtful.id).await.expect_problem(503);
    assert!(answer.header("retry-after").parse::<u32>().is_ok(), "{answer:?}");
    server.client().get("/readyz").send().await.expect_problem(503);
    server.client().get("/healthz").send().await.expect(200);
    assert_eq!(tenant.verdict(kept.raw()).await, "valid");
    assert_eq!(tenant.verdict(revoked.raw()).await, "revoked");
    assert!(server.is_alive());
    server.kill().await;

    let server = launch.start().await;
    let tenant = tenant.on(server.client());
    assert_eq!(tenant.verdict(kept.raw()).await, "valid");
    assert_eq!(tenant.verdict(revoked.raw()).await, "revoked");
    let list: Vec<KeyObject> = tenant.list().await;
    let status = |key: &KeyObject| {
        list.iter().find(|listed| listed.id == key.id).map(|listed| listed.status.clone())
    };
    // Nobody was told whether the doubtful one is revoked; list and verification must agree.
    let expected = if status(&doubtful).as_deref() == Some("active") { "valid" } else { "revoked" };
    assert_eq!(tenant.verdict(doubtful.raw()).await, expected);
    tenant.revoke(doubtful.id).await;
}

/// Has every write to a file fail from now on, as on a full disk. Sockets and pipes go on.
fn limit_files_to_nothing(server: &mut Server) {
    let nothing = Rlimit { current: Some(0), maximum: Some(0) };
    prlimit(Some(server.pid()), Resource::Fsize, nothing).expect("the server is ours to limit");
}
