//! What rows are measured on, started when the first row needs it and kept for the others.

use std::path::PathBuf;
use std::rc::Rc;

use anyhow::Context as _;
use tempfile::TempDir;

use crate::multitude::Multitude;
use crate::postgres::Postgres;
use crate::questions::WORKSPACE;
use crate::report::Settings;
use crate::server::{self, Server};
use crate::storage::Storage;

/// Keys of the place that has few.
pub const FEW: usize = 1_000;
/// Servers of a cluster that answer from memory.
const NODES: usize = 3;

/// A storage with keys in it, and the binary under test on it.
pub struct Place {
    pub server: Rc<Server>,
    /// The keys, as clients present them.
    pub keys: Vec<String>,
    /// For a caller who may create keys.
    pub token: String,
    /// Another server, without memory. Only where others write the storage too.
    pub forgetful: Option<Rc<Server>>,
    /// More nodes like the first. Only there, too.
    others: Vec<Rc<Server>>,
}

impl Place {
    /// All servers that have a memory.
    pub fn nodes(&self) -> Vec<Rc<Server>> {
        std::iter::once(&self.server).chain(&self.others).cloned().collect()
    }

    fn servers(self) -> impl Iterator<Item = Rc<Server>> {
        std::iter::once(self.server).chain(self.forgetful).chain(self.others)
    }
}

/// All places.
pub struct Places {
    directory: TempDir,
    keys: usize,
    most_keys: usize,
    few: Option<Place>,
    rocksdb: Option<Place>,
    without_uses: Option<Place>,
    multitude: Option<Multitude>,
    /// Verifications from memory that the server answers in a second when it is asked as fast as it
    /// answers, once that was measured.
    pub peak: Option<f64>,
    postgres: Option<PostgresPlace>,
}

/// Postgres with what stands on it, or why there is none.
type PostgresPlace = Result<(Place, Postgres), String>;

impl Places {
    pub fn new(settings: &Settings) -> anyhow::Result<Self> {
        let directory = tempfile::Builder::new()
            .prefix("keyward-bench-")
            .tempdir()
            .context("making a directory for the keys")?;
        let Settings { keys, most_keys, .. } = *settings;
        let (few, rocksdb, without_uses, multitude, postgres) = (None, None, None, None, None);
        let peak = None;
        Ok(Self {
            directory,
            keys,
            most_keys,
            few,
            rocksdb,
            without_uses,
            multitude,
            peak,
            postgres,
        })
    }

    /// A directory that is not there yet.
    pub fn new_directory(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The place with RocksDB.
    pub async fn rocksdb(&mut self) -> anyhow::Result<&Place> {
        if self.rocksdb.is_none() {
            let storage = Storage::RocksDb(self.new_directory("data"));
            self.rocksdb = Some(self.start("RocksDB", &storage, self.keys, &[]).await?);
        }
        self.rocksdb.as_ref().context("it has been started")
    }

    /// A place with RocksDB and few keys.
    pub async fn few(&mut self) -> anyhow::Result<&Place> {
        if self.few.is_none() {
            let storage = Storage::RocksDb(self.new_directory("few"));
            self.few = Some(self.start("RocksDB", &storage, FEW, &[]).await?);
        }
        self.few.as_ref().context("it has been started")
    }

    /// The largest store.
    pub async fn multitude(&mut self) -> anyhow::Result<&mut Multitude> {
        if self.multitude.is_none() {
            let (directory, logs) = (self.new_directory("multitude"), self.directory.path());
            self.multitude = Some(Multitude::make(directory, logs, self.most_keys).await?);
        }
        self.multitude.as_mut().context("it has been made")
    }

    /// Another place with RocksDB, in which it is not kept when keys are used.
    pub async fn without_uses(&mut self) -> anyhow::Result<&Place> {
        if self.without_uses.is_none() {
            let storage = Storage::RocksDb(self.new_directory("data without uses"));
            let place = self.start("RocksDB", &storage, self.keys, &["--no-last-used"]).await?;
            self.without_uses = Some(place);
        }
        self.without_uses.as_ref().context("it has been started")
    }

    /// The place with Postgres; in words, where there is no Postgres to be had.
    pub async fn postgres(&mut self) -> anyhow::Result<Result<(&Place, &Postgres), &str>> {
        if self.postgres.is_none() {
            self.postgres = Some(match Postgres::start().await {
                Ok(postgres) => {
                    let storage = Storage::Postgres(postgres.url().to_owned());
                    let place = self.start("Postgres", &storage, self.keys, &[]).await?;
                    postgres.settle(self.keys).await?;
                    Ok((place, postgres))
                }
                Err(error) => Err(format!("not measured: {error:#}")),
            });
        }
        let place = self.postgres.as_ref().context("it has been started")?;
        Ok(match place {
            Ok((place, postgres)) => Ok((place, postgres)),
            Err(reason) => Err(reason),
        })
    }

    async fn start(
        &self,
        what: &str,
        storage: &Storage,
        keys: usize,
        flags: &[&str],
    ) -> anyhow::Result<Place> {
        eprintln!("creating {keys} keys in {what}");
        let keys = storage.fill(keys).await?;
        let secret = server::random_secret()?;
        let directory = self.directory.path();
        let start = async |flags: &[&str]| {
            Server::start_keyward(storage, directory, &secret, flags).await.map(Rc::new)
        };
        let server = start(flags).await?;
        let (mut forgetful, mut others) = (None, Vec::new());
        if let Storage::Postgres(_) = storage {
            forgetful = Some(start(&["--cache-entries", "0"]).await?);
            for _ in 1..NODES {
                others.push(start(flags).await?);
            }
        }
        let token = server::mint_token(&secret, WORKSPACE).await?;
        Ok(Place { server, keys, token, forgetful, others })
    }

    /// In words: what matters of the Postgres for whoever compares figures.
    pub fn description(&self) -> Option<String> {
        let (_, postgres) = self.postgres.as_ref()?.as_ref().ok()?;
        Some(postgres.description.clone())
    }

    /// Ends everything. Servers that were asked must end well.
    pub async fn end(self) -> anyhow::Result<()> {
        let (postgres, _database) = self.postgres.and_then(Result::ok).unzip();
        let rocksdb = [self.few, self.rocksdb, self.without_uses].into_iter().flatten();
        for place in rocksdb.chain(postgres) {
            for server in place.servers() {
                Rc::into_inner(server).context("a side was not ended")?.stop().await?;
            }
        }
        if let Some(multitude) = self.multitude {
            multitude.end().await?;
        }
        Ok(self.directory.close()?)
    }
}
