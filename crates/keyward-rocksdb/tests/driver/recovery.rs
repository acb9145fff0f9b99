//! What is found after the machine stopped, or after the files were damaged.

use std::fs;
use std::path::{Path, PathBuf};

use keyward_core::key::{ApiKey, Status};
use keyward_core::store::{Filter, KeyStore as _, StoreError};
use keyward_rocksdb::Fault;

use crate::fixture::{Calls as _, Place, at, digest, key, workspace};

/// The files of a directory that end in `extension`, oldest first.
fn files(dir: &Path, extension: &str) -> Vec<PathBuf> {
    let paths = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> =
        paths.filter(|path| path.extension().is_some_and(|it| it == extension)).collect();
    files.sort();
    files
}

fn log(place: &Place) -> PathBuf {
    files(place.dir(), "log").pop().unwrap()
}

fn edit(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

/// Where the records of a log of one block begin, and where the last one ends.
fn bounds(log: &[u8]) -> Vec<usize> {
    let mut bounds = vec![0];
    while let Some(length) = log.get(bounds[bounds.len() - 1] + 4..).filter(|rest| rest.len() > 2) {
        let length = usize::from(u16::from_le_bytes([length[0], length[1]]));
        bounds.push(bounds[bounds.len() - 1] + 7 + length);
    }
    bounds
}

/// How many of the keys of workspace 1 there are, which must be the first ones.
async fn first_keys(place: &Place) -> u64 {
    let store = place.open();
    let listed = store.list(workspace(1), &Filter::ALL, None, 1000).await.unwrap();
    let count = listed.len() as u64;
    let expected: Vec<_> = (0..count).rev().map(|n| key(1, n)).collect();
    assert_eq!(listed, expected);
    for key in expected {
        assert_eq!(store.find(&digest(&key)).await.unwrap().as_ref(), Some(&key));
        assert_eq!(store.get(workspace(1), key.id).await.unwrap().unwrap().key, key);
    }
    store.close().await.unwrap();
    count
}

#[tokio::test]
async fn a_torn_last_record_is_cut_off_and_the_rest_is_there() {
    for left in [1, 6, 7, 8, 100] {
        let place = Place::with_keys(5).await;
        edit(&log(&place), |log| {
            let bounds = bounds(log);
            log.truncate(bounds[bounds.len() - 2] + left);
        });
        assert_eq!(first_keys(&place).await, 4, "{left} bytes were left");
    }
}

#[tokio::test]
async fn bytes_of_a_record_that_was_being_written_are_cut_off() {
    let place = Place::with_keys(5).await;
    edit(&log(&place), |log| {
        // As much of the fifth record once more as a write may have left.
        let bounds = bounds(log);
        log.extend_from_within(bounds[4]..bounds[5] - 1);
    });
    assert_eq!(first_keys(&place).await, 5);
}

#[tokio::test]
async fn changes_go_on_after_a_torn_record_was_cut_off() {
    for keys in [1, 5] {
        let place = Place::with_keys(keys).await;
        edit(&log(&place), |log| log.truncate(log.len() - 1));
        let store = place.open();
        let again = key(1, keys - 1);
        store.create(&again, &digest(&again)).await.unwrap();
        store.close().await.unwrap();
        assert_eq!(first_keys(&place).await, keys);
    }
}

/// As after a power failure: the file has its new length, but a part of the last record does not
/// stand on the disk.
#[tokio::test]
async fn a_last_record_of_which_a_part_was_never_written_is_cut_off() {
    let place = Place::with_keys(5).await;
    let path = create_long(&place).await;
    let whole = fs::read(&path).unwrap();
    let (start, end) = (bounds(&whole)[0], whole.len());
    for sector in (start.next_multiple_of(512)..end - 64).step_by(512) {
        edit(&path, |log| {
            log.clone_from(&whole);
            log[sector..end.min(sector + 512)].fill(0);
        });
        let copy = place.copy();
        assert_eq!(first_keys(&copy).await, 5, "sector at {sector}");
        assert_eq!(first_keys(&copy).await, 5, "sector at {sector}, again");
    }
}

#[tokio::test]
async fn a_last_record_that_was_written_and_then_damaged_refuses_to_open() {
    let place = Place::with_keys(5).await;
    let path = create_long(&place).await;
    edit(&path, |log| log[1000] ^= 1);
    assert_eq!(place.refusal().fault(), Fault::Damaged);
    edit(&path, |log| log[1000..1100].fill(0));
    assert_eq!(place.refusal().fault(), Fault::Damaged);
}

/// Adds a key whose record fills sectors to a log of its own, which is returned.
async fn create_long(place: &Place) -> PathBuf {
    let store = place.open();
    let scopes = (0..32).map(|n| format!("{n:0100}").parse().unwrap()).collect();
    let long = ApiKey { named_scopes: Some(scopes), ..key(1, 5) };
    store.create(&long, &digest(&long)).await.unwrap();
    store.close().await.unwrap();
    log(place)
}

#[tokio::test]
async fn damage_before_the_last_record_refuses_to_open() {
    let place = Place::with_keys(5).await;
    let path = log(&place);
    let whole = fs::read(&path).unwrap();
    let bounds = bounds(&whole);
    assert_eq!(bounds.len(), 6, "five records and the end");
    // All of the header of a record in the middle, and some of what it holds; the first record;
    // the last but one.
    let positions = (bounds[2]..bounds[2] + 20).chain([0, 4, 5, 9, bounds[3] + 5, bounds[4] - 1]);
    for position in positions {
        for change in [0x01, 0x80] {
            edit(&path, |log| {
                log.clone_from(&whole);
                log[position] ^= change;
            });
            let refusal = place.refusal();
            assert_eq!(refusal.fault(), Fault::Damaged, "byte {position}: {refusal:?}");
            let expected = format!(
                "the data directory {} is damaged, and opening it could undo acknowledged changes; \
                 restore it from a backup",
                place.dir().display()
            );
            assert_eq!(refusal.to_string(), expected);
        }
    }
    // Refusing has changed nothing.
    fs::write(&path, whole).unwrap();
    assert_eq!(first_keys(&place).await, 5);
}

#[tokio::test]
async fn zeros_before_the_last_record_refuse_to_open() {
    let place = Place::with_keys(5).await;
    edit(&log(&place), |log| {
        let bounds = bounds(log);
        log[bounds[2]..bounds[3]].fill(0);
    });
    assert_eq!(place.refusal().fault(), Fault::Damaged);
}

#[tokio::test]
async fn a_missing_log_refuses_to_open() {
    let place = Place::with_keys(5).await;
    fs::remove_file(log(&place)).unwrap();
    for _ in 0..2 {
        assert_eq!(place.refusal().fault(), Fault::Damaged);
    }
}

#[tokio::test]
async fn a_log_that_is_needed_no_more_is_not_looked_at() {
    let place = Place::with_keys(5).await;
    let old = log(&place);
    let mut content = fs::read(&old).unwrap();
    let store = place.open();
    store.create(&key(1, 5), &digest(&key(1, 5))).await.unwrap();
    store.close().await.unwrap();
    // It was moved to sorted files and removed. With a hole in it, it is still of no interest.
    content.truncate(bounds(&content)[2]);
    fs::write(&old, content).unwrap();
    assert_eq!(first_keys(&place).await, 6);
}

#[tokio::test]
async fn a_missing_sorted_file_refuses_to_open() {
    let place = Place::with_keys(5).await;
    // Opening moves what is in the log to sorted files.
    place.open().close().await.unwrap();
    for file in files(place.dir(), "sst") {
        let aside = file.with_extension("aside");
        fs::rename(&file, &aside).unwrap();
        assert_eq!(place.refusal().fault(), Fault::Damaged, "{}", file.display());
        fs::rename(&aside, &file).unwrap();
    }
    assert_eq!(first_keys(&place).await, 5);
}

#[tokio::test]
async fn damage_to_a_sorted_file_is_refused_or_called_corrupt() {
    let place = Place::with_keys(5).await;
    place.open().close().await.unwrap();
    let sorted = files(place.dir(), "sst");
    assert!(sorted.len() >= 3);
    let mut seen = 0;
    for file in sorted {
        let whole = fs::read(&file).unwrap();
        for position in (0..whole.len()).step_by(whole.len() / 12) {
            edit(&file, |bytes| bytes[position] ^= 0x10);
            seen += u32::from(!reads_whole(&place).await);
            fs::write(&file, &whole).unwrap();
        }
    }
    assert!(seen > 20, "only {seen} changes were noticed");
    assert_eq!(first_keys(&place).await, 5);
}

/// Whether the store opens and reads without an error. What it then says must be right.
async fn reads_whole(place: &Place) -> bool {
    use keyward_rocksdb::{RocksStore, Settings};
    let store = match RocksStore::open(place.dir(), Settings::default()) {
        Ok(store) => store,
        Err(error) => {
            assert_eq!(error.fault(), Fault::Damaged, "{error:?}");
            return false;
        }
    };
    let mut whole = true;
    for n in 0..5 {
        let key = key(1, n);
        match store.find(&digest(&key)).await {
            Ok(found) => assert_eq!(found, Some(key)),
            Err(error) => {
                assert!(matches!(error, StoreError::Corrupt(_)), "{error:?}");
                whole = false;
            }
        }
    }
    match store.list(workspace(1), &Filter::ALL, None, 10).await {
        Ok(listed) => assert_eq!(listed.len(), 5),
        Err(error) => {
            assert!(matches!(error, StoreError::Corrupt(_)), "{error:?}");
            whole = false;
        }
    }
    store.close().await.unwrap();
    whole
}

#[tokio::test]
async fn a_revocation_is_not_undone_by_cutting_off_what_follows() {
    let place = Place::with_keys(1).await;
    let store = place.open();
    let revoked = store.revoke(workspace(1), key(1, 0).id, at(9)).await.unwrap().unwrap();
    store.create(&key(1, 1), &digest(&key(1, 1))).await.unwrap();
    store.close().await.unwrap();
    edit(&log(&place), |log| log.truncate(log.len() - 1));
    let store = place.open();
    let found = store.find(&digest(&key(1, 0))).await.unwrap();
    assert_eq!(found.as_ref().map(|key| key.status), Some(Status::Revoked));
    assert_eq!(found, Some(revoked));
    assert_eq!(store.find(&digest(&key(1, 1))).await.unwrap(), None);
    store.close().await.unwrap();
}
