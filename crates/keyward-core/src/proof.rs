//! The proof that what is remembered is up to date.

use std::time::Duration;

use crate::clock::Reading;
use crate::sync::{AtomicI64, AtomicU64, Ordering};

/// Whoever sees the wall clock ahead by this many nanoseconds more or less than at the poll takes it
/// that the other clock stood still meanwhile, as that of a machine can which is put to sleep.
const JUMP: u64 = 100_000_000;

/// When the newest poll was sent whose answer is applied, and until when it serves.
///
/// Three numbers, each of which may be seen before the others. A number is published only when the
/// poll that it comes from is applied; but a later poll may serve for a shorter time, where the
/// window was made smaller. So `ahead`, which says whether `until` counts, is written after it and
/// read before it: nobody sees it beside an older `until`.
#[derive(Debug, Default)]
pub struct Proof {
    sent: AtomicU64,
    until: AtomicU64,
    ahead: AtomicI64,
}

impl Proof {
    /// Makes it known that a poll is applied which was sent at `sent` and serves for `window`.
    ///
    /// What the poll evicts must be evicted before (V2): whoever is proven by it reads the cell next.
    pub fn publish(&self, sent: Reading, window: Duration) {
        let window = u64::try_from(window.as_nanos()).unwrap_or(u64::MAX);
        self.until.store(sent.boot.saturating_add(window), Ordering::Release);
        self.ahead.store(sent.ahead, Ordering::Release);
        self.sent.store(sent.boot, Ordering::Release);
    }

    /// Whether it serves a verification that arrived at `arrival`: the poll was sent no earlier than
    /// a window before, and neither clock jumped in between (V3, V7). Where it was sent after the
    /// arrival, there is no in between.
    pub fn holds(&self, arrival: Reading) -> bool {
        if self.sent.load(Ordering::Acquire) >= arrival.boot {
            return true;
        }
        arrival.ahead.abs_diff(self.ahead.load(Ordering::Acquire)) <= JUMP
            && arrival.boot <= self.until.load(Ordering::Acquire)
    }

    /// When the poll was sent, in nanoseconds of the clock that counts from the start of the machine;
    /// 0 before the first.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_nanos(250);

    fn at(boot: u64) -> Reading {
        Reading { boot, ahead: 7_000_000_000 }
    }

    #[test]
    fn nothing_is_proven_before_the_first_poll() {
        assert!(!Proof::default().holds(at(1)));
    }

    #[test]
    fn a_poll_serves_those_who_arrive_within_its_window_and_no_later_one() {
        let proof = Proof::default();
        proof.publish(at(1_000), WINDOW);
        for (boot, proven) in [(1, true), (1_000, true), (1_250, true), (1_251, false)] {
            assert_eq!(proof.holds(at(boot)), proven, "{boot}");
        }
    }

    #[test]
    fn without_a_window_a_poll_serves_those_who_arrived_before_it_was_sent() {
        let proof = Proof::default();
        proof.publish(at(1_000), Duration::ZERO);
        assert!(proof.holds(at(1_000)));
        assert!(!proof.holds(at(1_001)));
    }

    #[test]
    fn a_window_without_end_is_none() {
        let proof = Proof::default();
        proof.publish(at(1_000), Duration::MAX);
        assert!(proof.holds(at(u64::MAX)));
    }

    #[test]
    fn a_clock_that_stood_still_proves_nothing() {
        let proof = Proof::default();
        proof.publish(at(1_000), WINDOW);
        let jumped = |by: i64| Reading { boot: 1_100, ahead: 7_000_000_000 + by };
        let jump = i64::try_from(JUMP).unwrap();
        assert!(proof.holds(jumped(jump)));
        assert!(proof.holds(jumped(-jump)));
        assert!(!proof.holds(jumped(jump + 1)));
        assert!(!proof.holds(jumped(-jump - 1)));
        // But a poll that was sent afterwards proves what it always does.
        assert!(proof.holds(Reading { boot: 1_000, ahead: 0 }));
    }
}
