//! The rest of a key's life: one key, its changes, its end, its successor, pages of the list.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use keyward_core::clock::{Clock as _, SystemClock};
use keyward_tests::launch::Launch;
use keyward_tests::server::Server;
use keyward_tests::tenant::{KeyObject, Tenant, parse, verify};
use keyward_tests::tokens::{self, ALL_SCOPES};
use keyward_tests::wait::eventually;
use serde_json::{Value, json};
use uuid::Uuid;

#[tokio::test]
async fn one_key_is_shown_as_the_list_shows_it() {
    let server = Server::start().await;
    let (tenant, other) = (server.tenant(), server.tenant());
    let key = tenant.create("a").await;
    assert_eq!(tenant.get(key.id).await, key.clone().without_raw());
    let elsewhere = server.client().get(&other.key_path(key.id)).bearer(other.token());
    let unknown = server.client().get(&tenant.key_path(Uuid::nil())).bearer(tenant.token());
    for request in [elsewhere, unknown] {
        let problem = request.send().await.expect_problem(404).json();
        assert_eq!(problem["type"], "/problems/no-such-key");
    }
    let foreign = server.client().get(&tenant.key_path(key.id)).bearer(other.token());
    foreign.send().await.expect_problem(403);
    let writer = token(&server, &tenant, "api_keys:write");
    let unread = server.client().get(&tenant.key_path(key.id)).bearer(&writer);
    unread.send().await.expect_problem(403);
}

#[tokio::test]
async fn what_is_said_of_a_key_comes_back_behind_the_documented_fields() {
    let server = Server::start().await;
    let tenant = server.tenant();
    let answer = tenant
        .post(
            r#"{"metadata":{"b":"2","a":"é"},"expires_at":"2099-01-15T10:30:00.5+01:00",
            "description":" for\nCI ","scopes":["a"],"name":"x"}"#,
        )
        .await
        .expect(201);
    let tail = r#","scopes":["a"],"description":"for\nCI","metadata":{"a":"é","b":"2"},"expires_at":"2099-01-15T09:30:00.500000Z"}"#;
    assert!(answer.body.ends_with(tail), "{answer:?}");
    let key: KeyObject = parse(&answer);
    let shown = key.clone().without_raw();
    assert_eq!(tenant.list().await, std::slice::from_ref(&shown));

    let verdict = verify(&server.client(), &json!({ "key": key.raw() })).await.json();
    let plain = KeyObject { description: None, metadata: None, ..shown.clone() };
    assert_eq!(verdict["key"], json!(plain));
    let asked = json!({ "key": key.raw(), "include": ["metadata", "description"] });
    assert_eq!(verify(&server.client(), &asked).await.json()["key"], json!(shown));
    let wrong = json!({ "key": key.raw(), "include": ["secrets"] });
    verify(&server.client(), &wrong).await.expect_problem(400).expect_field_error("/include");
}

#[tokio::test]
async fn what_cannot_be_said_of_a_key_is_refused() {
    let server = Server::start().await;
    let tenant = server.tenant();
    let key = tenant.create("a").await;
    let many: Value =
        (0..33).map(|n| (n.to_string(), json!("v"))).collect::<serde_json::Map<_, _>>().into();
    for (field, value) in [
        ("description", json!("")),
        ("description", json!("x".repeat(1_001))),
        ("description", json!("a\u{1b}[2J")),
        ("description", json!(5)),
        ("metadata", json!([])),
        ("metadata", json!({ "a": 1 })),
        ("metadata", json!({ "a": { "b": "c" } })),
        ("metadata", json!({ "": "a" })),
        ("metadata", json!({ "a": "v".repeat(4_096) })),
        ("metadata", many),
        ("expires_at", json!("2020-01-15T09:30:00Z")),
        ("expires_at", json!("tomorrow")),
        ("expires_at", json!("2099-01-15")),
        ("expires_at", json!(1_705_311_000)),
    ] {
        let body = json!({ "name": "b", field: value });
        let pointer = format!("/{field}");
        tenant.post(body.to_string()).await.expect_problem(400).expect_field_error(&pointer);
        let body = json!({ field: value });
        tenant.patch(key.id, body).await.expect_problem(400).expect_field_error(&pointer);
    }
    let twice = r#"{"name":"b","metadata":{"a":"1","a":"2"}}"#;
    tenant.post(twice).await.expect_problem(400).expect_field_error("/metadata");
    let patch = server.client().request("PATCH", &tenant.key_path(key.id)).bearer(tenant.token());
    patch.json(twice).send().await.expect_problem(400).expect_field_error("/metadata");
    for field in ["status", "id", "key", "created_by", "exires_at"] {
        let answer = tenant.patch(key.id, json!({ field: "a" })).await;
        answer.expect_problem(400).expect_field_error(&format!("/{field}"));
    }
    assert_eq!(tenant.list().await, [key.without_raw()]);
}

#[tokio::test]
async fn a_change_is_seen_at_once_and_moves_the_time_of_change() {
    let server = Server::start().await;
    let tenant = server.tenant();
    let key = tenant.create("before").await;
    assert_eq!(tenant.verdict(key.raw()).await, "valid");
    let mut expected = key.clone().without_raw();
    for (field, value) in [
        ("name", json!("after")),
        ("description", json!("for CI")),
        ("metadata", json!({ "a": "b" })),
        ("scopes", json!(["orders:read"])),
        ("expires_at", json!("2099-01-15T09:30:00Z")),
        ("description", json!(null)),
        ("metadata", json!(null)),
        ("expires_at", json!(null)),
    ] {
        let edited = tenant.edit(key.id, json!({ field: value })).await;
        assert!(edited.updated_at > expected.updated_at, "{edited:?}");
        expected.updated_at.clone_from(&edited.updated_at);
        let mut fields = json!(expected);
        if value.is_null() {
            fields.as_object_mut().unwrap().remove(field);
        } else {
            fields[field] = value;
        }
        expected = serde_json::from_value(fields).unwrap();
        assert_eq!(edited, expected);
        assert_eq!(tenant.get(key.id).await, expected);
        let asked = json!({ "key": key.raw(), "include": ["description", "metadata"] });
        assert_eq!(verify(&server.client(), &asked).await.json()["key"], json!(expected));
    }
    // The same again, and nothing at all, change nothing.
    for same in [json!({ "name": "after" }), json!({})] {
        assert_eq!(tenant.edit(key.id, same).await, expected);
    }
}

#[tokio::test]
async fn a_narrowed_key_does_no_more_than_it_may_now() {
    let server = Server::start().await;
    let tenant = server.tenant();
    let key = tenant.create_with_scopes(&["orders:read", "orders:write", "api_keys:write"]).await;
    let auth = || server.client().get("/api/v1/auth?scope=orders:write").bearer(key.raw()).send();
    auth().await.expect(200);
    tenant.edit(key.id, json!({ "scopes": ["orders:read"] })).await;
    auth().await.expect(403);
    tenant.with_credential(key.raw()).post(r#"{"name":"b"}"#).await.expect_problem(403);
}

#[tokio::test]
async fn nobody_changes_what_is_not_theirs() {
    let server = Server::start().await;
    let (tenant, other) = (server.tenant(), server.tenant());
    let key = tenant.create("a").await;
    let reader = tenant.with_credential(token(&server, &tenant, "api_keys:read"));
    reader.patch(key.id, json!({ "name": "b" })).await.expect_problem(403);
    reader.post_rotation(key.id, json!({})).await.expect_problem(403);
    let stranger = tenant.with_credential(other.token());
    stranger.patch(key.id, json!({ "name": "b" })).await.expect_problem(403);
    stranger.post_rotation(key.id, json!({})).await.expect_problem(403);
    other.patch(key.id, json!({ "name": "b" })).await.expect_problem(404);
    other.post_rotation(key.id, json!({})).await.expect_problem(404);
    let itself = tenant.with_credential(key.raw());
    itself.patch(key.id, json!({ "scopes": [] })).await.expect_problem(403);
    itself.post_rotation(key.id, json!({})).await.expect_problem(403);
    assert_eq!(tenant.list().await, [key.without_raw()]);
}

#[tokio::test]
async fn a_key_as_caller_widens_nothing_beyond_itself() {
    let server = Server::start().await;
    let tenant = server.tenant();
    let ends = in_seconds(3_600);
    let body = json!({ "name": "caller", "expires_at": ends,
        "scopes": ["api_keys:read", "api_keys:write", "orders:read"] });
    let caller = tenant.with_credential(tenant.created(body).await.raw());
    let target = tenant.create_with_scopes(&["orders:read"]).await;
    caller.patch(target.id, json!({ "scopes": ["orders:write"] })).await.expect_problem(403);
    for later in [json!(in_seconds(7_200)), json!("9999-12-31T23:59:59Z"), json!(null)] {
        let answer = caller.patch(target.id, json!({ "expires_at": later })).await;
        assert_eq!(answer.expect_problem(403).json()["type"], "/problems/ends-sooner");
        if !later.is_null() {
            let body = json!({ "name": "b", "expires_at": later }).to_string();
            caller.post(body).await.expect_problem(403);
        }
    }
    // Left out, the end is the caller's own.
    assert_eq!(caller.create("b").await.expires_at.as_ref(), Some(&ends));
    let body = json!({ "name": "wider", "expires_at": in_seconds(600),
        "scopes": ["orders:read", "orders:write"] });
    let wider = tenant.created(body).await;
    caller.patch(wider.id, json!({ "expires_at": in_seconds(900) })).await.expect_problem(403);
    caller.edit(wider.id, json!({ "expires_at": in_seconds(500) })).await;
    caller.post_rotation(wider.id, json!({})).await.expect_problem(403);
    let rotated = caller.rotate(target.id, 0).await;
    assert_eq!((rotated.expires_at, rotated.scopes), (Some(ends), target.scopes));
    assert_eq!(tenant.verdict(wider.raw()).await, "valid");
}

#[tokio::test]
async fn a_key_is_refused_from_the_moment_of_its_expiry_and_stays_active() {
    let server = Server::start().await;
    let tenant = server.tenant();
    let body = json!({ "name": "short", "expires_at": in_seconds(5), "scopes": ALL_SCOPES.split(' ').collect::<Vec<_>>() });
    let key = tenant.created(body).await;
    let end = DateTime::parse_from_rfc3339(key.expires_at.as_deref().unwrap()).unwrap();
    assert_eq!(tenant.verdict(key.raw()).await, "valid");
    eventually("the key expires", async || {
        let asked = now();
        let verdict = tenant.verdict(key.raw()).await;
        let answered = now();
        // A node takes what a poll travelled for time that has passed.
        let early = answered + TimeDelta::seconds(2) < end;
        assert!(verdict == "valid" || !early, "it was refused before its time");
        // The clock on the wall may be corrected a little meanwhile.
        let late = asked > end + TimeDelta::milliseconds(100);
        assert!(verdict == "expired" || !late, "it was accepted beyond its time");
        verdict == "expired"
    })
    .await;
    assert_eq!(tenant.auth(key.raw()).await, 401);
    tenant.with_credential(key.raw()).request("GET").send().await.expect_problem(401);
    assert_eq!(tenant.list().await[0].status, "active");
    tenant.post_rotation(key.id, json!({})).await.expect_problem(409);
    // Given more time it is good again: it was never revoked.
    tenant.edit(key.id, json!({ "expires_at": null })).await;
    assert_eq!(tenant.verdict(key.raw()).await, "valid");
}

#[tokio::test]
async fn the_operator_bounds_the_life_of_keys() {
    let launch = Launch::new().flag("--max-ttl", "1h").env("KEYWARD_REQUIRE_EXPIRY", "true");
    let server = launch.start().await;
    let tenant = server.tenant();
    for body in [json!({ "name": "a" }), json!({ "name": "a", "expires_at": in_seconds(3_700) })] {
        let answer = tenant.post(body.to_string()).await;
        answer.expect_problem(400).expect_field_error("/expires_at");
    }
    let key = tenant.created(json!({ "name": "a", "expires_at": in_seconds(3_500) })).await;
    for end in [json!(null), json!(in_seconds(3_700))] {
        let answer = tenant.patch(key.id, json!({ "expires_at": end })).await;
        answer.expect_problem(400).expect_field_error("/expires_at");
    }
    let rotated = tenant.rotate(key.id, 0).await;
    let end = DateTime::parse_from_rfc3339(rotated.expires_at.as_deref().unwrap()).unwrap();
    let left = end.to_utc() - now();
    assert!(left > TimeDelta::seconds(3_400) && left < TimeDelta::seconds(3_601), "{left}");
}

#[tokio::test]
async fn a_rotated_key_is_good_for_its_grace_and_has_one_successor() {
    let server = Server::start().await;
    let tenant = server.tenant();
    let body =
        json!({ "name": "a", "scopes": ["x"], "description": "d", "metadata": { "m": "n" } });
    let old = tenant.created(body).await;
    let answer = tenant.post_rotation(old.id, json!({ "grace_seconds": 600 })).await.expect(201);
    let new: KeyObject = parse(&answer);
    assert_eq!(answer.header("location"), tenant.key_path(new.id));
    assert_eq!(new.rotated_from, Some(old.id));
    let same = KeyObject {
        scopes: old.scopes.clone(),
        description: old.description.clone(),
        metadata: old.metadata.clone(),
        ..new.clone()
    };
    assert_eq!((&new, &*new.name), (&same, "a"));
    assert_eq!(tenant.verdict(old.raw()).await, "valid");
    assert_eq!(tenant.verdict(new.raw()).await, "valid");
    let shown = tenant.get(old.id).await;
    assert_eq!((shown.rotated_to, &*shown.status), (Some(new.id), "active"));
    let end = DateTime::parse_from_rfc3339(shown.expires_at.as_deref().unwrap()).unwrap();
    assert!(end.to_utc() <= now() + TimeDelta::seconds(601));

    let problem = tenant.post_rotation(old.id, json!({})).await.expect_problem(409).json();
    assert_eq!(problem["type"], "/problems/conflict");
    // The end of grace may come sooner, and not later.
    tenant.patch(old.id, json!({ "expires_at": null })).await.expect_problem(409);
    tenant.patch(old.id, json!({ "expires_at": in_seconds(700) })).await.expect_problem(409);
    tenant.edit(old.id, json!({ "expires_at": in_seconds(500) })).await;
    assert_eq!(tenant.list().await.len(), 2);
}

#[tokio::test]
async fn a_key_rotated_without_grace_is_revoked() {
    let server = Server::start().await;
    let tenant = server.tenant();
    let old = tenant.create("a").await;
    assert_eq!(tenant.verdict(old.raw()).await, "valid");
    let new = tenant.rotate(old.id, 0).await;
    assert_eq!(tenant.verdict(old.raw()).await, "revoked");
    assert_eq!(tenant.verdict(new.raw()).await, "valid");
    let shown = tenant.get(old.id).await;
    assert_eq!(shown.revoked_reason.as_deref(), Some("superseded"));
    assert_eq!(
        (shown.revoked_at, shown.revoked_by),
        (Some(shown.updated_at), tokens::ACCOUNT.parse().ok())
    );
    tenant.post_rotation(old.id, json!({})).await.expect_problem(409);
    for wrong in [
        json!({ "grace_seconds": 604_801 }),
        json!({ "grace_seconds": -1 }),
        json!({ "grace_seconds": "1" }),
    ] {
        let answer = tenant.post_rotation(new.id, wrong).await;
        answer.expect_problem(400).expect_field_error("/grace_seconds");
    }
}

#[tokio::test]
async fn a_revoked_key_does_not_change_any_more() {
    let server = Server::start().await;
    let tenant = server.tenant();
    let key = tenant.create("a").await;
    let path = format!("{}?reason=key_compromise", tenant.key_path(key.id));
    let delete = || server.client().delete(&path).bearer(tenant.token()).send();
    assert_eq!(delete().await.expect(200).body, r#"{"status":"revoked"}"#);
    let shown = tenant.get(key.id).await;
    assert_eq!(shown.revoked_reason.as_deref(), Some("key_compromise"));
    assert_eq!(shown.revoked_by, tokens::ACCOUNT.parse().ok());
    assert_eq!(shown.revoked_at.as_ref(), Some(&shown.updated_at));
    delete().await.expect(200);
    tenant.revoke(key.id).await;
    tenant.patch(key.id, json!({ "name": "b" })).await.expect_problem(409);
    assert_eq!(tenant.get(key.id).await, shown);
    for wrong in ["?reason=because", "?reason=superseded&reason=superseded"] {
        let path = format!("{}{wrong}", tenant.key_path(key.id));
        server.client().delete(&path).bearer(tenant.token()).send().await.expect_problem(400);
    }
}

#[tokio::test]
async fn whoever_holds_a_key_can_revoke_it() {
    let server = Server::start().await;
    let tenant = server.tenant();
    let (key, other) = (tenant.create_with_scopes(&[]).await, tenant.create("b").await);
    let own = |credential: &str| {
        server.client().delete("/api/v1/api-keys/self").bearer(credential).send()
    };
    assert_eq!(own(key.raw()).await.expect(200).body, r#"{"status":"revoked"}"#);
    own(key.raw()).await.expect_problem(401);
    assert_eq!(tenant.verdict(key.raw()).await, "revoked");
    assert_eq!(tenant.verdict(other.raw()).await, "valid");
    own(tenant.token()).await.expect_problem(400);
    server.client().delete("/api/v1/api-keys/self").send().await.expect_problem(401);
    let answer = server.client().get("/api/v1/api-keys/self").send().await.expect_problem(405);
    assert_eq!(answer.header("allow"), "DELETE");
}

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp_micros(SystemClock.now().as_micros()).expect("the year is near")
}

fn in_seconds(seconds: i64) -> String {
    (now() + TimeDelta::seconds(seconds)).to_rfc3339_opts(SecondsFormat::Micros, true)
}

/// A token for the workspace with these scopes.
fn token(server: &Server, tenant: &Tenant, scopes: &str) -> String {
    let claims = tokens::with(tokens::claims(&[tenant.workspace()]), "scope", scopes);
    tokens::hs256(server.secret(), &claims)
}
