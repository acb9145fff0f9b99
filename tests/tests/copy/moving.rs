//! What is copied is what was there.

use keyward_core::key::Status;
use keyward_core::store::{KeyPlace, Use};
use keyward_core::uses::unnoted_until;
use keyward_tests::launch::{Launch, keyward};
use keyward_tests::records::{Calls as _, MORNING, at};

use crate::fixture::{
    Done, begin_copy, copy, keys, open, put, records, serve_like, storages, takes_changes,
};

#[tokio::test]
async fn a_key_is_the_same_on_the_new_side() {
    for (from, to) in storages() {
        let launch = Launch::on(from.clone());
        let server = launch.start().await;
        let (ours, theirs) = (server.tenant(), server.tenant());
        let (kept, revoked) = (ours.create("kept").await, ours.create("revoked").await);
        let scoped = ours.create_with_scopes(&["api_keys:read", "invoices:write"]).await;
        let other = theirs.create("another's").await;
        ours.revoke(revoked.id).await;
        let list = ours.request("GET").send().await.expect(200).body;
        let their_list = theirs.request("GET").send().await.expect(200).body;
        server.terminate().await;

        let done = copy(&from, &to, &[]).await;
        assert_eq!(done, Done { records: 4, added: 4, ..Done::default() });

        let server = serve_like(&launch, &to).await;
        let (ours, theirs) = (ours.on(server.client()), theirs.on(server.client()));
        assert_eq!(ours.request("GET").send().await.expect(200).body, list);
        assert_eq!(theirs.request("GET").send().await.expect(200).body, their_list);
        for key in [&kept, &scoped, &other] {
            assert_eq!(ours.verdict(key.raw()).await, "valid");
            assert_eq!(ours.auth(key.raw()).await, 200);
        }
        assert_eq!(ours.verdict(revoked.raw()).await, "revoked");
        assert_eq!(ours.auth(revoked.raw()).await, 401);
        // Workspaces are as far apart as before, and the keys can be changed again.
        theirs.delete(kept.id).await.expect_problem(404);
        ours.revoke(kept.id).await;
        assert_eq!(ours.verdict(kept.raw()).await, "revoked");
        ours.create("new").await;
    }
}

#[tokio::test]
async fn every_field_of_many_records_comes_over() {
    for (from, to) in storages() {
        let mut samples = keys(2_500);
        for sample in samples.iter_mut().step_by(3) {
            sample.key.revoke(at(MORNING + 7_000_000_001));
        }
        samples[4].key.named_scopes =
            Some("b a".split(' ').map(|it| it.parse().unwrap()).collect());
        samples[5].key.named_scopes = Some(std::iter::empty().collect());
        put(&from, &samples).await;
        let done = copy(&from, &to, &[]).await;
        assert_eq!(done, Done { records: 2_500, added: 2_500, ..Done::default() });
        assert_eq!(records(&to).await, records(&from).await);
    }
}

#[tokio::test]
async fn when_keys_were_used_comes_along_and_the_later_time_stays() {
    for (from, to) in storages() {
        // More than a page.
        let samples = keys(1_100);
        put(&from, &samples).await;
        let note = async |storage, uses: &[(usize, i64)]| {
            let of =
                |&(n, time): &(usize, i64)| Use { key: (&samples[n].key).into(), at: at(time) };
            let uses: Vec<Use> = uses.iter().map(of).collect();
            let store = open(storage).await;
            store.record_uses(&uses).await.unwrap();
            store.close().await.unwrap();
        };
        note(&from, &[(0, MORNING + 10), (1, MORNING + 11), (1_099, MORNING + 12)]).await;
        note(&to, &[(0, MORNING + 9), (1, MORNING + 99)]).await;
        copy(&from, &to, &[]).await;
        let store = open(&to).await;
        let places: Vec<KeyPlace> = samples.iter().map(|it| (&it.key).into()).collect();
        let last = store.last_uses(&places).await.unwrap();
        let expected = [(0, MORNING + 10), (1, MORNING + 99), (1_099, MORNING + 12)];
        for (n, last) in last.into_iter().enumerate() {
            let expected = expected.iter().find(|(it, _)| *it == n);
            assert_eq!(last, expected.map(|&(_, time)| at(time)), "{n}");
        }
        // Of what came before, the source knew nothing.
        assert!(unnoted_until(&*store).await.unwrap().is_some());
        store.close().await.unwrap();
    }
}

#[tokio::test]
async fn copying_again_brings_over_what_has_changed_and_undoes_no_revocation() {
    for (from, to) in storages() {
        let samples = keys(10);
        let revoke = async |storage, n: usize, time| {
            let store = open(storage).await;
            let key = &samples[n].key;
            store.revoke(key.workspace_id, key.id, at(time)).await.unwrap().expect("it is there");
            store.close().await.unwrap();
        };
        put(&from, &samples).await;
        copy(&from, &to, &[]).await;
        let done = copy(&from, &to, &[]).await;
        assert_eq!(done, Done { records: 10, unchanged: 10, ..Done::default() });

        let ended = keyward(&["copy", "--from", &from.url(), "--unseal"]).await;
        assert!(ended.status.success(), "{ended}");
        // One in the source, one in the target, one in both and there at another time.
        for (storage, n, time) in [(&from, 1, 10), (&to, 2, 20), (&from, 3, 30), (&to, 3, 40)] {
            revoke(storage, n, MORNING + 99_000_000 + time).await;
        }
        let done = copy(&from, &to, &[]).await;
        assert_eq!(done, Done { records: 10, changed: 1, unchanged: 9, ..Done::default() });

        let there = records(&to).await;
        let revoked_at = |n: usize| {
            let stored = there.iter().find(|it| it.key.id == samples[n].key.id).unwrap();
            (stored.key.status, stored.key.updated_at)
        };
        assert_eq!(revoked_at(0).0, Status::Active);
        for (n, time) in [(1, 10), (2, 20), (3, 40)] {
            assert_eq!(revoked_at(n), (Status::Revoked, at(MORNING + 99_000_000 + time)));
        }
    }
}

#[tokio::test]
async fn an_empty_storage_is_copied_to_an_empty_one() {
    for (from, to) in storages() {
        put(&from, &[]).await;
        assert_eq!(copy(&from, &to, &[]).await, Done::default());
    }
}

#[tokio::test]
async fn the_report_for_people_has_both_digests_and_the_counts() {
    let (from, to) = storages().next().unwrap();
    put(&from, &keys(3)).await;
    let ended = begin_copy(&from, &to, &[]).finish().await;
    assert!(ended.status.success(), "{ended}");
    let lines: Vec<&str> = ended.stdout.lines().collect();
    let digest = lines[0].rsplit(' ').next().unwrap();
    assert_eq!(digest.len(), 64, "{ended}");
    assert!(lines[0].starts_with("source: 3 records"), "{ended}");
    assert!(lines[1].starts_with("target: 3 records") && lines[1].ends_with(digest), "{ended}");
    let copied = "copied: 3 records, 3 added, 0 changed, 0 unchanged; digest ";
    assert_eq!(lines[2].strip_prefix(copied), Some(digest), "{ended}");
    assert_eq!(lines[3], "events: 0 of the audit trail", "{ended}");
    assert_eq!(lines.len(), 5, "{ended}");
    assert!(ended.stderr.contains("verifying: 3 of 3 records"), "{ended}");
}

#[tokio::test]
async fn what_was_moved_stays_sealed_until_it_is_unsealed() {
    for (from, to) in storages() {
        put(&from, &keys(3)).await;
        copy(&from, &to, &[]).await;
        assert!(!takes_changes(&from).await);
        assert!(takes_changes(&to).await);
        for _ in 0..2 {
            let ended = keyward(&["copy", "--from", &from.url(), "--unseal"]).await;
            assert!(ended.status.success(), "{ended}");
            assert!(takes_changes(&from).await);
        }
    }
}
