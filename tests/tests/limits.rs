//! Limits that hold: on headers, bodies, time and connections.

use std::time::{Duration, Instant};

use keyward_tests::client::Answer;
use keyward_tests::launch::Launch;
use keyward_tests::raw::Raw;
use keyward_tests::server::Server;
use keyward_tests::tenant::{KeyObject, Tenant, parse};
use keyward_tests::wait::eventually;
use tokio::time::timeout;

const KIB: usize = 1024;
const REQUEST: &str = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";

#[tokio::test]
async fn headers_that_do_not_come_end_the_connection() {
    let server = Launch::new().flag("--header-timeout", "1s").start().await;
    let started = Instant::now();
    for beginning in ["", "G", "GET /healthz HTTP/1.1\r\n", "GET /healthz HTTP/1.1\r\nHost: x\r\n"]
    {
        let mut raw = server.raw().await;
        raw.send(beginning).await;
        assert_told_or_closed(&raw.read_to_end().await);
    }
    assert!(started.elapsed() >= Duration::from_secs(3), "each has had its second");
}

#[tokio::test]
async fn headers_that_drip_end_the_connection() {
    let server = Launch::new().flag("--header-timeout", "1s").start().await;
    let mut raw = server.raw().await;
    raw.send("GET /healthz HTTP/1.1\r\nX: ").await;
    let started = Instant::now();
    // A byte again and again must not begin the time anew.
    while raw.try_send(b"x").await {
        assert!(started.elapsed() < Duration::from_secs(20), "the connection is still open");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn a_kept_connection_is_closed_when_nothing_follows() {
    let server = Launch::new().flag("--header-timeout", "1s").start().await;
    let mut raw = server.raw().await;
    for _ in 0..3 {
        raw.send("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await.answer().await.expect(200);
    }
    assert_told_or_closed(&raw.read_to_end().await);
}

#[tokio::test]
async fn a_client_that_takes_none_of_its_answers_is_given_up() {
    let server = Launch::new().flag("--request-timeout", "1s").start().await;
    let mut raw = server.raw().await;
    let request = "GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n";
    // Until the server takes no more of them, because it cannot get rid of the answers.
    while timeout(Duration::from_millis(500), raw.try_send(request.as_bytes())).await == Ok(true) {}
    eventually("its connection is closed", async || !raw.try_send(b"G").await).await;
}

#[tokio::test]
async fn headers_up_to_the_limit_are_read_and_larger_ones_are_not() {
    let server = Server::start().await;
    let ask = async |headers: String| {
        let request = format!("GET /healthz HTTP/1.1\r\nHost: x\r\n{headers}\r\n");
        server.raw().await.send(request).await.answer().await.status
    };
    assert_eq!(ask(format!("X: {}\r\n", "x".repeat(30 * KIB))).await, 200);
    assert_eq!(ask(format!("X: {}\r\n", "x".repeat(33 * KIB))).await, 431);
    let many = |count: usize| format!("X: {}\r\n", "x".repeat(KIB)).repeat(count);
    assert_eq!(ask(many(29)).await, 200);
    assert_eq!(ask(many(34)).await, 431);
    assert_eq!(ask("X: y\r\n".repeat(5_000)).await, 431);
    let mut raw = server.raw().await;
    let request = format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "x".repeat(40 * KIB));
    let status = raw.send(request).await.answer().await.status;
    assert!(status == 431 || status == 414, "{status}");
}

#[tokio::test]
async fn the_limit_on_headers_can_be_set() {
    let server = Launch::new().flag("--max-header-bytes", "16384").start().await;
    for (length, status) in [(15 * KIB, 200), (17 * KIB, 431)] {
        let request = format!("GET /healthz HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(length));
        assert_eq!(server.raw().await.send(request).await.answer().await.status, status);
    }
}

#[tokio::test]
async fn a_body_of_exactly_64_kib_is_read_and_one_more_byte_is_not() {
    let server = Server::start().await;
    let tenant = server.tenant();
    for chunked in [false, true] {
        let key: KeyObject = parse(&send(&server, &tenant, 64 * KIB, chunked).await.expect(201));
        assert_eq!(key.name, "a");
        send(&server, &tenant, 64 * KIB + 1, chunked).await.expect_problem(413);
    }
    assert_eq!(tenant.list().await.len(), 2);
}

#[tokio::test]
async fn a_client_that_goes_on_sending_sees_the_answer() {
    let server = Server::start().await;
    let tenant = server.tenant();
    for chunked in [false, true] {
        // The whole is written before the answer is looked for.
        for length in [65 * KIB, 128 * KIB, 310 * KIB] {
            send(&server, &tenant, length, chunked).await.expect_problem(413);
        }
    }
    assert_eq!(tenant.list().await, []);
}

#[tokio::test]
async fn a_body_of_10_mib_is_not_read() {
    let mut server = Server::start().await;
    let tenant = server.tenant();
    let before = server.resident_bytes();
    for chunked in [false, true] {
        for _ in 0..10 {
            let mut raw = server.raw().await;
            raw.send(head(&tenant, 10 * KIB * KIB, chunked)).await;
            let mut taken = 0;
            let piece = piece(&vec![b' '; 64 * KIB], chunked);
            while taken < 160 && raw.try_send(&piece).await {
                taken += 1;
            }
            assert!(taken < 160, "all 10 MiB were taken");
        }
    }
    assert_grown_by_less(&mut server, before, 32 * KIB * KIB);
    assert_eq!(tenant.list().await, []);
}

#[tokio::test]
async fn a_client_that_waits_to_be_asked_for_the_body_is_answered() {
    let server = Server::start().await;
    let tenant = server.tenant();
    let request = head(&tenant, 10 * KIB * KIB, false)
        .replace("\r\n\r\n", "\r\nExpect: 100-continue\r\n\r\n");
    server.raw().await.send(request).await.answer().await.expect_problem(413);
}

#[tokio::test]
async fn the_limit_on_bodies_can_be_set() {
    let server = Launch::new().flag("--max-body-bytes", "1000").start().await;
    let tenant = server.tenant();
    send(&server, &tenant, 1000, false).await.expect(201);
    send(&server, &tenant, 1001, false).await.expect_problem(413);
    send(&server, &tenant, 1001, true).await.expect_problem(413);
}

#[tokio::test]
async fn a_body_that_does_not_come_ends_the_request() {
    let server = Launch::new().flag("--request-timeout", "1s").start().await;
    let tenant = server.tenant();
    for chunked in [false, true] {
        let mut raw = server.raw().await;
        raw.send(head(&tenant, 100, chunked)).await.send(piece(b"{", chunked)).await;
        raw.answer().await.expect_problem(408);
    }
    assert_eq!(tenant.list().await, []);
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_for_their_turn() {
    let server = Launch::new().flag("--max-connections", "4").start().await;
    let mut others = Vec::new();
    for _ in 0..4 {
        let mut raw = server.raw().await;
        raw.send(REQUEST).await.answer().await.expect(200);
        others.push(raw);
    }
    let mut fifth = server.raw().await;
    fifth.send(REQUEST).await;
    let early = timeout(Duration::from_millis(300), fifth.answer()).await;
    assert!(early.is_err(), "it was served beside four others");
    drop(others.pop());
    fifth.answer().await.expect(200);
    for raw in &mut others {
        raw.send(REQUEST).await.answer().await.expect(200);
    }
}

/// Sends the create call with a body of `length` bytes, all of it, and reads the answer.
async fn send(server: &Server, tenant: &Tenant, length: usize, chunked: bool) -> Answer {
    let mut body = br#"{"name":"a"}"#.to_vec();
    body.resize(length, b' ');
    let mut raw: Raw = server.raw().await;
    raw.send(head(tenant, length, chunked)).await;
    for part in body.chunks(10_000) {
        raw.send(piece(part, chunked)).await;
    }
    if chunked {
        raw.send("0\r\n\r\n").await;
    }
    raw.answer().await
}

/// The head of a create call whose body has this length.
fn head(tenant: &Tenant, length: usize, chunked: bool) -> String {
    let framing = if chunked {
        "Transfer-Encoding: chunked".to_owned()
    } else {
        format!("Content-Length: {length}")
    };
    format!(
        "POST {} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n\
         Content-Type: application/json\r\n{framing}\r\n\r\n",
        tenant.keys_path(),
        tenant.token()
    )
}

/// A part of a body as it is sent.
fn piece(part: &[u8], chunked: bool) -> Vec<u8> {
    if !chunked {
        return part.to_vec();
    }
    let mut piece = format!("{:x}\r\n", part.len()).into_bytes();
    piece.extend(part);
    piece.extend(b"\r\n");
    piece
}

/// What came before the end of a connection that was too slow: nothing, or that it was.
fn assert_told_or_closed(rest: &[u8]) {
    let rest = String::from_utf8_lossy(rest);
    assert!(rest.is_empty() || rest.starts_with("HTTP/1.1 408"), "{rest}");
}

fn assert_grown_by_less(server: &mut Server, before: u64, limit: usize) {
    let grown = server.resident_bytes().saturating_sub(before);
    assert!(grown < limit as u64, "{} MiB", grown >> 20);
}
