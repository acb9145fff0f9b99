//! A target that has keys already.

use keyward_core::key::KeyName;
use keyward_core::store::StoredKey;
use keyward_tests::records::{Sample, sample, workspace};

use crate::fixture::{Done, copy, fail, keys, put, records, storages, takes_changes};

#[tokio::test]
async fn other_keys_are_refused_before_anything_is_changed_unless_they_are_to_be_kept() {
    for (from, to) in storages() {
        let (ours, theirs) = (keys(20), keys(3));
        put(&from, &ours).await;
        put(&to, &[&theirs[..], &ours[..1]].concat()).await;
        let before = records(&to).await;
        let ended = fail(&from, &to, &[], "3 keys that the source has not").await;
        assert!(ended.stderr.contains("--merge"), "{ended}");
        assert_eq!(records(&to).await, before);
        let source = records(&from).await;

        let done = copy(&from, &to, &["--merge"]).await;
        let expected = Done { records: 20, added: 19, unchanged: 1, others: 3, ..Done::default() };
        assert_eq!(done, expected);
        let mut all: Vec<StoredKey> = theirs.iter().map(Sample::stored).collect();
        all.extend(source);
        all.sort_by_key(|stored| stored.key.id);
        assert_eq!(records(&to).await, all);
    }
}

#[tokio::test]
async fn a_different_key_with_the_same_id_is_never_merged() {
    for (from, to) in storages() {
        let ours = keys(5);
        put(&from, &ours).await;
        let mut renamed = ours[3].clone();
        renamed.key.name = KeyName::new("another").unwrap();
        put(&to, &[renamed]).await;
        let before = records(&to).await;
        for more in [&[][..], &["--merge"]] {
            fail(&from, &to, more, &ours[3].key.id.to_string()).await;
            assert_eq!(records(&to).await, before);
        }
        assert!(takes_changes(&from).await, "it was not even sealed");
    }
}

/// This shows only when the target is given the record, with the source sealed.
#[tokio::test]
async fn a_copy_that_fails_in_the_middle_leaves_a_source_that_takes_changes() {
    for (from, to) in storages() {
        let ours = keys(1_500);
        put(&from, &ours).await;
        let same_digest = Sample { digest: ours[1_400].digest, ..sample(workspace()) };
        put(&to, &[same_digest]).await;
        let ended = fail(&from, &to, &["--merge"], "same digest").await;
        assert!(ended.stderr.contains("takes changes"), "{ended}");
        assert!(takes_changes(&from).await);
        assert_eq!(records(&to).await.len(), 1_001, "the page that failed left nothing");
    }
}
