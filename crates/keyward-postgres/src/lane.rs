//! Lanes: calls that wait together travel together.
//!
//! Each lane gathers the calls of one kind that have come in while earlier ones were under way, and
//! makes one statement of them. A thousand revocations are then a few commits with a few fsyncs, and
//! not a thousand holders of connections; a lone call is sent at once. Nothing ever waits for more to
//! come. A call is gathered only before its statement is sent, so that it sees every change that was
//! answered before it began.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use keyward_core::store::StoreError;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinHandle;

/// Calls that one statement answers at most.
const MOST_TOGETHER: usize = 1_000;
/// Calls that may wait in a lane.
const QUEUE_LEN: usize = 4_096;
/// How long a call waits for a place in the queue.
const QUEUE_WAIT: Duration = Duration::from_secs(1);

/// Where the outcome of a call is awaited.
type Answer<T> = oneshot::Sender<Result<T, StoreError>>;

/// A call and where its outcome goes.
type Waiting<Q, T> = (Q, Answer<T>);

/// The way in. The lane ends when the last of these is gone.
#[derive(Debug)]
pub struct Lane<Q, T> {
    queue: mpsc::Sender<Waiting<Q, T>>,
}

impl<Q, T> Clone for Lane<Q, T> {
    fn clone(&self) -> Self {
        Self { queue: self.queue.clone() }
    }
}

impl<Q, T> Lane<Q, T>
where
    Q: Send + Sync + 'static,
    T: Send + 'static,
{
    /// Starts a lane with at most `statements` under way at once. `carry_out` is given calls and must
    /// return as many outcomes, in the same order. The task ends with the lane, when all that was
    /// sent is answered.
    pub fn start<F, W>(statements: u32, carry_out: F) -> (Self, JoinHandle<()>)
    where
        F: Fn(Vec<Q>) -> W + Send + Sync + 'static,
        W: Future<Output = Vec<Result<T, StoreError>>> + Send + 'static,
    {
        let (queue, waiting) = mpsc::channel(QUEUE_LEN);
        let ended = tokio::spawn(gather(waiting, statements, Arc::new(carry_out)));
        (Self { queue }, ended)
    }

    /// Sends a call and waits for its outcome. Whether the caller goes on waiting does not matter to
    /// the call.
    pub async fn call(&self, question: Q) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        let queued = self.queue.send_timeout((question, answer), QUEUE_WAIT).await;
        // The call that could not be queued comes back in the error, and may hold a digest.
        queued.map_err(|_| unavailable("too many calls are waiting for the database"))?;
        answered.await.map_err(|_| unavailable("the call was given up"))?
    }
}

async fn gather<Q, T, F, W>(
    mut waiting: mpsc::Receiver<Waiting<Q, T>>,
    statements: u32,
    carry_out: Arc<F>,
) where
    Q: Send + 'static,
    T: Send + 'static,
    F: Fn(Vec<Q>) -> W + Send + Sync + 'static,
    W: Future<Output = Vec<Result<T, StoreError>>> + Send + 'static,
{
    let places = Arc::new(Semaphore::new(statements as usize));
    // The place comes first: calls that arrive while all places are taken share the next statement.
    while let Ok(place) = Arc::clone(&places).acquire_owned().await {
        let mut together = Vec::new();
        if waiting.recv_many(&mut together, MOST_TOGETHER).await == 0 {
            break;
        }
        let carry_out = Arc::clone(&carry_out);
        tokio::spawn(async move {
            let (questions, answers): (Vec<Q>, Vec<Answer<T>>) = together.into_iter().unzip();
            let outcomes = carry_out(questions).await;
            for (answer, outcome) in answers.into_iter().zip(outcomes) {
                // Nobody may be waiting any more.
                let _ = answer.send(outcome);
            }
            drop(place);
        });
    }
    // All places are free when all statements are answered.
    let _ = places.acquire_many(statements).await;
}

/// One outcome for all: the statement that carried them failed.
pub fn all_failed<T>(count: usize, error: &StoreError) -> Vec<Result<T, StoreError>> {
    (0..count).map(|_| Err(repeated(error))).collect()
}

/// The same error once more. Its cause goes with it as text.
fn repeated(error: &StoreError) -> StoreError {
    match error {
        StoreError::Conflict(unique) => StoreError::Conflict(*unique),
        StoreError::Sealed => StoreError::Sealed,
        StoreError::Unavailable(cause) => StoreError::Unavailable(cause.to_string().into()),
        StoreError::Corrupt(cause) => StoreError::Corrupt(cause.to_string().into()),
    }
}

/// An error with a cause of our own.
pub fn unavailable(cause: &'static str) -> StoreError {
    StoreError::Unavailable(cause.into())
}
