//! Databases that cannot be used, each told in one sentence; and what becomes of a node whose database
//! turns into one of them.

use keyward_tests::cluster::Cluster;
use keyward_tests::tenant::{KeyObject, Tenant};
use keyward_tests::wait::eventually;
use sqlx::{Connection as _, PgConnection};
use tokio::net::TcpListener;

use crate::node_on;

/// What a node says of a database that it cannot use, and then ends. It says so once, without the
/// password.
async fn assert_refused(cluster: &Cluster, url: &str, sentence: &str) {
    let ended = node_on(url).run().await;
    assert_eq!(ended.status.code(), Some(1), "{ended}");
    assert_eq!(ended.stdout, "");
    // Every cluster of the tests is warned of: none of them syncs.
    let said: Vec<&str> = ended.stderr.lines().filter(|line| !line.contains("fsync off")).collect();
    assert_eq!(said.len(), 1, "{ended}");
    assert!(said[0].contains(sentence), "{sentence:?}: {ended}");
    assert!(!ended.stderr.contains(cluster.password()), "{ended}");
    assert!(!ended.stderr.contains(url), "{ended}");
}

/// The URL of another database of the cluster.
fn database(cluster: &Cluster, name: &str) -> String {
    let url = cluster.url();
    let place = url.strip_suffix("/keyward").expect("its database is called so");
    format!("{place}/{name}")
}

#[tokio::test]
async fn a_way_in_that_is_not_one_is_told() {
    let cluster = Cluster::start().await;
    let url = cluster.url();
    let other = "not-the-password";
    for (url, sentence) in [
        (url.replace(cluster.password(), other), "does not let the user in"),
        (url.replace("//keyward:", "//nobody:"), "does not let the user in"),
        (database(&cluster, "absent"), "no database of that name"),
        (url.replace("127.0.0.1", "host.invalid"), "cannot be reached at host.invalid"),
        (format!("{url}?sslmod=require"), "it may have the parameters"),
        (url.replace("127.0.0.1:", "127.0.0.1:x"), "cannot be read"),
    ] {
        assert_refused(&cluster, &url, sentence).await;
        let ended = node_on(url).run().await;
        assert!(!ended.stderr.contains(other), "{ended}");
    }
    let mut stopped = Cluster::start().await;
    stopped.stop().await;
    assert_refused(&stopped, &stopped.url(), "cannot be reached at 127.0.0.1:").await;
}

/// A port on which somebody listens who never says a word, and one where somebody speaks otherwise.
#[tokio::test]
async fn whoever_is_not_postgres_is_told() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("postgres://u:p@{}/d", silent.local_addr().unwrap());
    let ended = node_on(url).run().await;
    assert_eq!(ended.status.code(), Some(1), "{ended}");
    assert!(ended.stderr.contains("cannot be reached at"), "{ended}");

    let other = keyward_tests::server::Server::start().await;
    let url = format!("postgres://u:p@{}/d", other.address());
    let ended = node_on(url).run().await;
    assert_eq!(ended.status.code(), Some(1), "{ended}");
    assert_eq!(ended.stderr.lines().count(), 1, "{ended}");
}

#[tokio::test]
async fn a_database_that_is_not_as_it_must_be_is_told() {
    let cluster = Cluster::start().await;
    for (name, options, afterwards, sentence) in [
        ("latin", "ENCODING 'LATIN1'", "", "the encoding LATIN1, and UTF8 is needed"),
        ("ascii", "ENCODING 'SQL_ASCII'", "", "the encoding SQL_ASCII, and UTF8 is needed"),
        (
            "readonly",
            "",
            "ALTER DATABASE readonly SET default_transaction_read_only = on",
            "the database is read-only",
        ),
        (
            "serial",
            "",
            "ALTER DATABASE serial SET default_transaction_isolation = 'serializable'",
            "default_transaction_isolation is \"serializable\"",
        ),
        ("closed", "", "ALTER DATABASE closed CONNECTION LIMIT 0", "cannot be reached"),
    ] {
        let create =
            format!("CREATE DATABASE {name} OWNER keyward TEMPLATE template0 LOCALE 'C' {options}");
        cluster.administer("postgres", &[&create, afterwards]).await;
        assert_refused(&cluster, &database(&cluster, name), sentence).await;
    }
    cluster.administer("postgres", &["CREATE DATABASE foreign_one"]).await;
    assert_refused(&cluster, &database(&cluster, "foreign_one"), "the role may not do that").await;
}

#[tokio::test]
async fn a_schema_that_is_not_ours_or_newer_is_told() {
    let cluster = Cluster::start().await;
    node_on(cluster.url()).start().await.terminate().await;
    cluster.run(&["UPDATE keyward.settings SET min_version = 7000"]).await;
    let newer = "migrated by a newer Keyward: it needs schema version 7000";
    assert_refused(&cluster, &cluster.url(), newer).await;
    // A newer one that still works with this program.
    cluster
        .run(&[
            "UPDATE keyward.settings SET min_version = 1",
            "INSERT INTO keyward.migrations (version, description, success, checksum, execution_time)
             VALUES (7000, 'later', true, '', 0)",
        ])
        .await;
    node_on(cluster.url()).start().await.terminate().await;

    cluster
        .run(&["UPDATE keyward.migrations SET checksum = 'other', success = false
             WHERE version = 1"])
        .await;
    assert_refused(&cluster, &cluster.url(), "the schema keyward is not as Keyward made it").await;

    cluster
        .run(&[
            "DROP SCHEMA keyward CASCADE",
            "CREATE SCHEMA keyward AUTHORIZATION keyward",
            "CREATE TABLE keyward.api_keys (mine text)",
        ])
        .await;
    assert_refused(&cluster, &cluster.url(), "Postgres could not be set up").await;
}

/// One role migrates, and nodes run with another that can only do what they need.
#[tokio::test]
async fn a_role_that_may_only_use_the_schema_is_enough() {
    let cluster = Cluster::start().await;
    node_on(cluster.url()).start().await.terminate().await;
    let password = cluster.password();
    cluster
        .run(&[
            &format!("CREATE ROLE runner LOGIN PASSWORD '{password}'"),
            "GRANT USAGE ON SCHEMA keyward TO runner",
            "GRANT SELECT ON ALL TABLES IN SCHEMA keyward TO runner",
            "GRANT INSERT, UPDATE ON keyward.api_keys TO runner",
            "GRANT UPDATE ON keyward.change_clock TO runner",
            "GRANT INSERT, DELETE ON keyward.key_changes TO runner",
            "GRANT INSERT, UPDATE ON keyward.key_uses, keyward.audit_heads TO runner",
            "GRANT INSERT, UPDATE (number, hash) ON keyward.audit_events TO runner",
            "GRANT INSERT, UPDATE, DELETE ON keyward.requests TO runner",
        ])
        .await;
    let node = node_on(cluster.url().replace("//keyward:", "//runner:")).start().await;
    let tenant = node.tenant();
    let key = tenant.create("a").await;
    tenant.revoke(key.id).await;
    assert_eq!(tenant.verdict(key.raw()).await, "revoked");
    tenant.client().get("/readyz").send().await.expect(200);
    for status in [201, 200] {
        let once = tenant.request("POST").header("idempotency-key", "4711");
        once.json(r#"{"name":"a"}"#).send().await.expect(status);
    }
    let events = format!("/api/v1/workspaces/{}/audit-events", tenant.workspace());
    eventually("the events are sealed", async || {
        let events = tenant.client().get(&events).bearer(tenant.token()).send().await.json();
        events.as_array().unwrap().iter().all(|event| event["sequence"].is_u64())
    })
    .await;

    cluster.run(&["REVOKE INSERT, UPDATE ON keyward.api_keys FROM runner"]).await;
    tenant.post(r#"{"name":"not permitted"}"#).await.expect_problem(503);
    assert_eq!(tenant.verdict(key.raw()).await, "revoked");
    cluster.run(&["GRANT INSERT, UPDATE ON keyward.api_keys TO runner"]).await;
    tenant.create("permitted again").await;
}

#[tokio::test]
async fn no_connection_left_is_told_at_the_start_and_while_running() {
    let cluster = Cluster::with(&["max_connections=12", "superuser_reserved_connections=3"]).await;
    let node = node_on(cluster.url()).flag("--pool-size", "2").start().await;
    let tenant = node.tenant();
    let key = tenant.create("good").await;
    let mut others = Vec::new();
    while let Ok(connection) = PgConnection::connect(&cluster.url()).await {
        others.push(connection);
    }
    assert_refused(&cluster, &cluster.url(), "cannot be reached at").await;
    assert_serves_or_says_when(&tenant, &key).await;
    // It loses those that it has, and finds none.
    cluster
        .run(&[
            "ALTER ROLE keyward CONNECTION LIMIT 1",
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE usename = 'keyward' AND application_name = 'keyward'",
        ])
        .await;
    let answer = tenant.client().get("/api/v1/auth").header("x-api-key", key.raw()).send().await;
    answer.expect_problem(503);
    drop(others);
    cluster.run(&["ALTER ROLE keyward CONNECTION LIMIT -1"]).await;
    eventually("there are connections again", async || tenant.auth(key.raw()).await == 200).await;
}

#[tokio::test]
async fn a_database_that_becomes_read_only_goes_on_verifying_and_says_so_of_changes() {
    let cluster = Cluster::start().await;
    let node = node_on(cluster.url()).start().await;
    let tenant = node.tenant();
    let key = tenant.create("good").await;
    let end_connections = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                           WHERE usename = 'keyward'";
    cluster
        .run(&["ALTER DATABASE keyward SET default_transaction_read_only = on", end_connections])
        .await;
    assert_eq!(tenant.verdict(key.raw()).await, "valid");
    for _ in 0..3 {
        tenant.post(r#"{"name":"in vain"}"#).await.expect_problem(503);
        tenant.delete(key.id).await.expect_problem(503);
        tenant.client().get("/readyz").send().await.expect_problem(503);
    }
    assert_eq!(tenant.verdict(key.raw()).await, "valid");
    let mut admin = cluster.admin().await;
    for statement in [
        "SET default_transaction_read_only = off",
        "ALTER DATABASE keyward RESET default_transaction_read_only",
        end_connections,
    ] {
        sqlx::raw_sql(statement).execute(&mut admin).await.unwrap();
    }
    // A change is not sent twice, so the first may be lost with a connection that was ended.
    eventually("keys are made again", async || {
        tenant.post(r#"{"name":"again"}"#).await.status == 201
    })
    .await;
    tenant.revoke(key.id).await;
}

/// What has a connection works on, and what has none is told.
async fn assert_serves_or_says_when(tenant: &Tenant, key: &KeyObject) {
    let answer = tenant.client().get("/api/v1/auth").header("x-api-key", key.raw()).send().await;
    assert!(matches!(answer.status, 200 | 503), "{answer:?}");
}
