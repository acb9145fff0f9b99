//! One database of its own for each test.

use std::thread;

use anyhow::{Context as _, Result};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use crate::{address, random_text};

/// What the name of every database and role of the tests begins with.
const PREFIX: &str = "keyward_test_";

/// An empty database and the role that owns it, which is no superuser and has a password of its own.
/// Both go with this value, whoever is connected.
#[derive(Debug)]
pub struct Database {
    server: String,
    name: String,
    password: String,
    url: String,
}

impl Database {
    /// Makes a database on the server with this URL. Blocks.
    pub fn create(server: &str) -> Result<Self> {
        let name = format!("{PREFIX}{}", random_text()?);
        let password = random_text()?;
        let url = address::with_login(server, &name, &password, &name)?;
        let created = Self { server: server.to_owned(), name, password, url };
        created.administer(&[
            format!("CREATE ROLE {} LOGIN PASSWORD '{}'", created.name, created.password),
            // The characters and their order are to be the same on every server.
            format!(
                "CREATE DATABASE {0} OWNER {0} TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C'",
                created.name
            ),
        ])?;
        Ok(created)
    }

    /// The URL of the database, for its owner.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The owner's password.
    pub fn password(&self) -> &str {
        &self.password
    }

    /// Runs statements as the superuser of the server. They are run on a thread of their own, because
    /// the caller may stand in a runtime, or be a destructor.
    fn administer(&self, statements: &[String]) -> Result<()> {
        let work = || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let mut connection = PgConnection::connect(&self.server).await?;
                for statement in statements {
                    sqlx::raw_sql(AssertSqlSafe(statement.as_str()))
                        .execute(&mut connection)
                        .await?;
                }
                connection.close().await?;
                anyhow::Ok(())
            })
        };
        let done = thread::scope(|scope| scope.spawn(work).join());
        done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            .context("the Postgres of the tests does not do what it is told")
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let dropped = self.administer(&[
            format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name),
            format!("DROP ROLE IF EXISTS {}", self.name),
        ]);
        if let Err(error) = dropped {
            // A test may have taken the server away, which took the database as well.
            eprintln!("a database of the tests is left behind: {error:#}");
        }
    }
}
