//! What outlives a store.

use std::sync::Arc;

use keyward_core::key::Status;
use keyward_core::store::{KeyStore, StoreError, Unique};
use tokio::task::JoinSet;

use crate::drivers::Driver;
use crate::records::{
    Calls as _, MORNING, Sample, at, create_all, in_list_order, list_all, sample, samples,
    scan_all, workspace,
};

pub async fn reopening_keeps_everything(driver: impl Driver) {
    let (ours, theirs) = (workspace(), workspace());
    let store = driver.open().await;
    let mut samples = samples(ours, 50);
    samples[7].key.named_scopes = Some("a b".split(' ').map(|s| s.parse().unwrap()).collect());
    create_all(&store, &samples).await;
    create_all(&store, &[sample(theirs)]).await;
    for sample in samples.iter_mut().step_by(3) {
        let revoked = store.revoke(ours, sample.key.id, at(MORNING + 99_000_001)).await.unwrap();
        sample.key = revoked.expect("it is there");
    }
    let before = list_all(&*store, ours, 7).await;
    assert_eq!(before, in_list_order(&samples));

    let store = reopen(&driver, store).await;
    assert_eq!(list_all(&*store, ours, 7).await, before);
    assert_eq!(list_all(&*store, theirs, 7).await.len(), 1);
    for sample in &samples {
        assert_eq!(store.get(ours, sample.key.id).await.unwrap(), Some(sample.stored()));
        assert_eq!(store.find(&sample.digest).await.unwrap().as_ref(), Some(&sample.key));
    }
}

pub async fn reopening_keeps_what_is_taken(driver: impl Driver) {
    let first = sample(workspace());
    let store = driver.open().await;
    first.create(&*store).await;

    let store = reopen(&driver, store).await;
    let same_digest = Sample { digest: first.digest, ..sample(workspace()) };
    let mut same_id = sample(workspace());
    same_id.key.id = first.key.id;
    for (second, shared) in [(same_digest, Unique::Digest), (same_id, Unique::Id)] {
        let outcome = store.create(&second.key, &second.digest).await;
        let Err(StoreError::Conflict(unique)) = outcome else { panic!("{outcome:?}") };
        assert_eq!(unique, shared);
    }
    assert_eq!(store.find(&first.digest).await.unwrap(), Some(first.key));
}

pub async fn a_revoked_record_stays_revoked_over_many_reopenings(driver: impl Driver) {
    let sample = sample(workspace());
    let (workspace, id) = (sample.key.workspace_id, sample.key.id);
    let mut store = driver.open().await;
    sample.create(&*store).await;
    let revoked = store.revoke(workspace, id, at(MORNING + 1)).await.unwrap();
    for later in 2..8 {
        store = reopen(&driver, store).await;
        assert_eq!(store.find(&sample.digest).await.unwrap(), revoked);
        assert_eq!(list_all(&*store, workspace, 8).await.first(), revoked.as_ref());
        let again = store.revoke(workspace, id, at(MORNING + later)).await.unwrap();
        assert_eq!(again, revoked, "the first time stays");
    }
}

/// Changes race the closing of the store: each that was answered `Ok` is there afterwards.
pub async fn what_was_answered_before_closing_is_kept(driver: impl Driver) {
    let store = driver.open().await;
    let mut writers = JoinSet::new();
    for _ in 0..8 {
        let store = Arc::clone(&store);
        writers.spawn(async move {
            let mut answered = Vec::new();
            loop {
                let sample = sample(workspace());
                let (workspace, id) = (sample.key.workspace_id, sample.key.id);
                if store.create(&sample.key, &sample.digest).await.is_err() {
                    return answered;
                }
                let revoked = store.revoke(workspace, id, at(MORNING)).await.is_ok();
                answered.push((sample, revoked));
            }
        });
    }
    // Something is to be under way when the store is closed.
    sample(workspace()).create(&*store).await;
    store.close().await.unwrap();
    let answered = writers.join_all().await.concat();
    drop(store);

    let store = driver.open().await;
    for (sample, revoked) in answered {
        let found = store.find(&sample.digest).await.unwrap().expect("it was answered");
        assert!(!revoked || found.status == Status::Revoked, "the revocation was answered");
        let stored = store.get(sample.key.workspace_id, sample.key.id).await.unwrap();
        assert_eq!(stored.map(|stored| stored.key), Some(found));
    }
}

pub async fn reopening_keeps_what_was_imported(driver: impl Driver) {
    let (ours, theirs) = (samples(workspace(), 20), samples(workspace(), 20));
    let store = driver.open().await;
    create_all(&store, &ours).await;
    let mut records: Vec<_> = ours.iter().chain(&theirs).map(Sample::stored).collect();
    for stored in records.iter_mut().step_by(3) {
        stored.key.revoke(at(MORNING + 99_000_001));
    }
    let imported = store.import(&records).await.unwrap();
    assert_eq!((imported.added, imported.changed, imported.unchanged), (20, 7, 13));

    let store = reopen(&driver, store).await;
    for stored in &records {
        let found = store.get(stored.key.workspace_id, stored.key.id).await.unwrap();
        assert_eq!(found.as_ref(), Some(stored));
    }
    records.sort_by_key(|stored| stored.key.id);
    assert_eq!(scan_all(&*store, 7).await, records);
    assert_eq!(store.import(&records).await.unwrap().unchanged, 40);
}

pub async fn reopening_keeps_the_seal(driver: impl Driver) {
    let (first, second) = (sample(workspace()), sample(workspace()));
    let store = driver.open().await;
    first.create(&*store).await;
    store.seal(true).await.unwrap();

    let store = reopen(&driver, store).await;
    store.ready().await.unwrap();
    let outcome = store.create(&second.key, &second.digest).await;
    assert!(matches!(outcome, Err(StoreError::Sealed)), "{outcome:?}");
    assert_eq!(scan_all(&*store, 10).await, [first.stored()]);
    store.seal(false).await.unwrap();

    let store = reopen(&driver, store).await;
    second.create(&*store).await;
}

async fn reopen(driver: &impl Driver, store: Arc<dyn KeyStore>) -> Arc<dyn KeyStore> {
    store.close().await.expect("the store closes");
    drop(store);
    driver.open().await
}
