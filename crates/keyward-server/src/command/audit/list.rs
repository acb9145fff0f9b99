//! `keyward audit list`.

use std::io;

use anyhow::Context as _;
use reqwest::Method;
use serde::Deserialize;

use super::options::ListOptions;
use crate::command::keys::{Client, printable, to_the_second};
use crate::command::output;

/// Most events that a server gives at a time.
const PAGE: usize = 1_000;

/// The parts of an event that are shown.
#[derive(Deserialize)]
struct EventObject {
    created_at: String,
    action: String,
    key_id: String,
    account_id: Option<String>,
    credential_id: Option<String>,
    address: Option<String>,
    fields: Option<Vec<String>>,
    new_key_id: Option<String>,
    reason: Option<String>,
}

/// Lists the events of a workspace.
pub async fn list(options: &ListOptions) -> anyhow::Result<()> {
    let client = Client::new(&options.connection)?;
    let workspace = options.workspace.to_string();
    let path = ["workspaces", &workspace, "audit-events"];
    let mut left = options.limit.unwrap_or(usize::MAX);
    let mut next = Some(format!("limit={}", left.clamp(1, PAGE)));
    let mut shown = Shown { json: options.json, any: false };
    while let Some(query) = next.filter(|_| left > 0) {
        let answer = client.ask(Method::GET, &path, &query, None).await?;
        let events: Vec<Box<serde_json::value::RawValue>> = serde_json::from_str(&answer.text)
            .context("the answer is not one that a Keyward gives: is there one at --url?")?;
        let events = &events[..events.len().min(left)];
        left -= events.len();
        match shown.page(events) {
            // Whoever reads has seen enough of it.
            Err(error) if is_broken_pipe(&error) => return Ok(()),
            outcome => outcome?,
        }
        next = answer.next;
    }
    shown.end()
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|it| it.kind() == io::ErrorKind::BrokenPipe)
}

/// What was shown so far.
struct Shown {
    json: bool,
    any: bool,
}

impl Shown {
    /// A page is written as it comes: a trail may be longer than memory.
    fn page(&mut self, events: &[Box<serde_json::value::RawValue>]) -> anyhow::Result<()> {
        let mut text = String::new();
        for event in events {
            if self.json {
                text.push(if self.any { ',' } else { '[' });
                text.push_str(event.get());
            } else {
                if !self.any {
                    text.push_str(&line(["TIME", "ACTION", "KEY", "BY", "FROM", "MORE"]));
                }
                text.push_str(&row(&serde_json::from_str(event.get())?));
            }
            self.any = true;
        }
        Ok(output::write(&text)?)
    }

    fn end(self) -> anyhow::Result<()> {
        if self.json {
            output::write(if self.any { "]\n" } else { "[]\n" })?;
        }
        Ok(())
    }
}

fn line(cells: [&str; 6]) -> String {
    let [time, action, key, by, from, more] = cells;
    let text = format!("{time:<20}  {action:<8}  {key:<36}  {by:<36}  {from:<15}  {more}");
    format!("{}\n", text.trim_end())
}

fn row(event: &EventObject) -> String {
    let by = event.credential_id.as_ref().or(event.account_id.as_ref());
    let fields = event.fields.as_ref().map(|fields| fields.join(", "));
    let successor = event.new_key_id.as_ref().map(|id| format!("new key {id}"));
    let more = fields.or(successor).or_else(|| event.reason.clone()).unwrap_or_default();
    let or_dash = |text: Option<&String>| text.map_or_else(|| "-".to_owned(), |it| printable(it));
    line([
        &to_the_second(&event.created_at),
        &printable(&event.action),
        &printable(&event.key_id),
        &or_dash(by),
        &or_dash(event.address.as_ref()),
        &printable(&more),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_tells_who_did_what_to_which_key() {
        let event = serde_json::from_str(
            r#"{"created_at":"2024-01-15T09:30:00.000001Z","action":"changed","key_id":"k",
                "account_id":"a","credential_id":"c","address":"192.0.2.7","fields":["name","scopes"]}"#,
        );
        let row = row(&event.unwrap());
        let cells: Vec<_> = row.split_whitespace().collect();
        let expected =
            ["2024-01-15T09:30:00Z", "changed", "k", "c", "192.0.2.7", "name,", "scopes"];
        assert_eq!(cells, expected);
    }
}
