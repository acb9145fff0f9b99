//! When keys were last used.

use keyward_core::clock::{Clock as _, SystemClock, Timestamp};
use keyward_core::store::Use;
use keyward_core::uses::mark_unnoted;
use keyward_tests::client::Answer;
use keyward_tests::drivers::open;
use keyward_tests::launch::{Launch, Storage};
use keyward_tests::records::{MORNING, Sample, at, sample_at, workspace};
use keyward_tests::server::Server;
use keyward_tests::tenant::{KeyObject, Tenant, parse, verify};
use keyward_tests::tokens;
use keyward_tests::wait::eventually;
use serde_json::{Value, json};
use uuid::Uuid;

#[tokio::test]
async fn whatever_finds_a_key_good_is_its_last_use() {
    let server = Server::start().await;
    let (tenant, other) = (server.tenant(), server.tenant());
    let names = ["verified", "of a batch", "at a gateway", "as a caller", "lacks a scope"];
    let mut used = Vec::new();
    for name in names {
        used.push(tenant.create(name).await);
    }
    let (unused, revoked) = (tenant.create("unused").await, tenant.create("revoked").await);
    tenant.revoke(revoked.id).await;
    // A minute of the clock, and one that it may be late.
    let began = minutes_ago(2);

    assert_eq!(tenant.verdict(used[0].raw()).await, "valid");
    let batch = json!({ "keys": [used[1].raw(), revoked.raw()] }).to_string();
    server.client().post("/api/v1/api-keys/verify-batch").json(batch).send().await.expect(200);
    assert_eq!(tenant.auth(used[2].raw()).await, 200);
    let caller = tenant.with_credential(used[3].raw());
    let listed = caller.request("GET").send().await.expect(200).body;
    let asked = json!({ "key": used[4].raw(), "scopes": ["another"] });
    assert_eq!(verify(&server.client(), &asked).await.json()["code"], "insufficient_scope");
    assert_eq!(tenant.verdict(revoked.raw()).await, "revoked");

    for key in &used {
        eventually("the use is shown", async || tenant.last_use(key.id).await.is_some()).await;
        let at = tenant.last_use(key.id).await.expect("it was there before");
        assert!(at.ends_with(":00Z"), "{at}");
        let at = Timestamp::parse(&at).expect("times are RFC 3339");
        assert!((began..=minutes_ago(0)).contains(&at), "{at}");
        // Nothing else is another than it was.
        assert_eq!(tenant.get(key.id).await, key.clone().without_raw());
    }
    for key in [&unused, &revoked] {
        assert_eq!(tenant.last_use(key.id).await, None);
    }
    let page: Vec<KeyObject> = parse(&list(&tenant, "?limit=10").await);
    let whole: Vec<KeyObject> = parse(&list(&tenant, "?status=active").await);
    for shown in [&page, &whole] {
        let last = |it: &KeyObject| it.last_used_at.is_some();
        assert_eq!(shown.iter().filter(|it| last(it)).count(), used.len());
        assert!(shown.iter().all(|it| last(it) == names.contains(&&*it.name)));
    }
    // The documented answers stay as they are, and nobody else learns of it.
    assert_eq!(list(&tenant, "").await.body, listed);
    let verified = verify(&server.client(), &json!({ "key": used[0].raw() })).await.json();
    assert_eq!(verified["key"]["last_used_at"], Value::Null);
    assert_eq!(list(&other, "?limit=10").await.body, "[]");
}

#[tokio::test]
async fn a_clean_stop_writes_what_is_noted() {
    let launch = Launch::on(durable());
    let server = launch.start().await;
    let tenant = server.tenant();
    let (used, unused) = (tenant.create("used").await, tenant.create("unused").await);
    assert_eq!(tenant.auth(used.raw()).await, 200);
    let ended = server.terminate().await;
    assert!(ended.status.success(), "{ended}");
    let server = launch.start().await;
    let tenant = tenant.on(server.client());
    assert!(tenant.last_use(used.id).await.is_some());
    assert_eq!(tenant.last_use(unused.id).await, None);
}

#[tokio::test]
async fn where_uses_are_not_kept_none_is_kept_or_shown() {
    let launch = Launch::on(durable());
    let forgetful = launch.clone().env("KEYWARD_NO_LAST_USED", "true");
    let server = launch.start().await;
    let tenant = server.tenant();
    let (before, meanwhile) = (tenant.create("a").await, tenant.create("b").await);
    assert_eq!(tenant.auth(before.raw()).await, 200);
    server.terminate().await;

    let server = forgetful.start().await;
    let tenant = tenant.on(server.client());
    assert_eq!(tenant.auth(meanwhile.raw()).await, 200);
    for key in [&before, &meanwhile] {
        assert_eq!(tenant.last_use(key.id).await, None);
    }
    assert!(!list(&tenant, "?limit=10").await.body.contains("last_used_at"));
    let unused = json!({ "unused_since": "2024-01-15T09:30:00Z", "dry_run": true });
    revoke_many(&tenant, &unused).await.expect_problem(400).expect_field_error("/unused_since");
    server.terminate().await;

    let server = launch.start().await;
    let tenant = tenant.on(server.client());
    assert!(tenant.last_use(before.id).await.is_some());
    assert_eq!(tenant.last_use(meanwhile.id).await, None);
}

#[tokio::test]
async fn keys_that_are_unused_since_a_time_are_revoked() {
    let (ours, theirs) = (workspace(), workspace());
    let old = |n: i64| sample_at(ours, at(MORNING + n));
    let [never, long_ago, lately, now] = [old(0), old(1), old(2), old(3)];
    let elsewhere = sample_at(theirs, at(MORNING));
    let young = sample_at(ours, hours_ago(30));
    let storage = durable();
    let store = open(&storage).await;
    let all = [&never, &long_ago, &lately, &now, &elsewhere, &young];
    store.import(&all.map(Sample::stored)).await.unwrap();
    mark_unnoted(&*store, at(MORNING)).await.unwrap();
    for (sample, at) in [(&long_ago, hours_ago(50)), (&lately, hours_ago(3))] {
        store.record_uses(&[Use { key: (&sample.key).into(), at }]).await.unwrap();
    }
    store.close().await.unwrap();
    drop(store);

    let server = Launch::on(storage).start().await;
    let tenant = tenant(&server, ours.as_uuid());
    // It is not in the storage yet.
    assert_eq!(tenant.auth(&now.plain).await, 200);
    let unused = |since: Timestamp, dry_run: bool| json!({ "unused_since": since.to_string(), "dry_run": dry_run, "reason": "superseded" });
    for (since, count) in [(hours_ago(48), 2), (hours_ago(24), 3), (hours_ago(2), 4)] {
        let counted = revoke_many(&tenant, &unused(since, true)).await.expect(200).json();
        assert_eq!(counted, json!({ "dry_run": true, "count": count }));
    }
    let early = unused(at(MORNING - 60_000_000), true);
    revoke_many(&tenant, &early).await.expect_problem(400).expect_field_error("/unused_since");
    let done = revoke_many(&tenant, &unused(hours_ago(24), false)).await.expect(200).json();
    assert_eq!(done, json!({ "dry_run": false, "count": 3 }));
    for key in [&never, &long_ago, &young] {
        assert_eq!(tenant.verdict(&key.plain).await, "revoked");
    }
    for key in [&lately, &now, &elsewhere] {
        assert_eq!(tenant.verdict(&key.plain).await, "valid");
    }
}

#[tokio::test]
async fn where_nobody_can_tell_which_keys_are_unused_none_is_revoked() {
    let server = Server::start().await;
    let tenant = server.tenant();
    let key = tenant.create("a").await;
    for since in ["2024-01-15T09:30:00Z", &hours_ago(0).to_string(), "2099-01-15T09:30:00Z"] {
        let answer = revoke_many(&tenant, &json!({ "unused_since": since })).await;
        answer.expect_problem(400).expect_field_error("/unused_since");
    }
    assert_eq!(tenant.verdict(key.raw()).await, "valid");
}

/// The tested driver's storage, or where that keeps nothing, one that does.
fn durable() -> Storage {
    match Storage::new() {
        Storage::Memory => Storage::rocksdb(),
        storage => storage,
    }
}

fn hours_ago(hours: i64) -> Timestamp {
    minutes_ago(hours * 60)
}

fn minutes_ago(minutes: i64) -> Timestamp {
    at(SystemClock.now().as_micros() - minutes * 60_000_000)
}

fn tenant(server: &Server, workspace: Uuid) -> Tenant {
    let token = tokens::hs256(server.secret(), &tokens::claims(&[workspace]));
    Tenant::new(server.client(), workspace, token)
}

async fn list(tenant: &Tenant, query: &str) -> Answer {
    let path = format!("{}{query}", tenant.keys_path());
    tenant.client().get(&path).bearer(tenant.token()).send().await.expect(200)
}

async fn revoke_many(tenant: &Tenant, body: &Value) -> Answer {
    let path = format!("{}/revoke", tenant.keys_path());
    tenant.client().post(&path).bearer(tenant.token()).json(body.to_string()).send().await
}
