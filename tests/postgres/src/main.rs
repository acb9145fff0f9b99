//! Provides a Postgres server for as long as its standard input is open.
//!
//! When the server is ready, its URL is written to standard output, alone on a line. What is served
//! and what went wrong is said on standard error. The end of standard input, SIGINT, SIGTERM and
//! SIGHUP take the server away.

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::ExitCode;
use std::thread;

use anyhow::{Context as _, Result};
use clap::Parser;
use keyward_test_postgres::database::Database;
use keyward_test_postgres::server::{Options, Server};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

/// Provides a Postgres server for as long as its standard input is open.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(flatten)]
    server: Options,

    /// Provide a database in which the SQL files of this directory were run in the schema `keyward`,
    /// in the order of their names, instead of an empty server.
    #[arg(long, value_name = "DIR")]
    migrations: Option<PathBuf>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run(&Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("keyward-test-postgres: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: &Arguments) -> Result<()> {
    let mut stop = pin!(stop(signals()?));
    let mut starting = pin!(Server::provide(&arguments.server));
    let server = tokio::select! {
        server = &mut starting => server?,
        // Half a container would be left if the start were broken off, so it is waited for.
        () = &mut stop => return starting.await?.end().await,
    };
    eprintln!("Postgres for the tests: {}", server.origin());
    let outcome = serve(arguments, &server, stop).await;
    server.end().await.and(outcome)
}

async fn serve(
    arguments: &Arguments,
    server: &Server,
    stop: impl Future<Output = ()>,
) -> Result<()> {
    let database = match &arguments.migrations {
        Some(directory) => Some(migrated(server, directory).await?),
        None => None,
    };
    let url = database.as_ref().map_or(server.url(), Database::url);
    let mut output = std::io::stdout();
    // Whoever has gone away meanwhile has closed our standard input as well.
    let _ = writeln!(output, "{url}").and_then(|()| output.flush());
    stop.await;
    Ok(())
}

/// A database in which these migrations were run, as its owner.
async fn migrated(server: &Server, directory: &Path) -> Result<Database> {
    let unreadable = || format!("{} cannot be read", directory.display());
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).with_context(unreadable)? {
        files.push(entry.with_context(unreadable)?.path());
    }
    files.retain(|file| file.extension().is_some_and(|extension| extension == "sql"));
    files.sort();
    let database = Database::create(server.url())?;
    let mut connection = PgConnection::connect(database.url()).await?;
    // The driver has made it before it comes to the first migration.
    sqlx::raw_sql("CREATE SCHEMA keyward").execute(&mut connection).await?;
    for file in files {
        let sql = std::fs::read_to_string(&file)?;
        let run = sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await;
        run.with_context(|| format!("{} does not run", file.display()))?;
    }
    connection.close().await?;
    Ok(database)
}

fn signals() -> Result<[Signal; 3]> {
    let [interrupt, terminate, hangup] =
        [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()].map(signal);
    Ok([interrupt?, terminate?, hangup?])
}

/// Waits until nobody needs the server any more.
async fn stop([mut interrupt, mut terminate, mut hangup]: [Signal; 3]) {
    let (closed, input) = oneshot::channel();
    // A thread of our own: the runtime would wait for its own to finish reading.
    thread::spawn(move || {
        let mut bytes = [0; 64];
        while std::io::stdin().read(&mut bytes).is_ok_and(|length| length > 0) {}
        let _ = closed.send(());
    });
    tokio::select! {
        _ = input => {}
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
    }
}
