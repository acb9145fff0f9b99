//! Many callers at once, callers who go, and closing in the midst of it.

use std::sync::Arc;
use std::task::Poll;

use keyward_core::store::{Filter, KeyStore as _, StoreError};
use keyward_rocksdb::{RocksStore, Settings};
use tokio::task::JoinSet;

use crate::fixture::{Calls as _, Place, at, digest, key, workspace};

#[tokio::test(flavor = "multi_thread")]
async fn racing_revocations_agree_on_one_time() {
    let place = Place::with_keys(1).await;
    let store = Arc::new(place.open());
    let mut racers = JoinSet::new();
    for n in 0..64 {
        let store = Arc::clone(&store);
        racers.spawn(async move { store.revoke(workspace(1), key(1, 0).id, at(10 + n)).await });
    }
    let answers = racers.join_all().await;
    let first = answers[0].as_ref().unwrap().clone();
    assert!(first.is_some());
    assert!(answers.iter().all(|answer| *answer.as_ref().unwrap() == first));
    assert_eq!(store.find(&digest(&key(1, 0))).await.unwrap(), first);
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn of_racing_creations_with_one_digest_one_wins() {
    let place = Place::new();
    let store = Arc::new(place.open());
    let mut racers = JoinSet::new();
    for n in 0..64 {
        let store = Arc::clone(&store);
        racers.spawn(async move { store.create(&key(1, n), &digest(&key(1, 0))).await.is_ok() });
    }
    let winners = racers.join_all().await.into_iter().filter(|won| *won).count();
    assert_eq!(winners, 1);
    assert_eq!(store.list(workspace(1), &Filter::ALL, None, 100).await.unwrap().len(), 1);
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_answered_is_seen_by_every_later_read() {
    let place = Place::new();
    let store = Arc::new(place.open());
    let mut callers = JoinSet::new();
    for caller in 0..16 {
        let store = Arc::clone(&store);
        callers.spawn(async move {
            for n in 0..20 {
                let key = key(caller, n);
                store.create(&key, &digest(&key)).await.unwrap();
                assert_eq!(store.find(&digest(&key)).await.unwrap().as_ref(), Some(&key));
                let revoked = store.revoke(key.workspace_id, key.id, at(99)).await.unwrap();
                assert_eq!(store.find(&digest(&key)).await.unwrap(), revoked);
            }
        });
    }
    callers.join_all().await;
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_change_whose_caller_has_gone_is_made_whole() {
    let place = Place::new();
    let store = place.open();
    let (left, stayed) = (key(1, 1), key(1, 2));
    let left_digest = digest(&left);
    let mut leaving = store.create(&left, &left_digest);
    // Asking the future once queues the change; whether it was made by then does not matter.
    std::future::poll_fn(|context| Poll::Ready(leaving.as_mut().poll(context).is_ready())).await;
    drop(leaving);
    store.create(&stayed, &digest(&stayed)).await.unwrap();
    assert_eq!(store.list(workspace(1), &Filter::ALL, None, 10).await.unwrap(), [stayed, left]);
    store.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_in_the_midst_of_calls_keeps_what_was_answered() {
    let place = Place::new();
    for round in 0..5 {
        let store = Arc::new(place.open());
        let mut callers = JoinSet::new();
        for caller in 0..16 {
            let store = Arc::clone(&store);
            callers.spawn(async move {
                let mut answered = Vec::new();
                for n in 0.. {
                    let key = key(1 + round, (caller << 32) | n);
                    match store.create(&key, &digest(&key)).await {
                        Ok(()) => answered.push(key),
                        Err(StoreError::Unavailable(_)) => return answered,
                        Err(error) => panic!("{error:?}"),
                    }
                    match store.find(&digest(&answered[0])).await {
                        Ok(found) => assert_eq!(found.as_ref(), Some(&answered[0])),
                        Err(StoreError::Unavailable(_)) => return answered,
                        Err(error) => panic!("{error:?}"),
                    }
                }
                answered
            });
        }
        while store.list(workspace(1 + round), &Filter::ALL, None, 50).await.unwrap().len() < 50 {
            tokio::task::yield_now().await;
        }
        store.close().await.unwrap();
        // It has let go of the directory although callers still hold the store.
        let reopened = place.open();
        for key in callers.join_all().await.into_iter().flatten() {
            assert_eq!(reopened.find(&digest(&key)).await.unwrap(), Some(key));
        }
        reopened.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_find_everything_with_hardly_any_memory() {
    let place = Place::with_keys(500).await;
    // One reader of the disk, and room for no block.
    let settings = Settings { block_cache_bytes: 0, disk_reads: 1 };
    let store = Arc::new(RocksStore::open(place.dir(), settings).unwrap());
    let mut readers = JoinSet::new();
    for n in 0..500 {
        let store = Arc::clone(&store);
        readers.spawn(async move {
            let key = key(1, n);
            let found = store.find(&digest(&key)).await.unwrap();
            let got = store.get(workspace(1), key.id).await.unwrap().map(|stored| stored.key);
            assert_eq!((found.as_ref(), got.as_ref()), (Some(&key), Some(&key)));
        });
    }
    readers.join_all().await;
    assert_eq!(store.list(workspace(1), &Filter::ALL, None, 1000).await.unwrap().len(), 500);
    store.close().await.unwrap();
}
