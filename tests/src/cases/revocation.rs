//! The one transition.

use std::sync::Arc;

use keyward_core::details::Details;
use keyward_core::key::{ApiKey, Status};
use keyward_core::store::KeyStore;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use crate::records::{Calls as _, MORNING, Sample, at, id, list_all, sample, samples, workspace};

/// A little after the samples were made.
const NOON: i64 = MORNING + 9_000_000_001;

pub async fn revoking_changes_the_status_and_the_time_and_nothing_else(store: Arc<dyn KeyStore>) {
    let (sample, neighbour) = (sample(workspace()), sample(workspace()));
    sample.create(&*store).await;
    neighbour.create(&*store).await;
    let revoked = revoke(&*store, &sample, NOON).await;
    let details = Details { revocation: Some(at(NOON).into()), ..Details::NONE }.into();
    let expected =
        ApiKey { status: Status::Revoked, updated_at: at(NOON), details, ..sample.key.clone() };
    assert_eq!(revoked, expected);
    assert_all_say(&*store, &sample, &expected).await;
    assert_all_say(&*store, &neighbour, &neighbour.key).await;
}

pub async fn revoking_twice_keeps_the_first_time(store: Arc<dyn KeyStore>) {
    let sample = sample(workspace());
    sample.create(&*store).await;
    let first = revoke(&*store, &sample, NOON).await;
    for later in [NOON + 1, NOON, NOON - 1, 0] {
        assert_eq!(revoke(&*store, &sample, later).await, first);
    }
    assert_all_say(&*store, &sample, &first).await;
}

pub async fn revoking_with_a_clock_set_back_keeps_the_time_of_creation(store: Arc<dyn KeyStore>) {
    for earlier in [MORNING - 1, 0, -1] {
        let sample = sample(workspace());
        sample.create(&*store).await;
        let revoked = revoke(&*store, &sample, earlier).await;
        assert_eq!((revoked.status, revoked.updated_at), (Status::Revoked, at(MORNING)));
        assert_all_say(&*store, &sample, &revoked).await;
    }
}

pub async fn revoking_what_is_not_there_gives_nothing(store: Arc<dyn KeyStore>) {
    let sample = sample(workspace());
    sample.create(&*store).await;
    let outcome = store.revoke(sample.key.workspace_id, id(404), at(NOON)).await.unwrap();
    assert_eq!(outcome, None);
    assert_all_say(&*store, &sample, &sample.key).await;
}

pub async fn racing_revocations_agree_on_one_time(store: Arc<dyn KeyStore>) {
    for _ in 0..20 {
        let sample = sample(workspace());
        sample.create(&*store).await;
        let start = Arc::new(Barrier::new(12));
        let mut race = JoinSet::new();
        for n in 0..12 {
            let (store, sample, start) = (Arc::clone(&store), sample.clone(), Arc::clone(&start));
            race.spawn(async move {
                start.wait().await;
                revoke(&*store, &sample, NOON + n).await
            });
        }
        let answers = race.join_all().await;
        let agreed = answers[0].clone();
        assert!((at(NOON)..at(NOON + 12)).contains(&agreed.updated_at));
        assert!(answers.iter().all(|answer| *answer == agreed), "{answers:?}");
        assert_all_say(&*store, &sample, &agreed).await;
    }
}

pub async fn an_answered_revocation_is_seen_at_once_while_others_write(store: Arc<dyn KeyStore>) {
    let workspace = workspace();
    let mut revokers = JoinSet::new();
    for _ in 0..8 {
        let store = Arc::clone(&store);
        revokers.spawn(async move {
            for sample in samples(workspace, 20) {
                sample.create(&*store).await;
                let revoked = revoke(&*store, &sample, NOON).await;
                assert_all_say(&*store, &sample, &revoked).await;
            }
        });
    }
    revokers.join_all().await;
    let list = list_all(&*store, workspace, 64).await;
    assert_eq!(list.len(), 160);
    assert!(list.iter().all(|key| key.status == Status::Revoked));
}

pub async fn a_revoked_record_stays_revoked(store: Arc<dyn KeyStore>) {
    let sample = sample(workspace());
    sample.create(&*store).await;
    let revoked = revoke(&*store, &sample, NOON).await;
    // Everything that a store can be asked for, in turns.
    for n in 0..20 {
        assert!(store.create(&sample.key, &sample.digest).await.is_err());
        assert_eq!(store.revoke(workspace(), sample.key.id, at(n)).await.unwrap(), None);
        assert_eq!(revoke(&*store, &sample, NOON + n).await, revoked);
        store.ready().await.unwrap();
        assert_all_say(&*store, &sample, &revoked).await;
    }
}

async fn revoke(store: &dyn KeyStore, sample: &Sample, time: i64) -> ApiKey {
    let outcome = store.revoke(sample.key.workspace_id, sample.key.id, at(time)).await;
    outcome.unwrap().expect("the record is there")
}

/// Every way to the record of `sample` shows `expected`.
async fn assert_all_say(store: &dyn KeyStore, sample: &Sample, expected: &ApiKey) {
    let workspace = sample.key.workspace_id;
    let stored = store.get(workspace, sample.key.id).await.unwrap().expect("it is there");
    assert_eq!((&stored.key, stored.digest), (expected, sample.digest));
    assert_eq!(store.find(&sample.digest).await.unwrap().as_ref(), Some(expected));
    assert!(list_all(store, workspace, 64).await.contains(expected));
}
