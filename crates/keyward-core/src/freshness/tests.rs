use std::task::{Context, Waker};

use super::*;
use crate::cache::Lookup;
use crate::secret::KeyDigest;
use crate::testing::{self, ManualTimer};

const WINDOW: Duration = Duration::from_millis(250);
const PATIENCE: Duration = Duration::from_millis(500);
const MARK: Mark = Mark { epoch: 1, nonce: [1; 16] };

/// A follower with its proof and its cell, and the clock that they go by.
struct Node {
    timer: ManualTimer,
    freshness: Arc<Freshness>,
    cell: Arc<RecordCache>,
    follower: Follower,
}

impl Node {
    fn new() -> Self {
        let timer = ManualTimer::default();
        let freshness = Arc::new(Freshness::new(Arc::new(timer.clone()), PATIENCE));
        let cell = Arc::new(RecordCache::new(100));
        let follower = Follower::new(Arc::clone(&freshness), Arc::clone(&cell));
        Self { timer, freshness, cell, follower }
    }

    /// One whose first poll is sent and applied now.
    fn following(window: Duration) -> Self {
        let mut node = Self::new();
        let due = node.is_due().expect("the first poll is due at once");
        node.follower.apply(due, &news(News::Anything, window));
        node
    }

    fn is_due(&mut self) -> Option<Due> {
        ready(&mut pin!(self.follower.due()))
    }

    /// How long it is until the next poll is due.
    fn pause(&mut self) -> Duration {
        let mut pause = Duration::ZERO;
        while self.is_due().is_none() {
            self.timer.advance(Duration::from_millis(1));
            pause += Duration::from_millis(1);
        }
        pause
    }

    /// A verification that arrives now.
    fn is_fresh(&self) -> bool {
        self.freshness.holds(self.freshness.arrive())
    }

    fn remember(&self, n: u8) {
        let Lookup::Miss(ticket) = self.cell.lookup(&digest(n)) else { panic!("it is there") };
        assert!(self.cell.fill(&digest(n), &ticket, Arc::new(testing::key(1, n.into()))));
    }

    fn remembers(&self, n: u8) -> bool {
        matches!(self.cell.lookup(&digest(n)), Lookup::Hit(..))
    }
}

fn digest(n: u8) -> KeyDigest {
    KeyDigest::from_bytes([n; 32])
}

fn news(news: News, window: Duration) -> Poll {
    let windows = Windows { node: window, barrier: window };
    Poll { newest: Some(MARK), news, windows, time: Timestamp::MAX }
}

fn nothing() -> Poll {
    news(News::Changed(vec![]), WINDOW)
}

/// What a future has come to, if it has.
fn ready<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    match std::pin::Pin::new(future).poll(&mut Context::from_waker(Waker::noop())) {
        Progress::Ready(done) => Some(done),
        Progress::Pending => None,
    }
}

#[test]
fn nobody_is_answered_from_memory_before_the_first_poll_is_applied() {
    let mut node = Node::new();
    assert!(!node.is_fresh());
    assert_eq!(node.freshness.age(), None);
    let due = node.is_due().unwrap();
    assert!(!node.is_fresh());
    assert_eq!(due.after, None);
    node.follower.apply(due, &news(News::Anything, WINDOW));
    assert!(node.is_fresh());
}

#[test]
fn a_poll_serves_from_when_it_was_sent_and_not_from_when_it_came_back() {
    let mut node = Node::new();
    let due = node.is_due().unwrap();
    node.timer.advance(WINDOW);
    node.follower.apply(due, &nothing());
    assert!(node.is_fresh());
    node.timer.advance(Duration::from_nanos(1));
    assert!(!node.is_fresh());
    assert_eq!(node.freshness.age(), Some(WINDOW + Duration::from_nanos(1)));
}

#[test]
fn whoever_finds_no_proof_waits_for_a_poll_that_is_sent_afterwards() {
    let mut node = Node::following(Duration::ZERO);
    node.timer.advance(Duration::from_nanos(1));
    let mut early = pin!(node.freshness.prove(node.freshness.arrive()));
    assert_eq!(ready(&mut early), None);

    let due = ready(&mut pin!(node.follower.due())).expect("somebody waits");
    node.timer.advance(Duration::from_nanos(1));
    let mut late = pin!(node.freshness.prove(node.freshness.arrive()));
    assert_eq!(ready(&mut late), None);
    node.follower.apply(due, &news(News::Changed(vec![]), Duration::ZERO));
    assert_eq!(ready(&mut early), Some(Ok(())));
    assert_eq!(ready(&mut late), None, "that poll was sent before it arrived");

    let due = ready(&mut pin!(node.follower.due())).expect("somebody waits still");
    node.follower.apply(due, &news(News::Changed(vec![]), Duration::ZERO));
    assert_eq!(ready(&mut late), Some(Ok(())));
    assert_eq!(node.freshness.counts().waits, 2);
}

#[test]
fn nobody_waits_longer_than_the_patience() {
    let node = Node::following(WINDOW);
    node.timer.advance(WINDOW * 2);
    let mut waiting = pin!(node.freshness.prove(node.freshness.arrive()));
    for _ in 0..2 {
        assert_eq!(ready(&mut waiting), None);
        node.timer.advance(PATIENCE / 2);
    }
    assert_eq!(ready(&mut waiting), Some(Err(NotFresh)));
}

#[test]
fn what_changed_is_gone_when_the_proof_is_there() {
    let mut node = Node::following(WINDOW);
    node.remember(1);
    node.remember(2);
    node.timer.advance(WINDOW * 2);
    let due = node.is_due();
    assert!(due.is_none(), "nobody has asked");
    assert!(!node.is_fresh());
    let mut waiting = pin!(node.freshness.prove(node.freshness.arrive()));
    assert_eq!(ready(&mut waiting), None);
    let due = ready(&mut pin!(node.follower.due())).unwrap();
    assert_eq!(due.after, Some(MARK));
    node.follower.apply(due, &news(News::Changed(vec![digest(1)]), WINDOW));
    assert_eq!(ready(&mut waiting), Some(Ok(())));
    assert!(!node.remembers(1));
    assert!(node.remembers(2));
}

#[test]
fn a_history_that_is_not_the_known_one_empties_the_cell_and_is_counted() {
    let mut node = Node::following(WINDOW);
    assert_eq!(node.freshness.counts().resets, 0, "the first poll of a node is no loss");
    node.remember(1);
    let Lookup::Miss(under_way) = node.cell.lookup(&digest(2)) else { panic!("it is there") };
    node.timer.advance(IDLE);
    let due = node.is_due().unwrap();
    assert_eq!(node.follower.apply(due, &news(News::Anything, WINDOW)), Applied::Reset);
    assert!(node.cell.is_empty());
    assert!(!node.cell.fill(&digest(2), &under_way, Arc::new(testing::key(1, 2))));
    assert_eq!(node.freshness.counts().resets, 1);
}

#[test]
fn polls_follow_demand() {
    let mut node = Node::following(WINDOW);
    assert_eq!(node.pause(), IDLE, "an idle node");
    node.follower.fail();
    assert_eq!(node.pause(), IDLE, "an idle node without its database");

    let mut node = Node::following(WINDOW);
    assert!(node.is_fresh());
    assert_eq!(node.pause(), WINDOW / 2, "a busy node");
    node.follower.fail();
    assert!(node.is_fresh());
    assert_eq!(node.pause(), RETRY, "a busy node without its database");

    let mut node = Node::following(Duration::ZERO);
    assert!(node.is_fresh(), "the clock stands still");
    assert_eq!(node.pause(), IDLE, "without a window nothing is proven beforehand");
}

#[test]
fn a_failed_poll_proves_nothing_and_takes_no_proof_away() {
    let mut node = Node::following(WINDOW);
    node.timer.advance(WINDOW / 2);
    assert!(node.is_fresh());
    let _sent = node.is_due().unwrap();
    node.follower.fail();
    assert!(node.is_fresh());
    node.timer.advance(WINDOW);
    assert!(!node.is_fresh());
    let Counts { applied, failed, .. } = node.freshness.counts();
    assert_eq!((applied, failed), (1, 1));
}

#[test]
fn a_machine_that_slept_without_knowing_it_asks_again() {
    let mut node = Node::following(WINDOW);
    assert!(node.is_fresh());
    node.timer.advance(Duration::from_nanos(1));
    node.timer.sleep_unnoticed(Duration::from_secs(5));
    assert!(!node.is_fresh());
    let mut waiting = pin!(node.freshness.prove(node.freshness.arrive()));
    assert_eq!(ready(&mut waiting), None);
    let due = ready(&mut pin!(node.follower.due())).expect("somebody waits");
    node.follower.apply(due, &nothing());
    assert_eq!(ready(&mut waiting), Some(Ok(())));
    assert!(node.is_fresh());
}

#[test]
fn a_barrier_outlasts_a_window_on_clocks_that_are_wrong_by_one_in_a_hundred() {
    assert_eq!(barrier(Duration::ZERO), Duration::ZERO);
    for millis in [1, 250, 60_000] {
        let window = Duration::from_millis(millis);
        // A fast clock measures the barrier, a slow one the window.
        let (real_barrier, real_window) = (barrier(window).div_f64(1.01), window.div_f64(0.99));
        assert!(real_barrier > real_window, "{window:?}");
        assert!(barrier(window) < window.mul_f64(1.03) + MARGIN, "{window:?}");
    }
}

/// However the clock of this machine is set, and whatever it is set to meanwhile (V14).
#[test]
fn the_time_of_the_store_goes_on_from_the_newest_poll() {
    let mut node = Node::new();
    assert_eq!(node.freshness.store_time(node.freshness.arrive()), None);
    let due = node.is_due().unwrap();
    // What the store said is taken for what it said when it was asked, so that nothing ends late.
    node.timer.advance(Duration::from_millis(100));
    let said = Timestamp::from_micros(7_000_000).unwrap();
    node.follower.apply(due, &Poll { time: said, ..nothing() });
    let time =
        |node: &Node| node.freshness.store_time(node.freshness.arrive()).unwrap().as_micros();
    assert_eq!(time(&node), 7_100_000);
    node.timer.sleep_unnoticed(Duration::from_hours(1));
    assert_eq!(time(&node), 7_100_000);
    node.timer.advance(Duration::from_millis(50));
    assert_eq!(time(&node), 7_150_000);
}

#[test]
fn while_the_window_is_made_smaller_the_barrier_is_the_longer_one() {
    let mut node = Node::new();
    let due = node.is_due().unwrap();
    let windows = Windows { node: Duration::ZERO, barrier: WINDOW };
    node.follower.apply(due, &Poll { windows, ..nothing() });
    assert_eq!(node.freshness.barrier(), barrier(WINDOW));
    node.timer.advance(Duration::from_nanos(1));
    assert!(!node.is_fresh());
}
