//! Reading all records of all workspaces.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use keyward_core::id::KeyId;
use keyward_core::store::{KeyStore, StoredKey};

use crate::records::{
    Calls as _, MORNING, Sample, at, create_all, id, in_id_order, sample_at, samples, scan_all,
    workspace,
};

pub async fn all_records_of_all_workspaces_are_scanned_by_id(store: Arc<dyn KeyStore>) {
    assert_eq!(store.scan(None, 10).await.unwrap(), []);
    let mut samples = Vec::new();
    for ids in [[1, u128::MAX, 1 << 64], [0, 2, 1 << 127], [3, (1 << 64) - 1, u128::MAX - 1]] {
        let workspace = workspace();
        samples.extend(ids.map(|number| {
            let mut sample = sample_at(workspace, at(MORNING));
            sample.key.id = id(number);
            sample
        }));
    }
    create_all(&store, &samples).await;
    let revoked = &mut samples[4].key;
    *revoked = store.revoke(revoked.workspace_id, revoked.id, at(MORNING)).await.unwrap().unwrap();
    assert_eq!(scan_all(&*store, 100).await, in_id_order(&samples));
}

pub async fn every_page_size_gives_the_same_scan(store: Arc<dyn KeyStore>) {
    let samples = two_workspaces(10);
    create_all(&store, &samples).await;
    let expected = in_id_order(&samples);
    for limit in (1..=22).chain([1000, usize::MAX]) {
        assert_eq!(scan_all(&*store, limit).await, expected, "pages of {limit}");
    }
}

pub async fn a_limit_of_zero_scans_nothing(store: Arc<dyn KeyStore>) {
    let samples = two_workspaces(2);
    create_all(&store, &samples).await;
    assert_eq!(store.scan(None, 0).await.unwrap(), []);
    assert_eq!(store.scan(Some(samples[0].key.id), 0).await.unwrap(), []);
}

pub async fn a_scan_that_ends_with_a_page_ends_there(store: Arc<dyn KeyStore>) {
    create_all(&store, &two_workspaces(5)).await;
    let first = store.scan(None, 5).await.unwrap();
    let second = store.scan(last_id(&first), 5).await.unwrap();
    assert_eq!((first.len(), second.len()), (5, 5));
    assert_eq!(store.scan(last_id(&second), 5).await.unwrap(), []);
}

pub async fn a_scan_may_begin_behind_an_id_that_is_not_there(store: Arc<dyn KeyStore>) {
    let samples = [10, 20, 30].map(|number| {
        let mut sample = sample_at(workspace(), at(MORNING));
        sample.key.id = id(number);
        sample
    });
    create_all(&store, &samples).await;
    let order = in_id_order(&samples);
    for (after, rest) in [
        (0, 0..3),
        (9, 0..3),
        (10, 1..3),
        (11, 1..3),
        (29, 2..3),
        (30, 3..3),
        (1 << 127, 3..3),
        (u128::MAX, 3..3),
    ] {
        let page = store.scan(Some(id(after)), 100).await.unwrap();
        assert_eq!(page, order[rest], "behind {after}");
    }
}

pub async fn a_scan_misses_and_repeats_nothing_while_others_write(store: Arc<dyn KeyStore>) {
    let lasting = two_workspaces(150);
    create_all(&store, &lasting).await;

    let done = Arc::new(AtomicBool::new(false));
    let writer = tokio::spawn({
        let (store, done) = (Arc::clone(&store), Arc::clone(&done));
        async move {
            let workspace = workspace();
            // Ids begin with the time: these fall between, before and behind the lasting ones.
            for moment in (-100..10_000).cycle().step_by(97) {
                if done.load(Ordering::Relaxed) {
                    break;
                }
                let passing = sample_at(workspace, at(MORNING + moment * 100_000));
                passing.create(&*store).await;
                store.revoke(workspace, passing.key.id, at(MORNING)).await.unwrap();
            }
        }
    });
    for limit in [1, 7, 50] {
        let scanned = scan_all(&*store, limit).await;
        assert!(scanned.is_sorted_by_key(|stored| stored.key.id));
        let ids: HashSet<KeyId> = scanned.iter().map(|stored| stored.key.id).collect();
        assert_eq!(ids.len(), scanned.len(), "a record is scanned twice");
        assert!(lasting.iter().all(|sample| ids.contains(&sample.key.id)), "a record is missed");
    }
    done.store(true, Ordering::Relaxed);
    writer.await.unwrap();
}

/// `count` records in each of two workspaces, whose ids alternate.
fn two_workspaces(count: i64) -> Vec<Sample> {
    [samples(workspace(), count), samples(workspace(), count)].concat()
}

fn last_id(page: &[StoredKey]) -> Option<KeyId> {
    page.last().map(|stored| stored.key.id)
}
