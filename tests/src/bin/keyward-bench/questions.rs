//! What is asked over HTTP, written beforehand.

use keyward_core::id::KeyId;

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

/// A key that is not accepted.
pub const REFUSED: Question =
    Question { request: forward_auth, status: 401, body_begins: "", floor_reads_body: false };

pub const CREATE: Question =
    Question { request: create, status: 201, body_begins: r#"{"id":"#, floor_reads_body: true };

/// Its requests name the keys one by one, see [`revocation`].
pub const REVOKE: Question = Question {
    request: |_| Vec::new(),
    status: 200,
    body_begins: r#"{"status":"revoked"}"#,
    floor_reads_body: false,
};

/// Writes the request that revokes a key of `workspace`, by a caller with this token.
pub fn revocation(workspace: &str, key: KeyId, token: &str) -> Vec<u8> {
    let path = format!("/api/v1/workspaces/{workspace}/api-keys/{key}");
    let caller = format!("Authorization: Bearer {token}\r\n");
    format!("DELETE {path} HTTP/1.1\r\nHost: localhost\r\n{caller}\r\n").into_bytes()
}

/// Writes the request for all keys of `workspace`, by a caller with this token.
pub fn list(workspace: &str, token: &str) -> Vec<u8> {
    let path = format!("/api/v1/workspaces/{workspace}/api-keys");
    let caller = format!("Authorization: Bearer {token}\r\n");
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{caller}\r\n").into_bytes()
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
