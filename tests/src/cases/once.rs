//! Requests that are to make one record, however often they are sent.

use std::sync::Arc;

use keyward_core::clock::Timestamp;
use keyward_core::store::{Added, Addition, KeyStore, Once, StoreError};
use tokio::task::JoinSet;

use crate::drivers::Driver;
use crate::records::{
    Calls as _, MORNING, Sample, at, list_all, sample, sample_at, trace, workspace,
};

/// A day, in microseconds.
const DAY: i64 = 24 * 3600 * 1_000_000;

/// A request with this name and content, at that time.
fn once(name: u8, content: u8, now: Timestamp) -> Once {
    let since = at(now.as_micros() - DAY);
    Once { name: [name; 32], content: [content; 32], since }
}

fn addition(sample: &Sample, once: Once) -> Addition {
    let trace = trace(sample.key.created_at);
    Addition { stored: sample.stored(), trace, once: Some(once) }
}

async fn add(store: &dyn KeyStore, sample: &Sample, name: u8, content: u8) -> Added {
    let once = once(name, content, sample.key.created_at);
    store.add(addition(sample, once)).await.unwrap()
}

pub async fn a_request_that_is_sent_again_makes_no_second_record(store: Arc<dyn KeyStore>) {
    let workspace = workspace();
    let (first, second) = (sample(workspace), sample(workspace));
    assert_eq!(add(&*store, &first, 1, 1).await, Added::New);
    let before = Added::Before(Box::new(first.key.clone()));
    assert_eq!(add(&*store, &second, 1, 1).await, before);
    assert_eq!(add(&*store, &first, 1, 1).await, before);
    // Another name is another request.
    assert_eq!(add(&*store, &second, 2, 1).await, Added::New);
    // The record is told as it is by now.
    let revoked = store.revoke(workspace, first.key.id, at(MORNING + 5)).await.unwrap().unwrap();
    assert_eq!(add(&*store, &sample(workspace), 1, 1).await, Added::Before(Box::new(revoked)));
    assert_eq!(list_all(&*store, workspace, 10).await.len(), 2);
    let events = store.audit().events(workspace, None, 10).await.unwrap();
    assert_eq!(events.len(), 3);
}

pub async fn a_name_that_was_given_to_another_request_is_refused(store: Arc<dyn KeyStore>) {
    let workspace = workspace();
    let (first, second) = (sample(workspace), sample(workspace));
    assert_eq!(add(&*store, &first, 1, 1).await, Added::New);
    assert_eq!(add(&*store, &second, 1, 2).await, Added::Other);
    assert_eq!(list_all(&*store, workspace, 10).await, [first.key]);
}

pub async fn racing_requests_of_one_name_make_one_record(store: Arc<dyn KeyStore>) {
    let workspace = workspace();
    let mut racers = JoinSet::new();
    for _ in 0..16 {
        let store = Arc::clone(&store);
        racers.spawn(async move { add(&*store, &sample(workspace), 1, 1).await });
    }
    let outcomes = racers.join_all().await;
    let made = list_all(&*store, workspace, 10).await;
    assert_eq!(made.len(), 1);
    let before = Added::Before(Box::new(made[0].clone()));
    assert_eq!(outcomes.iter().filter(|it| **it == Added::New).count(), 1);
    assert!(outcomes.iter().all(|it| *it == Added::New || *it == before), "{outcomes:?}");
}

pub async fn a_request_is_forgotten_when_its_time_is_over(store: Arc<dyn KeyStore>) {
    let workspace = workspace();
    let at_time = |time| sample_at(workspace, at(MORNING + time));
    for name in 0..12 {
        assert_eq!(add(&*store, &at_time(i64::from(name)), name, 1).await, Added::New);
    }
    // A day to the microsecond is not over.
    assert!(matches!(add(&*store, &at_time(DAY), 0, 1).await, Added::Before(_)));
    assert_eq!(add(&*store, &at_time(DAY), 0, 2).await, Added::Other);
    let later = at_time(DAY + 100);
    assert_eq!(add(&*store, &later, 0, 2).await, Added::New);
    assert_eq!(add(&*store, &at_time(DAY + 101), 0, 2).await, Added::Before(Box::new(later.key)));
    for name in 1..12 {
        assert_eq!(add(&*store, &at_time(DAY + 200), name, 2).await, Added::New, "{name}");
    }
    assert_eq!(list_all(&*store, workspace, 100).await.len(), 24);
}

pub async fn a_request_that_made_nothing_is_not_remembered(store: Arc<dyn KeyStore>) {
    let workspace = workspace();
    let known = sample(workspace);
    known.create(&*store).await;
    let taken = Sample { digest: known.digest, ..sample(workspace) };
    for sample in [&known, &taken] {
        let once = once(1, 1, sample.key.created_at);
        let outcome = store.add(addition(sample, once)).await;
        assert!(matches!(outcome, Err(StoreError::Conflict(_))), "{outcome:?}");
    }
    store.seal(true).await.unwrap();
    let outcome = store.add(addition(&sample(workspace), once(1, 1, at(MORNING)))).await;
    assert!(matches!(outcome, Err(StoreError::Sealed)), "{outcome:?}");
    store.seal(false).await.unwrap();
    assert_eq!(add(&*store, &sample(workspace), 1, 2).await, Added::New);
}

pub async fn reopening_keeps_what_a_request_has_made<D: Driver>(driver: D) {
    let store = driver.open().await;
    let one = sample(workspace());
    assert_eq!(add(&*store, &one, 1, 1).await, Added::New);
    store.close().await.unwrap();
    let store = driver.open().await;
    let again = add(&*store, &sample(one.key.workspace_id), 1, 1).await;
    assert_eq!(again, Added::Before(Box::new(one.key)));
    store.close().await.unwrap();
}
