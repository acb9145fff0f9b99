//! The Postgres of the bench: a throw-away one with fsync on, and a database in it.

use std::path::PathBuf;

use anyhow::Context as _;
use keyward_test_postgres::database::Database;
use keyward_test_postgres::lease::Lease;
use keyward_test_postgres::local::Programs;
use keyward_test_postgres::server::URL_VARIABLE;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use crate::{cpu, pgbench};

/// The variable that says what kind of server is wanted.
const SOURCE_VARIABLE: &str = "KEYWARD_TEST_POSTGRES";

/// A database of its own on a server that goes with it.
pub struct Postgres {
    // Goes before its server does.
    database: Database,
    _lease: Lease,
    /// `pgbench`, where it is installed.
    pub pgbench: Option<PathBuf>,
    /// The first process of the server, where it can be seen from here.
    pub postmaster: Option<u32>,
    /// In words: what matters for whoever compares figures.
    pub description: String,
}

impl Postgres {
    /// Has a server provided. One of the programs that are installed here, unless the environment
    /// says otherwise: nothing then stands between it and the disk, and its CPU time can be read.
    pub async fn start() -> anyhow::Result<Self> {
        let programs = Programs::find();
        let chosen = [URL_VARIABLE, SOURCE_VARIABLE]
            .iter()
            .any(|name| std::env::var_os(name).is_some_and(|it| !it.is_empty()));
        let arguments: &[&str] = match programs {
            Some(_) if !chosen => &["--fsync", "--from", "local"],
            _ => &["--fsync"],
        };
        let lease = Lease::take(arguments)?;
        let database = Database::create(lease.url())?;
        let pgbench = programs.as_ref().and_then(pgbench_beside);
        let mut connection = PgConnection::connect(database.url()).await?;
        let pid: i32 =
            sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(&mut connection).await?;
        let postmaster = pid.try_into().ok().and_then(|pid| cpu::parent_called("postgres", pid));
        let description = describe(&mut connection).await?;
        connection.close().await?;
        Ok(Self { database, _lease: lease, pgbench, postmaster, description })
    }

    /// The URL of the database.
    pub fn url(&self) -> &str {
        self.database.url()
    }

    /// Adds `count` records for `pgbench` to those that are there, and makes ready what Postgres
    /// would make ready sooner or later, in the middle of a slice.
    pub async fn settle(&self, count: usize) -> anyhow::Result<()> {
        let mut connection = PgConnection::connect(self.url()).await?;
        for statement in [pgbench::records(count), "VACUUM ANALYZE keyward.api_keys".to_owned()] {
            sqlx::raw_sql(AssertSqlSafe(statement))
                .execute(&mut connection)
                .await
                .context("making records for pgbench")?;
        }
        Ok(connection.close().await?)
    }
}

/// `pgbench`, which comes with the server; what stands on the `PATH` may be links to a part of it.
fn pgbench_beside(programs: &Programs) -> Option<PathBuf> {
    let initdb = programs.directory().join("initdb").canonicalize().ok()?;
    Some(initdb.with_file_name("pgbench")).filter(|it| it.is_file())
}

async fn describe(connection: &mut PgConnection) -> anyhow::Result<String> {
    let mut settings = Vec::new();
    for name in ["server_version", "fsync", "synchronous_commit", "wal_sync_method"] {
        let setting: String = sqlx::query_scalar("SELECT current_setting($1)")
            .bind(name)
            .fetch_one(&mut *connection)
            .await?;
        settings.push(format!("{name} {setting}"));
    }
    Ok(format!("Postgres: {}", settings.join(", ")))
}
