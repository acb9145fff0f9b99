//! A database whose past is another one than the nodes have seen.

use keyward_tests::cluster::Cluster;
use keyward_tests::tenant::KeyObject;
use keyward_tests::wait::eventually;
use tokio::time::sleep;

use crate::fleet::{Fleet, judgement, revoke};
use crate::load::Load;
use crate::{WINDOW, rounds};

/// What the nodes know when the newest change is lost.
struct Known {
    kept: KeyObject,
    /// Its revocation is the change that is lost.
    lost: KeyObject,
    /// Its revocation takes the number of the lost one.
    instead: KeyObject,
}

impl Known {
    /// Keys that all nodes remember.
    async fn by(fleet: &Fleet) -> Self {
        // A change that stays, so that there is one to be found before the lost one.
        let before = fleet.remembered_key("revoked before").await;
        revoke(fleet.tenant(), &before).await;
        Self {
            kept: fleet.remembered_key("kept").await,
            lost: fleet.remembered_key("lost").await,
            instead: fleet.remembered_key("revoked instead").await,
        }
    }

    /// Makes the change that is going to be lost, and has all nodes see it.
    async fn revoke_lost(&self, fleet: &Fleet) -> i64 {
        revoke(fleet.tenant(), &self.lost).await;
        for tenant in &fleet.tenants {
            assert_eq!(judgement(tenant, &self.lost).await, 401);
            assert_eq!(judgement(tenant, &self.kept).await, 200);
            assert_eq!(judgement(tenant, &self.instead).await, 200);
        }
        epoch(&fleet.cluster).await
    }

    /// Revokes the other key in a past in which the lost change was not made, and waits until nobody
    /// may rely on what was asked before.
    async fn revoke_instead(&self, cluster: &Cluster, lost_epoch: i64) {
        let id = self.instead.id;
        let update = format!("UPDATE keyward.api_keys SET status = 'revoked' WHERE id = '{id}'");
        cluster.run(&[&update]).await;
        assert_eq!(epoch(cluster).await, lost_epoch, "the number is taken again");
        sleep(WINDOW).await;
    }

    /// No node believes what it remembers, from its first answer on: each says what the database says.
    async fn assert_forgotten(&self, fleet: &Fleet) {
        for tenant in &fleet.tenants {
            assert_eq!(judgement(tenant, &self.instead).await, 401);
            assert_eq!(judgement(tenant, &self.lost).await, 200);
            assert_eq!(judgement(tenant, &self.kept).await, 200);
        }
        for tenant in &fleet.tenants {
            let resets = tenant.client().metric("keyward_history_resets_total").await;
            assert!(resets >= 1.0, "{resets}");
        }
        fleet.assert_serves().await;
    }
}

async fn epoch(cluster: &Cluster) -> i64 {
    cluster.number("SELECT epoch FROM keyward.change_clock").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_promoted_standby_that_never_heard_of_the_newest_change_is_noticed() {
    let mut fleet = Fleet::start().await;
    let known = Known::by(&fleet).await;
    let standby = Cluster::standby_of(&fleet.cluster).await;
    standby.catch_up_with(&fleet.cluster).await;
    standby.leave_primary().await;
    let lost_epoch = known.revoke_lost(&fleet).await;

    fleet.cluster.kill();
    standby.promote().await;
    known.revoke_instead(&standby, lost_epoch).await;
    fleet.turn_to(&standby);
    known.assert_forgotten(&fleet).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restored_backup_is_noticed() {
    let mut fleet = Fleet::start().await;
    let known = Known::by(&fleet).await;
    fleet.cluster.stop().await;
    fleet.cluster.back_up();
    fleet.cluster.start_again().await;
    for key in [&known.kept, &known.lost, &known.instead] {
        fleet.remember(key).await;
    }
    let lost_epoch = known.revoke_lost(&fleet).await;

    for proxy in &fleet.proxies {
        proxy.cut();
    }
    fleet.cluster.stop().await;
    fleet.cluster.restore();
    fleet.cluster.start_again().await;
    known.revoke_instead(&fleet.cluster, lost_epoch).await;
    for proxy in &fleet.proxies {
        proxy.mend();
    }
    known.assert_forgotten(&fleet).await;
}

/// Nobody takes a standby's word, and what it was told it has when it is promoted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_to_a_synchronous_standby_breaks_no_promise() {
    let mut fleet = Fleet::start().await;
    let good = fleet.remembered_key("good").await;
    let standby = Cluster::standby_of(&fleet.cluster).await;
    for statement in ["ALTER SYSTEM SET synchronous_standby_names = '*'", "SELECT pg_reload_conf()"]
    {
        fleet.cluster.run(&[statement]).await;
    }
    eventually("the standby is waited for", async || {
        let synchronous = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'";
        fleet.cluster.number(synchronous).await == 1
    })
    .await;
    let load = Load::begin(&fleet);
    load.revoke(rounds(30)).await;
    fleet.cluster.kill();
    fleet.turn_to(&standby);
    for tenant in &fleet.tenants {
        eventually("nobody can say", async || tenant.auth(good.raw()).await == 503).await;
    }
    standby.promote().await;
    load.revoke(rounds(30)).await;
    load.end().await.assert_strict();
    fleet.assert_serves().await;
}
