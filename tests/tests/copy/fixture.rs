//! Pairs of storages, and the command.

use keyward_core::store::StoredKey;
pub use keyward_tests::drivers::open;
use keyward_tests::launch::{Ended, Launch, Process, Storage, begin_keyward};
use keyward_tests::records::{Calls as _, Sample, sample, samples, scan_all, workspace};
use keyward_tests::server::Server;
use serde_json::Value;

/// Makes an empty storage of some driver.
pub type Make = fn() -> Storage;

/// Source and target of every copy that the tested driver takes part in.
pub fn pairs() -> Vec<(Make, Make)> {
    match Storage::new() {
        Storage::Memory | Storage::Elsewhere(_) => {
            panic!("a copy is tested between storages that the tests make")
        }
        Storage::Rocks(_) => vec![(Storage::rocksdb, Storage::rocksdb)],
        Storage::Postgres(_) => vec![
            (Storage::rocksdb, Storage::postgres),
            (Storage::postgres, Storage::rocksdb),
            (Storage::postgres, Storage::postgres),
        ],
    }
}

/// An empty source and an empty target of each pair.
pub fn storages() -> impl Iterator<Item = (Storage, Storage)> {
    pairs().into_iter().map(|(from, to)| (from(), to()))
}

/// Starts `keyward copy` with these further arguments.
pub fn begin_copy(from: &Storage, to: &Storage, more: &[&str]) -> Process {
    let (from, to) = (from.url(), to.url());
    let arguments = [&["copy", "--from", &from, "--to", &to], more].concat();
    begin_keyward(&arguments)
}

/// Copies, which must succeed, and returns what was done.
pub async fn copy(from: &Storage, to: &Storage, more: &[&str]) -> Done {
    let more = [&["--json"], more].concat();
    let ended = begin_copy(from, to, &more).finish().await;
    assert!(ended.status.success(), "{ended}");
    let done: Value = serde_json::from_str(&ended.stdout).expect("one JSON object");
    let count = |name: &str| done[name].as_u64().unwrap_or_else(|| panic!("{name}: {ended}"));
    assert_eq!(done["source_digest"], done["target_digest"], "{ended}");
    assert_eq!(done["source_digest"].as_str().map(str::len), Some(64), "{ended}");
    Done {
        records: count("records"),
        added: count("added"),
        changed: count("changed"),
        unchanged: count("unchanged"),
        others: count("others"),
    }
}

/// What a copy says that it did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Done {
    pub records: u64,
    pub added: u64,
    pub changed: u64,
    pub unchanged: u64,
    pub others: u64,
}

/// Fails to copy, and returns what was said: an error that says `word`, and nothing else.
pub async fn fail(from: &Storage, to: &Storage, more: &[&str], word: &str) -> Ended {
    let ended = begin_copy(from, to, more).finish().await;
    assert_fails(&ended, word);
    ended
}

/// It ended with an error that says `word`.
pub fn assert_fails(ended: &Ended, word: &str) {
    assert!(ended.status.code().is_some_and(|code| code != 0), "{ended}");
    assert!(ended.stderr.contains(word), "{word}: {ended}");
    assert!(!ended.stderr.contains("panicked"), "{ended}");
    assert_eq!(ended.stdout, "");
}

/// Puts records into the storage.
pub async fn put(storage: &Storage, samples: &[Sample]) {
    let store = open(storage).await;
    let records: Vec<StoredKey> = samples.iter().map(Sample::stored).collect();
    for share in records.chunks(5_000) {
        store.import(share).await.expect("the records are taken");
    }
    store.close().await.expect("the store closes");
}

/// All records of the storage.
pub async fn records(storage: &Storage) -> Vec<StoredKey> {
    let store = open(storage).await;
    let records = scan_all(&*store, 5_000).await;
    store.close().await.expect("the store closes");
    records
}

/// `count` keys of one workspace, made a second apart.
pub fn keys(count: i64) -> Vec<Sample> {
    samples(workspace(), count)
}

/// Whether the storage takes another key.
pub async fn takes_changes(storage: &Storage) -> bool {
    let store = open(storage).await;
    let sample = sample(workspace());
    let outcome = store.create(&sample.key, &sample.digest).await;
    store.close().await.expect("the store closes");
    outcome.is_ok()
}

/// A server on this storage that takes the same callers' tokens as `first`.
pub async fn serve_like(first: &Launch, storage: &Storage) -> Server {
    let launch = Launch::on(storage.clone()).without_secret();
    launch.env("KEYWARD_TOKEN_SECRET", first.secret()).start().await
}
