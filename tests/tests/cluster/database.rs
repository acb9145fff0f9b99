//! What Postgres does, and what people do to it.

use std::time::Duration;

use keyward_tests::history::{Outcome, Span};
use keyward_tests::wait::eventually;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _};
use tokio::time::sleep;

use crate::fleet::{Fleet, judgement};
use crate::load::{Load, Shown, below};
use crate::{WINDOW, rounds};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_postgres_that_is_killed_and_started_again_makes_nobody_accept_what_was_revoked() {
    let mut fleet = Fleet::start().await;
    let good = fleet.remembered_key("good").await;
    let load = Load::begin(&fleet);
    for _ in 0..rounds(3) {
        load.revoke(10).await;
        fleet.cluster.kill();
        for tenant in &fleet.tenants {
            eventually("nobody can say", async || tenant.auth(good.raw()).await == 503).await;
        }
        fleet.cluster.start_again().await;
    }
    load.revoke(10).await;
    load.end().await.assert_strict();
    fleet.assert_serves().await;
}

/// Its change overlaps with those of the nodes, which come before it or wait for it. One that is taken
/// back leaves nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_is_held_back_hides_no_change() {
    let fleet = Fleet::start().await;
    let load = Load::begin(&fleet);
    let mut somebody = fleet.cluster.admin().await;
    for round in 0..rounds(8) {
        let key = load.key().await;
        load.threaten(&key);
        let begun = load.recorder().now();
        let mut transaction = somebody.begin().await.expect("the server answers");
        let update = revoke_in_sql(&key);
        transaction.execute(AssertSqlSafe(update)).await.expect("the key is there");
        sleep(Duration::from_millis(u64::try_from(below(700)).expect("it is small"))).await;
        if round % 4 == 3 {
            transaction.rollback().await.expect("the server answers");
            assert_eq!(load.delete(0, &key).await, Outcome::Answered);
            load.ask_everywhere(&key).await;
        } else {
            transaction.commit().await.expect("the server answers");
            wait_and_promise(&load, &key, begun).await;
        }
    }
    load.end().await.assert_strict().assert_calm();
}

/// The clock of changes is locked until each commit is done.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_that_stall_make_nobody_accept_what_was_revoked() {
    let fleet = Fleet::start().await;
    let stall = "CREATE FUNCTION public.stall() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN PERFORM pg_sleep(random() * 0.02); RETURN NULL; END $$";
    let at_commit = "CREATE CONSTRAINT TRIGGER stall AFTER INSERT ON keyward.key_changes
        DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION public.stall()";
    fleet.cluster.run(&[stall, at_commit]).await;
    let load = Load::begin(&fleet);
    load.revoke(rounds(60)).await;
    load.end().await.assert_strict().assert_calm();
}

/// Whoever types it and waits as long as the window is may make the same promise as the answer to a
/// DELETE.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revocation_typed_in_sql_holds_on_all_nodes_after_the_window() {
    let fleet = Fleet::start().await;
    let load = Load::begin(&fleet);
    for round in 0..rounds(10) {
        let key = load.key().await;
        load.threaten(&key);
        let begun = load.recorder().now();
        let gone = format!("DELETE FROM keyward.api_keys WHERE id = '{}'", key.id);
        let statement = if round % 2 == 0 { revoke_in_sql(&key) } else { gone };
        fleet.cluster.run(&[&statement]).await;
        wait_and_promise(&load, &key, begun).await;
    }
    load.end().await.assert_strict().assert_calm();

    let idle = fleet.remembered_key("shown to nodes that have nothing else to do").await;
    sleep(4 * WINDOW).await;
    fleet.cluster.run(&["UPDATE keyward.api_keys SET status = 'revoked'"]).await;
    sleep(WINDOW).await;
    for tenant in &fleet.tenants {
        assert_eq!(judgement(tenant, &idle).await, 401);
    }
}

/// A poll carries no more than ten thousand.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_changes_at_once_than_a_node_hears_of_hide_none() {
    let fleet = Fleet::start().await;
    let load = Load::begin(&fleet);
    for _ in 0..rounds(2) {
        let key = load.key().await;
        let id = key.id;
        let twins = format!(
            "INSERT INTO keyward.api_keys
             SELECT gen_random_uuid(), gen_random_uuid(), sha256(uuid_send(gen_random_uuid())), 'twin',
                    key_prefix, status, created_by, created_at, updated_at, scopes
             FROM keyward.api_keys, generate_series(1, 12000) WHERE id = '{id}'"
        );
        fleet.cluster.run(&[&twins]).await;
        load.threaten(&key);
        let begun = load.recorder().now();
        let revoke = format!(
            "UPDATE keyward.api_keys SET status = 'revoked' WHERE name = 'twin' OR id = '{id}'"
        );
        fleet.cluster.run(&[&revoke]).await;
        wait_and_promise(&load, &key, begun).await;
    }
    load.end().await.assert_strict();
}

/// The database's wall clock cannot be set here, but what comes of it can be done: a change seems to be
/// so old that it is given up, with all before it but the newest, before any node has heard of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_history_that_is_given_up_too_early_hides_nothing() {
    let fleet = Fleet::start().await;
    let load = Load::begin(&fleet);
    let renamed = load.key().await.id;
    for _ in 0..rounds(6) {
        let key = load.key().await;
        load.threaten(&key);
        let begun = load.recorder().now();
        // All of this is one transaction.
        let hidden = format!(
            "{};
            UPDATE keyward.api_keys SET name = name || '.' WHERE id = '{renamed}';
            DELETE FROM keyward.key_changes
            WHERE epoch < (SELECT epoch FROM keyward.change_clock)",
            revoke_in_sql(&key)
        );
        fleet.cluster.run(&[&hidden]).await;
        wait_and_promise(&load, &key, begun).await;
        load.revoke(10).await;
    }
    load.end().await.assert_strict().assert_calm();
    for tenant in &fleet.tenants {
        assert!(tenant.client().metric("keyward_history_resets_total").await > 0.0);
    }
    fleet.assert_serves().await;
}

fn revoke_in_sql(key: &Shown) -> String {
    format!("UPDATE keyward.api_keys SET status = 'revoked' WHERE id = '{}'", key.id)
}

/// Waits for the window after a commit, and then says that the key is revoked.
async fn wait_and_promise(load: &Load, key: &Shown, begun: Duration) {
    sleep(WINDOW).await;
    let recorder = load.recorder();
    let span: Span = recorder.since(begun);
    recorder.history().deleted(key.key, span, Outcome::Answered);
    load.ask_everywhere(key).await;
}
