//! Whatever is sent as a body.

use keyward_test_fuzz::fuzz;

use super::*;

const CORPUS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/corpus/bodies");

/// Every body that is read: whether it is accepted, and the fields that it may have.
type Reader = (fn(&[u8]) -> Result<(), Problem>, &'static [&'static str]);

const READERS: [Reader; 7] = [
    (
        |body| CreateKey::read(body).map(drop),
        &["name", "scopes", "description", "metadata", "expires_at"],
    ),
    (
        |body| EditKey::read(body).map(drop),
        &["name", "scopes", "description", "metadata", "expires_at"],
    ),
    (|body| RotateKey::read(body).map(drop), &["grace_seconds"]),
    (|body| VerifyKey::read(body).map(drop), &["key", "scopes", "workspace_id", "include"]),
    (|body| VerifyKeys::read(body).map(drop), &["keys", "scopes", "workspace_id", "include"]),
    (|body| RevokePresented::read(body).map(drop), &["keys"]),
    (
        |body| RevokeDoomed::read(body).map(drop),
        &[
            "all",
            "created_before",
            "created_by",
            "name_prefix",
            "unused_since",
            "dry_run",
            "reason",
        ],
    ),
];

#[test]
fn a_body_is_accepted_for_what_it_says_or_refused_with_what_is_wrong() {
    fuzz(CORPUS, |body| {
        for (read, known) in READERS {
            match read(body) {
                Ok(()) => assert_says_nothing_unheard(body, known),
                Err(problem) => assert_is_told(&problem),
            }
        }
    });
}

/// Nothing in it is passed over: neither a field that is not known, nor a value before or behind
/// another of the same name.
fn assert_says_nothing_unheard(body: &[u8], known: &[&str]) {
    let value: Value = serde_json::from_slice(body).expect("what is accepted is JSON");
    let object = value.as_object().expect("what is accepted is an object");
    for field in object.keys() {
        assert!(known.contains(&field.as_str()), "{field} is not known");
    }
    assert_eq!(members(&value), colons(body), "a member is there twice");
}

/// How many members all objects in a value have, each name counted once.
fn members(value: &Value) -> usize {
    match value {
        Value::Object(object) => object.len() + object.values().map(members).sum::<usize>(),
        Value::Array(list) => list.iter().map(members).sum(),
        _ => 0,
    }
}

/// How many colons of a JSON text are outside of its strings: one for each member that is written.
fn colons(json: &[u8]) -> usize {
    let (mut count, mut quoted, mut escaped) = (0, false, false);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => quoted = !quoted,
            b':' if !quoted => count += 1,
            _ => {}
        }
    }
    count
}

/// It is an answer of the documented form, of a size that does not grow with the body's, and all of
/// its pointers are such (RFC 6901, section 3).
fn assert_is_told(problem: &Problem) {
    assert_eq!(problem.kind, Kind::InvalidBody);
    let errors = serde_json::to_value(problem.field_errors()).expect("errors can be written");
    let errors = errors.as_array().expect("errors are a list");
    assert!(errors.len() <= 32, "{errors:?}");
    for error in errors {
        let pointer = error["pointer"].as_str().expect("a pointer is text");
        assert!(pointer.starts_with('/') && pointer.chars().count() <= 80, "{pointer}");
        assert!(!pointer.contains(char::is_control), "{pointer}");
        let mut escapes = pointer.split('~').skip(1);
        assert!(escapes.all(|rest| rest.starts_with(['0', '1'])), "{pointer}");
        assert!(error["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{error}");
    }
}
