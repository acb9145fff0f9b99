//! Bodies of the create call that are not what they should be: each is refused, nothing is stored.

use keyward_core::scope::MAX_SCOPES;
use keyward_tests::server::Server;
use keyward_tests::tenant::{KeyObject, Tenant, parse};
use serde_json::json;

#[tokio::test]
async fn a_name_that_is_not_one_is_refused() {
    let (server, tenant) = start().await;
    let (long, wide) = ("x".repeat(256), "é".repeat(256));
    for name in [
        json!(""),
        json!("   "),
        json!("\u{a0}\u{2003}\t"),
        json!(long),
        json!(wide),
        json!("a\u{0}b"),
        json!("\u{0}"),
        json!("a\nb"),
        json!("a\u{1b}[2J"),
        json!("a\u{7f}"),
        json!("a\u{85}b"),
        json!(5),
        json!(true),
        json!(null),
        json!(["a"]),
        json!({ "a": "b" }),
    ] {
        let answer = tenant.post(json!({ "name": name }).to_string()).await;
        assert_eq!(answer.status, 400, "{name}");
        answer.expect_field_error("/name");
    }
    tenant.post("{}").await.expect_field_error("/name");
    tenant.post(r#"{"scopes":[]}"#).await.expect_field_error("/name");
    assert_unharmed(server, &tenant).await;
}

#[tokio::test]
async fn scopes_that_are_none_are_refused() {
    let (server, tenant) = start().await;
    let long = "x".repeat(101);
    let many: Vec<String> = (0..=MAX_SCOPES).map(|n| format!("scope-{n}")).collect();
    for (scopes, pointer) in [
        (json!("orders:read"), "/scopes"),
        (json!(5), "/scopes"),
        (json!({}), "/scopes"),
        (json!(many), "/scopes"),
        (json!([""]), "/scopes/0"),
        (json!(["a", "b c"]), "/scopes/1"),
        (json!(["a", "b", "é"]), "/scopes/2"),
        (json!(["a\"b"]), "/scopes/0"),
        (json!(["a\\b"]), "/scopes/0"),
        (json!(["a\u{0}"]), "/scopes/0"),
        (json!([long]), "/scopes/0"),
        (json!([5]), "/scopes/0"),
        (json!([null]), "/scopes/0"),
        (json!(["api_keys:admin"]), "/scopes/0"),
        (json!(["api_keys:"]), "/scopes/0"),
    ] {
        let answer = tenant.post(json!({ "name": "a", "scopes": scopes }).to_string()).await;
        assert_eq!(answer.status, 400, "{scopes}");
        answer.expect_field_error(pointer);
    }
    assert_unharmed(server, &tenant).await;
    let (server, tenant) = start().await;
    let most: Vec<&str> = many[..MAX_SCOPES].iter().map(String::as_str).collect();
    tenant.create_with_scopes(&most).await;
    drop(server);
}

#[tokio::test]
async fn an_unknown_field_is_refused_by_its_name() {
    let (server, tenant) = start().await;
    for (field, pointer) in [
        ("expires", "/expires"),
        ("Name", "/Name"),
        ("name ", "/name "),
        ("id", "/id"),
        ("key", "/key"),
        ("status", "/status"),
        ("", "/"),
        // A pointer escapes what it separates with (RFC 6901, section 3).
        ("a/b~c", "/a~1b~0c"),
        ("__proto__", "/__proto__"),
    ] {
        let body = json!({ "name": "a", field: "b" }).to_string();
        tenant.post(body).await.expect_field_error(pointer);
    }
    assert_unharmed(server, &tenant).await;
}

#[tokio::test]
async fn what_is_not_json_is_refused() {
    let (server, tenant) = start().await;
    let bodies: [&[u8]; 22] = [
        b"",
        b" ",
        b"name",
        b"null",
        b"[]",
        b"5",
        b"\"name\"",
        b"[{\"name\":\"a\"}]",
        b"{",
        b"{\"name\":\"a\"",
        b"{\"name\":\"a\"}}",
        b"{\"name\":\"a\"} {\"name\":\"b\"}",
        b"{\"name\":\"a\",}",
        b"{'name':'a'}",
        b"{name:\"a\"}",
        b"{\"name\":\"a\"}\0",
        b"\0{\"name\":\"a\"}",
        b"{\"name\":\"a\0b\"}",
        b"{\"name\":\"\xff\xfe\"}",
        b"{\"name\":\"\\ud800\"}",
        b"{\"name\":1e999999}",
        b"name=a",
    ];
    for body in bodies {
        let answer = tenant.post(body).await;
        assert_eq!(answer.status, 400, "{}", String::from_utf8_lossy(body));
        answer.expect_problem(400);
    }
    assert_unharmed(server, &tenant).await;
}

#[tokio::test]
async fn deep_and_huge_json_is_refused() {
    let (server, tenant) = start().await;
    let deep = |open: &str, close: &str| format!("{}{}", open.repeat(10_000), close.repeat(10_000));
    for body in [
        deep("[", "]"),
        format!(r#"{{"name":{}}}"#, deep("[", "]")),
        format!(r#"{{"name":"a","scopes":{}}}"#, deep("[", "]")),
        format!(r#"{{"x":{}}}"#, deep("[", "]")),
        r#"{"name":"#.repeat(7_000),
        format!(r#"{{"name":{}}}"#, "9".repeat(60_000)),
        format!(r#"{{"name":-{}.5e-5}}"#, "9".repeat(60_000)),
        format!(r#"{{"name":"{}"}}"#, "a".repeat(65_000)),
    ] {
        tenant.post(body).await.expect_problem(400);
    }
    assert_unharmed(server, &tenant).await;
}

#[tokio::test]
async fn a_field_given_twice_is_refused() {
    let (server, tenant) = start().await;
    for body in [
        r#"{"name":"a","name":"a"}"#,
        r#"{"name":"a","name":"b"}"#,
        r#"{"name":"a","scopes":[],"scopes":["x"]}"#,
        r#"{"name":"a","\u006eame":"b"}"#,
    ] {
        tenant.post(body).await.expect_problem(400);
    }
    assert_unharmed(server, &tenant).await;
}

#[tokio::test]
async fn what_does_not_say_to_be_json_is_refused() {
    let (server, tenant) = start().await;
    let good = r#"{"name":"a"}"#;
    tenant.request("POST").body(good).send().await.expect_problem(415);
    for kind in [
        "",
        "text/plain",
        "text/json",
        "application/jsonx",
        "application/x-www-form-urlencoded",
        "application",
        "json",
    ] {
        let request = tenant.request("POST").header("content-type", kind).body(good);
        request.send().await.expect_problem(415);
    }
    assert_unharmed(server, &tenant).await;
}

#[tokio::test]
async fn json_says_so_in_several_ways() {
    let server = Server::start().await;
    let tenant = server.tenant();
    for kind in [
        "application/json",
        "Application/JSON",
        "application/json; charset=utf-8",
        "application/json;charset=\"utf-8\"",
    ] {
        let body = "\r\n {\"name\" : \"\\u0061\"}\t\n";
        let request = tenant.request("POST").header("content-type", kind).body(body);
        let key: KeyObject = parse(&request.send().await.expect(201));
        assert_eq!(key.name, "a");
    }
}

#[tokio::test]
async fn a_path_id_that_is_not_one_is_refused() {
    let (server, tenant) = start().await;
    let id = tenant.workspace().to_string();
    for bad in [
        "x",
        "{id}",
        &id[1..],
        &format!("{id}0"),
        &id.replace('-', ""),
        &format!("%7B{id}%7D"),
        &format!("urn:uuid:{id}"),
        &id.replacen('-', "_", 1),
        "%00",
        "%ff%fe",
        "..%2f..%2fetc",
    ] {
        let path = format!("/api/v1/workspaces/{bad}/api-keys");
        let client = tenant.client();
        client.get(&path).bearer(tenant.token()).send().await.expect_problem(400);
        let post = client.post(&path).bearer(tenant.token()).json(r#"{"name":"a"}"#);
        post.send().await.expect_problem(400);
        let path = format!("{}/{bad}", tenant.keys_path());
        client.delete(&path).bearer(tenant.token()).send().await.expect_problem(400);
    }
    assert_unharmed(server, &tenant).await;
}

#[tokio::test]
async fn an_id_is_the_same_in_any_case() {
    let server = Server::start().await;
    let tenant = server.tenant();
    let key = tenant.create("a").await;
    let path =
        tenant.key_path(key.id).to_uppercase().replace("/API/V1/WORKSPACES", "/api/v1/workspaces");
    let path = path.replace("/API-KEYS", "/api-keys");
    tenant.client().delete(&path).bearer(tenant.token()).send().await.expect(200);
    assert_eq!(tenant.verdict(key.raw()).await, "revoked");
}

async fn start() -> (Server, Tenant) {
    let server = Server::start().await;
    let tenant = server.tenant();
    (server, tenant)
}

/// Nothing was stored, and the server goes on.
async fn assert_unharmed(mut server: Server, tenant: &Tenant) {
    assert_eq!(tenant.list().await, []);
    let key = tenant.create("a good one").await;
    assert_eq!(tenant.verdict(key.raw()).await, "valid");
    assert!(server.is_alive());
    assert!(!server.logs().contains("panicked"), "{}", server.logs());
}
