//! Whatever is sent as the query of a list.

use keyward_test_fuzz::fuzz;

use super::*;

const CORPUS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/corpus/queries");

#[test]
fn a_cursor_is_a_position_that_is_written_so_or_refused() {
    fuzz(CORPUS, |input| {
        let text = String::from_utf8_lossy(input);
        for cursor in text.split(['=', '&']) {
            if let Ok((time, id)) = position(cursor) {
                assert_eq!(super::cursor(time, id), cursor);
            }
        }
    });
}

#[test]
fn a_query_asks_for_what_it_names_or_is_refused() {
    fuzz(CORPUS, |input| {
        let text = String::from_utf8_lossy(input);
        let Ok(Asked { filter, after, limit }) = Asked::read(&text) else { return };
        let mut asked = [
            ("limit", limit.map(|limit| limit.to_string())),
            ("cursor", after.map(|it| cursor(it.created_at, it.id.as_uuid()))),
            ("status", filter.status.map(|status| status.as_str().to_owned())),
            ("created_by", filter.created_by.map(|account| account.to_string())),
            ("name", filter.name.map(|name| name.as_str().to_owned())),
        ];
        for (name, value) in form_urlencoded::parse(text.as_bytes()) {
            let found = asked.iter_mut().find(|(known, _)| *known == name);
            let heard = found.and_then(|(_, heard)| heard.take()).expect("each is heard once");
            match &*name {
                "limit" => assert_eq!(heard.parse::<u16>(), value.parse()),
                // One id has several spellings, and a name may have space around it.
                "created_by" => assert_eq!(heard.parse::<uuid::Uuid>(), value.parse()),
                "name" => assert_eq!(heard, value.trim()),
                _ => assert_eq!(heard, value),
            }
        }
        assert!(asked.iter().all(|(_, left)| left.is_none()), "something was not asked for");
    });
}
