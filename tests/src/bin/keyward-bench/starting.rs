//! Starts: from the making of a process until it says that it is ready.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use async_trait::async_trait;

use crate::cpu::{Processes, Reading};
use crate::multitude::Starter;
use crate::report::Sample;
use crate::server::Server;
use crate::side::Side;
use crate::watch::Tally;
use crate::worker::{Order, Work, Worker};

/// What is started, again and again.
pub enum Starting {
    /// The binary under test on a store.
    Keyward(Starter),
    /// A process that opens the same with RocksDB alone.
    Raw(PathBuf),
}

/// What was started, until it is told to end.
enum Started {
    Keyward(Server),
    Raw(Worker),
}

#[async_trait(?Send)]
impl Side for Starting {
    fn name(&self) -> &'static str {
        match self {
            Self::Keyward(_) => crate::rows::SERVER,
            Self::Raw(_) => "opening RocksDB",
        }
    }

    async fn slice(&mut self, time: Duration) -> anyhow::Result<Sample> {
        let (mut starts, mut spent) = (Tally::new()?, Duration::ZERO);
        let (begun, mut last) = (Instant::now(), None);
        while last.is_none() || begun.elapsed() < time {
            let started_at = Instant::now();
            let started = self.start().await?;
            let took = started_at.elapsed();
            spent += took;
            starts.count(took, 0);
            let processes = Processes { own: vec![started.pid()?], postmaster: None };
            // Since there was nothing of it.
            last = Some(processes.read()?.since(&Reading::default()));
            started.end().await?;
        }
        let mut sample = starts.sample(spent, last.context("nothing was started")?)?;
        // It is of one start, and not of all.
        sample.cpu_us *= f64::from(starts.len());
        Ok(sample)
    }

    async fn end(self: Box<Self>) -> anyhow::Result<()> {
        Ok(())
    }
}

impl Starting {
    async fn start(&self) -> anyhow::Result<Started> {
        Ok(match self {
            Self::Keyward(starter) => Started::Keyward(starter.start(&[]).await?),
            Self::Raw(directory) => {
                let work = Work::OpenRaw(directory.clone());
                let order = Order { work, clients: 1, postmaster: None };
                Started::Raw(Worker::start("opening RocksDB", &order).await?)
            }
        })
    }
}

impl Started {
    fn pid(&self) -> anyhow::Result<u32> {
        match self {
            Self::Keyward(server) => Ok(server.pid()),
            Self::Raw(worker) => worker.pid().context("the worker has ended"),
        }
    }

    async fn end(self) -> anyhow::Result<()> {
        match self {
            Self::Keyward(server) => server.stop().await,
            Self::Raw(worker) => Box::new(worker).end().await,
        }
    }
}
