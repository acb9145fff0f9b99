//! What is found after the machine stopped, or after the files were damaged.

use keyward_core::store::KeyStore as _;
use keyward_rocksdb::Fault;

use crate::fixture::{Place, digest, key};

#[tokio::test]
async fn a_directory_is_open_once_at_a_time() {
    let place = Place::with_keys(1).await;
    let store = place.open();
    assert_eq!(place.refusal().fault(), Fault::InUse);
    let expected =
        format!("the data directory {} is in use by another process", place.dir().display());
    assert_eq!(place.refusal().to_string(), expected);
    store.close().await.unwrap();
    let found = place.open().find(&digest(&key(1, 0))).await.unwrap();
    assert_eq!(found, Some(key(1, 0)));
}
