//! Ending in good order, and starting where another server is.

use keyward_tests::launch::{Launch, Storage};
use keyward_tests::tenant::{KeyObject, Tenant, parse};
use keyward_tests::wait::eventually;
use rustix::process::{Signal, kill_process};
use tokio::net::TcpStream;

const BODY: &str = r#"{"name":"made at the very end"}"#;

#[tokio::test]
async fn what_is_under_way_is_finished_before_the_end() {
    let launch = Launch::on(Storage::new());
    let mut server = launch.start().await;
    let tenant = server.tenant();
    let mut under_way = server.raw().await;
    under_way.send(head(&tenant)).await.send(&BODY[..5]).await;
    // Once this is answered, the server has taken the other connection as well.
    let mut idle = server.raw().await;
    let health = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
    idle.send(health).await.answer().await.expect(200);

    server.ask_to_end();
    let address = server.address();
    eventually("new connections are refused", async || TcpStream::connect(address).await.is_err())
        .await;
    assert_eq!(idle.read_to_end().await, b"", "an idle connection is closed");
    assert!(server.is_alive(), "it does not end while a request is under way");
    let answer = under_way.send(&BODY[5..]).await.answer().await.expect(201);
    let key: KeyObject = parse(&answer);

    let ended = server.finish().await;
    assert_eq!(ended.status.code(), Some(0), "{ended}");
    let server = launch.start().await;
    let tenant = tenant.on(server.client());
    assert_eq!(tenant.list().await, [key.clone().without_raw()]);
    assert_eq!(tenant.verdict(key.raw()).await, "valid");
}

#[tokio::test]
async fn a_request_that_never_ends_does_not_keep_the_server_from_ending() {
    let launch = Launch::on(Storage::new()).flag("--request-timeout", "1s");
    let mut server = launch.flag("--header-timeout", "1s").start().await;
    let tenant = server.tenant();
    let mut stalled = server.raw().await;
    stalled.send(head(&tenant)).await;
    let mut silent = server.raw().await;
    silent.send("GET /healthz HT").await;
    tenant.create("so that both connections are taken").await;
    server.ask_to_end();
    let ended = server.finish().await;
    assert_eq!(ended.status.code(), Some(0), "{ended}");
}

#[tokio::test]
async fn either_signal_ends_the_server_with_success() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut server = Launch::on(Storage::new()).start().await;
        server.tenant().create("a").await;
        kill_process(server.pid(), signal).unwrap();
        let ended = server.finish().await;
        assert_eq!(ended.status.code(), Some(0), "{signal:?}: {ended}");
    }
}

#[tokio::test]
async fn a_directory_that_another_server_has_is_refused_in_one_sentence() {
    let launch = Launch::on(Storage::rocksdb());
    let server = launch.start().await;
    let tenant = server.tenant();
    let key = tenant.create("a").await;
    for _ in 0..3 {
        let ended = launch.run().await;
        assert!(ended.status.code().is_some_and(|code| code != 0), "{ended}");
        assert!(ended.stderr.contains("in use"), "{ended}");
        assert_eq!(ended.stderr.lines().count(), 1, "{ended}");
        assert_eq!(ended.stdout, "");
    }
    assert_eq!(tenant.verdict(key.raw()).await, "valid");
    server.terminate().await;
    let server = launch.start().await;
    assert_eq!(tenant.on(server.client()).verdict(key.raw()).await, "valid");
}

#[tokio::test]
async fn a_second_start_finds_the_same_keys() {
    let launch = Launch::on(Storage::new());
    let server = launch.start().await;
    let tenant = server.tenant();
    for n in 0..20 {
        let key = tenant.create(&format!("key {n}")).await;
        if n % 3 == 0 {
            tenant.revoke(key.id).await;
        }
    }
    let before = tenant.list().await;
    server.terminate().await;
    let server = launch.start().await;
    assert_eq!(tenant.on(server.client()).list().await, before);
}

/// The head of a create call whose body is [`BODY`].
fn head(tenant: &Tenant) -> String {
    format!(
        "POST {} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        tenant.keys_path(),
        tenant.token(),
        BODY.len()
    )
}
