//! Lists with parameters: page by page, and filtered.

use keyward_tests::server::Server;
use keyward_tests::tenant::{KeyObject, parse};
use keyward_tests::tokens;

/// An account that made nothing.
const NOBODY: &str = "880e8400-e29b-41d4-a716-446655440000";

#[tokio::test]
async fn pages_show_every_key_once_whatever_is_created_meanwhile() {
    let server = Server::start().await;
    let tenant = server.tenant();
    for n in 0..25 {
        tenant.create(&format!("key {n}")).await;
    }
    let expected = tenant.list().await;
    let mut path = Some(format!("{}?limit=10", tenant.keys_path()));
    let mut seen = Vec::new();
    while let Some(next) = path {
        let answer = server.client().get(&next).bearer(tenant.token()).send().await.expect(200);
        let page: Vec<KeyObject> = parse(&answer);
        assert!(page.len() <= 10);
        seen.extend(page);
        tenant.create("made meanwhile").await;
        path = next_page(answer.header("link"));
    }
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn a_list_is_filtered_and_its_links_keep_the_filter() {
    let server = Server::start().await;
    let (tenant, other) = (server.tenant(), server.tenant());
    let mut wanted = Vec::new();
    for n in 0..6 {
        let key = tenant.create(if n % 2 == 0 { "CI/CD & é" } else { "other" }).await;
        other.create("CI/CD & é").await;
        if n % 2 == 0 {
            wanted.push(key.without_raw());
        }
    }
    wanted.reverse();
    let name = "name=CI%2FCD+%26+%C3%A9";
    let get = |query: String| {
        let path = format!("{}?{query}", tenant.keys_path());
        server.client().get(&path).bearer(tenant.token()).send()
    };
    let answer = get(name.to_owned()).await.expect(200);
    assert_eq!(parse::<Vec<KeyObject>>(&answer), wanted);
    assert_eq!(answer.header("link"), "");
    let account = tokens::ACCOUNT;
    let answer =
        get(format!("limit=2&{name}&status=active&created_by={account}")).await.expect(200);
    assert_eq!(parse::<Vec<KeyObject>>(&answer), wanted[..2]);
    let next = next_page(answer.header("link")).expect("there is one more");
    let answer = server.client().get(&next).bearer(tenant.token()).send().await.expect(200);
    assert_eq!(parse::<Vec<KeyObject>>(&answer), wanted[2..]);
    assert_eq!(answer.header("link"), "");

    tenant.revoke(wanted[0].id).await;
    let answer = get("status=revoked".to_owned()).await.expect(200);
    assert_eq!(parse::<Vec<KeyObject>>(&answer), [tenant.get(wanted[0].id).await]);
    assert_eq!(parse::<Vec<KeyObject>>(&get(format!("created_by={NOBODY}")).await), []);
    for wrong in
        ["limit=0", "limit=1001", "limit=a", "cursor=a", "status=dead", "nmae=a", "limit=1&limit=2"]
    {
        get(wrong.to_owned()).await.expect_problem(400);
    }
}

/// The path in a link to the next page, where there is one.
fn next_page(link: &str) -> Option<String> {
    let path = link.strip_prefix('<')?.strip_suffix(r#">; rel="next""#)?;
    Some(path.to_owned())
}
