//! What is counted. A new row is one more entry here.

use crate::questions::{CREATE, FORWARD_AUTH, Question, VERIFY, WORKSPACE};

/// Keys that are there, and that fill one page of a list.
pub const KEYS: usize = 100;
/// Those that verifications rotate through. They are few, because when they were used is written every now
/// and then, and it would be chance in which row.
pub const VERIFIED: usize = 10;

/// One row of the table.
pub struct Row {
    pub name: &'static str,
    pub question: &'static Question,
    pub credential: Credential,
    /// How often it is asked: so often that two runs differ by a fraction of a percent, whatever the server
    /// does twice a second meanwhile, and creations not more often, because the sealer goes over those of the
    /// last minute each time.
    pub requests: usize,
}

impl Row {
    /// The file in which its profile is left.
    pub fn profile(&self) -> String {
        format!("{}.callgrind", self.name)
    }
}

/// Who asks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Credential {
    /// One key after the other.
    Key,
    /// A token of one who may create and list keys.
    Token,
    /// A token as well, and what is asked for leaves an event in the audit trail. That it is sealed later is
    /// a part of what it takes.
    RecordedToken,
}

/// All rows, in the order in which they are counted: the page before any key was used, because it shows
/// when that was, and creations last, because they leave the sealer more to look at.
pub const ROWS: &[Row] = &[
    row("list-page", &LIST_PAGE, Credential::Token, 200),
    row("forward-auth", &FORWARD_AUTH, Credential::Key, 10_000),
    row("verify", &VERIFY, Credential::Key, 10_000),
    row("malformed", &MALFORMED, Credential::Key, 10_000),
    row("create", &CREATE, Credential::RecordedToken, 300),
];

const fn row(
    name: &'static str,
    question: &'static Question,
    credential: Credential,
    requests: usize,
) -> Row {
    Row { name, question, credential, requests }
}

/// A key that somebody mistyped: its checksum tells.
const MALFORMED: Question =
    Question { request: malformed, status: 401, body_begins: "", floor_reads_body: false };

/// One page, which all [`KEYS`] fill.
const LIST_PAGE: Question = Question {
    request: list_page,
    status: 200,
    body_begins: r#"[{"id":"#,
    floor_reads_body: false,
};

/// The newest event of the audit trail, which says whether it is sealed.
pub const NEWEST_EVENT: Question = Question {
    request: newest_event,
    status: 200,
    body_begins: r#"[{"id":"#,
    floor_reads_body: false,
};

fn malformed(key: &str) -> Vec<u8> {
    let last = if key.ends_with('a') { "b" } else { "a" };
    (FORWARD_AUTH.request)(&format!("{}{last}", &key[..key.len() - 1]))
}

fn list_page(token: &str) -> Vec<u8> {
    get(&format!("api-keys?limit={KEYS}"), token)
}

fn newest_event(token: &str) -> Vec<u8> {
    get("audit-events?limit=1", token)
}

fn get(what: &str, token: &str) -> Vec<u8> {
    format!(
        "GET /api/v1/workspaces/{WORKSPACE}/{what} HTTP/1.1\r\nHost: localhost\r\n\
         Authorization: Bearer {token}\r\n\r\n"
    )
    .into_bytes()
}
