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
use tokio::time::timeout;

use crate::error::{TOO_LATE, unavailable};

/// Calls that one statement answers at most.
const MOST_TOGETHER: usize = 1_000;
/// Calls that may wait in a lane.
const QUEUE_LEN: usize = 4_096;

/// Where the outcome of a call is awaited.
type Answer<T> = oneshot::Sender<Result<T, StoreError>>;

/// A call and where its outcome goes.
type Waiting<Q, T> = (Q, Answer<T>);

/// The way in. The lane ends when the last of these is gone.
#[derive(Debug)]
pub struct Lane<Q, T> {
    queue: mpsc::Sender<Waiting<Q, T>>,
    patience: Duration,
}

impl<Q, T> Clone for Lane<Q, T> {
    fn clone(&self) -> Self {
        Self { queue: self.queue.clone(), patience: self.patience }
    }
}

impl<Q, T> Lane<Q, T>
where
    Q: Send + Sync + 'static,
    T: Send + 'static,
{
    /// Starts a lane with at most `statements` under way at once, in which no call waits longer than
    /// `patience`. `carry_out` is given calls and must return as many outcomes, in the same order.
    /// The task ends with the lane, when all that was sent is answered.
    pub fn start<F, W>(statements: u32, patience: Duration, carry_out: F) -> (Self, JoinHandle<()>)
    where
        F: Fn(Vec<Q>) -> W + Send + Sync + 'static,
        W: Future<Output = Vec<Result<T, StoreError>>> + Send + 'static,
    {
        let (queue, waiting) = mpsc::channel(QUEUE_LEN);
        let ended = tokio::spawn(gather(waiting, statements, Arc::new(carry_out)));
        (Self { queue, patience }, ended)
    }

    /// Sends a call and waits for its outcome. Once its statement is sent, it does not matter to the
    /// call whether the caller goes on waiting.
    pub async fn call(&self, question: Q) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        let outcome = async {
            // The call that could not be queued comes back in the error, and may hold a digest.
            let queued = self.queue.send((question, answer)).await;
            queued.map_err(|_| unavailable("the lane has ended"))?;
            answered.await.map_err(|_| unavailable("the call was given up"))?
        };
        timeout(self.patience, outcome).await.unwrap_or_else(|_| Err(unavailable(TOO_LATE)))
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
        // Those whose callers have given up would only make the others wait.
        together.retain(|(_, answer)| !answer.is_closed());
        if together.is_empty() {
            continue;
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

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    const PATIENCE: Duration = Duration::from_mins(1);

    /// A lane whose statements wait for leave, and answer ten times what they are asked.
    struct Bench {
        lane: Lane<u32, u32>,
        ended: JoinHandle<()>,
        statements: Arc<Mutex<Vec<Vec<u32>>>>,
        begun: Arc<Semaphore>,
        leave: Arc<Semaphore>,
    }

    impl Bench {
        fn new(statements_at_once: u32, patience: Duration) -> Self {
            let statements: Arc<Mutex<Vec<Vec<u32>>>> = Arc::default();
            let (begun, leave) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
            let inside = (Arc::clone(&statements), Arc::clone(&begun), Arc::clone(&leave));
            let (lane, ended) =
                Lane::start(statements_at_once, patience, move |asked: Vec<u32>| {
                    let (statements, begun, leave) = inside.clone();
                    async move {
                        statements.lock().unwrap().push(asked.clone());
                        begun.add_permits(1);
                        leave.acquire().await.unwrap().forget();
                        asked.into_iter().map(|n| Ok(10 * n)).collect()
                    }
                });
            Self { lane, ended, statements, begun, leave }
        }

        /// Makes a call in a task of its own.
        fn call(&self, question: u32) -> JoinHandle<Result<u32, StoreError>> {
            let lane = self.lane.clone();
            tokio::spawn(async move { lane.call(question).await })
        }

        /// Waits until a further statement is under way.
        async fn begun(&self) {
            self.begun.acquire().await.unwrap().forget();
        }

        /// Makes calls that wait behind a statement which is under way.
        async fn queue(
            &self,
            questions: std::ops::Range<u32>,
        ) -> Vec<JoinHandle<Result<u32, StoreError>>> {
            let before = self.lane.queue.capacity();
            let calls: Vec<_> = questions.map(|n| self.call(n)).collect();
            while before - self.lane.queue.capacity() < calls.len() {
                tokio::task::yield_now().await;
            }
            calls
        }

        fn statements(&self) -> Vec<Vec<u32>> {
            self.statements.lock().unwrap().clone()
        }
    }

    #[tokio::test]
    async fn calls_that_wait_together_share_a_statement_and_get_their_own_outcomes() {
        let bench = Bench::new(1, PATIENCE);
        let first = bench.call(0);
        bench.begun().await;
        let others = bench.queue(1..101).await;
        bench.leave.add_permits(2);
        assert_eq!(first.await.unwrap().unwrap(), 0);
        for (n, call) in (1..).zip(others) {
            assert_eq!(call.await.unwrap().unwrap(), 10 * n);
        }
        assert_eq!(bench.statements(), [vec![0], (1..101).collect::<Vec<_>>()]);
    }

    #[tokio::test]
    async fn a_statement_that_is_slow_does_not_stop_the_other_places() {
        let bench = Bench::new(2, PATIENCE);
        let slow = bench.call(1);
        bench.begun().await;
        let quick = bench.call(2);
        bench.begun().await;
        let third = bench.queue(3..4).await;
        bench.leave.add_permits(3);
        for call in [slow, quick].into_iter().chain(third) {
            call.await.unwrap().unwrap();
        }
        assert_eq!(bench.statements(), [[1], [2], [3]]);
    }

    #[tokio::test]
    async fn no_statement_carries_more_than_its_share() {
        let bench = Bench::new(1, PATIENCE);
        let first = bench.call(0);
        bench.begun().await;
        let others = bench.queue(0..2_500).await;
        bench.leave.add_permits(4);
        for call in others.into_iter().chain([first]) {
            call.await.unwrap().unwrap();
        }
        let sizes: Vec<usize> = bench.statements().iter().map(Vec::len).collect();
        assert_eq!(sizes, [1, MOST_TOGETHER, MOST_TOGETHER, 500]);
    }

    #[tokio::test]
    async fn a_full_queue_and_a_statement_without_end_are_told_in_time() {
        let bench = Bench::new(1, Duration::from_millis(20));
        let calls: Vec<_> =
            (0..2 + u32::try_from(QUEUE_LEN).unwrap()).map(|n| bench.call(n)).collect();
        for call in calls {
            assert!(matches!(call.await.unwrap(), Err(StoreError::Unavailable(_))));
        }
    }

    #[tokio::test]
    async fn a_call_whose_caller_left_before_it_was_sent_is_not_made() {
        let bench = Bench::new(1, PATIENCE);
        let first = bench.call(0);
        bench.begun().await;
        let mut others = bench.queue(1..4).await;
        let left = others.remove(1);
        left.abort();
        assert!(left.await.unwrap_err().is_cancelled());
        bench.leave.add_permits(2);
        for call in others.into_iter().chain([first]) {
            call.await.unwrap().unwrap();
        }
        assert_eq!(bench.statements(), [vec![0], vec![1, 3]]);
    }

    #[tokio::test]
    async fn closing_waits_for_what_was_sent_though_its_caller_left() {
        let bench = Bench::new(1, PATIENCE);
        let left = bench.call(0);
        bench.begun().await;
        left.abort();
        let Bench { lane, ended, leave, .. } = bench;
        drop(lane);
        tokio::task::yield_now().await;
        assert!(!ended.is_finished(), "the statement is under way");
        leave.add_permits(1);
        ended.await.unwrap();
    }

    #[tokio::test]
    async fn a_statement_that_panics_fails_its_calls_and_no_others() {
        let (lane, _) = Lane::start(1, PATIENCE, |asked: Vec<bool>| async move {
            assert!(!asked.contains(&true), "as the test wants it");
            asked.iter().map(|_| Ok(())).collect()
        });
        assert!(matches!(lane.call(true).await, Err(StoreError::Unavailable(_))));
        lane.call(false).await.unwrap();
    }
}
