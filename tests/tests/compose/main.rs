//! The cluster that `docker-compose.yml` starts: it keeps the contract through its gateway, it loses a
//! node without losing more, and it leaves nothing behind. It needs a Docker engine with its compose
//! plugin, and the images that the file names.

mod cluster;
mod load;

use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant, SystemTime};

use keyward_tests::deployment::{self, Deployment};
use keyward_tests::server::Server;
use keyward_tests::tenant::verify;
use keyward_tests::wait::{eventually, within};
use serde_json::json;
use tokio::process::Command;

use crate::cluster::{Cluster, NODES};
use crate::load::{Load, Seen};

const CLIENTS: usize = 32;
/// How long the clients work before the node is killed, and while it is away.
const A_WHILE: Duration = Duration::from_secs(3);

/// Tests of the contract that a cluster behind nginx is not asked, with all whose names begin so.
const NOT_ASKED: [&str; 20] = [
    // They start servers with flags of their own, or look into their files.
    "identity_provider::",
    "prefixes::",
    "program::",
    "token_command::",
    "audit::an_event_that_was_changed_in_the_database",
    "audit::only_a_trusted_proxy",
    "audit::the_command_verifies",
    "callers::a_secret_is_rotated",
    "keys_command::a_token_may_be_in_a_file_and_a_flag_names_the_server",
    "lifecycle::the_operator_bounds_the_life_of_keys",
    "uses::a_clean_stop_writes_what_is_noted",
    "uses::keys_that_are_unused_since_a_time_are_revoked",
    "uses::where_uses_are_not_kept_none_is_kept_or_shown",
    "verify::more_lookups_than_are_allowed",
    // Every node counts for itself; nginx does not show one's figures for all.
    "operations::metrics",
    "operations::labels",
    // nginx refuses TRACE itself (405), as it does CONNECT.
    "forward_auth::a_good_key_opens_on_every_method_and_path",
    "problems::a_wrong_method_is_told_the_right_ones",
    // nginx answers 505 to a version of HTTP that is not known, and 400 to a path with a zero byte or
    // to one that is none.
    "problems::a_request_that_is_not_http",
    "problems::an_unknown_route",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_keeps_the_contract_and_survives_the_loss_of_a_node() {
    let cluster = Cluster::up().await;
    let deployment = cluster.deployment().await;

    the_contract_holds_through_the_gateway(&deployment).await;
    a_key_is_known_and_refused_on_every_node_at_once(&cluster, &deployment).await;
    a_node_that_is_told_to_end_finishes_what_it_was_working_on(&cluster, &deployment).await;
    a_killed_node_takes_with_it_what_it_was_working_on(&cluster, &deployment).await;
    no_secret_is_told(&cluster, &deployment).await;
    assert_eq!(cluster.restarts().await, 0, "a container ended by itself");

    cluster.down().await;
}

async fn the_contract_holds_through_the_gateway(deployment: &Deployment) {
    let mut contract = Command::new(contract());
    contract.env(deployment::ADDRESS, deployment.address.to_string());
    contract.env(deployment::SECRET, &deployment.secret);
    contract.args(NOT_ASKED.iter().flat_map(|name| ["--skip", name]));
    contract.stdin(Stdio::null()).kill_on_drop(true);
    let output = within(Duration::from_mins(5), "the contract", contract.output()).await;
    let output = output.expect("the tests of the contract start");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let passed = text.lines().filter(|line| line.ends_with(" ... ok")).count();
    println!("the contract through nginx: {passed} tests");
    assert!(passed > 60, "{text}");
}

async fn a_key_is_known_and_refused_on_every_node_at_once(
    cluster: &Cluster,
    deployment: &Deployment,
) {
    let tenant = Server::of(deployment.clone()).tenant();
    let nodes =
        [cluster.node(NODES[0]).await, cluster.node(NODES[1]).await, cluster.node(NODES[2]).await];
    for n in 0..60 {
        // Whichever node makes the change, all know of it.
        let tenant = tenant.on(nodes[n % nodes.len()].clone());
        let key = tenant.create("a").await;
        for node in &nodes {
            let answer = verify(node, &json!({ "key": key.raw() })).await.expect(200);
            assert_eq!(answer.json()["valid"], true, "{answer:?}");
        }
        tenant.revoke(key.id).await;
        for node in &nodes {
            assert_eq!(tenant.on(node.clone()).verdict(key.raw()).await, "revoked");
            assert_eq!(tenant.on(node.clone()).auth(key.raw()).await, 401);
        }
    }
}

/// As when the cluster is upgraded node by node.
async fn a_node_that_is_told_to_end_finishes_what_it_was_working_on(
    cluster: &Cluster,
    deployment: &Deployment,
) {
    let load = Load::start(deployment, CLIENTS);
    for node in NODES {
        tokio::time::sleep(A_WHILE / 3).await;
        let told = Instant::now();
        cluster.compose(&["stop", node]).await;
        assert!(told.elapsed() < A_WHILE * 3, "{node} had to be killed");
        cluster.compose(&["up", "--detach", "--wait", "--no-recreate", node]).await;
    }
    let Seen { answered, failures } = load.stop().await;
    println!("told to end, one after the other: {answered} answered, {} failed", failures.len());
    // A create that is sent on an idle connection in the very instant in which the node closes it
    // is not repeated, as nobody but the node knows what became of it.
    assert!(failures.iter().all(|failure| failure.call == "create"), "{failures:?}");
    assert!(failures.len() <= NODES.len(), "{failures:?}");
}

async fn a_killed_node_takes_with_it_what_it_was_working_on(
    cluster: &Cluster,
    deployment: &Deployment,
) {
    let node = NODES[1];
    let address = cluster.address_behind_the_gateway(node).await;
    let failed_before = cluster.logs("nginx").await.lines().count();
    let load = Load::start(deployment, CLIENTS);
    tokio::time::sleep(A_WHILE).await;
    cluster.compose(&["kill", "--signal", "KILL", node]).await;
    let killed = Instant::now();
    tokio::time::sleep(A_WHILE).await;

    cluster.compose(&["start", node]).await;
    let client = cluster.node(node).await;
    let served = async || {
        let answer = client.get("/metrics").try_send().await.ok();
        let name = r#"keyward_http_responses_total{class="2xx"} "#;
        let line =
            answer.iter().find_map(|answer| answer.body.lines().find(|l| l.starts_with(name)));
        line.and_then(|line| line[name.len()..].parse::<f64>().ok()).unwrap_or_default()
    };
    eventually("the node serves again", async || served().await > 100.0).await;
    let back = killed.elapsed();
    let Seen { answered, failures } = load.stop().await;
    println!(
        "{CLIENTS} clients: {answered} requests answered, {} failed; the killed node served again \
         {back:.1?} later",
        failures.len()
    );

    for failure in &failures {
        // All else is repeated on another node.
        assert_eq!(failure.call, "create", "{failure:?}");
        assert!(failure.began < killed, "sent when the node was gone: {failure:?}");
    }
    let mut clients: Vec<usize> = failures.iter().map(|failure| failure.client).collect();
    clients.sort_unstable();
    clients.dedup();
    assert_eq!(clients.len(), failures.len(), "more than was in flight: {failures:?}");
    let log = cluster.logs("nginx").await;
    let failed: Vec<&str> = log.lines().skip(failed_before).collect();
    assert_eq!(failed.len(), failures.len(), "{failed:?} {failures:?}");
    for line in failed {
        assert!(line.contains(&format!(" node={address} ")), "not on the killed node: {line}");
    }
}

/// Neither by what the containers write, nor to whoever may ask Docker about them.
async fn no_secret_is_told(cluster: &Cluster, deployment: &Deployment) {
    let exec = ["exec", "-T", "postgres", "cat", "/run/keyward/postgres.password"];
    let password = cluster.compose(&exec).await;
    assert_eq!((password.len(), deployment.secret.len()), (64, 64));
    let mut told = cluster.inspection().await;
    for service in NODES.into_iter().chain(["nginx", "postgres", "secrets"]) {
        told.push_str(&cluster.logs(service).await);
    }
    assert!(!told.contains(&password) && !told.contains(&deployment.secret));
    assert!(!told.contains("panicked"), "{told}");
}

/// The program of the contract's tests, which cargo puts beside this one. Where it has kept older ones,
/// the newest.
fn contract() -> PathBuf {
    let own = std::env::current_exe().expect("a process knows its executable");
    let directory = own.parent().expect("an executable is in a directory");
    let is_contract = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str());
        path.extension().is_none() && name.is_some_and(|name| name.starts_with("contract-"))
    };
    let made = |path: &PathBuf| {
        path.metadata().and_then(|about| about.modified()).unwrap_or(SystemTime::UNIX_EPOCH)
    };
    let entries = std::fs::read_dir(directory).expect("the directory can be read");
    let programs = entries.filter_map(|entry| Some(entry.ok()?.path())).filter(is_contract);
    programs.max_by_key(made).expect("the tests of the contract are built with these")
}
