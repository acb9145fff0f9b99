//! Empty Postgres databases.

use std::sync::OnceLock;

pub use keyward_test_postgres::database::Database;
use keyward_test_postgres::lease::Lease;
use keyward_test_postgres::server::URL_VARIABLE;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

/// An empty database of its own, which goes with the value, on the server that all tests share.
pub fn database() -> Database {
    Database::create(server()).expect("the server makes a database")
}

/// The URL of the server: the one that `KEYWARD_TEST_POSTGRES_URL` names, as `cargo xtask test` has
/// it, else one that this process has provided for itself.
fn server() -> &'static str {
    static OURS: OnceLock<(Option<Lease>, String)> = OnceLock::new();
    let (_, url) = OURS.get_or_init(|| match std::env::var(URL_VARIABLE) {
        Ok(url) if !url.is_empty() => (None, url),
        _ => {
            let lease = Lease::take(&[]).expect("the tests of Postgres need one");
            let url = lease.url().to_owned();
            (Some(lease), url)
        }
    });
    url
}

/// All that the database keeps in the schema `keyward`: each table with its rows as text.
pub async fn contents(database: &Database) -> Vec<(String, String)> {
    let connection = PgConnection::connect(database.url()).await;
    let mut connection = connection.expect("the database is there");
    let tables: Vec<String> = sqlx::query_scalar(
        "SELECT table_name::text FROM information_schema.tables WHERE table_schema = 'keyward'",
    )
    .fetch_all(&mut connection)
    .await
    .expect("every database has a catalogue");
    let mut contents = Vec::new();
    for table in tables {
        let rows = format!("SELECT row::text FROM keyward.{table} AS row");
        let rows = sqlx::query_scalar(AssertSqlSafe(rows)).fetch_all(&mut connection).await;
        let rows: Vec<String> = rows.expect("the owner of the database may read the table");
        contents.push((table, rows.join("\n")));
    }
    contents
}
