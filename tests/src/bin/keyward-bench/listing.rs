//! Lists, one after the other by one client, which reads each to its end and keeps nothing of it.

use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::ensure;
use async_trait::async_trait;

use crate::cpu::Processes;
use crate::http::Connection;
use crate::memory::{Memory, forget_peak};
use crate::report::Sample;
use crate::server::Server;
use crate::side::Side;
use crate::statistics::ratio;
use crate::watch::Tally;

/// A server that is asked for a list.
pub struct Listing {
    pub name: &'static str,
    pub server: Rc<Server>,
    pub request: Vec<u8>,
    /// Of the body, each time.
    pub bytes: usize,
}

#[async_trait(?Send)]
impl Side for Listing {
    fn name(&self) -> &'static str {
        self.name
    }

    async fn slice(&mut self, time: Duration) -> anyhow::Result<Sample> {
        let mut connection = Connection::open(self.server.address()).await?;
        // The first one finds the store cold, and fills memory that is bounded by flags.
        self.list(&mut connection).await?;
        let (mut lists, mut first_bytes) = (Tally::new()?, Tally::new()?);
        let pid = self.server.pid();
        let processes = Processes { own: vec![pid], postmaster: None };
        forget_peak(pid)?;
        let (memory, cpu, begun) = (Memory::of(pid)?, processes.read()?, Instant::now());
        while begun.elapsed() < time {
            let asked = Instant::now();
            let (first_byte, wire_len) = self.list(&mut connection).await?;
            lists.count(asked.elapsed(), wire_len);
            first_bytes.count(first_byte, 0);
        }
        let used = processes.read()?.since(&cpu);
        let growth = Memory::of(pid)?.peak.saturating_sub(memory.now);
        let mut sample = lists.sample(begun.elapsed(), used)?;
        sample.first_byte_us = Some(first_bytes.sample(begun.elapsed(), used)?.p50_us);
        sample.growth_mib = Some(ratio(growth, 1 << 20));
        // The sides cut the same body into different chunks.
        sample.answer_bytes = 0;
        Ok(sample)
    }

    async fn end(self: Box<Self>) -> anyhow::Result<()> {
        match Rc::into_inner(self.server) {
            Some(server) => server.stop().await,
            // Others need it still.
            None => Ok(()),
        }
    }
}

impl Listing {
    /// Reads one list, which must be as long as it was.
    async fn list(&self, connection: &mut Connection) -> anyhow::Result<(Duration, usize)> {
        let mut bytes = 0;
        let answer = connection.stream(&self.request, |chunk| bytes += chunk.len()).await?;
        let expected = self.bytes;
        ensure!(answer.status == 200 && bytes == expected, "{bytes} bytes, {expected} expected");
        Ok((answer.first_byte, answer.wire_len))
    }
}
