//! A store that was left, or is being left, for another.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use keyward_core::store::{KeyStore, StoreError};
use tokio::task::JoinSet;

use crate::records::{
    Calls as _, MORNING, Sample, at, create_all, id, in_list_order, list_all, sample, samples,
    scan_all, workspace,
};
use crate::wait::eventually;

/// Writers that race a seal.
const WRITERS: usize = 12;

pub async fn a_sealed_store_takes_no_change(store: Arc<dyn KeyStore>) {
    let known = samples(workspace(), 5);
    create_all(&store, &known).await;
    let before = scan_all(&*store, 10).await;
    store.seal(true).await.unwrap();
    let mut revoked = known[1].stored();
    revoked.key.revoke(at(MORNING));
    for _ in 0..2 {
        assert_takes_no_change(&store, &known[0]).await;
        for records in
            [&[][..], &[known[0].stored()], &[sample(workspace()).stored(), revoked.clone()]]
        {
            assert_sealed("import", &store.import(records).await);
        }
        assert_eq!(scan_all(&*store, 10).await, before);
    }
}

pub async fn a_sealed_store_is_read_as_before(store: Arc<dyn KeyStore>) {
    let workspace = workspace();
    let known = samples(workspace, 5);
    create_all(&store, &known).await;
    let scanned = scan_all(&*store, 2).await;
    store.seal(true).await.unwrap();
    store.ready().await.unwrap();
    for sample in &known {
        let stored = store.get(workspace, sample.key.id).await.unwrap();
        assert_eq!(stored, Some(sample.stored()));
        assert_eq!(store.find(&sample.digest).await.unwrap().as_ref(), Some(&sample.key));
    }
    assert_eq!(store.get(crate::records::workspace(), known[0].key.id).await.unwrap(), None);
    assert_eq!(list_all(&*store, workspace, 2).await, in_list_order(&known));
    assert_eq!(scan_all(&*store, 2).await, scanned);
}

pub async fn an_unsealed_store_takes_changes_again(store: Arc<dyn KeyStore>) {
    let known = sample(workspace());
    known.create(&*store).await;
    for _ in 0..3 {
        store.seal(true).await.unwrap();
        assert_takes_no_change(&store, &known).await;
        store.seal(false).await.unwrap();
        assert_takes_changes(&store).await;
    }
}

pub async fn sealing_twice_and_unsealing_twice_do_nothing_more(store: Arc<dyn KeyStore>) {
    let known = sample(workspace());
    known.create(&*store).await;
    store.seal(false).await.unwrap();
    assert_takes_changes(&store).await;
    for _ in 0..2 {
        store.seal(true).await.unwrap();
    }
    assert_takes_no_change(&store, &known).await;
    for _ in 0..2 {
        store.seal(false).await.unwrap();
    }
    assert_takes_changes(&store).await;
}

pub async fn revoking_what_is_not_there_gives_nothing_or_that_it_is_sealed(
    store: Arc<dyn KeyStore>,
) {
    let known = sample(workspace());
    known.create(&*store).await;
    store.seal(true).await.unwrap();
    for (workspace, id) in [(workspace(), known.key.id), (known.key.workspace_id, id(404))] {
        let outcome = store.revoke(workspace, id, at(MORNING)).await;
        assert!(matches!(outcome, Ok(None) | Err(StoreError::Sealed)), "{outcome:?}");
    }
}

/// Whoever creates, revokes or imports while the store is sealed is answered that it was done, and
/// then it was done before, or that it was not done, and then it never will be.
pub async fn nothing_changes_after_sealing_was_answered(store: Arc<dyn KeyStore>) {
    for _ in 0..5 {
        let made = Arc::new(AtomicUsize::new(0));
        let mut writers = JoinSet::new();
        for n in 0..WRITERS {
            let (store, made) = (Arc::clone(&store), Arc::clone(&made));
            writers.spawn(async move { write_until_sealed(&*store, n, &made).await });
        }
        eventually("writers are at work", async || made.load(Ordering::SeqCst) > WRITERS).await;
        store.seal(true).await.unwrap();
        let sealed = scan_all(&*store, 500).await;
        let answered = writers.join_all().await.concat();
        assert_eq!(scan_all(&*store, 500).await, sealed, "a change came after the seal");
        for sample in answered {
            assert!(sealed.contains(&sample.stored()), "an answered change is missing");
        }
        store.seal(false).await.unwrap();
    }
}

/// Every second writer creates and revokes, the others import. Returns what was answered.
async fn write_until_sealed(store: &dyn KeyStore, n: usize, made: &AtomicUsize) -> Vec<Sample> {
    let mut answered = Vec::new();
    loop {
        let mut sample = sample(workspace());
        let outcome = if n.is_multiple_of(2) {
            store.create(&sample.key, &sample.digest).await
        } else {
            store.import(&[sample.stored()]).await.map(drop)
        };
        if outcome.is_err() {
            assert_sealed("a change", &outcome);
            return answered;
        }
        made.fetch_add(1, Ordering::SeqCst);
        // A store in memory never has its caller wait, and nobody else would come to do anything.
        tokio::task::yield_now().await;
        let revoked = store.revoke(sample.key.workspace_id, sample.key.id, at(MORNING)).await;
        if let Ok(revoked) = &revoked {
            sample.key = revoked.clone().expect("it was made");
        }
        answered.push(sample);
        if revoked.is_err() {
            assert_sealed("revoke", &revoked);
            return answered;
        }
    }
}

/// The store refuses to create another record and to revoke `known`.
async fn assert_takes_no_change(store: &Arc<dyn KeyStore>, known: &Sample) {
    let new = sample(known.key.workspace_id);
    assert_sealed("create", &store.create(&new.key, &new.digest).await);
    assert_eq!(store.find(&new.digest).await.unwrap(), None);
    let outcome = store.revoke(known.key.workspace_id, known.key.id, at(MORNING)).await;
    assert_sealed("revoke", &outcome);
    assert_eq!(store.find(&known.digest).await.unwrap().as_ref(), Some(&known.key));
}

async fn assert_takes_changes(store: &Arc<dyn KeyStore>) {
    let (new, imported) = (sample(workspace()), sample(workspace()));
    new.create(&**store).await;
    assert_eq!(store.import(&[imported.stored()]).await.unwrap().added, 1);
    for sample in [new, imported] {
        let revoked = store.revoke(sample.key.workspace_id, sample.key.id, at(MORNING)).await;
        assert_eq!(store.find(&sample.digest).await.unwrap(), revoked.unwrap());
    }
}

fn assert_sealed<T: std::fmt::Debug>(call: &str, outcome: &Result<T, StoreError>) {
    assert!(matches!(outcome, Err(StoreError::Sealed)), "{call}: {outcome:?}");
}
