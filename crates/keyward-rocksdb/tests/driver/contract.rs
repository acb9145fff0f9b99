//! What the trait promises, as far as this driver could get it wrong in its own way.

use keyward_core::clock::Timestamp;
use keyward_core::key::{ApiKey, Status};
use keyward_core::memory::MemoryStore;
use keyward_core::store::{Filter, KeyStore, StoreError, StoredKey, Unique};
use proptest::prelude::*;

use crate::fixture::{Calls as _, Place, at, digest, key, workspace};

#[tokio::test]
async fn what_was_created_is_found_listed_and_got() {
    let place = Place::new();
    let store = place.open();
    let key = key(1, 1);
    store.create(&key, &digest(&key)).await.unwrap();
    assert_eq!(store.find(&digest(&key)).await.unwrap().as_ref(), Some(&key));
    let stored = store.get(workspace(1), key.id).await.unwrap().unwrap();
    assert_eq!((&stored.key, stored.digest), (&key, digest(&key)));
    assert_eq!(
        store.list(workspace(1), &Filter::ALL, None, 10).await.unwrap(),
        std::slice::from_ref(&key)
    );
    assert_eq!(store.get(workspace(2), key.id).await.unwrap(), None);
    assert_eq!(store.list(workspace(2), &Filter::ALL, None, 10).await.unwrap(), []);
    store.close().await.unwrap();
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
    assert_eq!(store.list(workspace(2), &Filter::ALL, None, 10).await.unwrap(), []);
    store.close().await.unwrap();
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
    store.close().await.unwrap();
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
    let whole = store.list(workspace(1), &Filter::ALL, None, 100).await.unwrap();
    let order: Vec<_> =
        whole.iter().map(|key| (std::cmp::Reverse(key.created_at), key.id)).collect();
    assert_eq!(order.len(), 25);
    assert!(order.is_sorted());
    let (mut joined, mut after) = (Vec::new(), None);
    loop {
        let page = store.list(workspace(1), &Filter::ALL, after, 7).await.unwrap();
        let last = page.len() < 7;
        after = page.last().map(Into::into).or(after);
        joined.extend(page);
        if last {
            break;
        }
    }
    assert_eq!(joined, whole);
    assert_eq!(store.list(workspace(1), &Filter::ALL, None, 0).await.unwrap(), []);
    store.close().await.unwrap();
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
    store.close().await.unwrap();
}

/// A call of the store, about few enough records that calls meet.
#[derive(Debug, Clone)]
enum Call {
    Create { key: Box<ApiKey>, digest_of: u64 },
    Get { workspace: u128, of: u64 },
    Find { digest_of: u64 },
    List { after: Option<u64>, limit: usize },
    Revoke { workspace: u128, of: u64, at: Timestamp },
    Scan { after: Option<u64>, limit: usize },
    Import { records: Vec<StoredKey> },
    Seal { sealed: bool },
}

fn calls() -> impl Strategy<Value = Call> {
    let n = || 0..6_u64;
    let workspace = || 1..3_u128;
    prop_oneof![
        3 => (workspace(), n(), n(), n()).prop_map(|(workspace, id, time, digest_of)| {
            let key = ApiKey { created_at: at(time / 2), id: key(1, id).id, ..key(workspace, id) };
            Call::Create { key: Box::new(key), digest_of }
        }),
        1 => (workspace(), n()).prop_map(|(workspace, of)| Call::Get { workspace, of }),
        1 => n().prop_map(|digest_of| Call::Find { digest_of }),
        2 => (prop::option::of(n()), 0..5_usize)
            .prop_map(|(after, limit)| Call::List { after, limit }),
        2 => (workspace(), n(), n()).prop_map(|(workspace, of, time)| {
            Call::Revoke { workspace, of, at: at(10 + time) }
        }),
        2 => (prop::option::of(n()), 0..5_usize)
            .prop_map(|(after, limit)| Call::Scan { after, limit }),
        3 => imports(),
        1 => prop::bool::weighted(0.2).prop_map(|sealed| Call::Seal { sealed }),
    ]
}

/// Imports of a few records, most of which are the same keys at every import.
fn imports() -> impl Strategy<Value = Call> {
    let ids = prop::sample::subsequence((0..6).collect::<Vec<u64>>(), 0..5);
    let other_digests = prop::bool::weighted(0.1);
    (ids, other_digests, prop::option::of(0..3_u64)).prop_map(|(ids, other_digests, revoked)| {
        let records = ids.into_iter().map(|id| {
            let mut key = key(1, id);
            if let Some(time) = revoked {
                key.revoke(at(10 + time));
            }
            StoredKey { key, digest: digest(&self::key(1, id + u64::from(other_digests))) }
        });
        Call::Import { records: records.collect() }
    })
}

/// What a store answers, in words that can be compared.
async fn answer(store: &dyn KeyStore, call: &Call) -> String {
    match call {
        Call::Create { key: new, digest_of } => {
            format!("{:?}", store.create(new, &digest(&key(1, *digest_of))).await)
        }
        Call::Get { workspace: of_workspace, of } => {
            format!("{:?}", store.get(workspace(*of_workspace), key(1, *of).id).await)
        }
        Call::Find { digest_of } => format!("{:?}", store.find(&digest(&key(1, *digest_of))).await),
        Call::List { after, limit } => {
            let after = after.map(|n| (&ApiKey { created_at: at(n / 2), ..key(1, n) }).into());
            format!("{:?}", store.list(workspace(1), &Filter::ALL, after, *limit).await)
        }
        Call::Revoke { workspace: of_workspace, of, at } => {
            format!("{:?}", store.revoke(workspace(*of_workspace), key(1, *of).id, *at).await)
        }
        Call::Scan { after, limit } => {
            format!("{:?}", store.scan(after.map(|n| key(1, n).id), *limit).await)
        }
        Call::Import { records } => format!("{:?}", store.import(records).await),
        Call::Seal { sealed } => format!("{:?}", store.seal(*sealed).await),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn it_answers_what_the_reference_driver_answers(
        calls in prop::collection::vec(calls(), 1..60),
        reopen in prop::collection::vec(prop::bool::weighted(0.05), 60),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let (place, reference) = (Place::new(), MemoryStore::new());
            let mut store = place.open();
            for (call, reopen) in calls.iter().zip(reopen) {
                if reopen {
                    store.close().await.unwrap();
                    store = place.open();
                }
                let expected = answer(&reference, call).await;
                prop_assert_eq!(answer(&store, call).await, expected, "{:?}", call);
            }
            store.close().await.unwrap();
            Ok(())
        })?;
    }
}
