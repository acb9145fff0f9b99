//! What makes no sense is refused in words, and no URL is shown: it may hold a password.

use keyward_tests::launch::{Storage, keyward};

use crate::fixture::{assert_fails, begin_copy, fail, keys, put, records, storages, takes_changes};

#[tokio::test]
async fn what_makes_no_sense_is_refused() {
    let (from, to) = storages().next().unwrap();
    put(&from, &keys(1)).await;
    let (from, to) = (from.url(), to.url());
    let unknown = "mysql://u:hunter2@h/d";
    for (arguments, word) in [
        (&["copy"][..], "--from"),
        (&["copy", "--from", &from], "--to"),
        (&["copy", "--to", &to], "--from"),
        (&["copy", "--from", &from, "--to", &to, "--unseal"], "--unseal"),
        (&["copy", "--from", &from, "--to", &to, "--to-file", "x"], "--to-file"),
        (&["copy", "--from-file", "/nowhere/url", "--to", &to], "/nowhere/url"),
        (&["copy", "--from", unknown, "--to", &to], "--from"),
        (&["copy", "--from", &from, "--to", unknown], "--to"),
        (&["copy", "--from", "memory://", "--to", &to], "memory"),
        (&["copy", "--from", &from, "--to", "memory://"], "memory"),
        (&["copy", "--from", "memory://", "--unseal"], "memory"),
        (&["copy", "--from", &from, "--to", &from], "same"),
    ] {
        let ended = keyward(arguments).await;
        assert_fails(&ended, word);
        assert!(!ended.stderr.contains("hunter2"), "{ended}");
    }
}

#[tokio::test]
async fn a_directory_that_is_not_there_is_not_made_by_copying_from_it() {
    let (_, to) = storages().next().unwrap();
    let absent = Storage::rocksdb();
    fail(&absent, &to, &[], "no directory").await;
    let ended = keyward(&["copy", "--from", &absent.url(), "--unseal"]).await;
    assert_fails(&ended, "no directory");
    assert!(!absent.directory().unwrap().exists());
}

#[tokio::test]
async fn a_sealed_target_is_refused_before_the_source_is_sealed() {
    for (from, to) in storages() {
        put(&from, &keys(3)).await;
        put(&to, &[]).await;
        let elsewhere = Storage::rocksdb();
        let ended = begin_copy(&to, &elsewhere, &[]).finish().await;
        assert!(ended.status.success(), "{ended}");
        let ended = fail(&from, &to, &[], "sealed").await;
        assert!(ended.stderr.contains("--unseal"), "{ended}");
        assert!(takes_changes(&from).await);
        assert_eq!(records(&to).await, []);
    }
}

#[tokio::test]
async fn a_storage_by_two_names_is_not_copied_onto_itself() {
    let from = Storage::new();
    put(&from, &keys(3)).await;
    let url = from.url();
    let other_name = match &from {
        Storage::Rocks(_) => url.replace("/data", "/./data"),
        _ => format!("{url}{}application_name=x", if url.contains('?') { "&" } else { "?" }),
    };
    let ended = keyward(&["copy", "--from", &url, "--to", &other_name]).await;
    assert!(!ended.status.success(), "{ended}");
    assert_eq!(ended.stdout, "");
    assert!(takes_changes(&from).await);
}

#[tokio::test]
async fn urls_may_be_in_files() {
    let (from, to) = storages().next().unwrap();
    put(&from, &keys(3)).await;
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, storage: &Storage| {
        let path = directory.path().join(name);
        std::fs::write(&path, format!("{}\n", storage.url())).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (from, to) = (file("from", &from), file("to", &to));
    let ended = keyward(&["copy", "--from-file", &from, "--to-file", &to]).await;
    assert!(ended.status.success(), "{ended}");
    let ended = keyward(&["copy", "--from-file", &from, "--unseal"]).await;
    assert!(ended.status.success(), "{ended}");
}

#[tokio::test]
async fn help_documents_every_flag_and_its_twin() {
    let help = keyward(&["copy", "--help"]).await;
    for flag in ["from", "from-file", "to", "to-file", "merge", "json", "unseal"] {
        let twin = format!("KEYWARD_COPY_{}", flag.replace('-', "_").to_uppercase());
        assert!(help.stdout.contains(&format!("--{flag}")), "{flag}: {help}");
        assert!(help.stdout.contains(&twin), "{twin}: {help}");
    }
}
