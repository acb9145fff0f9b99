//! Callers that stop waiting.

use std::future::Future;
use std::pin::pin;
use std::slice;
use std::sync::Arc;
use std::task::{Context, Waker};

use keyward_core::key::{ApiKey, Status};
use keyward_core::store::{KeyStore, StoreError};

use crate::records::{Calls as _, MORNING, Sample, at, list_all, sample, workspace};

const ROUNDS: usize = 60;

pub async fn a_cancelled_create_is_whole_or_absent(store: Arc<dyn KeyStore>) {
    for round in 0..ROUNDS {
        let sample = sample(workspace());
        abandon(store.create(&sample.key, &sample.digest), round).await;
        // Once one way to the record shows it, all do. It may come to be at any time, so the order
        // of the questions matters: what a later one sees an earlier one need not have seen.
        if store.find(&sample.digest).await.unwrap().is_some() {
            assert_all_say(&*store, &sample, &sample.key).await;
        }
        match store.create(&sample.key, &sample.digest).await {
            Ok(()) | Err(StoreError::Conflict(_)) => {}
            Err(other) => panic!("{other:?}"),
        }
        assert_all_say(&*store, &sample, &sample.key).await;
    }
}

pub async fn a_cancelled_revocation_is_whole_or_absent(store: Arc<dyn KeyStore>) {
    let (first, second) = (at(MORNING + 1), at(MORNING + 2));
    for round in 0..ROUNDS {
        let sample = sample(workspace());
        sample.create(&*store).await;
        let (workspace, id) = (sample.key.workspace_id, sample.key.id);
        abandon(store.revoke(workspace, id, first), round).await;

        let seen = store.find(&sample.digest).await.unwrap().expect("it is there");
        if seen.status == Status::Revoked {
            assert_eq!(seen.updated_at, first);
            assert_all_say(&*store, &sample, &seen).await;
        }
        let settled = store.revoke(workspace, id, second).await.unwrap().expect("it is there");
        assert_eq!(settled.status, Status::Revoked);
        assert!(settled.updated_at == first || settled.updated_at == second, "{settled:?}");
        assert_all_say(&*store, &sample, &settled).await;
    }
}

/// Begins `call` and drops it: at once, or after it has had a few more turns.
async fn abandon<T>(call: impl Future<Output = T>, turns: usize) {
    let mut call = pin!(call);
    for _ in 0..=turns % 6 {
        if call.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready() {
            return;
        }
        tokio::task::yield_now().await;
    }
}

async fn assert_all_say(store: &dyn KeyStore, sample: &Sample, expected: &ApiKey) {
    let workspace = sample.key.workspace_id;
    let stored = store.get(workspace, sample.key.id).await.unwrap().map(|stored| stored.key);
    assert_eq!(stored.as_ref(), Some(expected));
    assert_eq!(list_all(store, workspace, 8).await, slice::from_ref(expected));
    assert_eq!(store.find(&sample.digest).await.unwrap().as_ref(), Some(expected));
}
