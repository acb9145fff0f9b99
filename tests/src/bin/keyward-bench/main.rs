//! `keyward-bench`: what a request costs, beside the least that it could cost.
//!
//! Each row does one thing in two or three ways, in turns within one run. The first is the *floor*:
//! the same without Keyward. The machine may be slow, shared or throttled: all sides are equally,
//! so their ratios mean something where the absolute figures do not. Where load and server share
//! the cores, look at CPU time rather than at the number of requests.
//!
//! | room | holds |
//! |---|---|
//! | `rows`, `questions` | what is measured, and what is asked for that |
//! | `measure`, `side`, `sides` | the sides of a row, made ready and measured in turns |
//! | `over_http`, `open_loop`, `http` | a server under load, as fast as it answers or at a rate |
//! | `listing`, `starting` | a server that is asked for a list, and one that is started |
//! | `worker`, `raw` | the driver alone, and RocksDB alone, in a process of their own |
//! | `pgbench` | Postgres alone |
//! | `floor` | a bare warp route |
//! | `places`, `server`, `storage`, `postgres` | what all of them work on |
//! | `multitude`, `population`, `bulk` | a store of millions of keys, and how it is made in seconds |
//! | `watch`, `cpu`, `memory`, `statistics` | figures |
//! | `goal`, `report`, `machine` | what they are to be, and where they are kept |
//! | `instructions` | something else: instructions are counted, and compared with those that are kept |
//!
//! Linux only: CPU time is read from `/proc`.

mod bulk;
mod cpu;
mod floor;
mod goal;
mod http;
mod instructions;
mod listing;
mod machine;
mod measure;
mod memory;
mod multitude;
mod open_loop;
mod over_http;
mod pgbench;
mod places;
mod population;
mod postgres;
mod questions;
mod raw;
mod report;
mod rows;
mod server;
mod side;
mod sides;
mod starting;
mod statistics;
mod storage;
mod watch;
mod worker;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context as _, bail};
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::LocalSet;

use crate::instructions::InstructionsOptions;
use crate::places::Places;
use crate::report::{Report, Settings};
use crate::rows::ROWS;

/// Measures the keyward binary and its drivers, each beside the least that the same could cost: a bare
/// warp route, RocksDB alone, pgbench. Prints a table and saves a report, both with the goals.
///
/// A row is a few sides, measured in turns: the floor, which does without Keyward what is to be done, and
/// Keyward. Ratios are taken slice by slice, and judged by their median.
#[derive(Debug, Parser)]
#[command(max_term_width = 100)]
struct Args {
    #[command(subcommand)]
    mode: Option<Mode>,
    /// A short run, to see that it works: fewer keys, fewer and shorter slices
    #[arg(long)]
    quick: bool,
    /// Seconds in a slice
    #[arg(long, default_value = "1")]
    seconds: u64,
    /// Slices of each side in each row
    #[arg(long, default_value = "6", default_value_if("quick", "true", "2"))]
    slices: usize,
    /// Connections that ask, each one request at a time, in the rows that do not name their number
    #[arg(long, default_value = "64")]
    connections: usize,
    /// Keys that are there, and that verifications rotate through
    #[arg(long, default_value = "100000", default_value_if("quick", "true", "10000"))]
    keys: usize,
    /// Keys in the largest store, for what is to be shown of many
    #[arg(long, default_value = "10000000", default_value_if("quick", "true", "100000"))]
    most_keys: usize,
    /// Only the rows whose name contains this
    #[arg(long, value_name = "TEXT", default_value = "")]
    row: String,
    /// Where the report is written: report.md, report.json and report.svg. By default `bench` beside
    /// the directory that this program stands in
    #[arg(long, value_name = "DIR")]
    report: Option<PathBuf>,
}

#[derive(Debug, clap::Subcommand)]
enum Mode {
    /// Count the instructions of single requests, and compare them with those that are kept
    Instructions(InstructionsOptions),
    /// Serve as the floor: the answer to give is read from standard input
    #[command(hide = true)]
    Floor,
    /// Do what standard input orders, and measure it
    #[command(hide = true)]
    Worker,
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
    match args.mode {
        Some(Mode::Floor) => return floor::serve(),
        Some(Mode::Worker) => return worker::work(),
        Some(Mode::Instructions(_)) | None => {}
    }
    if [args.slices, args.connections, args.keys, args.most_keys].contains(&0) || args.seconds == 0
    {
        bail!("--slices, --seconds, --connections, --keys and --most-keys are at least 1");
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
    if let Some(Mode::Instructions(options)) = &args.mode {
        return instructions::run(options).await;
    }
    let rows: Vec<_> = ROWS.iter().filter(|row| row.name.contains(&args.row)).collect();
    if rows.is_empty() {
        let names: Vec<_> = ROWS.iter().map(|row| row.name).collect();
        bail!("no row is called so; there are: {}", names.join("; "));
    }
    let settings = Settings {
        keys: args.keys,
        most_keys: args.most_keys,
        connections: args.connections,
        slices: args.slices,
        seconds_per_slice: args.seconds,
    };
    let directory = report_directory(args)?;
    let begun = Instant::now();
    let mut places = Places::new(&settings)?;
    let mut report = Report::new(settings);
    for row in rows {
        eprintln!("measuring {}", row.name);
        report.rows.push(measure::measure(row, &mut places, &report.settings).await?);
    }
    report.postgres = places.description();
    places.end().await?;
    report.run_seconds = begun.elapsed().as_secs();
    print!("{report}");
    for path in report.save(&directory)? {
        eprintln!("{}", path.display());
    }
    Ok(())
}

/// Where the report goes.
fn report_directory(args: &Args) -> anyhow::Result<PathBuf> {
    if let Some(directory) = &args.report {
        return Ok(directory.clone());
    }
    let program = std::env::current_exe()?;
    let target = program.ancestors().nth(2).context("this program stands in no directory")?;
    Ok(target.join("bench"))
}
