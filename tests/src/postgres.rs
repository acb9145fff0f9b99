//! Empty Postgres databases.

use std::sync::OnceLock;

use keyward_test_postgres::database::Database;
use keyward_test_postgres::lease::Lease;
use keyward_test_postgres::server::URL_VARIABLE;

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
