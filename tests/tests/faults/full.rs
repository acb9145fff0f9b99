//! A disk that takes no more.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use keyward_tests::cluster::Cluster;
use keyward_tests::ledger::{Ledger, check};
use keyward_tests::wait::eventually;
use tempfile::TempDir;

use crate::node_on;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_of_postgres_is_told_and_loses_nothing() {
    let place = TempDir::with_prefix("keyward-full-").expect("there is room");
    let small = SmallDisk::mount(place.path());
    let mut cluster = Cluster::at(place, &["min_wal_size=32MB", "max_wal_size=48MB"]).await;
    let node = node_on(cluster.url()).start().await;
    let tenant = node.tenant();
    let ledger = Ledger::default();
    for n in 0..20 {
        ledger.create_and_maybe_revoke(&tenant, n % 2 == 0).await;
    }
    let filler = fill(cluster.path());
    // Postgres has some room within the files that it has.
    eventually("a create is told that there is no room", async || {
        let body = format!(r#"{{"name":"{}"}}"#, "x".repeat(250));
        let answer = tenant.post(body).await;
        assert!(matches!(answer.status, 201 | 503), "{answer:?}");
        answer.status == 503
    })
    .await;
    let answer = tenant.post(r#"{"name":"too much"}"#).await;
    if answer.status != 201 {
        assert!(answer.expect_problem(503).header("retry-after").parse::<u32>().is_ok());
    }
    for (key, _) in ledger.entries() {
        let status = tenant.auth(key.raw()).await;
        assert!(matches!(status, 200 | 401 | 503), "{status}");
    }

    std::fs::remove_file(filler).expect("it is ours");
    // Where its log found no room, Postgres has ended itself.
    cluster.kill();
    cluster.start_again().await;
    eventually("there is room again", async || {
        tenant.post(r#"{"name":"at last"}"#).await.status == 201
    })
    .await;
    for (key, state) in ledger.entries() {
        check(&tenant, &key, state).await;
    }
    drop(cluster);
    drop(small);
}

/// Takes all the room that is left at this place.
fn fill(place: &Path) -> PathBuf {
    let path = place.join("filler");
    let mut file = std::fs::File::create(&path).expect("a name takes no room");
    for size in [1 << 20, 1 << 12] {
        while file.write_all(&vec![0; size]).is_ok() {}
    }
    path
}

/// A small file system in memory, unmounted with this value.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(place: &Path) -> Self {
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=160m,mode=0700", "keyward-test"])
            .arg(place)
            .status();
        assert!(
            mounted.is_ok_and(|status| status.success()),
            "a small tmpfs cannot be mounted: this test needs root, or CAP_SYS_ADMIN"
        );
        Self(place.to_owned())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("--lazy").arg(&self.0).status();
        if !unmounted.is_ok_and(|status| status.success()) {
            eprintln!("{} is still mounted", self.0.display());
        }
        // Nobody could take it away while something was mounted on it.
        let _ = std::fs::remove_dir(&self.0);
    }
}
