//! What the trait promises, as far as this driver could get it wrong in its own way.

use keyward_core::key::Status;
use keyward_core::store::{KeyStore as _, StoreError, Unique};

use crate::fixture::{Place, at, digest, key, workspace};

#[tokio::test]
async fn what_was_created_is_found_listed_and_got() {
    let place = Place::new();
    let store = place.open();
    let key = key(1, 1);
    store.create(&key, &digest(&key)).await.unwrap();
    assert_eq!(store.find(&digest(&key)).await.unwrap().as_ref(), Some(&key));
    let stored = store.get(workspace(1), key.id).await.unwrap().unwrap();
    assert_eq!((&stored.key, stored.digest), (&key, digest(&key)));
    assert_eq!(store.list(workspace(1), None, 10).await.unwrap(), std::slice::from_ref(&key));
    assert_eq!(store.get(workspace(2), key.id).await.unwrap(), None);
    assert_eq!(store.list(workspace(2), None, 10).await.unwrap(), []);
}

#[tokio::test]
async fn an_id_or_a_digest_that_is_taken_is_a_conflict() {
    let place = Place::new();
    let store = place.open();
    let first = key(1, 1);
    store.create(&first, &digest(&first)).await.unwrap();
    let mut same_id = key(2, 2);
    same_id.id = first.id;
    let outcome = store.create(&same_id, &digest(&key(2, 2))).await;
    assert!(matches!(outcome, Err(StoreError::Conflict(Unique::Id))), "{outcome:?}");
    let outcome = store.create(&key(2, 3), &digest(&first)).await;
    assert!(matches!(outcome, Err(StoreError::Conflict(Unique::Digest))), "{outcome:?}");
    assert_eq!(store.find(&digest(&first)).await.unwrap(), Some(first));
    assert_eq!(store.list(workspace(2), None, 10).await.unwrap(), []);
}

#[tokio::test]
async fn revoking_twice_keeps_the_first_time() {
    let place = Place::new();
    let store = place.open();
    let key = key(1, 1);
    store.create(&key, &digest(&key)).await.unwrap();
    assert_eq!(store.revoke(workspace(2), key.id, at(5)).await.unwrap(), None);
    for time in [at(10), at(20)] {
        let revoked = store.revoke(workspace(1), key.id, time).await.unwrap().unwrap();
        assert_eq!((revoked.status, revoked.updated_at), (Status::Revoked, at(10)));
    }
    let found = store.find(&digest(&key)).await.unwrap().unwrap();
    assert_eq!((found.status, found.updated_at), (Status::Revoked, at(10)));
}

#[tokio::test]
async fn pages_join_into_the_whole_list() {
    let place = Place::new();
    let store = place.open();
    for n in 0..25 {
        let mut key = key(1, n);
        // Five keys at a time have the same time.
        key.created_at = at(n / 5);
        store.create(&key, &digest(&key)).await.unwrap();
    }
    let whole = store.list(workspace(1), None, 100).await.unwrap();
    let order: Vec<_> =
        whole.iter().map(|key| (std::cmp::Reverse(key.created_at), key.id)).collect();
    assert_eq!(order.len(), 25);
    assert!(order.is_sorted());
    let (mut joined, mut after) = (Vec::new(), None);
    loop {
        let page = store.list(workspace(1), after, 7).await.unwrap();
        let last = page.len() < 7;
        after = page.last().map(Into::into).or(after);
        joined.extend(page);
        if last {
            break;
        }
    }
    assert_eq!(joined, whole);
    assert_eq!(store.list(workspace(1), None, 0).await.unwrap(), []);
}

#[tokio::test]
async fn reopening_finds_everything_and_a_closed_store_answers_nothing() {
    let place = Place::new();
    let store = place.open();
    let (kept, revoked) = (key(1, 1), key(1, 2));
    for key in [&kept, &revoked] {
        store.create(key, &digest(key)).await.unwrap();
    }
    store.revoke(workspace(1), revoked.id, at(9)).await.unwrap();
    store.ready().await.unwrap();
    store.close().await.unwrap();
    store.close().await.unwrap();
    for outcome in [
        store.ready().await,
        store.find(&digest(&kept)).await.map(drop),
        store.create(&key(1, 3), &digest(&key(1, 3))).await,
    ] {
        assert!(matches!(outcome, Err(StoreError::Unavailable(_))), "{outcome:?}");
    }
    let store = place.open();
    assert_eq!(store.find(&digest(&kept)).await.unwrap(), Some(kept));
    let found = store.find(&digest(&revoked)).await.unwrap().unwrap();
    assert_eq!((found.status, found.updated_at), (Status::Revoked, at(9)));
}
