//! `keyward window`: how long nodes may answer from memory, shown and changed on a running cluster.

use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use keyward_core::freshness::barrier;
use keyward_core::store::{ChangeFeed, KeyStore, WindowChange, Windows};
use serde::Serialize;

use crate::config::{DatabaseOptions, StorageOption, window};

/// What `keyward window` does about the window.
#[derive(Debug, Subcommand)]
pub enum WindowAction {
    /// Print how long nodes may answer from memory.
    Show(WindowOptions),
    /// Make it this long, while nodes run. A longer one holds at once; for a shorter one, revocations
    /// wait as long as before until the old one has passed, and so does this command.
    Set {
        /// 0s to 60s. With 0s every verification asks Postgres what has changed, together with those
        /// that come in meanwhile, and revocations answer at once.
        #[arg(value_name = "TIME", value_parser = window)]
        window: Duration,

        #[command(flatten)]
        options: WindowOptions,
    },
}

/// Flags of `keyward window show` and `keyward window set`.
#[derive(Debug, Args)]
pub struct WindowOptions {
    #[command(flatten)]
    pub storage: StorageOption,

    /// Print the windows as one JSON object.
    #[arg(long, env = "KEYWARD_WINDOW_JSON")]
    pub json: bool,
}

/// One question at a time, and patience with a busy database.
const DATABASE: DatabaseOptions = DatabaseOptions {
    pool_size: 2,
    pool_wait: Duration::from_secs(10),
    ..DatabaseOptions::DEFAULT
};

/// What is printed.
#[derive(Serialize)]
struct Report {
    window_ms: u128,
    barrier_ms: u128,
}

/// Shows the window, or changes it.
pub fn run(action: &WindowAction) -> anyhow::Result<()> {
    let (WindowAction::Show(options) | WindowAction::Set { options, .. }) = action;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let storage = options.storage.parse()?;
        // To open it would take it from the process that uses it, or make it.
        if storage.directory().is_some() || !storage.is_durable() {
            bail!("this storage has no window: only one process changes it, and remembers it");
        }
        let store = storage.open(&DATABASE).await?;
        let outcome = act(&*store, action).await;
        store.close().await.context("the storage did not close cleanly")?;
        print(outcome?, options.json)
    })
}

async fn act(store: &dyn KeyStore, action: &WindowAction) -> anyhow::Result<Windows> {
    let feed = store.feed().context("this storage has no window")?;
    match action {
        WindowAction::Show(_) => {}
        WindowAction::Set { window, .. } => set(feed, *window).await?,
    }
    Ok(feed.windows().await?)
}

/// Makes the window this long. Where it was longer, that takes as long as it was: until then a node
/// may rely on what it was told before.
async fn set(feed: &dyn ChangeFeed, window: Duration) -> anyhow::Result<()> {
    let change = feed.begin_window(window).await.context("the window was not changed")?;
    let WindowChange { windows, .. } = change;
    if windows.barrier > windows.node {
        let wait = barrier(windows.barrier);
        eprintln!("nodes use the new window; revocations wait for the old one for {wait:.1?} more");
        tokio::time::sleep(wait).await;
        let finished = feed.finish_window(&change).await;
        let again = "nodes use the new window, but revocations go on waiting for the old one: \
                     set it again";
        if !finished.context(again)? {
            bail!("the window was changed by somebody else meanwhile");
        }
    }
    Ok(())
}

fn print(windows: Windows, json: bool) -> anyhow::Result<()> {
    let Windows { node, barrier } = windows;
    if json {
        let report = Report { window_ms: node.as_millis(), barrier_ms: barrier.as_millis() };
        println!("{}", serde_json::to_string(&report)?);
    } else {
        println!("window   {node:?}");
        println!("barrier  {barrier:?}");
    }
    Ok(())
}
