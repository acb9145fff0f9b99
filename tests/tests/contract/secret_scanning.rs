//! `docs/secret-scanning.md`: its patterns find keys, and `keyward check` tells them from look-alikes.

use keyward_core::clock::SeededEntropy;
use keyward_core::secret::KeyFormat;
use keyward_tests::launch::{keyward, keyward_reading};
use regex::Regex;

const PAGE: &str = include_str!("../../../docs/secret-scanning.md");
const LOOK_ALIKES: u64 = 10_000;

#[tokio::test]
async fn of_ten_thousand_look_alikes_none_is_taken_for_a_key() {
    let planted = key(LOOK_ALIKES);
    let mut lines: Vec<String> = (0..LOOK_ALIKES).map(look_alike).collect();
    lines.insert(7_411, format!("    \"apiKey\": \"{planted}\","));
    let text = lines.join("\n");
    for pattern in [gitleaks(), github()] {
        let hits = hits(&pattern, &text);
        assert_eq!(hits.len(), 101, "the page says what the pattern alone takes");
        let mut keys = Vec::new();
        for hit in hits {
            let ended = keyward_reading(hit, &["check"], &[]).await;
            assert!(!ended.stderr.contains(hit), "{ended}");
            match ended.status.code() {
                Some(0) => keys.push(hit),
                other => assert_eq!(other, Some(1), "{ended}"),
            }
        }
        assert_eq!(keys, [&planted]);
    }
}

#[test]
fn a_key_is_found_wherever_it_stands() {
    let key = key(0);
    for around in ["{}", "{}\n", "x = '{}'", "?key={}&a=b", "# {}, ", "\\\"{}\\n", "{};", "A_{}_B"]
    {
        let text = around.replace("{}", &key);
        for pattern in [gitleaks(), github()] {
            assert_eq!(hits(&pattern, &text), [&key], "{text}");
        }
    }
    // What precedes the key is a letter here; GitHub's own default passes that over.
    assert_eq!(hits(&gitleaks(), &format!("?key%3D{key}")), [&key]);
}

#[test]
fn while_the_prefix_is_changed_keys_with_either_are_found() {
    let acme = KeyFormat::new("acme_live").unwrap().mint(&SeededEntropy::new(1)).unwrap().reveal();
    let old = key(1);
    let text = format!("OLD={old}\nNEW={}; sk_test_{}", *acme, &old["sk_live_".len()..]);
    let section = PAGE.split_once("## Changing the prefix").unwrap().1;
    let gitleaks = Regex::new(between_in(section, "regex = '''", "'''")).unwrap();
    assert_eq!(hits(&gitleaks, &text), [&*old, &**acme]);
    let github = Regex::new(between_in(section, "the secret format `", "`")).unwrap();
    let found: Vec<&str> = github.find_iter(&text).map(|it| it.as_str()).collect();
    assert_eq!(found, [&*old, &**acme]);
}

#[tokio::test]
async fn a_key_is_checked_without_a_server() {
    let key = key(1);
    let lines = [key.clone(), format!("{key}\n"), format!("  {key}\r\nand more")];
    for input in &lines {
        for arguments in [&["check"][..], &["check", "-"]] {
            let ended = keyward_reading(input, arguments, &[]).await;
            assert_eq!(
                (ended.status.code(), &*ended.stdout),
                (Some(0), "well formed\n"),
                "{ended}"
            );
        }
    }
    assert!(keyward(&["check", &key]).await.status.success());

    let (short, foreign) = (&key[1..], key.replacen("sk_live", "pk_live", 1));
    for wrong in ["", "\n", short, &foreign, &key.to_lowercase(), "\u{0}", &"x".repeat(1 << 20)] {
        let ended = keyward_reading(wrong, &["check"], &[]).await;
        assert_eq!((ended.status.code(), &*ended.stdout), (Some(1), ""), "{ended}");
        assert_eq!(ended.stderr, "keyward: the key is malformed\n");
    }
    let ended = keyward(&["check", "--key-prefix", "sk-live", &key]).await;
    assert_eq!(ended.status.code(), Some(2), "{ended}");
    assert!(!ended.stderr.contains(&key), "{ended}");
}

#[tokio::test]
async fn another_prefix_can_be_named() {
    let acme = KeyFormat::new("acme_live").unwrap();
    let key = acme.mint(&SeededEntropy::new(5)).unwrap().reveal();
    assert_eq!(keyward_reading(&key, &["check"], &[]).await.status.code(), Some(1));
    let flag = keyward_reading(&key, &["check", "--key-prefix", "acme_live"], &[]).await;
    assert!(flag.status.success(), "{flag}");
    let twin = keyward_reading(&key, &["check"], &[("KEYWARD_KEY_PREFIX", "acme_live")]).await;
    assert!(twin.status.success(), "{twin}");
    let both = ["check", "--key-prefix", "sk_live,acme_live"];
    for key in [&*key, &*self::key(6)] {
        let ended = keyward_reading(key, &both, &[]).await;
        assert!(ended.status.success(), "{ended}");
    }
    let twice = keyward_reading(&key, &["check", "--key-prefix", "sk,sk"], &[]).await;
    assert_eq!(twice.status.code(), Some(2), "{twice}");
}

fn key(seed: u64) -> String {
    let format = KeyFormat::new("sk_live").unwrap();
    format.mint(&SeededEntropy::new(seed)).unwrap().reveal().to_string()
}

/// Something that is no key, and looks like one. One in a hundred has the exact shape.
fn look_alike(n: u64) -> String {
    let key = key(n);
    let (lead, rest) = key.split_at("sk_live_".len());
    if n.is_multiple_of(100) {
        // A checksum notices every change of a single character.
        let first = if rest.starts_with('a') { "b" } else { "a" };
        return format!("API_KEY={lead}{first}{}", &rest[1..]);
    }
    match n % 9 {
        0 => format!("API_KEY={lead}{}", "x".repeat(24)),
        1 => format!("stripe = \"{}\"", &key[..32]),
        2 => format!("sha256:{:064x}", u128::from(n) << 64),
        3 => format!("key: {}", &key[..key.len() - 1]),
        4 => format!("key: {key}0"),
        5 => format!("key: sk_test_{rest}"),
        6 => format!("key: SK_LIVE_{rest}"),
        7 => format!("key: {lead}{}-{}", &rest[..20], &rest[21..]),
        _ => format!("// {lead}[0-9A-Za-z]{{49}}, {lead}… {n}"),
    }
}

/// What the pattern's first group takes.
fn hits<'a>(pattern: &Regex, text: &'a str) -> Vec<&'a str> {
    pattern.captures_iter(text).map(|it| it.get(1).unwrap().as_str()).collect()
}

/// The pattern for gitleaks, as the page has it.
fn gitleaks() -> Regex {
    Regex::new(between("regex = '''", "'''")).unwrap()
}

/// The pattern for GitHub, of which the page has three parts.
fn github() -> Regex {
    let part = |name: &str| between(&format!("| {name} | `"), "`").replace("\\|", "|");
    let [before, secret, after] = ["Before secret", "Secret format", "After secret"].map(part);
    Regex::new(&format!("(?:{before})({secret})(?:{after})")).unwrap()
}

fn between(before: &str, after: &str) -> &'static str {
    between_in(PAGE, before, after)
}

fn between_in<'a>(text: &'a str, before: &str, after: &str) -> &'a str {
    let rest = text.split_once(before).expect(before).1;
    rest.split_once(after).expect(after).0
}
