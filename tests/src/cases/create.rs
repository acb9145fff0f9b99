//! Adding records.

use std::slice;
use std::sync::Arc;

use keyward_core::id::WorkspaceId;
use keyward_core::store::{KeyStore, StoreError, Unique};
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use crate::records::{self, Calls as _, Sample, at, list_all, sample, workspace};

pub async fn a_created_record_is_found_by_its_id_and_by_its_digest(store: Arc<dyn KeyStore>) {
    let sample = sample(workspace());
    sample.create(&*store).await;
    assert_is_there(&*store, &sample).await;
}

pub async fn what_was_never_created_is_not_there(store: Arc<dyn KeyStore>) {
    let (here, stranger) = (sample(workspace()), sample(workspace()));
    here.create(&*store).await;
    assert_eq!(store.get(here.key.workspace_id, stranger.key.id).await.unwrap(), None);
    assert_eq!(store.find(&stranger.digest).await.unwrap(), None);
}

pub async fn an_answered_create_is_seen_at_once_while_others_write(store: Arc<dyn KeyStore>) {
    let workspace = workspace();
    let mut writers = JoinSet::new();
    for _ in 0..8 {
        let store = Arc::clone(&store);
        writers.spawn(async move {
            for sample in records::samples(workspace, 25) {
                sample.create(&*store).await;
                assert_is_there(&*store, &sample).await;
            }
        });
    }
    writers.join_all().await;
    assert_eq!(list_all(&*store, workspace, 64).await.len(), 200);
}

pub async fn a_taken_id_is_refused_and_changes_nothing(store: Arc<dyn KeyStore>) {
    let first = sample(workspace());
    first.create(&*store).await;
    for workspace in [first.key.workspace_id, workspace()] {
        let mut second = records::sample_at(workspace, at(records::MORNING + 1));
        second.key.id = first.key.id;
        assert_conflict(&*store, &second, Unique::Id).await;
        assert_eq!(store.find(&second.digest).await.unwrap(), None);
        assert_only(&*store, &first, workspace).await;
    }
}

pub async fn a_taken_digest_is_refused_and_changes_nothing(store: Arc<dyn KeyStore>) {
    let first = sample(workspace());
    first.create(&*store).await;
    for workspace in [first.key.workspace_id, workspace()] {
        let mut second = records::sample_at(workspace, at(records::MORNING + 1));
        second.digest = first.digest;
        assert_conflict(&*store, &second, Unique::Digest).await;
        assert_eq!(store.get(workspace, second.key.id).await.unwrap(), None);
        assert_only(&*store, &first, workspace).await;
    }
}

pub async fn a_revoked_record_keeps_its_id_and_its_digest(store: Arc<dyn KeyStore>) {
    let first = sample(workspace());
    first.create(&*store).await;
    let (workspace, time) = (first.key.workspace_id, at(records::MORNING + 5));
    store.revoke(workspace, first.key.id, time).await.unwrap().expect("it is there");

    let mut same_id = sample(workspace);
    same_id.key.id = first.key.id;
    assert_conflict(&*store, &same_id, Unique::Id).await;
    let mut same_digest = sample(workspace);
    same_digest.digest = first.digest;
    assert_conflict(&*store, &same_digest, Unique::Digest).await;
}

pub async fn racing_creates_of_one_digest_have_one_winner(store: Arc<dyn KeyStore>) {
    for _ in 0..20 {
        let digest = sample(workspace()).digest;
        let rivals: Vec<Sample> =
            (0..12).map(|_| Sample { digest, ..sample(workspace()) }).collect();
        let winner = race(&store, &rivals, Unique::Digest).await;
        assert_eq!(store.find(&digest).await.unwrap(), Some(winner.key.clone()));
        for rival in &rivals {
            let (workspace, id) = (rival.key.workspace_id, rival.key.id);
            let is_winner = id == winner.key.id;
            assert_eq!(store.get(workspace, id).await.unwrap().is_some(), is_winner);
            assert_eq!(list_all(&*store, workspace, 8).await.len(), usize::from(is_winner));
        }
    }
}

pub async fn racing_creates_of_one_id_have_one_winner(store: Arc<dyn KeyStore>) {
    for _ in 0..20 {
        let (workspace, model) = (workspace(), sample(workspace()));
        let rivals: Vec<Sample> = (0..12)
            .map(|n| {
                let mut rival = records::sample_at(workspace, at(records::MORNING + n));
                rival.key.id = model.key.id;
                rival
            })
            .collect();
        let winner = race(&store, &rivals, Unique::Id).await;
        assert_eq!(list_all(&*store, workspace, 8).await, slice::from_ref(&winner.key));
        for rival in &rivals {
            let found = store.find(&rival.digest).await.unwrap();
            assert_eq!(found.is_some(), rival.digest == winner.digest);
        }
    }
}

/// Creates all `rivals` at the same time and returns the one that was taken.
async fn race(store: &Arc<dyn KeyStore>, rivals: &[Sample], shared: Unique) -> Sample {
    let start = Arc::new(Barrier::new(rivals.len()));
    let mut race = JoinSet::new();
    for rival in rivals.iter().cloned() {
        let (store, start) = (Arc::clone(store), Arc::clone(&start));
        race.spawn(async move {
            start.wait().await;
            (store.create(&rival.key, &rival.digest).await, rival)
        });
    }
    let mut winners = Vec::new();
    for (outcome, rival) in race.join_all().await {
        match outcome {
            Ok(()) => winners.push(rival),
            Err(StoreError::Conflict(unique)) => assert_eq!(unique, shared),
            Err(other) => panic!("{other:?}"),
        }
    }
    assert_eq!(winners.len(), 1, "of the rivals one wins");
    winners.remove(0)
}

async fn assert_is_there(store: &dyn KeyStore, sample: &Sample) {
    let workspace = sample.key.workspace_id;
    assert_eq!(store.get(workspace, sample.key.id).await.unwrap(), Some(sample.stored()));
    assert_eq!(store.find(&sample.digest).await.unwrap().as_ref(), Some(&sample.key));
    assert!(list_all(store, workspace, 64).await.contains(&sample.key));
}

async fn assert_conflict(store: &dyn KeyStore, sample: &Sample, shared: Unique) {
    match store.create(&sample.key, &sample.digest).await {
        Err(StoreError::Conflict(unique)) => assert_eq!(unique, shared),
        other => panic!("expected a conflict of the {shared}, got {other:?}"),
    }
}

/// `first` is as it was, and nothing else came to its workspace or to `other`.
async fn assert_only(store: &dyn KeyStore, first: &Sample, other: WorkspaceId) {
    assert_is_there(store, first).await;
    let own = first.key.workspace_id;
    assert_eq!(list_all(store, own, 8).await, slice::from_ref(&first.key));
    if other != own {
        assert_eq!(list_all(store, other, 8).await, []);
    }
}
