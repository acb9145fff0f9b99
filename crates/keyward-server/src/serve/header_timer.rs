//! The timer behind the deadline for headers.
//!
//! The connection sets that deadline when it begins to wait for a request and clears it when the headers
//! are there: twice for each request. A timer of the runtime's costs an entry in a queue each time, under
//! a lock that all threads share. So here each connection has one alarm, which is left to ring. When it
//! rings, it is looked whether the deadline that counts by now is over; most often it has moved, and the
//! alarm is set anew.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper::rt;
use tokio::task::unconstrained;
use tokio::time::{self, Sleep};

/// The timer of one connection, for whatever task polls it.
#[derive(Default)]
pub struct HeaderTimer {
    alarm: Arc<Mutex<Option<Pin<Box<Sleep>>>>>,
}

impl rt::Timer for HeaderTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn rt::Sleep>> {
        self.sleep_until(self.now() + duration)
    }

    fn now(&self) -> Instant {
        time::Instant::now().into_std()
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn rt::Sleep>> {
        Box::pin(Deadline { alarm: Arc::clone(&self.alarm), until: deadline.into() })
    }
}

/// One wait. Only the latest one of a connection is waited for.
struct Deadline {
    alarm: Arc<Mutex<Option<Pin<Box<Sleep>>>>>,
    until: time::Instant,
}

impl rt::Sleep for Deadline {}

impl Future for Deadline {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let until = self.until;
        // Nothing under this lock panics, and only the connection's own task ever takes it.
        let mut alarm = self.alarm.lock().unwrap_or_else(PoisonError::into_inner);
        let alarm = alarm.get_or_insert_with(|| Box::pin(time::sleep_until(until)));
        if alarm.deadline() < until && !alarm.is_elapsed() {
            // An earlier wait has had it polled, by this task. It rings too early, which wakes the
            // connection, which comes here again.
            return Poll::Pending;
        }
        if alarm.deadline() != until {
            alarm.as_mut().reset(until);
        }
        // Outside the task's budget: where that is spent, a poll says that it is pending and has not
        // set the alarm.
        pin!(unconstrained(alarm.as_mut())).poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use hyper::rt::Timer as _;

    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(10);

    /// Begins to wait, as a connection does, and gives it up, as it does when the headers are there.
    async fn begin_and_leave(timer: &HeaderTimer) {
        let mut wait = timer.sleep(TIMEOUT);
        assert!(poll_fn(|cx| Poll::Ready(wait.as_mut().poll(cx))).await.is_pending());
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_ends_at_its_deadline() {
        let (timer, begun) = (HeaderTimer::default(), time::Instant::now());
        timer.sleep(TIMEOUT).await;
        assert_eq!(begun.elapsed(), TIMEOUT);
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_that_follows_one_that_was_left_ends_at_its_own_deadline() {
        let (timer, begun) = (HeaderTimer::default(), time::Instant::now());
        for _ in 0..3 {
            begin_and_leave(&timer).await;
            time::advance(Duration::from_secs(4)).await;
        }
        // The alarm rings 10 s after the beginning, and must not end this.
        timer.sleep(TIMEOUT).await;
        assert_eq!(begun.elapsed().as_secs(), 3 * 4 + 10);
    }

    #[tokio::test(start_paused = true)]
    async fn a_shorter_wait_is_not_late() {
        let (timer, begun) = (HeaderTimer::default(), time::Instant::now());
        begin_and_leave(&timer).await;
        timer.sleep(Duration::from_secs(1)).await;
        assert_eq!(begun.elapsed().as_secs(), 1);
    }
}
