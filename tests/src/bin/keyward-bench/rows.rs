//! What is measured. A new row is one more entry here.

use keyward_core::id::KeyId;

/// One row of the table.
pub struct Row {
    pub name: &'static str,
    /// How many ask at once, each one thing at a time. `None` for as many as `--connections` says.
    pub clients: Option<usize>,
    pub what: What,
}

/// What a row does, and beside what.
#[derive(Clone, Copy)]
pub enum What {
    /// A verification that is answered from memory, beside a bare warp route.
    VerifyFromMemory(&'static Question),
    /// A verification that is answered from memory, beside one of a server that does not keep when keys
    /// are used.
    VerifyAndNote(&'static Question),
    /// A verification that reads Postgres, beside `pgbench` with the same prepared SELECT.
    VerifyFromPostgres,
    /// A creation, beside the same synced `WriteBatch` of RocksDB's.
    CreateInRocksDb,
    /// A creation, beside `pgbench` with the same prepared INSERT.
    CreateInPostgres,
    /// A verification on Postgres with a window, without one and without memory, beside a bare warp
    /// route.
    VerifyInCluster,
    /// A revocation on Postgres, with and without a window. What it waits for has no floor.
    RevokeInCluster,
}

/// All rows, in the order of the table.
pub const ROWS: &[Row] = &[
    row("forward-auth, cache hit", None, What::VerifyFromMemory(&FORWARD_AUTH)),
    row("verify, cache hit", None, What::VerifyFromMemory(&VERIFY)),
    row("forward-auth, last use", None, What::VerifyAndNote(&FORWARD_AUTH)),
    row("create, rocksdb, 1 client", Some(1), What::CreateInRocksDb),
    row("create, rocksdb, 32 clients", Some(32), What::CreateInRocksDb),
    row("create, rocksdb, 256 clients", Some(256), What::CreateInRocksDb),
    row("create, postgres, 1 client", Some(1), What::CreateInPostgres),
    row("create, postgres, 32 clients", Some(32), What::CreateInPostgres),
    row("forward-auth, postgres asked each time", Some(32), What::VerifyFromPostgres),
    row("forward-auth, postgres", None, What::VerifyInCluster),
    // The last one, because it uses keys up.
    row("revoke, postgres", Some(32), What::RevokeInCluster),
];

const fn row(name: &'static str, clients: Option<usize>, what: What) -> Row {
    Row { name, clients, what }
}

/// What is asked over HTTP.
pub struct Question {
    /// Writes the request that presents a key, or a caller's token.
    pub request: fn(credential: &str) -> Vec<u8>,
    /// The one status that is right. Any other ends the run.
    pub status: u16,
    /// How the body of a right answer begins.
    pub body_begins: &'static str,
    /// Whether a bare route reads the body of the request before it answers.
    pub floor_reads_body: bool,
}

/// The workspace that all keys belong to.
pub const WORKSPACE: &str = "660e8400-e29b-41d4-a716-446655440000";
/// What all keys are called.
pub const KEY_NAME: &str = "Bench key";

pub const FORWARD_AUTH: Question =
    Question { request: forward_auth, status: 200, body_begins: "", floor_reads_body: false };

pub const VERIFY: Question = Question {
    request: verify,
    status: 200,
    body_begins: r#"{"valid":true,"#,
    floor_reads_body: true,
};

pub const CREATE: Question =
    Question { request: create, status: 201, body_begins: r#"{"id":"#, floor_reads_body: true };

/// Its requests name the keys one by one, see [`revocation`].
pub const REVOKE: Question = Question {
    request: |_| Vec::new(),
    status: 200,
    body_begins: r#"{"status":"revoked"}"#,
    floor_reads_body: false,
};

/// Writes the request that revokes a key, by a caller with this token.
pub fn revocation(key: KeyId, token: &str) -> Vec<u8> {
    let path = format!("/api/v1/workspaces/{WORKSPACE}/api-keys/{key}");
    let caller = format!("Authorization: Bearer {token}\r\n");
    format!("DELETE {path} HTTP/1.1\r\nHost: localhost\r\n{caller}\r\n").into_bytes()
}

fn forward_auth(key: &str) -> Vec<u8> {
    format!("GET /api/v1/auth HTTP/1.1\r\nHost: localhost\r\nX-API-Key: {key}\r\n\r\n").into_bytes()
}

fn verify(key: &str) -> Vec<u8> {
    post("/api/v1/api-keys/verify", "", &format!(r#"{{"key":"{key}"}}"#))
}

fn create(token: &str) -> Vec<u8> {
    let path = format!("/api/v1/workspaces/{WORKSPACE}/api-keys");
    let caller = format!("Authorization: Bearer {token}\r\n");
    post(&path, &caller, &format!(r#"{{"name":"{KEY_NAME}"}}"#))
}

fn post(path: &str, headers: &str, body: &str) -> Vec<u8> {
    format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}
