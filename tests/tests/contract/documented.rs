//! The three documented endpoints: paths, statuses, bodies to the byte.

use chrono::DateTime;
use keyward_core::secret::KeyFormat;
use keyward_tests::server::Server;
use keyward_tests::tenant::{KeyObject, parse};
use keyward_tests::tokens;
use serde_json::json;
use uuid::Uuid;

#[tokio::test]
async fn creating_a_key_shows_it_once_in_the_documented_form() {
    let server = Server::start().await;
    let tenant = server.tenant();
    let answer = tenant.post(r#"{ "name": "CI/CD Pipeline Key" }"#).await.expect(201);
    assert_eq!(answer.header("content-type"), "application/json");
    let key: KeyObject = parse(&answer);

    let (workspace, account) = (tenant.workspace(), tokens::ACCOUNT);
    let KeyObject { id, key_prefix, created_at, .. } = &key;
    let raw = key.raw();
    let expected = format!(
        r#"{{"id":"{id}","workspace_id":"{workspace}","name":"CI/CD Pipeline Key","key":"{raw}","key_prefix":"{key_prefix}","status":"active","created_by":"{account}","created_at":"{created_at}","updated_at":"{created_at}"}}"#
    );
    assert_eq!(answer.body, expected);
    assert_eq!(answer.header("location"), tenant.key_path(*id));
    assert_eq!(id.get_version_num(), 7);
    assert_is_now(created_at);
    assert_key_is_well_formed("sk_live", &key);
}

#[tokio::test]
async fn listing_shows_the_documented_form_without_the_key() {
    let server = Server::start().await;
    let tenant = server.tenant();
    let key = tenant.create("CI/CD Pipeline Key").await;

    let answer = tenant.request("GET").send().await.expect(200);
    assert_eq!(answer.header("content-type"), "application/json");
    let (workspace, account) = (tenant.workspace(), tokens::ACCOUNT);
    let KeyObject { id, key_prefix, created_at, .. } = &key;
    let expected = format!(
        r#"[{{"id":"{id}","workspace_id":"{workspace}","name":"CI/CD Pipeline Key","key_prefix":"{key_prefix}","status":"active","created_by":"{account}","created_at":"{created_at}","updated_at":"{created_at}"}}]"#
    );
    assert_eq!(answer.body, expected);
}

#[tokio::test]
async fn an_empty_workspace_lists_an_empty_array() {
    let server = Server::start().await;
    let answer = server.tenant().request("GET").send().await.expect(200);
    assert_eq!((answer.header("content-type"), &*answer.body), ("application/json", "[]"));
}

#[tokio::test]
async fn the_list_is_newest_first_and_whole() {
    let server = Server::start().await;
    let (tenant, other) = (server.tenant(), server.tenant());
    let mut expected = Vec::new();
    for n in 0..250 {
        expected.push(tenant.create(&format!("key {n}")).await.without_raw());
    }
    other.create("of another workspace").await;
    expected.sort_by_key(KeyObject::place);

    let answer = tenant.request("GET").send().await.expect(200);
    let texts: Vec<String> = expected.iter().map(KeyObject::text).collect();
    assert_eq!(answer.body, format!("[{}]", texts.join(",")));
}

#[tokio::test]
async fn revoking_a_key_answers_revoked_and_lists_it_as_such() {
    let server = Server::start().await;
    let tenant = server.tenant();
    let (key, other) = (tenant.create("a").await, tenant.create("b").await);
    let answer = tenant.delete(key.id).await.expect(200);
    assert_eq!(answer.body, r#"{"status":"revoked"}"#);
    assert_eq!(answer.header("content-type"), "application/json");

    let list = tenant.list().await;
    assert_eq!(list[0], other.without_raw());
    let revoked = &list[1];
    assert_eq!((revoked.id, &*revoked.status), (key.id, "revoked"));
    assert_is_now(&revoked.updated_at);
    assert!(revoked.updated_at > revoked.created_at);
    let expected = KeyObject {
        status: revoked.status.clone(),
        updated_at: revoked.updated_at.clone(),
        ..key.without_raw()
    };
    assert_eq!(*revoked, expected, "nothing else has changed");
}

#[tokio::test]
async fn revoking_twice_answers_the_same_and_keeps_the_first_time() {
    let server = Server::start().await;
    let tenant = server.tenant();
    let key = tenant.create("a").await;
    tenant.revoke(key.id).await;
    let first = tenant.list().await;
    for _ in 0..3 {
        let answer = tenant.delete(key.id).await.expect(200);
        assert_eq!(answer.body, r#"{"status":"revoked"}"#);
        assert_eq!(tenant.list().await, first);
    }
}

#[tokio::test]
async fn scopes_that_were_named_are_shown_after_the_documented_fields() {
    let server = Server::start().await;
    let tenant = server.tenant();
    for (named, shown) in [
        (json!([]), json!([])),
        (json!(["api_keys:read"]), json!(["api_keys:read"])),
        (json!(["orders:write", "orders:read"]), json!(["orders:read", "orders:write"])),
        (json!(["a", "a"]), json!(["a"])),
    ] {
        let body = json!({ "name": "scoped", "scopes": named }).to_string();
        let answer = tenant.post(body).await.expect(201);
        assert!(answer.body.ends_with(&format!(r#"Z","scopes":{shown}}}"#)), "{answer:?}");
        let key: KeyObject = parse(&answer);
        assert_eq!(key.text(), answer.body);
        assert_eq!(tenant.list().await[0], key.without_raw());
    }
}

#[tokio::test]
async fn a_name_is_trimmed_and_may_repeat() {
    let server = Server::start().await;
    let tenant = server.tenant();
    let longest = "é".repeat(255);
    for (given, kept) in [
        ("same", "same"),
        ("same", "same"),
        ("  \t trimmed \u{a0}\n", "trimmed"),
        ("\"quoted\" \\ </script> 鍵 🔑", "\"quoted\" \\ </script> 鍵 🔑"),
        (&longest, &*longest),
    ] {
        let body = json!({ "name": given }).to_string();
        let key: KeyObject = parse(&tenant.post(body).await.expect(201));
        assert_eq!(key.name, kept);
        assert_eq!(tenant.list().await[0].name, kept);
    }
}

#[tokio::test]
async fn the_workspace_header_may_be_left_out_or_equal_the_path() {
    let server = Server::start().await;
    let tenant = server.tenant();
    let own = tenant.workspace().to_string();
    for value in [own.clone(), own.to_uppercase()] {
        tenant.request("GET").header("x-workspace-id", value).send().await.expect(200);
    }
    let other = Uuid::from_bytes(tokens::random()).to_string();
    for value in [&*other, "", "not-a-uuid", &own[1..], &own.replace('-', "")] {
        for method in ["GET", "POST"] {
            let request = tenant.request(method).header("x-workspace-id", value);
            request.json(r#"{"name":"a"}"#).send().await.expect_problem(400);
        }
        let path = tenant.key_path(Uuid::nil());
        let request = tenant.client().delete(&path).bearer(tenant.token());
        request.header("x-workspace-id", value).send().await.expect_problem(400);
    }
    let twice = tenant.request("GET").header("x-workspace-id", &own);
    twice.header("x-workspace-id", &other).send().await.expect_problem(400);
    assert_eq!(tenant.list().await, []);
}

#[tokio::test]
async fn every_answer_about_keys_forbids_storing_it() {
    let server = Server::start().await;
    let tenant = server.tenant();
    let key = tenant.create("a").await;
    let client = tenant.client();
    let verification = json!({ "key": key.raw() }).to_string();
    let answers = [
        tenant.request("GET").send().await.expect(200),
        tenant.post(r#"{"name":"b"}"#).await.expect(201),
        tenant.post("{}").await.expect(400),
        tenant.with_credential("nobody").request("GET").send().await.expect(401),
        tenant.with_credential(key.raw()).post(r#"{"name":"b"}"#).await.expect(403),
        tenant.delete(Uuid::nil()).await.expect(404),
        client.post("/api/v1/api-keys/verify").json(verification).send().await.expect(200),
        client.post("/api/v1/api-keys/verify").json("{}").send().await.expect(400),
        client.get("/api/v1/auth").bearer(key.raw()).send().await.expect(200),
        client.get("/api/v1/auth").send().await.expect(401),
        client.get("/api/v1/auth?scope=x").bearer(key.raw()).send().await.expect(403),
        client.get("/api/v1/auth?scope=").bearer(key.raw()).send().await.expect(400),
        tenant.delete(key.id).await.expect(200),
    ];
    for answer in answers {
        assert_eq!(answer.header("cache-control"), "no-store", "{answer:?}");
    }
}

fn assert_key_is_well_formed(prefix: &str, key: &KeyObject) {
    let raw = key.raw();
    let random = raw.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('_'));
    let random = random.unwrap_or_else(|| panic!("another prefix than {prefix}"));
    assert_eq!(random.len(), 49);
    assert!(random.bytes().all(|byte| byte.is_ascii_alphanumeric()));
    let format = KeyFormat::new(prefix).unwrap();
    assert!(format.digest(raw).is_ok(), "the checksum is wrong");
    assert_eq!(key.key_prefix, raw[..prefix.len() + 5]);
}

/// The time is written as documented and is less than a minute from now.
fn assert_is_now(time: &str) {
    let parsed = DateTime::parse_from_rfc3339(time).unwrap_or_else(|e| panic!("{e}: {time}"));
    assert!((parsed.timestamp() - tokens::now()).abs() < 60, "{time}");
    let whole = parsed.timestamp_subsec_micros() == 0;
    assert_eq!(time.len(), if whole { 20 } else { 27 }, "{time}");
    assert!(time.ends_with('Z') && time.contains('T'), "{time}");
}
