//! Whose a directory is: who may use it, and what is refused.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use keyward_core::store::{Filter, KeyStore as _};
use keyward_rocksdb::Fault;
use rocksdb::DB;

use crate::fixture::{Calls as _, Place, digest, key, workspace};

fn mode(place: &Place) -> u32 {
    fs::metadata(place.dir()).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn a_directory_is_open_once_at_a_time() {
    let place = Place::with_keys(1).await;
    let store = place.open();
    let expected =
        format!("the data directory {} is in use by another process", place.dir().display());
    for _ in 0..2 {
        assert_eq!(place.refusal().fault(), Fault::InUse);
        assert_eq!(place.refusal().to_string(), expected);
    }
    store.close().await.unwrap();
    let store = place.open();
    assert_eq!(store.find(&digest(&key(1, 0))).await.unwrap(), Some(key(1, 0)));
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_database_that_another_program_has_open_is_in_use() {
    let place = Place::with_keys(1).await;
    let options = rocksdb::Options::default();
    let families = ["default", "keys", "digests", "ids"];
    let other = DB::open_cf(&options, place.dir(), families).unwrap();
    assert_eq!(place.refusal().fault(), Fault::InUse);
    drop(other);
    place.open().close().await.unwrap();
}

#[tokio::test]
async fn a_directory_is_closed_to_other_users() {
    let place = Place::new();
    place.open().close().await.unwrap();
    assert_eq!(mode(&place), 0o700);
    fs::set_permissions(place.dir(), fs::Permissions::from_mode(0o755)).unwrap();
    place.open().close().await.unwrap();
    assert_eq!(mode(&place), 0o700);
}

#[tokio::test]
async fn a_file_where_the_directory_should_be_is_refused() {
    let place = Place::new();
    fs::write(place.dir(), "").unwrap();
    assert_eq!(place.refusal().fault(), Fault::NotADirectory);
    fs::remove_file(place.dir()).unwrap();
    fs::write(place.dir().parent().unwrap().join("file"), "").unwrap();
    let below = Place::at(place.dir().parent().unwrap().join("file/data"));
    assert_eq!(below.refusal().fault(), Fault::NotADirectory);
}

#[tokio::test]
async fn a_directory_with_other_files_is_left_as_it_is() {
    let place = Place::new();
    fs::create_dir(place.dir()).unwrap();
    fs::set_permissions(place.dir(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(place.dir().join("letter.txt"), "dear").unwrap();
    assert_eq!(place.refusal().fault(), Fault::Foreign);
    assert_eq!(mode(&place), 0o755);
    assert_eq!(fs::read_dir(place.dir()).unwrap().count(), 1);
}

#[tokio::test]
async fn a_database_of_another_program_is_left_as_it_is() {
    let place = Place::new();
    fs::create_dir(place.dir()).unwrap();
    let other = DB::open_default(place.dir()).unwrap();
    other.put("a", "b").unwrap();
    drop(other);
    fs::set_permissions(place.dir(), fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(place.refusal().fault(), Fault::Foreign);
    assert_eq!(mode(&place), 0o755);
    let other = DB::open_default(place.dir()).unwrap();
    assert_eq!(other.get("a").unwrap().unwrap(), b"b");
}

/// A program of the earlier format then refuses the directory, and not each record that it does not
/// know.
#[tokio::test]
async fn a_directory_of_an_earlier_format_is_opened_and_made_one_of_this() {
    let place = Place::with_keys(3).await;
    let families = ["default", "keys", "digests", "ids"];
    let options = rocksdb::Options::default();
    let format = || {
        let database = DB::open_cf_for_read_only(&options, place.dir(), families, false).unwrap();
        database.get("format").unwrap().unwrap()
    };
    for format_before in [1_u32, 2] {
        let earlier = DB::open_cf(&options, place.dir(), families).unwrap();
        earlier.put("format", format_before.to_be_bytes()).unwrap();
        drop(earlier);
        let store = place.open();
        assert_eq!(store.list(workspace(1), &Filter::ALL, None, 10).await.unwrap().len(), 3);
        store.close().await.unwrap();
        assert_eq!(format(), 3_u32.to_be_bytes());
    }
}

#[tokio::test]
async fn a_directory_of_a_later_format_is_refused() {
    let place = Place::with_keys(1).await;
    let options = rocksdb::Options::default();
    let mut families = vec!["default", "keys", "digests", "ids"];
    let mut later = DB::open_cf(&options, place.dir(), &families).unwrap();
    later.put("format", 4_u32.to_be_bytes()).unwrap();
    later.create_cf("of later times", &options).unwrap();
    drop(later);
    let expected = format!(
        "the data directory {} was written by a later version of Keyward, in format 4, and this one \
         knows format 3",
        place.dir().display()
    );
    assert_eq!(place.refusal().to_string(), expected);
    families.push("of later times");
    drop(DB::open_cf(&options, place.dir(), &families).unwrap());
}

#[tokio::test]
async fn a_directory_whose_making_was_interrupted_is_made_anew() {
    let place = Place::new();
    fs::create_dir(place.dir()).unwrap();
    fs::write(place.dir().join("token.secret"), "kept").unwrap();
    fs::write(place.dir().join("keyward.unfinished"), "").unwrap();
    let mut options = rocksdb::Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    drop(DB::open_cf(&options, place.dir(), ["default", "keys"]).unwrap());
    let store = place.open();
    store.create(&key(1, 0), &digest(&key(1, 0))).await.unwrap();
    store.close().await.unwrap();
    assert!(!place.dir().join("keyward.unfinished").exists());
    assert_eq!(fs::read_to_string(place.dir().join("token.secret")).unwrap(), "kept");
    let store = place.open();
    assert_eq!(store.find(&digest(&key(1, 0))).await.unwrap(), Some(key(1, 0)));
    store.close().await.unwrap();
}
