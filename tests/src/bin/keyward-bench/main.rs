//! `keyward-bench`: what a request costs, beside the least that it could cost.
//!
//! Each row loads the real `keyward` binary and a *floor*, a bare warp route that answers the same
//! bytes without doing the work, in turns within one run. The machine may be slow, shared or
//! throttled: both sides are equally, so the ratio of the two means something where the absolute
//! figures do not. The figure to look at is CPU time per request, because load and server share
//! the cores and requests per second depend on both.
//!
//! Linux only: CPU time is read from `/proc`.

mod cpu;
mod floor;
mod http;
mod issue;
mod load;
mod machine;
mod report;
mod rows;
mod server;
mod statistics;
mod versus;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::LocalSet;

use crate::report::{Report, Settings};
use crate::rows::ROWS;
use crate::server::Server;

/// Measures the keyward binary against a bare warp route that answers the same bytes.
#[derive(Debug, Parser)]
struct Args {
    #[command(subcommand)]
    mode: Option<Mode>,
    /// A short run, to see that it works: fewer keys, fewer and shorter slices
    #[arg(long)]
    quick: bool,
    /// Seconds in a slice
    #[arg(long, default_value = "2", default_value_if("quick", "true", "1"))]
    seconds: u64,
    /// Slices of each side in each row
    #[arg(long, default_value = "8", default_value_if("quick", "true", "4"))]
    slices: usize,
    /// Connections that ask, each one request at a time
    #[arg(long, default_value = "64")]
    connections: usize,
    /// Keys that the requests rotate through
    #[arg(long, default_value = "100000", default_value_if("quick", "true", "10000"))]
    keys: usize,
    /// Only the rows whose name contains this
    #[arg(long, value_name = "TEXT", default_value = "")]
    row: String,
    /// Also write every slice and the summary to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[derive(Debug, clap::Subcommand)]
enum Mode {
    /// Serve as the floor: the answer to give is read from standard input
    #[command(hide = true)]
    Floor,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("keyward-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> anyhow::Result<()> {
    if let Some(Mode::Floor) = args.mode {
        return floor::serve();
    }
    if args.slices == 0 || args.seconds == 0 || args.connections == 0 || args.keys == 0 {
        bail!("--slices, --seconds, --connections and --keys are at least 1");
    }
    // The load runs on one thread: it then leaves the other cores to the server, and needs
    // neither locks nor atomics that would cost it time.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async {
        // Leaving the branch that runs drops the servers, which ends them.
        tokio::select! {
            result = bench(args) => result,
            signal = interrupted() => { signal?; bail!("interrupted") }
        }
    })
}

async fn interrupted() -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        result = tokio::signal::ctrl_c() => result?,
        _ = terminate.recv() => {}
    }
    Ok(())
}

async fn bench(args: &Args) -> anyhow::Result<()> {
    let rows: Vec<_> = ROWS.iter().filter(|row| row.name.contains(&args.row)).collect();
    if rows.is_empty() {
        let names: Vec<_> = ROWS.iter().map(|row| row.name).collect();
        bail!("no row is called so; there are: {}", names.join("; "));
    }
    let settings = Settings {
        keys: args.keys,
        connections: args.connections,
        slices: args.slices,
        seconds_per_slice: args.seconds,
    };
    let directory = tempfile::Builder::new()
        .prefix("keyward-bench-")
        .tempdir()
        .context("making a directory for the keys")?;
    let secret = server::random_secret()?;
    let keyward = Server::start_keyward(directory.path(), &secret, args.connections).await?;
    eprintln!("creating {} keys", args.keys);
    let token = server::mint_token(&secret, issue::WORKSPACE).await?;
    let keys = issue::keys(keyward.address(), &token, &settings).await?;
    let mut report = Report::new(machine::describe(), settings);
    for row in rows {
        eprintln!("measuring {}", row.name);
        report.rows.push(versus::measure(row, &keyward, &keys, &report.settings).await?);
    }
    keyward.stop().await?;
    print!("{report}");
    if let Some(path) = &args.json {
        report.write(path)?;
    }
    Ok(())
}
