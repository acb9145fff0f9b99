//! A process that does its work itself, without HTTP: the driver alone, or RocksDB alone.
//!
//! It is a process of its own for the same reason as the other sides: its CPU time can be told
//! apart, and it has the runtime that the real server has. What it spends includes making up what
//! is to be stored, which over HTTP the server does too.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use async_trait::async_trait;
use keyward_core::secret::KeyDigest;
use keyward_core::store::KeyStore;
use keyward_tests::records::Calls as _;
use rocksdb::{Cache, DB};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::task::JoinSet;
use tokio::task::coop::consume_budget;

use crate::bulk;
use crate::cpu::Processes;
use crate::population::Population;
use crate::raw::{RawReads, RawWrites};
use crate::report::Sample;
use crate::side::Side;
use crate::storage::{Mint, Storage};
use crate::watch::Watch;

/// Digests that lookups rotate through at most.
const MOST_DIGESTS: usize = 1_000_000;

/// What a worker is to do, as it is told on standard input: one line of JSON.
#[derive(Serialize, Deserialize)]
pub struct Order {
    pub work: Work,
    /// How many do it at once.
    pub clients: usize,
    /// Of the Postgres that is used.
    pub postmaster: Option<u32>,
}

/// What is done again and again.
#[derive(Serialize, Deserialize)]
pub enum Work {
    /// Creations through the driver.
    Create(Storage),
    /// Lookups by digest through the driver, of keys that are there.
    Find(Storage),
    /// The same in a store of as many keys by number, beside whoever uses it.
    FindAmong(PathBuf, usize),
    /// The same by RocksDB itself.
    RawReads(PathBuf, usize),
    /// Writes to RocksDB itself, in a directory that is made.
    RawWrites(PathBuf),
    /// Nothing, but what is there is opened by RocksDB itself.
    OpenRaw(PathBuf),
}

/// A worker, as the bench sees it. It ends with this value.
pub struct Worker {
    name: &'static str,
    child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl Worker {
    /// Starts a worker and waits until it is ready.
    pub async fn start(name: &'static str, order: &Order) -> anyhow::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg("worker")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let input = child.stdin.take().context("a worker has standard input")?;
        let output = child.stdout.take().context("a worker has standard output")?;
        let output = BufReader::new(output).lines();
        let mut worker = Self { name, child, input, output };
        worker.ask(&serde_json::to_string(order)?).await.context("starting a worker")?;
        Ok(worker)
    }

    /// Its process.
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    async fn ask(&mut self, line: &str) -> anyhow::Result<String> {
        self.input.write_all(format!("{line}\n").as_bytes()).await?;
        self.output.next_line().await?.context("the worker has ended, and said why above")
    }
}

#[async_trait(?Send)]
impl Side for Worker {
    fn name(&self) -> &'static str {
        self.name
    }

    async fn slice(&mut self, time: Duration) -> anyhow::Result<Sample> {
        Ok(serde_json::from_str(&self.ask(&serde_json::to_string(&time)?).await?)?)
    }

    async fn end(self: Box<Self>) -> anyhow::Result<()> {
        let Self { mut child, input, .. } = *self;
        // Having nothing more to read is what ends it.
        drop(input);
        let status = child.wait().await?;
        if status.success() { Ok(()) } else { bail!("a worker ended badly: {status}") }
    }
}

/// Is a worker: takes an order, and then measures a slice for each line that tells its length.
pub fn work() -> anyhow::Result<()> {
    let mut lines = std::io::stdin().lines();
    let order: Order = serde_json::from_str(&lines.next().context("no order")??)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let work = Ready::new(&order.work).await?;
        answer(&"ready")?;
        for line in lines {
            let time = serde_json::from_str(&line?)?;
            answer(&slice(&work, &order, time).await?)?;
        }
        work.end().await
    })
}

fn answer(said: &impl Serialize) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", serde_json::to_string(said)?)?;
    Ok(out.flush()?)
}

/// Work that can begin.
#[derive(Clone)]
enum Ready {
    Create(Arc<dyn KeyStore>, Box<Mint>),
    Find(Arc<dyn KeyStore>, Arc<Digests>),
    RawReads(Arc<RawReads>, Arc<Digests>),
    RawWrites(Arc<RawWrites>),
    Opened(Arc<DB>),
}

impl Ready {
    async fn new(work: &Work) -> anyhow::Result<Self> {
        Ok(match work {
            Work::Create(storage) => Self::Create(storage.open().await?, Box::new(Mint::new()?)),
            Work::Find(storage) => {
                let store = storage.open().await?;
                let records = store.scan(None, MOST_DIGESTS).await?;
                Self::Find(store, Digests::new(records.iter().map(|it| it.digest).collect()))
            }
            Work::FindAmong(directory, count) => {
                let store = Storage::RocksDb(directory.clone()).open_to_read().await?;
                Self::Find(store, Digests::spread(*count)?)
            }
            Work::RawReads(directory, count) => {
                Self::RawReads(Arc::new(RawReads::open(directory)?), Digests::spread(*count)?)
            }
            Work::OpenRaw(directory) => {
                let bytes = keyward_rocksdb::Settings::default().block_cache_bytes;
                let db = bulk::open(directory, &Cache::new_lru_cache(bytes))?;
                Self::Opened(Arc::new(db))
            }
            Work::RawWrites(directory) => Self::RawWrites(Arc::new(RawWrites::open(directory)?)),
        })
    }

    async fn end(self) -> anyhow::Result<()> {
        match self {
            Self::Create(store, _) | Self::Find(store, _) => Ok(store.close().await?),
            Self::RawReads(..) | Self::RawWrites(_) | Self::Opened(_) => Ok(()),
        }
    }
}

/// Digests that are looked up in turn, over all slices: who began anew with each would find in memory
/// what was read in the slice before.
struct Digests {
    all: Vec<KeyDigest>,
    turn: AtomicUsize,
}

impl Digests {
    fn new(all: Vec<KeyDigest>) -> Arc<Self> {
        Arc::new(Self { all, turn: AtomicUsize::new(0) })
    }

    /// Those of keys from anywhere among `count`.
    fn spread(count: usize) -> anyhow::Result<Arc<Self>> {
        let population = Population::new(count)?;
        let all = population.spread(MOST_DIGESTS).map(|number| population.digest(number));
        Ok(Self::new(all.collect::<anyhow::Result<_>>()?))
    }

    fn next(&self) -> &KeyDigest {
        &self.all[self.turn.fetch_add(1, Ordering::Relaxed) % self.all.len()]
    }
}

async fn slice(work: &Ready, order: &Order, time: Duration) -> anyhow::Result<Sample> {
    let watch = Arc::new(Watch::new()?);
    let mut clients = JoinSet::new();
    for _ in 0..order.clients {
        let watch = Arc::clone(&watch);
        match work.clone() {
            Ready::Create(store, mint) => {
                clients.spawn(async move { create(&*store, &mint, &watch).await });
            }
            Ready::Find(store, digests) => {
                clients.spawn(async move { find(&*store, &digests, &watch).await });
            }
            Ready::RawReads(raw, digests) => {
                clients.spawn_blocking(move || read(&raw, &digests, &watch));
            }
            Ready::Opened(db) => bail!("{} was to be opened only", db.path().display()),
            Ready::RawWrites(raw) => {
                // A thread for each, as RocksDB's writers wait where they are.
                clients.spawn_blocking(move || write(&raw, &watch));
            }
        }
    }
    let processes = Processes { own: vec![std::process::id()], postmaster: order.postmaster };
    let sample = watch.run(time, &processes).await;
    while let Some(ended) = clients.join_next().await {
        ended??;
    }
    sample
}

async fn create(store: &dyn KeyStore, mint: &Mint, watch: &Watch) -> anyhow::Result<()> {
    while !watch.is_over() {
        let begun = Instant::now();
        let (key, plain) = mint.key()?;
        store.create(&key, &plain.digest()).await?;
        watch.count(begun.elapsed(), 0);
    }
    Ok(())
}

async fn find(store: &dyn KeyStore, digests: &Digests, watch: &Watch) -> anyhow::Result<()> {
    while !watch.is_over() {
        let begun = Instant::now();
        store.find(digests.next()).await?.context("a key that was there is gone")?;
        // What is found in memory waits for nothing, and would let nobody else have a turn.
        consume_budget().await;
        watch.count(begun.elapsed(), 0);
    }
    Ok(())
}

fn read(raw: &RawReads, digests: &Digests, watch: &Watch) -> anyhow::Result<()> {
    while !watch.is_over() {
        let begun = Instant::now();
        raw.find(digests.next())?;
        watch.count(begun.elapsed(), 0);
    }
    Ok(())
}

fn write(raw: &RawWrites, watch: &Watch) -> anyhow::Result<()> {
    while !watch.is_over() {
        let begun = Instant::now();
        raw.write()?;
        watch.count(begun.elapsed(), 0);
    }
    Ok(())
}
