//! Whatever stands in the columns of a row.

use keyward_test_fuzz::fuzz;
use serde_json::Value;

use super::*;

/// The texts of a row, a line each, in the order of [`row`]. A line with nothing in it is a null.
const CORPUS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/corpus/rows");

#[test]
fn a_row_is_a_record_that_would_be_written_so_or_refused() {
    fuzz(CORPUS, |input| {
        let text = String::from_utf8_lossy(input);
        let Ok(stored) = row(&text).into_stored() else { return };
        let (given, written) = (row(&text), Columns::from_iter([&stored]));
        assert_eq!(written.digests, [given.digest]);
        assert_eq!(written.names, [given.name]);
        assert_eq!(written.prefixes, [given.key_prefix]);
        assert_eq!(written.statuses, [given.status]);
        assert_eq!(written.scopes, [given.scopes]);
        assert_eq!(written.descriptions, [given.description]);
        assert_eq!(written.expiries, [given.expires_at]);
        assert_eq!(written.revoked_at, [given.revoked_at]);
        assert_eq!(written.revoked_by, [given.revoked_by]);
        assert_eq!(written.reasons, [given.revoked_reason]);
        // How a column of JSON is spaced and ordered is the database's affair.
        let read = |json: &Option<String>| -> Option<Value> {
            json.as_ref().map(|json| serde_json::from_str(json).expect("it was accepted"))
        };
        assert_eq!(read(&written.metadata[0]), read(&given.metadata));
    });
}

#[test]
fn metadata_without_entries_is_refused_for_none_is_written_so() {
    let of = |metadata| {
        let digest = "d".repeat(32);
        row(&format!("a key\nsk_live_abc1\nactive\n{digest}\n\n\n{metadata}")).into_stored()
    };
    assert!(of("").is_ok() && of(r#"{"a": ""}"#).is_ok());
    assert!(matches!(of("{}"), Err(StoreError::Corrupt(_))));
}

fn row(text: &str) -> Row {
    let mut lines = text.split('\n').map(str::to_owned);
    let mut line = || lines.next().filter(|line| !line.is_empty());
    let time = |text: String| DateTime::from_timestamp_micros(text.parse().ok()?);
    Row {
        id: Uuid::nil(),
        workspace_id: Uuid::nil(),
        name: line().unwrap_or_default(),
        key_prefix: line().unwrap_or_default(),
        status: line().unwrap_or_default(),
        digest: line().map(|text| vec![0xd1; text.len()]).unwrap_or_default(),
        scopes: line(),
        description: line().map(|text| text.replace('|', "\n")),
        metadata: line(),
        expires_at: line().and_then(time),
        revoked_at: line().and_then(time),
        revoked_by: line().map(|_| Uuid::max()),
        revoked_reason: line(),
        created_by: Uuid::nil(),
        created_at: DateTime::UNIX_EPOCH,
        updated_at: DateTime::UNIX_EPOCH,
        rotated_from: None,
        rotated_to: None,
    }
}
