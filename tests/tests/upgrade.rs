//! This version beside the previous one, and after it. `cargo xtask test --suite upgrade` builds the
//! previous one.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use keyward_tests::launch::{Launch, Storage};
use keyward_tests::server::Server;
use keyward_tests::tenant::{KeyObject, Tenant};

/// How the previous version is started where `launch` starts this one.
fn previous(launch: &Launch) -> Launch {
    let binary = std::env::var_os("KEYWARD_PREVIOUS_BIN").map(PathBuf::from);
    let binary = binary.expect("KEYWARD_PREVIOUS_BIN names the binary of the previous version");
    launch.clone().binary(binary)
}

#[tokio::test]
async fn a_cluster_is_upgraded_node_by_node() {
    let launch = Launch::on(Storage::postgres());
    let old = previous(&launch).start().await;
    let tenant = old.tenant();
    let before = Keys::made_by(&tenant).await;
    let new = while_in_use(&tenant, launch.start()).await;

    before.are_as_they_were_on(&tenant.on(new.client())).await;
    each_sees_what_the_other_does(&tenant, &old, &new).await;

    // A node of the previous version may have to be started again, on what the new one has made of
    // the database.
    old.terminate().await;
    if let Some(old) = again(&previous(&launch)).await {
        before.are_as_they_were_on(&tenant.on(old.client())).await;
        each_sees_what_the_other_does(&tenant, &old, &new).await;
        old.terminate().await;
    }
    before.are_as_they_were_on(&tenant.on(new.client())).await;
    before.can_be_revoked_on(&tenant.on(new.client())).await;
}

#[tokio::test]
async fn a_directory_of_the_previous_version_is_opened() {
    let launch = Launch::on(Storage::rocksdb());
    let old = previous(&launch).start().await;
    let tenant = old.tenant();
    let before = Keys::made_by(&tenant).await;
    old.terminate().await;
    let new = launch.start().await;
    before.are_as_they_were_on(&tenant.on(new.client())).await;
    before.can_be_revoked_on(&tenant.on(new.client())).await;
}

#[tokio::test]
async fn a_directory_that_the_previous_version_was_killed_in_is_opened() {
    let launch = Launch::on(Storage::rocksdb());
    let old = previous(&launch).start().await;
    let tenant = old.tenant();
    let before = Keys::made_by(&tenant).await;
    old.kill().await;
    let new = launch.start().await;
    before.are_as_they_were_on(&tenant.on(new.client())).await;
    before.can_be_revoked_on(&tenant.on(new.client())).await;
}

#[tokio::test]
async fn a_directory_is_not_taken_back_by_a_version_that_does_not_know_what_is_in_it() {
    let launch = Launch::on(Storage::rocksdb());
    let old = previous(&launch).start().await;
    let tenant = old.tenant();
    let before = Keys::made_by(&tenant).await;
    old.terminate().await;
    launch.start().await.terminate().await;
    if let Some(old) = again(&previous(&launch)).await {
        before.are_as_they_were_on(&tenant.on(old.client())).await;
        old.terminate().await;
    }
    let new = launch.start().await;
    before.are_as_they_were_on(&tenant.on(new.client())).await;
}

/// Starts the previous version on what this one has used. Where the two keep their keys alike, it
/// must start; else it must say why it does not.
async fn again(previous: &Launch) -> Option<Server> {
    match previous.try_start().await {
        Ok(server) => Some(server),
        Err(ended) => {
            let words = ["by a later version of Keyward", "by a newer Keyward"];
            assert!(words.iter().any(|it| ended.stderr.contains(it)), "{ended}");
            None
        }
    }
}

/// Some keys of a workspace, and what was said of them.
struct Keys {
    active: KeyObject,
    scoped: KeyObject,
    revoked: KeyObject,
    listed: Vec<KeyObject>,
}

impl Keys {
    async fn made_by(tenant: &Tenant) -> Self {
        let active = tenant.create("active").await;
        let scoped = tenant.create_with_scopes(&["a", "b"]).await;
        let revoked = tenant.create("revoked").await;
        tenant.revoke(revoked.id).await;
        let keys = Self { active, scoped, revoked, listed: tenant.list().await };
        keys.are_as_they_were_on(tenant).await;
        keys
    }

    /// Others may have come to the workspace since.
    async fn are_as_they_were_on(&self, tenant: &Tenant) {
        let list = tenant.list().await;
        for key in &self.listed {
            assert!(list.contains(key), "{key:?} is not in {list:?}");
        }
        assert_eq!(tenant.verdict(self.active.raw()).await, "valid");
        assert_eq!(tenant.verdict(self.scoped.raw()).await, "valid");
        assert_eq!(tenant.verdict(self.revoked.raw()).await, "revoked");
        assert_eq!(tenant.auth(self.revoked.raw()).await, 401);
    }

    async fn can_be_revoked_on(&self, tenant: &Tenant) {
        for key in [&self.active, &self.scoped, &self.revoked] {
            tenant.revoke(key.id).await;
            assert_eq!(tenant.verdict(key.raw()).await, "revoked");
        }
    }
}

/// Waits for `starting` while keys are made, verified and revoked all the time. Each call must be
/// answered as it should be.
async fn while_in_use(tenant: &Tenant, starting: impl Future<Output = Server>) -> Server {
    let done = Arc::new(AtomicBool::new(false));
    let user = tokio::spawn({
        let (tenant, done) = (tenant.clone(), Arc::clone(&done));
        async move {
            while !done.load(Ordering::SeqCst) {
                let key = tenant.create("made meanwhile").await;
                assert_eq!(tenant.verdict(key.raw()).await, "valid");
                tenant.revoke(key.id).await;
                assert_eq!(tenant.verdict(key.raw()).await, "revoked");
            }
        }
    });
    let server = starting.await;
    done.store(true, Ordering::SeqCst);
    user.await.expect("every call was answered as it should be");
    server
}

async fn each_sees_what_the_other_does(tenant: &Tenant, old: &Server, new: &Server) {
    let (old, new) = (tenant.on(old.client()), tenant.on(new.client()));
    for (here, there) in [(&old, &new), (&new, &old)] {
        let keys = [here.create("revoked here").await, here.create("revoked there").await];
        for key in &keys {
            assert_eq!(there.verdict(key.raw()).await, "valid");
            assert_eq!(here.verdict(key.raw()).await, "valid");
        }
        here.revoke(keys[0].id).await;
        there.revoke(keys[1].id).await;
        for key in &keys {
            assert_eq!(there.verdict(key.raw()).await, "revoked");
            assert_eq!(here.verdict(key.raw()).await, "revoked");
        }
        assert_eq!(here.list().await, there.list().await);
    }
}
