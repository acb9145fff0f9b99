//! The threads that meet in the cell of remembered records and at the proof beside it, in every order
//! in which they can.

use std::time::Duration;

use keyward_core::clock::{Reading, Timer as _, Timestamp};
use keyward_core::store::{News, Poll, Windows};
use keyward_test_interleaving::cache::RecordCache;
use keyward_test_interleaving::freshness::{Follower, Freshness};
use keyward_test_interleaving::proof::Proof;
use keyward_test_interleaving::sync::{Arc, AtomicBool, Ordering};
use keyward_test_interleaving::world::{
    Found, Looks, OneKey, accepts, digest, every_interleaving, miss, random_interleavings,
};
use shuttle::future::block_on;
use shuttle::thread;

/// Records for which a cell has one shard, and for which it has all of them.
const SMALL: usize = 8;
const LARGE: usize = 4096;

const NO_WINDOW: Windows = Windows { node: Duration::ZERO, barrier: Duration::ZERO };

/// What takes a revoked record out of the cell.
type Eviction = fn(&RecordCache);

const ONE: Eviction = |cell| cell.evict(&digest(0));
const NEIGHBOUR_AND_ONE: Eviction = |cell| {
    cell.evict(&digest(1));
    cell.evict(&digest(0));
};
const ALL: Eviction = RecordCache::evict_all;

/// What a verification does that finds nothing.
type Fill = fn(&RecordCache, &OneKey);

const FILL: Fill = |cell, store| {
    if let Some(ticket) = miss(cell, &digest(0)) {
        cell.fill(&digest(0), &ticket, store.find());
    }
};
/// It must not do this: such a ticket does not say when the read began.
const FILL_WITH_A_LATE_TICKET: Fill = |cell, store| {
    let record = store.find();
    if let Some(ticket) = miss(cell, &digest(0)) {
        cell.fill(&digest(0), &ticket, record);
    }
};

#[test]
fn an_evicted_record_never_comes_back_from_a_read_that_began_before() {
    for (name, eviction) in [("one", ONE), ("a neighbour first", NEIGHBOUR_AND_ONE), ("all", ALL)] {
        let found = every_interleaving(move || revocation_against_reads(SMALL, FILL, eviction));
        tell(&format!("A read against a revocation that evicts {name}"), found);
        assert_eq!(found.broken, 0);
    }
}

#[test]
fn an_evicted_record_never_comes_back_where_all_shards_are_emptied() {
    let found = random_interleavings(5_000, || revocation_against_reads(LARGE, FILL, ALL));
    tell("A read against a revocation that empties 64 shards", found);
    assert_eq!(found.broken, 0);
}

/// The searches above would find it.
#[test]
fn with_a_ticket_drawn_behind_the_read_an_evicted_record_comes_back() {
    let fill = FILL_WITH_A_LATE_TICKET;
    let found = every_interleaving(move || revocation_against_reads(SMALL, fill, ONE));
    tell("A read with a ticket drawn too late against a revocation", found);
    assert_ne!(found.broken, 0);
    let found = random_interleavings(5_000, move || revocation_against_reads(LARGE, fill, ALL));
    tell("A read with a ticket drawn too late against one that empties 64 shards", found);
    assert_ne!(found.broken, 0);
}

/// A read, a revocation that is answered, and a verification that may come later than that. Whether
/// the key is refused by it, and by the next one.
fn revocation_against_reads(entries: usize, fill: Fill, eviction: Eviction) -> bool {
    let cell = Arc::new(RecordCache::new(entries));
    let store = Arc::new(OneKey::default());
    let answered = Arc::new(AtomicBool::new(false));

    let reader = {
        let (cell, store) = (Arc::clone(&cell), Arc::clone(&store));
        thread::spawn(move || fill(&cell, &store))
    };
    let verifier = {
        let (cell, answered) = (Arc::clone(&cell), Arc::clone(&answered));
        thread::spawn(move || answered.load(Ordering::SeqCst) && accepts(&cell, &digest(0)))
    };
    store.revoke();
    eviction(&cell);
    answered.store(true, Ordering::SeqCst);

    let accepted = verifier.join().expect("the verification ends");
    reader.join().expect("the read ends");
    !accepted && !accepts(&cell, &digest(0))
}

/// How a verification answers, by the cell and by whether it is proven: with what was remembered, if
/// it is.
type Verification = fn(&RecordCache, &dyn Fn() -> bool) -> bool;

const PROOF_FIRST: Verification = |cell, is_proven| is_proven() && accepts(cell, &digest(0));
/// It must not do this.
const CELL_FIRST: Verification = |cell, is_proven| accepts(cell, &digest(0)) && is_proven();

#[test]
fn a_verification_that_is_proven_never_sees_what_the_poll_has_evicted() {
    for (name, news) in [("one", changed as fn() -> News), ("all", || News::Anything)] {
        let found = every_interleaving(move || poll_against_verification(news(), PROOF_FIRST));
        tell(&format!("A verification against a poll that evicts {name}"), found);
        assert_eq!(found.broken, 0);
    }
}

/// The search above would find it.
#[test]
fn with_the_cell_read_before_the_proof_a_verification_sees_what_the_poll_has_evicted() {
    let found = every_interleaving(|| poll_against_verification(changed(), CELL_FIRST));
    tell("A verification that reads the cell first against a poll", found);
    assert_ne!(found.broken, 0);
}

fn changed() -> News {
    News::Changed(vec![digest(0)])
}

/// An earlier verification that fills the cell, a poll that brings the revocation, and a verification
/// that relies on that poll. Whether the key is refused by it.
fn poll_against_verification(news: News, verify: Verification) -> bool {
    let cell = Arc::new(RecordCache::new(SMALL));
    let store = OneKey::default();
    // Its read is done, and it has yet to be kept.
    let ticket = miss(&cell, &digest(0)).expect("nothing is remembered");
    let record = store.find();
    store.revoke();

    let freshness = Arc::new(Freshness::new(Arc::new(Looks::default()), Duration::MAX));
    let mut follower = Follower::new(Arc::clone(&freshness), Arc::clone(&cell));
    let arrival = freshness.arrive();
    let due = block_on(follower.due());

    let verifier = {
        let (cell, freshness) = (Arc::clone(&cell), Arc::clone(&freshness));
        thread::spawn(move || verify(&cell, &|| freshness.holds(arrival)))
    };
    let filler = {
        let cell = Arc::clone(&cell);
        thread::spawn(move || cell.fill(&digest(0), &ticket, record))
    };
    follower.apply(due, &Poll { newest: None, news, windows: NO_WINDOW, time: Timestamp::MAX });

    let accepted = verifier.join().expect("the verification ends");
    filler.join().expect("the fill ends");
    !accepted
}

/// The search above would find this too.
#[test]
fn with_the_proof_published_before_the_eviction_a_verification_sees_the_record() {
    let found = every_interleaving(|| {
        let cell = Arc::new(RecordCache::new(SMALL));
        FILL(&cell, &OneKey::default());
        let proof = Arc::new(Proof::default());
        let clock = Looks::default();
        let (arrival, sent) = (clock.read(), clock.read());
        let verifier = {
            let (cell, proof) = (Arc::clone(&cell), Arc::clone(&proof));
            thread::spawn(move || PROOF_FIRST(&cell, &|| proof.holds(arrival)))
        };
        proof.publish(sent, Duration::ZERO);
        cell.evict(&digest(0));
        !verifier.join().expect("the verification ends")
    });
    tell("A verification against a poll that publishes its proof first", found);
    assert_ne!(found.broken, 0);
}

/// By how much the clock on the wall is ahead when the machine was put to sleep for an hour.
const SLEPT: i64 = 3_600_000_000_000;

#[test]
fn a_proof_that_is_half_published_proves_no_more_than_the_polls_that_made_it() {
    let tick = |boot, ahead| Reading { boot, ahead };
    let older = (tick(100, 0), Duration::from_micros(1));
    for newer in [
        (tick(200, 0), Duration::from_micros(1)),
        (tick(200, 0), Duration::ZERO),
        (tick(200, SLEPT), Duration::from_micros(1)),
        (tick(200, SLEPT), Duration::ZERO),
    ] {
        for boot in [150, 200, 300, 1_100, 1_101, 1_200, 1_201] {
            let arrival = tick(boot, newer.0.ahead);
            let found = every_interleaving(move || half_published(older, newer, arrival));
            assert_eq!(found.broken, 0, "{newer:?} {arrival:?}");
        }
    }
}

/// When a poll was sent, and for how long it serves.
type Sent = (Reading, Duration);

/// A proof is published over an older one while a verification looks. Whether what holds for it
/// would by one of the two alone.
fn half_published(older: Sent, newer: Sent, arrival: Reading) -> bool {
    let publish = |proof: &Proof, (sent, window): Sent| proof.publish(sent, window);
    let holds_by = |sent: Sent| {
        let proof = Proof::default();
        publish(&proof, sent);
        proof.holds(arrival)
    };
    let may_hold = holds_by(older) || holds_by(newer);
    let proof = Arc::new(Proof::default());
    publish(&proof, older);
    let verifier = {
        let proof = Arc::clone(&proof);
        thread::spawn(move || proof.holds(arrival))
    };
    publish(&proof, newer);
    let held = verifier.join().expect("the verification ends");
    may_hold || !held
}

#[test]
fn whoever_waits_for_a_proof_is_woken_by_the_next_poll() {
    let found = every_interleaving(|| {
        let cell = Arc::new(RecordCache::new(SMALL));
        let freshness = Arc::new(Freshness::new(Arc::new(Looks::default()), Duration::MAX));
        let mut follower = Follower::new(Arc::clone(&freshness), cell);
        let poll = || Poll {
            newest: None,
            news: News::Anything,
            windows: NO_WINDOW,
            time: Timestamp::MAX,
        };
        // The first poll is always due.
        let due = block_on(follower.due());
        follower.apply(due, &poll());

        let waiter = {
            let freshness = Arc::clone(&freshness);
            thread::spawn(move || block_on(freshness.prove(freshness.arrive())).is_ok())
        };
        let due = block_on(follower.due());
        follower.apply(due, &poll());
        waiter.join().expect("the wait ends")
    });
    tell("A wait for a proof against the follower", found);
    assert_eq!(found.broken, 0);
}

fn tell(what: &str, found: Found) {
    println!("{what}: {} interleavings, {} broken.", found.interleavings, found.broken);
}
