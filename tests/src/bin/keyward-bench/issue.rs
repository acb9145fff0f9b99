//! The keys that the requests rotate through, created through the API.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde::Deserialize;

use crate::http::Answer;
use crate::load::{self, Work};
use crate::report::Settings;

/// The workspace that the keys belong to.
pub const WORKSPACE: &str = "660e8400-e29b-41d4-a716-446655440000";

/// Creates the keys. They open nothing but a store that is thrown away at the end of the run.
pub async fn keys(
    address: SocketAddr,
    token: &str,
    settings: &Settings,
) -> anyhow::Result<Vec<String>> {
    let issue = Rc::new(Issue {
        request: request(token),
        left: Cell::new(settings.keys),
        keys: RefCell::new(Vec::with_capacity(settings.keys)),
    });
    let connections = settings.connections.min(settings.keys);
    load::drive(address, connections, Rc::clone(&issue)).await.context("creating keys")?;
    Ok(issue.keys.take())
}

fn request(token: &str) -> Vec<u8> {
    let body = r#"{"name":"Bench key"}"#;
    format!(
        "POST /api/v1/workspaces/{WORKSPACE}/api-keys HTTP/1.1\r\nHost: localhost\r\n\
         Authorization: Bearer {token}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

struct Issue {
    request: Vec<u8>,
    left: Cell<usize>,
    keys: RefCell<Vec<String>>,
}

#[derive(Deserialize)]
struct Created {
    key: String,
}

impl Work for Issue {
    fn next(&self) -> Option<&[u8]> {
        self.left.set(self.left.get().checked_sub(1)?);
        Some(&self.request)
    }

    fn answered(&self, answer: &Answer<'_>, _took: Duration) -> anyhow::Result<()> {
        if answer.status != 201 {
            bail!("a key was refused with {}", answer.status);
        }
        let created: Created = serde_json::from_slice(answer.body)?;
        self.keys.borrow_mut().push(created.key);
        Ok(())
    }
}
