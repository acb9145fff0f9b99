//! Copies that are killed or stopped in the middle.

use std::time::Duration;

use keyward_tests::launch::{Ended, Storage};
use keyward_tests::tokens::random;
use keyward_tests::wait::eventually;
use rustix::process::{Pid, Signal, kill_process};

use crate::fixture::{
    Done, Make, assert_fails, begin_copy, copy, keys, pairs, put, records, takes_changes,
};

const RECORDS: usize = 40_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_copy_is_resumed() {
    for (from, to) in pairs() {
        let source = from();
        put(&source, &keys(RECORDS.try_into().unwrap())).await;
        let (target, ended, copied) = end_in_the_middle(&source, to, Signal::KILL).await;
        assert_eq!(ended.status.code(), None, "{ended}");
        assert_eq!(ended.stdout, "");
        assert!(!takes_changes(&source).await, "nobody was left to unseal it");

        let done = copy(&source, &target, &[]).await;
        let expected = Done {
            records: RECORDS as u64,
            added: (RECORDS - copied) as u64,
            unchanged: copied as u64,
            ..Done::default()
        };
        assert_eq!(done, expected);
        assert_eq!(records(&target).await, records(&source).await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_copy_leaves_a_source_that_takes_changes() {
    for (from, to) in pairs() {
        let source = from();
        put(&source, &keys(RECORDS.try_into().unwrap())).await;
        for (signal, name) in [(Signal::INT, "SIGINT"), (Signal::TERM, "SIGTERM")] {
            let (_, ended, _) = end_in_the_middle(&source, to, signal).await;
            assert_fails(&ended, name);
            assert!(ended.stderr.contains("takes changes"), "{ended}");
            assert!(takes_changes(&source).await);
        }
    }
}

/// Copies, and sends `signal` when some records were copied and some were not. Returns the target,
/// what the command left and how many records it had copied.
async fn end_in_the_middle(source: &Storage, to: Make, signal: Signal) -> (Storage, Ended, usize) {
    // How fast the machine is shows only in the trying.
    for _ in 0..50 {
        let target = to();
        let mut process = begin_copy(source, &target, &[]);
        eventually("the copy has begun to copy", async || {
            process.stderr().contains("copying: 0 of") || is_over(&process.stderr())
        })
        .await;
        let [fraction] = random::<1>();
        tokio::time::sleep(Duration::from_millis(u64::from(fraction))).await;
        // It may have ended by itself.
        let _ = kill_process(Pid::from_child(process.child()), signal);
        let ended = process.finish().await;
        let copied = records(&target).await.len();
        if (1..RECORDS).contains(&copied) {
            return (target, ended, copied);
        }
    }
    panic!("no copy was caught in the middle");
}

fn is_over(stderr: &str) -> bool {
    stderr.contains("keyward: ")
}
