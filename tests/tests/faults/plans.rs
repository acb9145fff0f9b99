//! How Postgres goes about the statements of the driver, whatever they are given.

use std::path::Path;

use keyward_tests::cluster::Cluster;
use serde::Deserialize;
use sqlx::{AssertSqlSafe, PgConnection};

use crate::node_on;

/// Tables that grow with the keys, or with what is done to them.
const TABLES: [&str; 4] = ["api_keys", "key_uses", "audit_events", "requests"];

/// A statement as the driver's query data has it.
#[derive(Debug, Deserialize)]
struct Statement {
    query: String,
    describe: Describe,
}

#[derive(Debug, Deserialize)]
struct Describe {
    parameters: Parameters,
}

#[derive(Debug, Deserialize)]
struct Parameters {
    #[serde(rename = "Left")]
    types: Vec<serde_json::Value>,
}

#[tokio::test]
async fn every_statement_goes_by_an_index_and_no_list_is_sorted() {
    let cluster = Cluster::start().await;
    node_on(cluster.url()).start().await.terminate().await;
    let mut admin = cluster.admin().await;
    assert_good_plans(&mut admin, "empty").await;
    // Half of them were made in one workspace at one time.
    let insert = "INSERT INTO keyward.api_keys
                  SELECT gen_random_uuid(), workspace, sha256(n::text::bytea), 'a name',
                         'sk_live_abcd', 'active', gen_random_uuid(), at, at, NULL
                  FROM generate_series(1, 60000) AS n, LATERAL (
                      SELECT CASE WHEN n % 2 = 0 THEN uuid '00000000-0000-4000-8000-000000000000'
                                  ELSE md5((n % 100)::text)::uuid END AS workspace,
                             CASE WHEN n % 2 = 0 THEN timestamptz 'epoch'
                                  ELSE timestamptz 'epoch' + n * interval '1 s' END AS at
                  ) AS made";
    sqlx::raw_sql(insert).execute(&mut admin).await.unwrap();
    assert_good_plans(&mut admin, "full, and not yet analysed").await;
    let insert =
        "INSERT INTO keyward.key_uses SELECT workspace_id, id, now() FROM keyward.api_keys";
    sqlx::raw_sql(insert).execute(&mut admin).await.unwrap();
    let insert = "INSERT INTO keyward.audit_events
                  SELECT id, workspace_id, created_at, id, 'created', NULL, NULL, NULL, NULL, NULL, 'r',
                         sha256('a'), number, sha256('b')
                  FROM (SELECT *, row_number() OVER (PARTITION BY workspace_id ORDER BY id) AS number
                        FROM keyward.api_keys) AS made;
                  INSERT INTO keyward.audit_heads
                  SELECT workspace_id, max(number), sha256('b') FROM keyward.audit_events
                  GROUP BY workspace_id;
                  INSERT INTO keyward.requests
                  SELECT sha256(id::text::bytea), sha256('b'), id, created_at FROM keyward.api_keys";
    sqlx::raw_sql(insert).execute(&mut admin).await.unwrap();
    sqlx::raw_sql("ANALYZE").execute(&mut admin).await.unwrap();
    assert_good_plans(&mut admin, "full").await;
}

async fn assert_good_plans(connection: &mut PgConnection, when: &str) {
    let statements = statements();
    assert!(statements.len() >= 7, "the query data is not where it was: {statements:?}");
    for statement in &statements {
        let plan = plan(connection, statement).await;
        let query = &statement.query;
        // A plan that joins the trail is made anew when the trail has grown.
        for table in if when == "full" { &TABLES[..] } else { &TABLES[..2] } {
            assert!(!plan.contains(&format!("Seq Scan on {table}")), "{when}: {query}\n{plan}");
        }
        if let Some((_, below)) = plan.split_once("Sort ").filter(|_| query.contains("LIMIT")) {
            // Sorted is at most a page, whatever there is.
            let (limits, scans) = (below.matches("Limit").count(), below.matches("Scan").count());
            assert!(limits >= scans, "{when}: {query}\n{plan}");
        }
    }
}

/// The plan that is made for any values at all, as that of a prepared statement comes to be.
async fn plan(connection: &mut PgConnection, statement: &Statement) -> String {
    let nulls = vec!["NULL"; statement.describe.parameters.types.len()].join(", ");
    for command in [
        "SET plan_cache_mode = force_generic_plan",
        &format!("PREPARE statement AS {}", statement.query),
    ] {
        sqlx::raw_sql(AssertSqlSafe(command)).execute(&mut *connection).await.unwrap();
    }
    let explain = format!("EXPLAIN EXECUTE statement ({nulls})");
    let lines: Vec<String> =
        sqlx::query_scalar(AssertSqlSafe(explain)).fetch_all(&mut *connection).await.unwrap();
    sqlx::raw_sql("DEALLOCATE statement").execute(connection).await.unwrap();
    lines.join("\n")
}

/// All statements about keys that Postgres makes plans for.
fn statements() -> Vec<Statement> {
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/keyward-postgres/.sqlx");
    let files = std::fs::read_dir(place).expect("the query data is there");
    let read = files.map(|file| {
        let text = std::fs::read_to_string(file.expect("it can be listed").path());
        serde_json::from_str(&text.expect("it is text")).expect("it is query data")
    });
    let of_keys =
        |it: &Statement| TABLES.iter().any(|table| it.query.contains(&format!("keyward.{table}")));
    read.filter(of_keys).filter(|it| !it.query.starts_with("LOCK")).collect()
}
