//! Connections: how many, for how long, and what becomes of one that failed.
//!
//! The pool is our own, because the library's asks the server for a sign of life whenever a
//! connection is given back: a round trip for each statement, and one without a limit, so that a
//! server whose machine is gone would keep the places of its connections until TCP gives up.

use std::fmt;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use keyward_core::store::StoreError;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, PgConnection};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use crate::error::{Fault, unavailable};

/// Longest time that the server gives a statement. It must be the server that ends it: one that we
/// merely stop waiting for, as at a locked table, would hold its connection there, and the next one
/// another. It goes with the start of a connection, and a pooler has a limit of its own.
pub const STATEMENT_LIMIT: Duration = Duration::from_secs(5);
/// Longest time that work may take, all its statements together. Then it is given up together with
/// its connection: nobody knows any more what would be read from it next.
pub const WORK_LIMIT: Duration = Duration::from_millis(5_500);
/// Longest time for a connection that may be dead to prove that it is not.
const PING_LIMIT: Duration = Duration::from_millis(200);
/// A connection that was used this short a time ago is taken to be alive.
const SURELY_ALIVE: Duration = Duration::from_secs(1);
/// Time between two attempts to connect.
const BETWEEN_ATTEMPTS: Duration = Duration::from_millis(50);
/// How often a statement is sent that did nothing, or only read, and can be sent again.
const ATTEMPTS: usize = 3;
/// Connections are replaced at this age, so that memory of the server's is given back, and prepared
/// plans are made anew from fresh statistics.
const LIFETIME: Duration = Duration::from_mins(30);

/// Work on a connection. It leaves no transaction open when it succeeds.
pub type Work<'c, T> = Pin<Box<dyn Future<Output = Result<T, sqlx::Error>> + Send + 'c>>;

/// Whether work may be done twice when its connection broke in the middle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeat {
    /// It only reads: the second answer is as good as the first.
    Always,
    /// It changes something: only when it is certain that nothing was done.
    IfNothingWasDone,
}

/// The pool.
pub struct Connections {
    options: PgConnectOptions,
    size: u32,
    wait: Duration,
    /// One place for each connection.
    places: Semaphore,
    /// Connections that nobody uses, the one that was used last at the end.
    idle: Mutex<Vec<Idle>>,
}

struct Idle {
    connection: PgConnection,
    made: Instant,
    since: Instant,
}

/// A connection in use. Unless it is given back it is cut off: where work was broken off in the
/// middle, the answer to it is still on its way, and a polite end could hang.
struct Lease<'p> {
    connection: PgConnection,
    made: Instant,
    _place: SemaphorePermit<'p>,
}

impl Connections {
    /// At most `size` connections, none of which is made yet; `wait` bounds the wait for one.
    pub fn new(options: PgConnectOptions, size: u32, wait: Duration) -> Self {
        let places = Semaphore::new(size as usize);
        Self { options, size, wait, places, idle: Mutex::default() }
    }

    /// The longest wait for a connection.
    pub fn wait(&self) -> Duration {
        self.wait
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
                Fault::Late | Fault::Refused(_) => false,
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
        let mut lease = self.lease().await?;
        let outcome = timeout(WORK_LIMIT, work(&mut lease.connection)).await;
        let outcome = outcome.map_or(Err(Fault::Late), |outcome| outcome.map_err(Fault::from));
        match &outcome {
            Ok(_) => self.give_back(lease),
            // A transaction in which this happened is to be rolled back, which the library does
            // before the next that it sends.
            Err(Fault::Refused(_)) if answers(&mut lease.connection).await => self.give_back(lease),
            Err(Fault::Refused(_) | Fault::Again(_)) => {}
            // The others are likely to have met the same fate, and making new ones is cheap.
            Err(Fault::Broken(_) | Fault::Late) => self.idle().clear(),
        }
        outcome
    }

    async fn lease(&self) -> Result<Lease<'_>, Fault> {
        let mut failure = None;
        let leased = timeout(self.wait, async {
            let place = self
                .places
                .acquire()
                .await
                .map_err(|_| Fault::Refused(unavailable("the store is closed")))?;
            while let Some(mut idle) = self.take_idle() {
                if idle.since.elapsed() < SURELY_ALIVE || answers(&mut idle.connection).await {
                    let Idle { connection, made, .. } = idle;
                    return Ok(Lease { connection, made, _place: place });
                }
            }
            loop {
                match self.connect().await {
                    Ok(connection) => {
                        return Ok(Lease { connection, made: Instant::now(), _place: place });
                    }
                    Err(fault) => failure = Some(fault),
                }
                tokio::time::sleep(BETWEEN_ATTEMPTS).await;
            }
        });
        let leased = leased.await;
        let none =
            || Fault::Refused(unavailable("no connection was free or could be made in time"));
        leased.unwrap_or_else(|_| Err(failure.unwrap_or_else(none)))
    }

    /// A new connection, to a primary. A standby may not know yet what was revoked, and a primary
    /// becomes one only by a restart, which ends its connections.
    async fn connect(&self) -> Result<PgConnection, Fault> {
        let told = |error| Fault::no_connection(&error);
        let mut connection = self.options.connect().await.map_err(told)?;
        let standby = sqlx::query_scalar("SELECT pg_is_in_recovery()");
        if standby.fetch_one(&mut connection).await.map_err(told)? {
            return Err(Fault::Refused(unavailable("the server is a standby")));
        }
        Ok(connection)
    }

    fn take_idle(&self) -> Option<Idle> {
        self.idle().pop()
    }

    fn give_back(&self, lease: Lease<'_>) {
        let Lease { connection, made, .. } = lease;
        if made.elapsed() < LIFETIME {
            self.idle().push(Idle { connection, made, since: Instant::now() });
        }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends all connections once nobody uses them.
    pub async fn close(&self) {
        // Fails where they are closed already.
        let _ = self.places.acquire_many(self.size).await;
        self.places.close();
        let idle = std::mem::take(&mut *self.idle());
        for Idle { connection, .. } in idle {
            // A farewell that does not go out is not needed either.
            let _ = timeout(PING_LIMIT, connection.close()).await;
        }
    }
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The options hold a password.
        f.debug_struct("Connections").field("size", &self.size).finish_non_exhaustive()
    }
}

async fn answers(connection: &mut PgConnection) -> bool {
    matches!(timeout(PING_LIMIT, connection.ping()).await, Ok(Ok(())))
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    const WAIT: Duration = Duration::from_millis(50);
    /// What a busy machine may add.
    const LEEWAY: Duration = Duration::from_secs(20);

    fn pool(port: u16) -> Connections {
        let options = PgConnectOptions::new_without_pgpass().host("127.0.0.1").port(port);
        Connections::new(options, 2, WAIT)
    }

    async fn use_one(pool: &Connections) -> Result<(), StoreError> {
        let used = pool.run(Repeat::Always, |_| Box::pin(async { Ok(()) }));
        timeout(LEEWAY, used).await.expect("the wait is bounded")
    }

    #[tokio::test]
    async fn a_server_that_never_speaks_is_not_waited_for() {
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let pool = pool(silent.local_addr().unwrap().port());
        assert!(matches!(use_one(&pool).await, Err(StoreError::Unavailable(_))));
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_is_told_with_the_reason() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let Err(StoreError::Unavailable(cause)) = use_one(&pool(port)).await else {
            panic!("nobody is there")
        };
        assert!(cause.to_string().contains("refused"), "{cause}");
    }

    #[tokio::test]
    async fn a_pool_that_was_closed_gives_nothing_and_can_be_closed_again() {
        let pool = pool(1);
        pool.close().await;
        pool.close().await;
        let Err(StoreError::Unavailable(cause)) = use_one(&pool).await else {
            panic!("it is closed")
        };
        assert!(cause.to_string().contains("closed"), "{cause}");
    }

    #[test]
    fn nothing_of_the_way_in_is_written_out() {
        let options = PgConnectOptions::new_without_pgpass().password("correct-horse");
        let written = format!("{:?}", Connections::new(options, 2, WAIT));
        assert!(!written.contains("correct-horse"), "{written}");
    }
}
