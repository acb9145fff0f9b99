//! What many keys and many bad clients do to the server: not much.

use std::time::{Duration, Instant};

use keyward_tests::launch::Launch;
use keyward_tests::raw::Raw;
use keyward_tests::server::Server;
use keyward_tests::tenant::{KeyObject, Tenant};
use keyward_tests::wait::{eventually, soon};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::task::JoinSet;

const MIB: u64 = 1 << 20;
const KEYS: usize = 100_000;
const WRITERS: usize = 64;

/// Half of the clients send headers, the other half bodies, one byte a second, for longer than either
/// may take. Everybody else is served meanwhile, and in the end the slow ones are shut out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_slow_clients_hinder_nobody() {
    raise_file_limit();
    let launch = Launch::new().flag("--header-timeout", "5s").flag("--request-timeout", "5s");
    let mut server = launch.start().await;
    let tenant = server.tenant();
    let key = tenant.create("a").await;
    let before = server.resident_bytes();

    let mut slow = JoinSet::new();
    for n in 0..2_000 {
        let beginning =
            if n % 2 == 0 { "GET /healthz HTTP/1.1\r\nX: ".into() } else { head(&tenant) };
        let raw = server.raw().await;
        slow.spawn(drip(raw, beginning));
    }
    let mut slowest = Duration::ZERO;
    let mut largest = 0;
    while !slow.is_empty() {
        let started = Instant::now();
        assert_eq!(tenant.auth(key.raw()).await, 200);
        tenant.revoke(tenant.create("b").await.id).await;
        slowest = slowest.max(started.elapsed());
        largest = largest.max(server.resident_bytes());
        while slow.try_join_next().is_some() {}
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(slowest < Duration::from_secs(2), "three calls took {slowest:?}");
    assert!(largest - before < 128 * MIB, "{} MiB", (largest - before) / MIB);
    assert!(server.is_alive());
}

/// What the server holds of a list does not depend on the length of the list, nor on how slowly it
/// is read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_thousand_keys_are_listed_in_bounded_memory() {
    let mut server = Server::start().await;
    let tenant = server.tenant();
    fill(&server, &tenant).await;
    // The first reading fills the driver's caches, which have bounds of their own.
    assert_eq!(tenant.list().await.len(), KEYS);

    let before = server.resident_bytes();
    let mut response = tenant.request("GET").stream().await;
    let (mut body, mut largest) = (Vec::new(), 0);
    while let Some(part) = soon(response.chunk()).await.expect("the list is whole") {
        if body.len() / (1 << 20) != (body.len() + part.len()) / (1 << 20) {
            largest = largest.max(server.resident_bytes());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        body.extend(part);
    }
    let grown = largest.saturating_sub(before);
    let length = body.len() as u64;
    assert!(length > 25 * MIB);
    assert!(grown < 8 * MIB, "{} of {} MiB", grown / MIB, length / MIB);

    let list: Vec<KeyObject> = serde_json::from_slice(&body).expect("the list is whole");
    assert_eq!(list.len(), KEYS);
    assert!(list.is_sorted_by_key(KeyObject::place), "newest first, equal times by id");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_that_nobody_reads_on_are_given_up() {
    let launch = Launch::new().flag("--max-connections", "50").flag("--request-timeout", "2s");
    let mut server = launch.start().await;
    let tenant = server.tenant();
    for _ in 0..2_000 {
        tenant.create("a rather long name, so that the list is long as well").await;
    }
    let before = server.resident_bytes();
    let request = format!(
        "GET {} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n\r\n",
        tenant.keys_path(),
        tenant.token()
    );
    // Each asks for the list ten times over and reads nothing of it.
    let mut idle = Vec::new();
    for _ in 0..49 {
        let mut raw = server.raw().await;
        raw.send(request.repeat(10)).await;
        idle.push(raw);
    }
    assert_eq!(tenant.list().await.len(), 2_000);
    assert!(server.resident_bytes() - before < 64 * MIB);
    drop(idle);
    eventually("the connections are free again", async || {
        server.client().metric("keyward_connections").await < 5.0
    })
    .await;
}

/// Creates [`KEYS`] keys, many at once, each connection with several requests on their way.
async fn fill(server: &Server, tenant: &Tenant) {
    const ON_THEIR_WAY: usize = 20;
    let body = r#"{"name":"CI/CD Pipeline Key"}"#;
    let request = format!("{}{body}", head(tenant).replace("1000", &body.len().to_string()));
    let mut writers = JoinSet::new();
    for n in 0..WRITERS {
        let (mut raw, burst) = (server.raw().await, request.repeat(ON_THEIR_WAY));
        let share = KEYS / WRITERS + usize::from(n < KEYS % WRITERS);
        let request = request.clone();
        writers.spawn(async move {
            for _ in 0..share / ON_THEIR_WAY {
                raw.send(&burst).await;
                for _ in 0..ON_THEIR_WAY {
                    raw.answer().await.expect(201);
                }
            }
            for _ in 0..share % ON_THEIR_WAY {
                raw.send(&request).await.answer().await.expect(201);
            }
        });
    }
    writers.join_all().await;
}

/// Sends a byte a second until the server has had enough.
async fn drip(mut raw: Raw, beginning: String) {
    let mut open = raw.try_send(beginning.as_bytes()).await;
    while open {
        tokio::time::sleep(Duration::from_secs(1)).await;
        open = raw.try_send(b"x").await;
    }
}

/// The head of a create call that promises a body of 1000 bytes.
fn head(tenant: &Tenant) -> String {
    format!(
        "POST {} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n\
         Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n",
        tenant.keys_path(),
        tenant.token()
    )
}

/// Two thousand sockets are more than a process may have by default.
fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    setrlimit(Resource::Nofile, raised).expect("the soft limit may be raised");
}
