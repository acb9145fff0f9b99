use tempfile::TempDir;

use super::*;
use crate::directory::Directory;
use crate::testing::{digest, key};

const CACHE: usize = 1 << 20;

fn claim(dir: &TempDir) -> Directory {
    Directory::claim(dir.path()).unwrap().directory
}

/// A new database.
pub fn create(dir: &TempDir) -> Database {
    Database::create(claim(dir), CACHE).unwrap()
}

/// A database that can be read, and fails to write.
pub fn read_only(dir: &TempDir) -> Database {
    let directory = claim(dir);
    let names = ["default", KEYS, DIGESTS, IDS];
    let db = DB::open_cf_for_read_only(&options(), dir.path(), names, false).unwrap();
    Database::new(db, Some(directory))
}

/// Adds the `n`th key of workspace 1.
pub fn add(database: &Database, n: u64) {
    let key = key(1, n);
    let mut batch = WriteBatch::default();
    let stored = StoredKey { digest: digest(&key), key };
    database.stage_new(&mut batch, &stored).unwrap();
    database.write(batch).unwrap();
}

fn is_out_of_memory<T>(read: &Result<T, ReadError>) -> bool {
    matches!(read, Err(ReadError::NotInMemory))
}

#[test]
fn a_read_of_memory_does_not_touch_the_disk() {
    let dir = TempDir::new().unwrap();
    add(&create(&dir), 1);
    // Opening moves what is in the log to sorted files, of which nothing is in memory yet.
    let database = Database::open(claim(&dir), CACHE).unwrap();
    let (key, other) = (key(1, 1), key(1, 2));
    let find = |reach| database.find(&digest(&key), reach);
    assert!(is_out_of_memory(&find(Reach::Memory)));
    assert_eq!(find(Reach::Disk).unwrap().unwrap().key, key);
    assert_eq!(find(Reach::Memory).unwrap().unwrap().key, key);
    let get = |reach| database.get(key.workspace_id, key.id, reach);
    assert!(is_out_of_memory(&get(Reach::Memory)));
    assert_eq!(get(Reach::Disk).unwrap().unwrap().key, key);
    assert_eq!(get(Reach::Memory).unwrap().unwrap().key, key);
    // The filters are in memory by now, and tell that there is no such key.
    assert!(database.find(&digest(&other), Reach::Memory).unwrap().is_none());
}

#[test]
fn a_page_of_memory_does_not_touch_the_disk() {
    let dir = TempDir::new().unwrap();
    add(&create(&dir), 1);
    let database = Database::open(claim(&dir), CACHE).unwrap();
    // The newer record is in memory, the older is not: half a page is no page.
    add(&database, 2);
    let page = |reach| database.page(key(1, 1).workspace_id, &Filter::ALL, None, 10, reach);
    assert!(is_out_of_memory(&page(Reach::Memory)));
    assert_eq!(page(Reach::Disk).unwrap(), [key(1, 2), key(1, 1)]);
    assert_eq!(page(Reach::Memory).unwrap(), [key(1, 2), key(1, 1)]);
}

#[test]
fn a_scan_of_memory_does_not_touch_the_disk() {
    let dir = TempDir::new().unwrap();
    add(&create(&dir), 1);
    let database = Database::open(claim(&dir), CACHE).unwrap();
    add(&database, 2);
    let scan = |reach| database.scan(None, 10, reach);
    assert!(is_out_of_memory(&scan(Reach::Memory)));
    for reach in [Reach::Disk, Reach::Memory] {
        let page = scan(reach).unwrap();
        assert!(page.iter().map(|stored| &stored.key).eq(&[key(1, 1), key(1, 2)]), "{reach:?}");
    }
}

#[test]
fn an_index_that_does_not_agree_with_the_records_is_corrupt() {
    let dir = TempDir::new().unwrap();
    let database = create(&dir);
    add(&database, 1);
    let (one, other) = (key(1, 1), key(1, 2));
    let keys = [(DIGESTS, digest(&other).as_bytes().to_vec()), (IDS, other.id.as_bytes().to_vec())];
    for place in [Place::of(&one), Place::of(&other)] {
        for (index, key) in &keys {
            let family = database.family(index).unwrap();
            database.db.put_cf(family, key, codec::encode_index(&place)).unwrap();
        }
        let found = database.find(&digest(&other), Reach::Disk).map(drop);
        let got = database.get(other.workspace_id, other.id, Reach::Disk).map(drop);
        let scanned = database.scan(Some(one.id), 10, Reach::Disk).map(drop);
        for outcome in [found, got, scanned] {
            let corrupt = matches!(outcome, Err(ReadError::Failed(StoreError::Corrupt(_))));
            assert!(corrupt, "{outcome:?}");
        }
    }
}
