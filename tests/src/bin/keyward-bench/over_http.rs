//! A server, or several, loaded over HTTP in a closed loop: every connection asks, waits for the
//! answer, judges it, and asks again.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::bail;
use async_trait::async_trait;
use tokio::task::JoinSet;

use crate::cpu::Processes;
use crate::http::{Answer, Connection};
use crate::questions::Question;
use crate::report::Sample;
use crate::server::Server;
use crate::side::Side;
use crate::watch::Watch;

/// Servers that answer a question.
#[derive(Clone)]
pub struct OverHttp {
    pub name: &'static str,
    /// Connections are spread over them evenly.
    pub servers: Vec<Rc<Server>>,
    /// Of the Postgres that the servers use.
    pub postmaster: Option<u32>,
    pub question: &'static Question,
    /// The question, asked in each of these ways in turn.
    pub requests: Rc<[Vec<u8>]>,
    pub connections: usize,
    /// Which of them is the next, over all slices.
    pub turn: Rc<Cell<usize>>,
}

#[async_trait(?Send)]
impl Side for OverHttp {
    fn name(&self) -> &'static str {
        self.name
    }

    async fn slice(&mut self, time: Duration) -> anyhow::Result<Sample> {
        self.slice_of(time, converse).await
    }

    async fn end(self: Box<Self>) -> anyhow::Result<()> {
        for server in self.servers {
            // Others may need it still.
            if let Some(server) = Rc::into_inner(server) {
                server.stop().await?;
            }
        }
        Ok(())
    }
}

impl OverHttp {
    /// Sends each request once, each to one of the servers.
    pub async fn warm_up(&self) -> anyhow::Result<()> {
        self.drive(self.asking(self.requests.len())?, &converse).await
    }

    /// One slice, in which each connection does what `converse` does until the slice is over.
    pub async fn slice_of<C, F>(&self, time: Duration, converse: C) -> anyhow::Result<Sample>
    where
        C: Fn(Connection, Rc<Asking>) -> F,
        F: Future<Output = anyhow::Result<()>> + 'static,
    {
        let asking = self.asking(usize::MAX)?;
        let own = self.servers.iter().map(|server| server.pid()).collect();
        let processes = Processes { own, postmaster: self.postmaster };
        let load = self.drive(Rc::clone(&asking), &converse);
        let (sample, ()) = tokio::try_join!(asking.watch.run(time, &processes), load)?;
        Ok(sample)
    }

    async fn drive<C, F>(&self, asking: Rc<Asking>, converse: &C) -> anyhow::Result<()>
    where
        C: Fn(Connection, Rc<Asking>) -> F,
        F: Future<Output = anyhow::Result<()>> + 'static,
    {
        let mut conversations = JoinSet::new();
        for server in self.servers.iter().cycle().take(self.connections) {
            let connection = Connection::open(server.address()).await?;
            conversations.spawn_local(converse(connection, Rc::clone(&asking)));
        }
        while let Some(ended) = conversations.join_next().await {
            ended??;
        }
        Ok(())
    }

    fn asking(&self, requests: usize) -> anyhow::Result<Rc<Asking>> {
        Ok(Rc::new(Asking {
            question: self.question,
            requests: Rc::clone(&self.requests),
            turn: Rc::clone(&self.turn),
            left: Cell::new(requests),
            watch: Watch::new()?,
        }))
    }
}

/// The requests of one load, in turn and round and round, until none is left or its time is over.
pub struct Asking {
    pub question: &'static Question,
    requests: Rc<[Vec<u8>]>,
    turn: Rc<Cell<usize>>,
    left: Cell<usize>,
    pub watch: Watch,
}

impl Asking {
    /// The next request; `None` when there is to be none.
    pub fn next(&self) -> Option<&[u8]> {
        if self.watch.is_over() {
            return None;
        }
        self.left.set(self.left.get().checked_sub(1)?);
        let turn = self.turn.get();
        self.turn.set((turn + 1) % self.requests.len());
        Some(&self.requests[turn])
    }
}

async fn converse(mut connection: Connection, asking: Rc<Asking>) -> anyhow::Result<()> {
    while let Some(request) = asking.next() {
        let asked = Instant::now();
        let answer = connection.ask(request).await?;
        judge(asking.question, &answer)?;
        asking.watch.count(asked.elapsed(), answer.wire_len);
    }
    Ok(())
}

/// Whether the answer is the right one to the question.
pub fn judge(question: &Question, answer: &Answer<'_>) -> anyhow::Result<()> {
    if answer.status != question.status || !answer.body.starts_with(question.body_begins.as_bytes())
    {
        bail!("a wrong answer: {}\n{}", answer.head, String::from_utf8_lossy(answer.body));
    }
    Ok(())
}
