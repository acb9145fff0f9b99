//! `keyward-bench instructions`: how many instructions a request takes, beside what it took when
//! somebody last looked.
//!
//! Times move with the machine and with whoever shares it; the number of instructions hardly does. So it
//! can be kept in the repository, and a change that costs something shows before anybody measures it. The
//! server is the one that users run, asked over HTTP on one connection, under valgrind.

mod counted;
mod kept;
mod rows;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Args;

use self::counted::CountedServer;
use self::kept::{Counts, Kept, Tools};
use self::rows::{KEYS, ROWS};
use crate::questions::WORKSPACE;
use crate::server;
use crate::storage::Storage;

/// What is kept, from the root of the repository.
const KEPT: &str = "tests/instructions.json";

/// Flags of the mode.
#[derive(Debug, Args)]
pub struct InstructionsOptions {
    /// Keep what is counted, to be compared with from now on, in place of comparing
    #[arg(long)]
    keep: bool,
}

/// Counts every row, and compares what it finds with what is kept, or keeps it.
///
/// # Errors
///
/// When a row takes noticeably more or fewer instructions than are kept.
pub async fn run(options: &InstructionsOptions) -> anyhow::Result<()> {
    let tools = Tools::here()?;
    let kept = match Kept::read(KEPT.as_ref()) {
        // Before the work is done in vain.
        Err(error) if !options.keep => return Err(error),
        kept => kept.ok(),
    };
    let directory = profiles()?;
    let counts = count(&directory).await?;
    let before = kept.as_ref().map(|kept| kept.instructions.clone()).unwrap_or_default();
    print!("{}", kept::table(&before, &counts));
    println!(
        "Where they go: callgrind_annotate --inclusive=yes {}/ROW.callgrind",
        directory.display()
    );
    match kept {
        Some(kept) if !options.keep => compare(&kept, &tools, &counts, &directory),
        _ => {
            Kept { counted_with: tools, instructions: counts }.write(KEPT.as_ref())?;
            println!("Kept in {KEPT}.");
            Ok(())
        }
    }
}

fn compare(kept: &Kept, tools: &Tools, now: &Counts, profiles: &Path) -> anyhow::Result<()> {
    if kept.counted_with != *tools {
        eprintln!("kept are the counts of {}; these are of {tools}", kept.counted_with);
    }
    let findings = kept::judge(&kept.instructions, now);
    if findings.is_empty() {
        return Ok(());
    }
    for finding in &findings {
        eprintln!("{finding}");
        let profile = profiles.join(finding.row.profile());
        eprintln!("    to see why: callgrind_annotate --inclusive=yes {}", profile.display());
    }
    eprintln!("    if it is to be so: cargo xtask bench --instructions --keep");
    bail!("{} of {} rows do not take the instructions that are kept", findings.len(), ROWS.len())
}

/// Where profiles are left: beside the directory that this program was built into.
fn profiles() -> anyhow::Result<PathBuf> {
    let program = std::env::current_exe()?;
    let target = program.ancestors().nth(2).context("this program stands in no directory")?;
    let directory = target.join("instructions");
    std::fs::create_dir_all(&directory)
        .with_context(|| format!("making {}", directory.display()))?;
    Ok(directory)
}

async fn count(profiles: &Path) -> anyhow::Result<Counts> {
    let directory = tempfile::Builder::new().prefix("keyward-instructions-").tempdir()?;
    let storage = Storage::RocksDb(directory.path().join("data"));
    let keys = storage.fill(KEYS).await?;
    let secret = server::random_secret()?;
    let token = server::mint_token(&secret, WORKSPACE).await?;
    eprintln!("starting the server under valgrind");
    let mut server = CountedServer::start(&storage, directory.path(), &secret).await?;
    let mut counts = Counts::new();
    for row in ROWS {
        eprintln!("counting {}: {} requests", row.name, row.requests);
        let count = server.count(row, &keys, &token, profiles).await?;
        counts.insert(row.name.to_owned(), count);
    }
    server.stop().await?;
    directory.close()?;
    Ok(counts)
}
