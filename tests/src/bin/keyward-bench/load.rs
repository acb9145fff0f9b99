//! A closed loop: every connection asks, waits for the answer, judges it, and asks again.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::http::{Answer, Connection};

/// What the connections of one load ask, and what becomes of the answers.
pub trait Work {
    /// The next request, or `None` to end the connection that would send it.
    fn next(&self) -> Option<&[u8]>;

    /// Takes an answer. An error ends the whole load.
    fn answered(&self, answer: &Answer<'_>, took: Duration) -> anyhow::Result<()>;
}

/// Loads the server at `address` until the work has no more requests.
pub async fn drive<W: Work + 'static>(
    address: SocketAddr,
    connections: usize,
    work: Rc<W>,
) -> anyhow::Result<()> {
    let mut conversations = JoinSet::new();
    for _ in 0..connections {
        conversations.spawn_local(converse(address, Rc::clone(&work)));
    }
    while let Some(ended) = conversations.join_next().await {
        ended??;
    }
    Ok(())
}

async fn converse<W: Work>(address: SocketAddr, work: Rc<W>) -> anyhow::Result<()> {
    let mut connection = Connection::open(address).await?;
    while let Some(request) = work.next() {
        let asked = Instant::now();
        let answer = connection.ask(request).await?;
        work.answered(&answer, asked.elapsed())?;
    }
    Ok(())
}
