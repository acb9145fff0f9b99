//! Letting go of a store.

use std::sync::Arc;

use keyward_core::store::{Filter, KeyStore, StoreError};

use crate::records::{Calls as _, at, sample, workspace};

pub async fn an_open_store_is_ready(store: Arc<dyn KeyStore>) {
    store.ready().await.unwrap();
    sample(workspace()).create(&*store).await;
    store.ready().await.unwrap();
}

pub async fn a_closed_store_is_unavailable(store: Arc<dyn KeyStore>) {
    let sample = sample(workspace());
    sample.create(&*store).await;
    store.close().await.unwrap();
    let (workspace, id) = (sample.key.workspace_id, sample.key.id);
    assert_unavailable("create", &store.create(&sample.key, &sample.digest).await);
    assert_unavailable("get", &store.get(workspace, id).await);
    assert_unavailable("find", &store.find(&sample.digest).await);
    assert_unavailable("list", &store.list(workspace, &Filter::ALL, None, 10).await);
    assert_unavailable("revoke", &store.revoke(workspace, id, at(0)).await);
    assert_unavailable("scan", &store.scan(None, 10).await);
    assert_unavailable("import", &store.import(&[sample.stored()]).await);
    assert_unavailable("seal", &store.seal(true).await);
    assert_unavailable("ready", &store.ready().await);
}

pub async fn closing_twice_does_nothing(store: Arc<dyn KeyStore>) {
    store.close().await.unwrap();
    store.close().await.unwrap();
    assert_unavailable("ready", &store.ready().await);
}

fn assert_unavailable<T: std::fmt::Debug>(call: &str, outcome: &Result<T, StoreError>) {
    assert!(matches!(outcome, Err(StoreError::Unavailable(_))), "{call}: {outcome:?}");
}
