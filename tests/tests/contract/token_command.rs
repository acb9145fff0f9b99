//! `keyward token`.

use keyward_tests::launch::{Ended, Launch, Storage, keyward};
use keyward_tests::server::Server;
use keyward_tests::tenant::Tenant;
use keyward_tests::tokens::{self, ACCOUNT};
use uuid::Uuid;

#[tokio::test]
async fn a_minted_token_may_do_everything_in_its_workspace() {
    let server = Server::start().await;
    let tenant = server.tenant();
    let caller = mint(&server, &tenant, &[]).await;
    let key = caller.create("a").await;
    assert_eq!(caller.list().await.len(), 1);
    caller.revoke(key.id).await;
    let elsewhere = server.tenant().with_credential(caller.token());
    elsewhere.request("GET").send().await.expect_problem(403);
}

#[tokio::test]
async fn the_default_account_is_the_same_everywhere() {
    let (here, there) = (Server::start().await, Server::start().await);
    let mut accounts = Vec::new();
    for server in [&here, &there] {
        let caller = mint(server, &server.tenant(), &[]).await;
        accounts.push(caller.create("a").await.created_by);
    }
    assert_eq!(accounts[0], accounts[1]);
    assert_eq!(accounts[0].get_version_num(), 5);
}

#[tokio::test]
async fn account_scopes_and_workspaces_can_be_chosen() {
    let server = Server::start().await;
    let (tenant, other) = (server.tenant(), server.tenant());
    let second = other.workspace().to_string();
    let flags = ["--workspace", &second, "--account", ACCOUNT, "--scope", "api_keys:write orders"];
    let caller = mint(&server, &tenant, &flags).await;
    assert_eq!(caller.create("a").await.created_by.to_string(), ACCOUNT);
    other.with_credential(caller.token()).create("b").await;
    caller.request("GET").send().await.expect_problem(403);
}

#[tokio::test]
async fn a_token_ends_after_its_time() {
    let server = Server::start().await;
    let tenant = server.tenant();
    let expiry = |caller: &Tenant| {
        let claims = caller.token().split('.').nth(1).unwrap().to_owned();
        let claims: serde_json::Value = {
            use base64::Engine as _;
            let engine = base64::engine::general_purpose::URL_SAFE_NO_PAD;
            serde_json::from_slice(&engine.decode(claims).unwrap()).unwrap()
        };
        claims["exp"].as_i64().unwrap() - tokens::now()
    };
    let hour = expiry(&mint(&server, &tenant, &[]).await);
    assert!((3590..=3600).contains(&hour), "{hour}");
    let minute = expiry(&mint(&server, &tenant, &["--ttl", "1m"]).await);
    assert!((50..=60).contains(&minute), "{minute}");
}

#[tokio::test]
async fn it_uses_the_secret_of_a_running_servers_store() {
    let launch = Launch::on(Storage::rocksdb()).without_secret();
    let server = launch.start().await;
    let tenant = server.tenant();
    let workspace = tenant.workspace().to_string();
    let url = launch.storage().url();
    let ended = keyward(&["token", "--workspace", &workspace, "--storage", &url]).await;
    let caller = tenant.with_credential(token(&ended));
    assert_eq!(caller.list().await, []);
}

#[tokio::test]
async fn without_a_secret_it_says_what_to_do() {
    let workspace = Uuid::nil().to_string();
    let url = Storage::rocksdb().url();
    for arguments in [
        &["token", "--workspace", &workspace, "--storage", &url][..],
        &["token", "--workspace", &workspace, "--storage", "memory://"],
        &["token", "--workspace", "x", "--token-secret", &tokens::random_secret()],
        &["token", "--token-secret", &tokens::random_secret()],
    ] {
        let ended = keyward(arguments).await;
        assert!(!ended.status.success(), "{arguments:?}");
        assert!(ended.stdout.is_empty() && !ended.stderr.is_empty(), "{arguments:?}: {ended}");
    }
}

/// The tenant with a token that the command minted for it.
async fn mint(server: &Server, tenant: &Tenant, flags: &[&str]) -> Tenant {
    let workspace = tenant.workspace().to_string();
    let mut arguments = vec!["token", "--workspace", &workspace];
    arguments.extend(["--token-secret", server.secret()]);
    arguments.extend(flags);
    tenant.with_credential(token(&keyward(&arguments).await))
}

/// The token, which is alone on standard output.
fn token(ended: &Ended) -> &str {
    assert!(ended.status.success(), "{ended}");
    assert_eq!(ended.stderr, "");
    let token = ended.stdout.strip_suffix('\n').expect("a line");
    assert_eq!(token.split('.').count(), 3);
    token
}
