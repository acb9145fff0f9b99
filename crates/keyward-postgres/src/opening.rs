//! Opening a database: what must hold of it, and its migration.

use std::borrow::Cow;
use std::io::{self, ErrorKind};
use std::str::FromStr as _;
use std::time::Duration;

use keyward_core::store::BoxError;
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, PgConnection};

use crate::connections::STATEMENT_LIMIT;
use crate::error::ConnectError;

/// Longest time for the first connection, with TLS and log-in.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// What the advisory lock of migrations is called: any number will do that others do not use.
const MIGRATION_LOCK: i64 = 0x006b_6579_7761_7264;
/// The features that are used came with Postgres 13.
const LEAST_SERVER: u32 = 130_000;

/// Parameters of the URL that are understood. Others are refused: one that is misspelt must not be
/// passed over, and the library would log it together with its value.
const PARAMETERS: &[&str] = &[
    "application_name",
    "dbname",
    "host",
    "hostaddr",
    "options",
    "password",
    "port",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslrootcert",
    "user",
];

/// The migrations of this program, and how they are made.
fn migrator() -> Migrator {
    let mut migrator = sqlx::migrate!();
    migrator
        .set_locking(false)
        // Those that a newer node has made. Whether they matter to us, min_version says.
        .set_ignore_missing(true)
        .create_schema("keyward");
    migrator.dangerous_set_table_name("keyward.migrations");
    migrator
}

/// Reads the URL.
pub fn options(url: &str) -> Result<PgConnectOptions, ConnectError> {
    let query = url.split_once('?').map_or("", |(_, query)| query);
    for parameter in query.split('&').filter(|it| !it.is_empty()) {
        let name = parameter.split('=').next().unwrap_or_default();
        if !PARAMETERS.contains(&name) {
            let known = PARAMETERS.join(", ");
            return Err(ConnectError::Url(format!("it may have the parameters {known}").into()));
        }
    }
    let read = PgConnectOptions::from_str(url);
    // The library's error may repeat parts of the URL.
    let options = read.map_err(|_| {
        ConnectError::Url(Cow::Borrowed(
            "it is postgres://USER:PASSWORD@HOST:PORT/DATABASE, with every special character of the \
             password as %XX",
        ))
    })?;
    let named = options.get_application_name().is_some();
    let options = if named { options } else { options.application_name("keyward") };
    let limit = STATEMENT_LIMIT.as_millis();
    // One parameter is all that a pooler has to be told to ignore. No column is a float.
    let options = options.options([("statement_timeout", limit)]).extra_float_digits(None);
    Ok(options.disable_statement_logging())
}

/// Looks the database over and migrates it where that is needed. One that was empty gets this window;
/// without one nothing is changed, and a database that is behind is refused.
pub async fn prepare(
    options: &PgConnectOptions,
    window: Option<Duration>,
) -> Result<(), ConnectError> {
    let place = match options.get_socket() {
        Some(directory) => directory.display().to_string(),
        None => format!("{}:{}", options.get_host(), options.get_port()),
    };
    let told = |error: sqlx::Error| ConnectError::from_sqlx(&error, &place);
    let connected = tokio::time::timeout(CONNECT_LIMIT, options.connect()).await;
    let in_time = connected.unwrap_or_else(|_| Err(io::Error::from(ErrorKind::TimedOut).into()));
    let mut connection = in_time.map_err(told)?;
    look_over(&mut connection, &place).await?;
    if !is_migrated(&mut connection).await.map_err(told)? {
        let window = window.ok_or(ConnectError::NotMigrated)?;
        migrate(&mut connection, window, &place).await?;
    }
    let needed = needed_version(&mut connection).await.map_err(told)?;
    let known = migrator().iter().map(|it| it.version).max().unwrap_or_default();
    if needed > known {
        return Err(ConnectError::Newer { needed, known });
    }
    connection.close().await.map_err(told)
}

async fn look_over(connection: &mut PgConnection, place: &str) -> Result<(), ConnectError> {
    if connection.server_version_num().is_some_and(|version| version < LEAST_SERVER) {
        let version = setting(connection, "server_version", place).await?;
        return Err(ConnectError::TooOld(version));
    }
    let encoding = setting(connection, "server_encoding", place).await?;
    if encoding != "UTF8" {
        return Err(ConnectError::Encoding(encoding));
    }
    let isolation = setting(connection, "default_transaction_isolation", place).await?;
    if isolation != "read committed" {
        return Err(ConnectError::Isolation(isolation));
    }
    if setting(connection, "transaction_read_only", place).await? != "off" {
        return Err(ConnectError::ReadOnly);
    }
    if setting(connection, "fsync", place).await? == "off" {
        tracing::warn!(
            "Postgres runs with fsync off: a crash of its machine loses what was acknowledged"
        );
    }
    Ok(())
}

async fn setting(
    connection: &mut PgConnection,
    name: &str,
    place: &str,
) -> Result<String, ConnectError> {
    let query = sqlx::query_scalar!(r#"SELECT current_setting($1) AS "value!""#, name);
    query.fetch_one(connection).await.map_err(|error| ConnectError::from_sqlx(&error, place))
}

/// Whether every migration of this program was made. Asked first, because a role that may only use
/// the schema cannot ask in the way of [`migrate`].
async fn is_migrated(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    if !is_there(connection).await? {
        return Ok(false);
    }
    // Not checked at compile time: the table is the migrator's, and so are its columns.
    let made: Vec<i64> = sqlx::query_scalar("SELECT version FROM keyward.migrations WHERE success")
        .fetch_all(connection)
        .await?;
    Ok(migrator().iter().all(|migration| made.contains(&migration.version)))
}

/// Whether any migration was ever made.
async fn is_there(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    let there =
        sqlx::query_scalar!(r#"SELECT to_regclass('keyward.migrations') IS NOT NULL AS "there!""#);
    there.fetch_one(connection).await
}

/// Makes the migrations that are missing. Any number of nodes may come here at once.
async fn migrate(
    connection: &mut PgConnection,
    window: Duration,
    place: &str,
) -> Result<(), ConnectError> {
    let told = |error: sqlx::Error| ConnectError::from_sqlx(&error, place);
    let mut transaction = connection.begin().await.map_err(told)?;
    // A migration of many keys may take its time, and whoever comes second waits for it.
    sqlx::query!("SET LOCAL statement_timeout = 0")
        .execute(&mut *transaction)
        .await
        .map_err(told)?;
    // A lock of the transaction: one of the session would stay behind on a pooler's connection.
    sqlx::query!("SELECT pg_advisory_xact_lock($1)", MIGRATION_LOCK)
        .execute(&mut *transaction)
        .await
        .map_err(told)?;
    let there = is_there(&mut transaction).await.map_err(told)?;
    let migrator = migrator();
    migrator.run_direct(None, &mut *transaction, false).await.map_err(|error| match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => told(error),
        MigrateError::VersionMismatch(_) | MigrateError::Dirty(_) => {
            ConnectError::Foreign(Box::new(error))
        }
        other => ConnectError::Failed(Box::new(other) as BoxError),
    })?;
    if !there {
        let window = i32::try_from(window.as_millis()).unwrap_or(i32::MAX);
        sqlx::query!(
            "UPDATE keyward.change_clock SET node_window_ms = $1, barrier_window_ms = $1",
            window,
        )
        .execute(&mut *transaction)
        .await
        .map_err(told)?;
    }
    transaction.commit().await.map_err(told)
}

async fn needed_version(connection: &mut PgConnection) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!("SELECT min_version FROM keyward.settings").fetch_one(connection).await
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "correct-horse";

    #[test]
    fn a_parameter_that_is_not_known_is_refused() {
        for parameters in [
            "sslmod=verify-full",
            "statement-cache-capacity=0",
            "sslmode=require&x",
            "SSLMODE=require",
        ] {
            let url = format!("postgres://u:{SECRET}@h/d?{parameters}");
            assert!(matches!(options(&url), Err(ConnectError::Url(_))), "{parameters}");
        }
        let good = options("postgres://u@h/d?sslmode=verify-full&sslrootcert=/ca.pem&");
        assert!(good.is_ok());
    }

    #[test]
    fn an_unreadable_url_is_not_repeated() {
        for url in [
            format!("postgres://u:{SECRET}/%@h:port/d"),
            format!("postgres://u:{SECRET}@h:99999/d"),
            format!("postgres://u:p?{SECRET}@h/d"),
            format!("postgres://u:p#{SECRET}@h/d?sslmode={SECRET}"),
            format!("postgres://u@h/d?sslmode={SECRET}"),
            format!("postgres://u@h/d?{SECRET}=1"),
        ] {
            let error = options(&url).unwrap_err();
            let told = format!("{error} {error:?}");
            assert!(!told.contains(SECRET), "{told}");
        }
    }

    #[test]
    fn the_program_names_itself_unless_the_url_does() {
        let name = |url: &str| options(url).unwrap().get_application_name().map(str::to_owned);
        assert_eq!(name("postgres://h/d").as_deref(), Some("keyward"));
        assert_eq!(name("postgres://h/d?application_name=x").as_deref(), Some("x"));
    }
}
