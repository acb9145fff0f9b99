//! Where two things are wrong at once, the first in the order of judgement is answered: route and
//! method, caller, path ids and headers, workspace and scope, body, record.

use keyward_tests::client::Request;
use keyward_tests::server::Server;
use keyward_tests::tenant::Tenant;
use keyward_tests::tokens;
use uuid::Uuid;

const BAD_ID: &str = "550e8400-e29b-41d4-a716-44665544000g";

#[tokio::test]
async fn the_route_comes_before_the_caller() {
    let server = Server::start().await;
    let client = server.client();
    client.get("/api/v1/workspaces").send().await.expect_problem(404);
    client.get("/api/v1/nothing").bearer("nobody").send().await.expect_problem(404);
    let path = server.tenant().keys_path();
    client.request("PUT", &path).send().await.expect_problem(405);
    client.request("PATCH", &path).bearer("nobody").send().await.expect_problem(405);
    client.post(&format!("{path}/{BAD_ID}")).send().await.expect_problem(405);
}

#[tokio::test]
async fn the_caller_comes_before_path_ids_and_headers() {
    let server = Server::start().await;
    let tenant = server.tenant();
    for request in on_every_call(&tenant, BAD_ID, BAD_ID) {
        request.send().await.expect_problem(401);
    }
    let keys = tenant.keys_path();
    for method in ["GET", "POST"] {
        let request = server.client().request(method, &keys).bearer("nobody");
        request.header("x-workspace-id", "bad").send().await.expect_problem(401);
    }
}

#[tokio::test]
async fn path_ids_and_headers_come_before_the_workspace() {
    let server = Server::start().await;
    let (tenant, other) = (server.tenant(), server.tenant());
    for request in on_every_call(&tenant, BAD_ID, BAD_ID) {
        request.bearer(tenant.token()).send().await.expect_problem(400);
    }
    let bad_key = format!("{}/{BAD_ID}", other.keys_path());
    server.client().delete(&bad_key).bearer(tenant.token()).send().await.expect_problem(400);
    let request = server.client().get(&other.keys_path()).bearer(tenant.token());
    let own = tenant.workspace().to_string();
    request.header("x-workspace-id", own).send().await.expect_problem(400);
}

#[tokio::test]
async fn the_workspace_comes_before_the_scope() {
    let server = Server::start().await;
    let (tenant, other) = (server.tenant(), server.tenant());
    let bare = token(&server, &tenant, "");
    let answer = server.client().get(&other.keys_path()).bearer(&bare).send().await;
    let answer = answer.expect_problem(403);
    assert!(!answer.header("www-authenticate").contains("insufficient_scope"), "{answer:?}");
    let answer = server.client().get(&tenant.keys_path()).bearer(&bare).send().await;
    assert!(answer.expect_problem(403).header("www-authenticate").contains("insufficient_scope"));
}

#[tokio::test]
async fn workspace_and_scope_come_before_the_body() {
    let server = Server::start().await;
    let (tenant, other) = (server.tenant(), server.tenant());
    let reader = tenant.with_credential(token(&server, &tenant, "api_keys:read"));
    let stranger = other.with_credential(tenant.token());
    for caller in [reader, stranger] {
        caller.post("{").await.expect_problem(403);
        caller.post(" ".repeat(100_000)).await.expect_problem(403);
        caller.request("POST").body("name").send().await.expect_problem(403);
    }
}

#[tokio::test]
async fn too_large_comes_before_not_json_and_not_json_before_bad_json() {
    let server = Server::start().await;
    let tenant = server.tenant();
    let large = "x".repeat(70_000);
    let request = tenant.request("POST").header("content-type", "text/plain").body(large);
    request.send().await.expect_problem(413);
    let request = tenant.request("POST").header("content-type", "text/plain").body("{");
    request.send().await.expect_problem(415);
}

#[tokio::test]
async fn the_scope_comes_before_the_record() {
    let server = Server::start().await;
    let tenant = server.tenant();
    let reader = tenant.with_credential(token(&server, &tenant, "api_keys:read"));
    reader.delete(Uuid::nil()).await.expect_problem(403);
    tenant.delete(Uuid::nil()).await.expect_problem(404);
}

/// The documented calls on a workspace and a key, without a credential.
fn on_every_call(tenant: &Tenant, workspace: &str, key: &str) -> [Request; 3] {
    let path = format!("/api/v1/workspaces/{workspace}/api-keys");
    let client = tenant.client();
    [
        client.get(&path),
        client.post(&path).json(r#"{"name":"a"}"#),
        client.delete(&format!("{path}/{key}")),
    ]
}

fn token(server: &Server, tenant: &Tenant, scope: &str) -> String {
    let claims = tokens::with(tokens::claims(&[tenant.workspace()]), "scope", scope);
    tokens::hs256(server.secret(), &claims)
}
