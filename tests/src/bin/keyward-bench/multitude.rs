//! The largest store: millions of keys in RocksDB, made once, used by one server at a time.

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Instant;

use anyhow::Context as _;

use crate::bulk;
use crate::memory::Memory;
use crate::over_http::OverHttp;
use crate::population::{Population, workspace};
use crate::questions::{FORWARD_AUTH, Question};
use crate::rows::SERVER;
use crate::server::{self, Server};
use crate::statistics::ratio;
use crate::storage::Storage;

/// Keys that are verified to see what memory each of them takes; fewer where there are fewer.
const REMEMBERED: usize = 1_000_000;
/// Keys that are verified before, to bring what does not grow with them to its size: connections, and
/// RocksDB's cache of blocks.
const BEFORE: usize = 100_000;
/// More than are verified, because they are not spread quite evenly over the parts of the memory.
const CACHE_ENTRIES: &str = "1400000";

/// What it takes to start the binary under test on it. There may be one at a time.
#[derive(Clone)]
pub struct Starter {
    storage: Storage,
    secret: String,
    /// For the logs of servers.
    logs: PathBuf,
}

impl Starter {
    pub async fn start(&self, flags: &[&str]) -> anyhow::Result<Server> {
        Server::start_keyward(&self.storage, &self.logs, &self.secret, flags).await
    }
}

/// The store, and whoever runs on it.
pub struct Multitude {
    pub directory: PathBuf,
    pub population: Population,
    pub starter: Starter,
    remembering: Option<Remembering>,
}

/// A server that remembers very many keys.
pub struct Remembering {
    /// Verifications of those keys.
    pub load: OverHttp,
    /// By how much its memory grew for each of them.
    pub bytes_per_key: f64,
    pub keys: usize,
}

impl Multitude {
    /// Makes a store of `count` keys in `directory`.
    pub async fn make(directory: PathBuf, logs: &Path, count: usize) -> anyhow::Result<Self> {
        eprintln!("making a store of {count} keys");
        let (begun, population) = (Instant::now(), Population::new(count)?);
        bulk::fill(&directory, &population).await.context("making the largest store")?;
        eprintln!("made in {} s", begun.elapsed().as_secs());
        let storage = Storage::RocksDb(directory.clone());
        let (secret, logs) = (server::random_secret()?, logs.to_owned());
        let starter = Starter { storage, secret, logs };
        Ok(Self { directory, population, starter, remembering: None })
    }

    /// A token for the workspace of the first keys, and its id.
    pub async fn caller(&self) -> anyhow::Result<(String, String)> {
        let workspace = workspace(0).to_string();
        Ok((server::mint_token(&self.starter.secret, &workspace).await?, workspace))
    }

    /// The requests that present these keys.
    pub fn requests(
        &self,
        question: &Question,
        numbers: &[usize],
    ) -> anyhow::Result<Rc<[Vec<u8>]>> {
        let request = |number: &usize| Ok((question.request)(&self.population.text(*number)?));
        numbers.iter().map(request).collect()
    }

    /// The server that remembers. No other can be started on the store any more.
    pub async fn remembering(&mut self, connections: usize) -> anyhow::Result<&Remembering> {
        if self.remembering.is_none() {
            self.remembering = Some(self.remember(connections).await?);
        }
        self.remembering.as_ref().context("it has been started")
    }

    async fn remember(&self, connections: usize) -> anyhow::Result<Remembering> {
        let server = Rc::new(self.starter.start(&["--cache-entries", CACHE_ENTRIES]).await?);
        let before = BEFORE.min(self.population.count / 10);
        let keys = REMEMBERED.min(self.population.count - before);
        eprintln!("verifying {} keys once", before + keys);
        let numbers: Vec<usize> = self.population.spread(before + keys).collect();
        let requests = |numbers: &[usize]| self.requests(&FORWARD_AUTH, numbers);
        let first = OverHttp {
            name: SERVER,
            servers: vec![Rc::clone(&server)],
            postmaster: None,
            question: &FORWARD_AUTH,
            requests: requests(&numbers[..before])?,
            connections,
            turn: Rc::default(),
        };
        first.warm_up().await?;
        let load = OverHttp { requests: requests(&numbers[before..])?, ..first };
        let memory = Memory::of(server.pid())?.now;
        load.warm_up().await?;
        let grown = Memory::of(server.pid())?.now.saturating_sub(memory);
        let bytes_per_key = ratio(grown, keys as u64);
        Ok(Remembering { load, bytes_per_key, keys })
    }

    /// Ends what runs on it.
    pub async fn end(self) -> anyhow::Result<()> {
        let Some(Remembering { load, .. }) = self.remembering else { return Ok(()) };
        for server in load.servers {
            Rc::into_inner(server).context("a side was not ended")?.stop().await?;
        }
        Ok(())
    }
}
