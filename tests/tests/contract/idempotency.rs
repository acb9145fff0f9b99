//! Creations that are sent again, because their answer may have been lost.

use std::collections::BTreeMap;

use keyward_tests::client::Request;
use keyward_tests::launch::keyward_reading;
use keyward_tests::server::Server;
use keyward_tests::tenant::{KeyObject, Tenant, parse};
use tokio::task::JoinSet;

const BODY: &str = r#"{"name":"CI/CD Pipeline Key"}"#;

#[tokio::test]
async fn a_creation_that_is_sent_again_makes_no_second_key_and_shows_the_first_without_its_secret()
{
    let server = Server::start().await;
    let tenant = server.tenant();
    let first = create(&tenant, "4711", BODY).send().await.expect(201);
    let key: KeyObject = parse(&first);
    assert_eq!(tenant.verdict(key.raw()).await, "valid");
    for _ in 0..2 {
        let again = create(&tenant, "4711", BODY).send().await.expect(200);
        assert_eq!(again.header("location"), first.header("location"));
        let shown = key.clone().without_raw().text();
        let shown = shown.strip_suffix('}').unwrap();
        assert!(again.body.starts_with(&format!("{shown},\"detail\":\"")), "{again:?}");
        let detail = again.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains("rotate") && detail.contains("revoke"), "{detail}");
        assert!(!again.body.contains(&key.raw()[12..]), "{again:?}");
    }
    tenant.revoke(key.id).await;
    let again = create(&tenant, "4711", BODY).send().await.expect(200);
    assert_eq!(again.json()["status"], "revoked");
    assert_eq!(tenant.list().await.len(), 1);
}

#[tokio::test]
async fn a_name_is_another_request_s_with_another_body_and_free_elsewhere() {
    let server = Server::start().await;
    let (tenant, other) = (server.tenant(), server.tenant());
    create(&tenant, "4711", BODY).send().await.expect(201);
    for body in [r#"{"name":"another"}"#, r#"{"name": "CI/CD Pipeline Key"}"#] {
        let answer = create(&tenant, "4711", body).send().await.expect_problem(422);
        assert_eq!(answer.json()["type"], "/problems/idempotency-key-reused");
    }
    create(&other, "4711", BODY).send().await.expect(201);
    create(&tenant, "4712", BODY).send().await.expect(201);
    tenant.post(BODY).await.expect(201);
    assert_eq!(tenant.list().await.len(), 3);
    assert_eq!(other.list().await.len(), 1);
}

#[tokio::test]
async fn a_creation_that_was_refused_is_not_remembered() {
    let server = Server::start().await;
    let tenant = server.tenant();
    create(&tenant, "4711", r#"{"nmae":"a"}"#).send().await.expect_problem(400);
    let other = server.tenant();
    create(&tenant.with_credential(other.token()), "4711", BODY).send().await.expect_problem(403);
    create(&tenant, "4711", BODY).send().await.expect(201);
}

#[tokio::test]
async fn what_is_no_name_is_refused_and_makes_nothing() {
    let server = Server::start().await;
    let tenant = server.tenant();
    let long = "x".repeat(256);
    for name in ["", &long, "a b", "é"] {
        create(&tenant, name, BODY).send().await.expect_problem(400);
    }
    let twice = create(&tenant, "a", BODY).header("idempotency-key", "b");
    twice.send().await.expect_problem(400);
    assert_eq!(tenant.list().await, []);
    create(&tenant, &long[1..], BODY).send().await.expect(201);
}

#[tokio::test]
async fn of_many_at_once_one_makes_the_key() {
    let server = Server::start().await;
    let tenant = server.tenant();
    let mut racers = JoinSet::new();
    for _ in 0..16 {
        let request = create(&tenant, "4711", BODY);
        racers.spawn(async move { request.send().await.status });
    }
    let mut outcomes: BTreeMap<u16, usize> = BTreeMap::new();
    for status in racers.join_all().await {
        *outcomes.entry(status).or_default() += 1;
    }
    assert_eq!(outcomes, BTreeMap::from([(200, 15), (201, 1)]));
    assert_eq!(tenant.list().await.len(), 1);
}

fn create(tenant: &Tenant, name: &str, body: &str) -> Request {
    tenant.request("POST").header("idempotency-key", name).json(body)
}

#[tokio::test]
async fn a_shell_names_its_request() {
    let server = Server::start().await;
    let tenant = server.tenant();
    let (url, workspace) = (format!("http://{}", server.address()), tenant.workspace().to_string());
    let flags = ["keys", "create", "a", "--url", &url, "--workspace", &workspace];
    let flags = [&flags[..], &["--idempotency-key", "4711", "--quiet"]].concat();
    let token = [("KEYWARD_TOKEN", tenant.token())];
    let first = keyward_reading("", &flags, &token).await;
    assert_eq!(tenant.verdict(first.stdout.trim_end()).await, "valid", "{first}");
    let again = keyward_reading("", &flags, &token).await;
    assert_eq!((again.status.code(), &*again.stdout), (Some(1), ""), "{again}");
    let id = tenant.list().await[0].id.to_string();
    assert!(again.stderr.contains(&id) && again.stderr.contains("rotate"), "{again}");
}
