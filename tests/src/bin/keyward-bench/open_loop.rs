//! A server that is asked at a fixed rate, whatever it answers: the way in which clients that know
//! nothing of each other ask. How long an answer took is counted from the moment at which its request
//! was due, so that a server that stands still is charged with all that could not be asked meanwhile.

use std::rc::Rc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio::sync::Mutex;
use tokio::task::yield_now;

use crate::over_http::{Asking, OverHttp, judge};
use crate::report::Sample;
use crate::side::Side;

/// A load with a rate.
pub struct OpenLoop {
    pub load: OverHttp,
    pub per_second: f64,
}

#[async_trait(?Send)]
impl Side for OpenLoop {
    fn name(&self) -> &'static str {
        self.load.name()
    }

    async fn slice(&mut self, time: Duration) -> anyhow::Result<Sample> {
        let between = Duration::from_secs_f64(1.0 / self.per_second);
        let schedule = Rc::new(Mutex::new(Schedule { next: Instant::now(), between }));
        self.load
            .slice_of(time, move |mut connection, asking| {
                let schedule = Rc::clone(&schedule);
                async move {
                    loop {
                        // Given back before the answer is waited for: others are due meanwhile.
                        let due = schedule.lock().await.due(&asking).await;
                        let (Some(due), Some(request)) = (due, asking.next()) else { break };
                        let answer = connection.ask(request).await?;
                        judge(asking.question, &answer)?;
                        asking.watch.count(due.elapsed(), answer.wire_len);
                    }
                    Ok(())
                }
            })
            .await
    }

    async fn end(self: Box<Self>) -> anyhow::Result<()> {
        Box::new(self.load).end().await
    }
}

/// When requests are due. Whoever holds it waits for the next one; the others wait for him.
struct Schedule {
    next: Instant,
    between: Duration,
}

impl Schedule {
    /// Waits until a request is due, and tells since when; `None` when the slice is over.
    ///
    /// A timer would be a millisecond late. This turns round and round instead, and lets everybody
    /// else have a turn in each.
    async fn due(&mut self, asking: &Asking) -> Option<Instant> {
        while Instant::now() < self.next {
            if asking.watch.is_over() {
                return None;
            }
            yield_now().await;
        }
        let due = self.next;
        self.next += self.between;
        Some(due)
    }
}
