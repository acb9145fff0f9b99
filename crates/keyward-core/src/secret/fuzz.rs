//! Whatever is presented as a key.

use keyward_test_fuzz::fuzz;

use super::*;

const CORPUS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/corpus/keys");
const PREFIXES: [&str; 4] = ["sk_live", "sk", "sk_test", "Acme2"];

#[test]
fn a_text_is_a_key_by_the_rules_or_refused() {
    let format = KeyFormat::new(&PREFIXES.join(",")).unwrap();
    fuzz(CORPUS, |input| {
        let text = String::from_utf8_lossy(input);
        assert_is_judged_by_the_rules(&format, &text);
        // Edits do not hit the checksum of what they have changed.
        let summed = format!("{text}{}", String::from_utf8_lossy(&checksum(text.as_bytes())));
        assert_is_judged_by_the_rules(&format, &summed);
    });
}

#[test]
fn a_list_of_prefixes_makes_keys_that_it_knows_or_is_refused() {
    fuzz(CORPUS, |input| {
        let text = String::from_utf8_lossy(input);
        let Ok(format) = KeyFormat::new(&text) else { return };
        let key = format.mint(&crate::clock::SeededEntropy::new(1)).unwrap();
        let (digest, published) = (key.digest(), key.key_prefix());
        let key = key.reveal();
        assert_eq!(format.digest(&key), Ok(digest));
        assert!(format.may_be_in(&key) && key.starts_with(published.as_str()));
        assert!(text.split(',').any(|prefix| key.strip_prefix(prefix).is_some()));
    });
}

/// The rules once more, put the other way round: from the last underscore.
fn assert_is_judged_by_the_rules(format: &KeyFormat, text: &str) {
    let is_key = text.rsplit_once('_').is_some_and(|(prefix, secret)| {
        let summed = text.len().saturating_sub(CHECKSUM_LEN);
        PREFIXES.contains(&prefix)
            && secret.len() == 49
            && secret.chars().all(|c| c.is_ascii_alphanumeric())
            && text.as_bytes()[summed..] == checksum(&text.as_bytes()[..summed])
    });
    let expected = if is_key { Ok(KeyDigest::of(text.as_bytes())) } else { Err(MalformedKey) };
    assert_eq!(format.digest(text), expected);
}
