//! Connections: how many, for how long, and what becomes of one that failed.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use keyward_core::store::StoreError;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Connection as _, PgConnection, PgPool, Postgres};

use crate::error::Fault;

/// Longest time that a statement may take. One that takes longer is given up together with its
/// connection: nobody knows any more what would be read from it next.
const STATEMENT_LIMIT: Duration = Duration::from_secs(5);
/// Longest time for a connection that may be dead to prove that it is not.
const PING_LIMIT: Duration = Duration::from_millis(200);
/// How often a statement is sent that did nothing, or only read, and can be sent again.
const ATTEMPTS: usize = 3;
/// Connections are replaced at this age, so that memory of the server's is given back, and prepared
/// plans are made anew from fresh statistics.
const LIFETIME: Duration = Duration::from_mins(30);

/// Work on a connection.
pub type Work<'c, T> = Pin<Box<dyn Future<Output = Result<T, sqlx::Error>> + Send + 'c>>;

/// Whether work may be done twice when its connection broke in the middle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeat {
    /// It only reads: the second answer is as good as the first.
    Always,
    /// It changes something: only when it is certain that nothing was done.
    IfNothingWasDone,
}

/// The pool, and what is known of the server's health.
#[derive(Debug)]
pub struct Connections {
    pool: PgPool,
    /// When a connection broke last. Those that are older are suspected of the same.
    broken: Arc<Mutex<Option<Instant>>>,
}

impl Connections {
    /// At most `size` connections, none of which is made yet; `wait` bounds the wait for one.
    pub fn new(options: PgConnectOptions, size: u32, wait: Duration) -> Self {
        let broken: Arc<Mutex<Option<Instant>>> = Arc::default();
        let suspicion = Arc::clone(&broken);
        let pool = PgPoolOptions::new()
            .max_connections(size)
            .acquire_timeout(wait)
            .max_lifetime(LIFETIME)
            .acquire_slow_threshold(Duration::MAX)
            // A ping before each use would double the round trips. One is worth it only where
            // there is a reason to doubt.
            .test_before_acquire(false)
            .before_acquire(move |connection, about| {
                let last = *suspicion.lock().unwrap_or_else(PoisonError::into_inner);
                let doubtful = about.idle_for > Duration::from_secs(1)
                    || last.is_some_and(|last| last.elapsed() <= about.age);
                Box::pin(async move { Ok(!doubtful || answers(connection).await) })
            })
            .connect_lazy_with(options);
        Self { pool, broken }
    }

    /// Does `work` on a connection, and again where `repeat` allows it.
    ///
    /// The future must be driven to its end, or a connection is lost: callers that can go away run it
    /// in a task of its own.
    pub async fn run<T>(
        &self,
        repeat: Repeat,
        mut work: impl for<'c> FnMut(&'c mut PgConnection) -> Work<'c, T> + Send,
    ) -> Result<T, StoreError>
    where
        T: Send,
    {
        let mut attempt = 1;
        loop {
            let fault = match self.once(&mut work).await {
                Ok(value) => return Ok(value),
                Err(fault) => fault,
            };
            let again = match fault {
                Fault::Again(_) => true,
                Fault::Broken(_) => repeat == Repeat::Always,
                Fault::Refused(_) => false,
            };
            if !again || attempt == ATTEMPTS {
                return Err(fault.into());
            }
            attempt += 1;
        }
    }

    async fn once<T>(
        &self,
        work: &mut (impl for<'c> FnMut(&'c mut PgConnection) -> Work<'c, T> + Send),
    ) -> Result<T, Fault> {
        let mut lease = Lease(Some(self.pool.acquire().await?));
        let connection = lease.0.as_mut().ok_or_else(Fault::timed_out)?;
        let outcome = match tokio::time::timeout(STATEMENT_LIMIT, work(connection)).await {
            Ok(outcome) => outcome.map_err(Fault::from),
            Err(_) => Err(Fault::timed_out()),
        };
        match &outcome {
            Ok(_) | Err(Fault::Refused(_)) => lease.give_back(),
            Err(Fault::Again(_)) => {}
            Err(Fault::Broken(_)) => {
                let mut broken = self.broken.lock().unwrap_or_else(PoisonError::into_inner);
                *broken = Some(Instant::now());
            }
        }
        outcome
    }

    /// Ends all connections once nobody uses them.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

async fn answers(connection: &mut PgConnection) -> bool {
    matches!(tokio::time::timeout(PING_LIMIT, connection.ping()).await, Ok(Ok(())))
}

/// A connection in use. Unless it is given back it is cut off: where work was broken off in the
/// middle, the answer to it is still on its way, and a polite end could hang.
struct Lease(Option<PoolConnection<Postgres>>);

impl Lease {
    fn give_back(&mut self) {
        self.0 = None;
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(connection) = self.0.take() {
            drop(connection.detach());
        }
    }
}
