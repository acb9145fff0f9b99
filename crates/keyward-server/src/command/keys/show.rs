//! Keys as people read them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{IsTerminal as _, stdout};

use rustix::termios::tcgetwinsize;
use serde::Deserialize;
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// The key object of the API. Members that a newer server may have are passed over.
#[derive(Deserialize)]
pub struct KeyObject {
    pub id: String,
    workspace_id: String,
    name: String,
    pub key: Option<String>,
    key_prefix: String,
    status: String,
    created_by: String,
    created_at: String,
    updated_at: String,
    scopes: Option<Vec<String>>,
    description: Option<String>,
    #[serde(default)]
    metadata: BTreeMap<String, String>,
    expires_at: Option<String>,
    rotated_from: Option<String>,
    rotated_to: Option<String>,
    revoked_at: Option<String>,
    revoked_by: Option<String>,
    revoked_reason: Option<String>,
    last_used_at: Option<String>,
}

/// One key: a line for each member, its name and its value.
pub fn one(key: &KeyObject) -> String {
    let scopes = key.scopes.as_ref().map(|scopes| match scopes.join(" ") {
        none if none.is_empty() => "(none)".to_owned(),
        scopes => scopes,
    });
    let entries = key.metadata.iter().map(|(name, value)| format!("{name}={value}"));
    let metadata = entries.collect::<Vec<_>>().join("\n");
    let lines = [
        ("id", Some(&*key.id)),
        ("workspace", Some(&key.workspace_id)),
        ("name", Some(&key.name)),
        ("key", key.key.as_deref()),
        ("prefix", Some(&key.key_prefix)),
        ("status", Some(&key.status)),
        ("created by", Some(&key.created_by)),
        ("created", Some(&key.created_at)),
        ("updated", Some(&key.updated_at)),
        ("scopes", scopes.as_deref()),
        ("description", key.description.as_deref()),
        ("metadata", Some(&*metadata).filter(|it| !it.is_empty())),
        ("expires", key.expires_at.as_deref()),
        ("rotated from", key.rotated_from.as_deref()),
        ("rotated to", key.rotated_to.as_deref()),
        ("revoked", key.revoked_at.as_deref()),
        ("revoked by", key.revoked_by.as_deref()),
        ("reason", key.revoked_reason.as_deref()),
        ("last used", key.last_used_at.as_deref()),
    ];
    let mut text = String::new();
    for (name, value) in lines.into_iter().filter_map(|(name, value)| Some((name, value?))) {
        let mut name = name;
        for line in value.split('\n') {
            // Writing to a text does not fail.
            let _ = writeln!(text, "{name:<12}  {}", printable(line));
            name = "";
        }
    }
    text
}

/// Space between columns.
const GAP: usize = 2;
/// Narrowest that names are cut to, however narrow the terminal is.
const NARROWEST: usize = 12;
/// The column of names.
const NAME: usize = 1;

/// Many keys, a line for each, names cut to fit `width` where there is one.
pub fn many(keys: &[KeyObject], width: Option<usize>) -> String {
    let heads =
        ["ID", "NAME", "PREFIX", "STATUS", "CREATED", "EXPIRES", "LAST USED"].map(str::to_owned);
    let rows: Vec<_> = std::iter::once(heads).chain(keys.iter().map(row)).collect();
    let mut widths = [0; 7];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.width());
        }
    }
    if let Some(width) = width {
        let others = widths.iter().sum::<usize>() - widths[NAME] + GAP * (widths.len() - 1);
        widths[NAME] = widths[NAME].min(width.saturating_sub(others).max(NARROWEST));
    }
    let mut text = String::new();
    for row in &rows {
        for (cell, width) in row.iter().zip(widths) {
            let cell = cut(cell, width);
            text.push_str(&cell);
            text.extend(std::iter::repeat_n(' ', GAP + width - cell.width()));
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
    text
}

fn row(key: &KeyObject) -> [String; 7] {
    [
        printable(&key.id),
        printable(&key.name),
        printable(&key.key_prefix),
        printable(&key.status),
        to_the_second(&key.created_at),
        key.expires_at.as_deref().map_or("never".into(), to_the_second),
        // It may be that it never was, or that the server does not keep it.
        key.last_used_at.as_deref().map_or("-".into(), printable),
    ]
}

/// A time without its fraction.
pub fn to_the_second(time: &str) -> String {
    match time.split_once('.') {
        Some((seconds, _)) => printable(&format!("{seconds}Z")),
        None => printable(time),
    }
}

/// As much of `text` as fits, with a sign where something is left out.
fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut cut = String::new();
    let mut left = width.saturating_sub(1);
    for character in text.chars() {
        let Some(rest) = left.checked_sub(character.width().unwrap_or(0)) else { break };
        left = rest;
        cut.push(character);
    }
    cut.push('…');
    cut
}

/// The text with nothing in it that would steer a terminal or turn the order of letters around,
/// whatever a server sends.
pub fn printable(text: &str) -> String {
    let steers =
        |c: char| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars()
        .map(|c| match c {
            '\t' => ' ',
            c if steers(c) => char::REPLACEMENT_CHARACTER,
            c => c,
        })
        .collect()
}

/// The width of the terminal that standard output is, where it is one.
pub fn terminal_width() -> Option<usize> {
    let out = stdout();
    let size = out.is_terminal().then(|| tcgetwinsize(&out).ok())??;
    Some(size.ws_col.into()).filter(|&width| width > 0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn key(name: &str) -> KeyObject {
        serde_json::from_value(json!({
            "id": "01a206f4-f698-794a-96d1-1d9f80f14815",
            "workspace_id": "660e8400-e29b-41d4-a716-446655440000",
            "name": name,
            "key_prefix": "sk_live_rJXu",
            "status": "active",
            "created_by": "0650773b-c62c-55cf-8382-5ece38c1dfbf",
            "created_at": "2026-11-23T05:50:46.936247Z",
            "updated_at": "2026-11-23T05:50:46Z",
            "of_a_newer_server": 1,
        }))
        .unwrap()
    }

    #[test]
    fn columns_are_aligned_and_names_fill_the_terminal() {
        let keys = ["CI/CD", "a name that is much too long for this", "日本語の名前です日本語"];
        let keys = keys.map(key);
        let fixed = 36 + 12 + 6 + 20 + 7 + 9 + 6 * GAP;
        let table = many(&keys, Some(fixed + 16));
        let lines: Vec<_> = table.lines().collect();
        assert!(lines.iter().all(|line| line.width() <= fixed + 16), "{table}");
        assert!(lines[2].contains(" a name that is …  sk_live"), "{table}");
        assert!(lines[3].contains(" 日本語の名前で…   sk_live"), "{table}");
        let starts = lines[1..].iter().map(|line| line[..line.find("sk_live").unwrap()].width());
        assert!(starts.eq([56; 3]), "{table}");
        assert!(lines[1].ends_with("  active  2026-11-23T05:50:46Z  never    -"), "{table}");
    }

    #[test]
    fn a_name_is_not_cut_where_nobody_looks_or_nothing_would_be_left() {
        let keys = [key("a name that is much too long for this")];
        assert!(many(&keys, None).contains("much too long for this  sk_live"));
        assert!(many(&keys, Some(20)).contains("  a name that…  "));
    }

    #[test]
    fn one_key_is_lines_of_names_and_values() {
        let mut key = key("a\u{1b}[2J\u{202e}b");
        key.description = Some("first\n\tsecond".into());
        key.metadata = [("team".into(), "pay=ments".into())].into();
        key.scopes = Some(Vec::new());
        let text = one(&key);
        for line in [
            "name          a\u{fffd}[2J\u{fffd}b\n",
            "description   first\n               second\n",
            "metadata      team=pay=ments\n",
            "scopes        (none)\n",
            "created       2026-11-23T05:50:46.936247Z\n",
        ] {
            assert!(text.contains(line), "{line}{text}");
        }
        assert!(!text.contains("key  ") && !text.contains("revoked"), "{text}");
    }
}
