//! Errors, and the id of a request.

use std::collections::{HashMap, HashSet};

use keyward_tests::client::{Answer, Request};
use keyward_tests::server::Server;
use keyward_tests::tenant::Tenant;
use uuid::Uuid;

#[tokio::test]
async fn every_error_is_a_problem_whose_type_has_one_title() {
    let server = Server::start().await;
    let tenant = server.tenant();
    let key = tenant.create("a").await;
    let mut titles = HashMap::new();
    for (status, request) in errors(&tenant, key.raw()) {
        let problem = request.send().await.expect_problem(status).json();
        let (slug, title) = (problem["type"].to_string(), problem["title"].clone());
        let known = titles.entry(slug.clone()).or_insert_with(|| (title.clone(), status));
        assert_eq!(*known, (title, status), "{slug}");
    }
}

#[tokio::test]
async fn an_unknown_route_is_a_problem() {
    let server = Server::start().await;
    for path in ["/", "/api", "/api/v1", "/api/v2/auth", "/favicon.ico", "/api/v1/workspaces/x"] {
        server.client().get(path).send().await.expect_problem(404);
    }
    let mut raw = server.raw().await;
    for target in ["/api/v1/../../etc/passwd", "/%2e%2e/%00", "//", "/api//v1/auth", "*"] {
        let request = format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n");
        raw.send(request).await.answer().await.expect_problem(404);
    }
}

#[tokio::test]
async fn a_wrong_method_is_told_the_right_ones() {
    let server = Server::start().await;
    let tenant = server.tenant();
    let (keys, key) = (tenant.keys_path(), tenant.key_path(Uuid::nil()));
    for (path, allowed) in [
        (&*keys, &["GET", "POST"][..]),
        (&key, &["GET", "PATCH", "DELETE"]),
        (&format!("{key}/rotate"), &["POST"]),
        (&format!("{keys}/revoke"), &["POST"]),
        ("/api/v1/api-keys/verify", &["POST"]),
        ("/api/v1/api-keys/verify-batch", &["POST"]),
        ("/api/v1/api-keys/revoke", &["POST"]),
        ("/api/v1/api-keys/self", &["DELETE"]),
        ("/healthz", &["GET"]),
        ("/readyz", &["GET"]),
        ("/metrics", &["GET"]),
        ("/openapi.json", &["GET"]),
    ] {
        for method in ["PUT", "PURGE", "TRACE"] {
            let request = tenant.client().request(method, path).bearer(tenant.token());
            let answer = request.send().await.expect_problem(405);
            let named: HashSet<&str> = answer.header("allow").split(", ").collect();
            let named: HashSet<&str> =
                named.difference(&HashSet::from(["HEAD"])).copied().collect();
            assert_eq!(named, allowed.iter().copied().collect(), "{path}");
        }
    }
}

#[tokio::test]
async fn every_answer_has_a_request_id_of_its_own() {
    let server = Server::start().await;
    let tenant = server.tenant();
    let mut seen = HashSet::new();
    let mut check = |answer: Answer| {
        let id = answer.header("x-request-id").to_owned();
        assert!(!id.is_empty(), "{answer:?}");
        assert!(seen.insert(id), "used twice: {answer:?}");
    };
    for path in ["/healthz", "/readyz", "/metrics", "/openapi.json", "/nothing", "/api/v1/auth"] {
        check(server.client().get(path).send().await);
    }
    let key = tenant.create("a").await;
    for (_, request) in errors(&tenant, key.raw()) {
        check(request.send().await);
    }
    check(tenant.request("GET").send().await.expect(200));
    check(server.client().get("/api/v1/auth").bearer(key.raw()).send().await.expect(200));
    check(tenant.delete(key.id).await.expect(200));
}

#[tokio::test]
async fn a_well_formed_request_id_of_the_client_is_kept() {
    let server = Server::start().await;
    let tenant = server.tenant();
    for id in ["0190d3c8-7b1e-7c3a-9f5e-2b6a4c8d0e1f", "gateway-7f3a.42", "A", "a_b-c.d"] {
        let request = tenant.request("GET").header("x-request-id", id);
        assert_eq!(request.send().await.expect(200).header("x-request-id"), id);
        let request = server.client().get("/nothing").header("x-request-id", id);
        assert_eq!(request.send().await.expect_problem(404).header("x-request-id"), id);
        let request = server.client().get("/api/v1/auth").header("x-request-id", id);
        assert_eq!(request.send().await.expect_problem(401).header("x-request-id"), id);
    }
}

#[tokio::test]
async fn a_request_id_that_is_not_well_formed_is_replaced() {
    let server = Server::start().await;
    let long = "x".repeat(1000);
    let ids: [&[u8]; 8] =
        [b"", b"a b", b"a\tb", b"\"><script>", b"{\"a\":1}", b"\xc3\xa9", b"\xff", long.as_bytes()];
    for id in ids {
        let request = server.client().get("/healthz").header("x-request-id", id);
        let answer = request.send().await.expect(200);
        let replaced = answer.header("x-request-id");
        assert!(!replaced.is_empty() && replaced.as_bytes() != id, "{replaced}");
    }
    let twice = server.client().get("/healthz").header("x-request-id", "a");
    let answer = twice.header("x-request-id", "b").send().await.expect(200);
    assert_eq!(answer.headers.get_all("x-request-id").iter().count(), 1);
}

#[tokio::test]
async fn a_request_that_is_not_http_is_refused() {
    let mut server = Server::start().await;
    for request in [
        "nonsense\r\n\r\n",
        "GET\r\n\r\n",
        "GET /healthz HTTP/9.9\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nbad header\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nHost: x\r\nX: a\0b\r\n\r\n",
        "POST /api/v1/api-keys/verify HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n",
        "POST /api/v1/api-keys/verify HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        "\u{16}\u{3}\u{1}\u{2}",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ] {
        let mut raw = server.raw().await;
        raw.send(request).await.end().await;
        let answer = String::from_utf8_lossy(&raw.read_to_end().await).into_owned();
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{request:?}: {answer}");
    }
    assert!(server.is_alive());
    server.client().get("/healthz").send().await.expect(200);
}

/// One request for each kind of error that needs no arrangement.
fn errors(tenant: &Tenant, key: &str) -> Vec<(u16, Request)> {
    let client = tenant.client();
    let own = |method: &str| tenant.request(method);
    let verify = || client.post("/api/v1/api-keys/verify");
    let nowhere = Uuid::nil();
    vec![
        (400, own("POST").json("{")),
        (400, own("POST").json("{}")),
        (400, own("GET").header("x-workspace-id", "x")),
        (400, own("GET").bearer("twice")),
        (400, verify().json("[]")),
        (400, client.get("/api/v1/auth?scope=").bearer(key)),
        (401, client.get(&tenant.keys_path())),
        (401, client.get(&tenant.keys_path()).bearer("nobody")),
        (401, client.get("/api/v1/auth/x")),
        (403, client.post(&tenant.keys_path()).bearer(key).json("{}")),
        (403, client.get(&format!("/api/v1/workspaces/{nowhere}/api-keys")).bearer(key)),
        (403, client.get("/api/v1/auth?scope=x").bearer(key)),
        (404, client.get("/nothing")),
        (404, client.delete(&tenant.key_path(nowhere)).bearer(tenant.token())),
        (405, own("PUT")),
        (413, own("POST").json("x".repeat(70_000))),
        (415, own("POST").body("{}")),
    ]
}
