//! What is measured. A new row is one more entry here.

/// One row of the table: a request to each key in turn.
pub struct Row {
    pub name: &'static str,
    /// Writes the request that presents a key.
    pub request: fn(key: &str) -> Vec<u8>,
    /// The one status that is right. Any other ends the run.
    pub status: u16,
    /// How the body of a right answer begins.
    pub body_begins: &'static str,
    /// Whether the floor reads the body of the request before it answers.
    pub floor_reads_body: bool,
}

/// All rows, in the order of the table.
pub const ROWS: &[Row] = &[
    Row {
        name: "forward-auth, cache hit",
        request: forward_auth,
        status: 200,
        body_begins: "",
        floor_reads_body: false,
    },
    Row {
        name: "verify, cache hit",
        request: verify,
        status: 200,
        body_begins: r#"{"valid":true,"#,
        floor_reads_body: true,
    },
];

fn forward_auth(key: &str) -> Vec<u8> {
    format!("GET /api/v1/auth HTTP/1.1\r\nHost: localhost\r\nX-API-Key: {key}\r\n\r\n").into_bytes()
}

fn verify(key: &str) -> Vec<u8> {
    let body = format!(r#"{{"key":"{key}"}}"#);
    format!(
        "POST /api/v1/api-keys/verify HTTP/1.1\r\nHost: localhost\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}
