//! `/healthz`, `/readyz`, `/metrics`, `/openapi.json`.

use keyward_core::scope::Scope;
use keyward_tests::server::Server;
use regex::Regex;
use serde_json::Value;

#[tokio::test]
async fn health_and_readiness_need_no_credential() {
    let server = Server::start().await;
    for path in ["/healthz", "/readyz"] {
        let answer = server.client().get(path).send().await.expect(200);
        assert_eq!(answer.header("cache-control"), "no-store", "{path}");
    }
}

#[tokio::test]
async fn metrics_are_prometheus_text() {
    let server = Server::start().await;
    let tenant = server.tenant();
    let key = tenant.create("a").await;
    tenant.auth(key.raw()).await;
    tenant.auth("nonsense").await;
    tenant.verdict(key.raw()).await;
    let answer = server.client().get("/metrics").send().await.expect(200);
    assert!(answer.header("content-type").starts_with("text/plain"), "{answer:?}");
    let samples: Vec<&str> = answer.body.lines().filter(|line| is_sample(line)).collect();
    assert!(samples.len() > 3, "{answer:?}");
    for sample in samples {
        let (series, value) = sample.rsplit_once(' ').expect("a name and a value");
        assert!(value.parse::<f64>().is_ok(), "{sample}");
        let name = series.split('{').next().unwrap_or_default();
        assert!(name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_:".contains(&b)), "{sample}");
        assert_eq!(series.contains('{'), series.ends_with('}'), "{sample}");
    }
}

#[tokio::test]
async fn metrics_count_what_was_answered() {
    let server = Server::start().await;
    let count = async || {
        let body = server.client().get("/metrics").send().await.expect(200).body;
        let name = r#"keyward_http_responses_total{class="4xx"} "#;
        let value = body.lines().find_map(|line| line.strip_prefix(name));
        value.and_then(|value| value.parse::<f64>().ok()).expect("refusals are counted")
    };
    let before = count().await;
    for _ in 0..10 {
        server.client().get("/api/v1/auth").send().await.expect(401);
    }
    let counted = count().await - before;
    assert!((10.0..10.5).contains(&counted), "{counted}");
}

#[tokio::test]
async fn labels_do_not_grow_with_what_clients_send() {
    let server = Server::start().await;
    let series = async || {
        let body = server.client().get("/metrics").send().await.expect(200).body;
        body.lines().filter(|line| is_sample(line)).count()
    };
    let visit = async |n: usize| {
        for path in [format!("/nothing/{n}"), format!("/api/v1/auth/{n}?q={n}")] {
            server.client().request(&format!("M{n}"), &path).send().await;
        }
    };
    visit(0).await;
    // A path and a method that nobody knows have labels now; later ones must share them.
    let before = series().await;
    for n in 1..30 {
        visit(n).await;
    }
    assert!(series().await <= before + 2);
}

#[tokio::test]
async fn the_description_has_every_route_and_every_status() {
    let server = Server::start().await;
    let answer = server.client().get("/openapi.json").send().await.expect(200);
    assert_eq!(answer.header("content-type"), "application/json");
    let document = answer.json();
    assert!(document["openapi"].as_str().is_some_and(|v| v.starts_with("3.1.")), "{document}");
    assert!(document["info"]["title"].is_string() && document["info"]["version"].is_string());

    let keys = "/api/v1/workspaces/{id}/api-keys";
    let key = "/api/v1/workspaces/{id}/api-keys/{keyId}";
    for (path, method, statuses) in [
        (keys, "get", &["200", "400", "401", "403", "429", "503"][..]),
        (keys, "post", &["201", "400", "401", "403", "413", "415", "429", "503"]),
        (key, "delete", &["200", "400", "401", "403", "404", "429", "503"]),
        ("/api/v1/api-keys/verify", "post", &["200", "400", "413", "415", "429", "503"]),
        ("/api/v1/auth", "get", &["200", "400", "401", "403", "429", "503"]),
        ("/healthz", "get", &["200"]),
        ("/readyz", "get", &["200", "503"]),
        ("/metrics", "get", &["200"]),
        ("/openapi.json", "get", &["200"]),
    ] {
        let responses = &document["paths"][path][method]["responses"];
        for status in statuses {
            assert!(responses[status].is_object(), "{method} {path} lacks {status}: {responses}");
        }
    }
}

#[tokio::test]
async fn every_reference_in_the_description_leads_somewhere() {
    let server = Server::start().await;
    let document = server.client().get("/openapi.json").send().await.expect(200).json();
    let mut references = Vec::new();
    collect_references(&document, &mut references);
    assert!(!references.is_empty(), "the shapes are named");
    for reference in references {
        let pointer = reference.strip_prefix('#').expect("a reference within the document");
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
}

#[tokio::test]
async fn the_description_shows_the_key_object_as_documented() {
    let server = Server::start().await;
    let document = server.client().get("/openapi.json").send().await.expect(200).json();
    let list = "/api/v1/workspaces/{id}/api-keys";
    let schema = &document["paths"][list]["get"]["responses"]["200"]["content"];
    let items = resolve(&document, &schema["application/json"]["schema"]["items"]);
    let properties = items["properties"].as_object().expect("the key object has properties");
    for member in [
        "id",
        "workspace_id",
        "name",
        "key_prefix",
        "status",
        "created_by",
        "created_at",
        "updated_at",
    ] {
        assert!(properties.contains_key(member), "{items}");
        let required = items["required"].as_array().expect("members are required");
        assert!(required.contains(&Value::from(member)), "{member} is always there");
    }
}

fn resolve<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    match schema["$ref"].as_str().and_then(|reference| reference.strip_prefix('#')) {
        Some(pointer) => document.pointer(pointer).expect("the reference leads somewhere"),
        None => schema,
    }
}

fn collect_references<'a>(value: &'a Value, into: &mut Vec<&'a str>) {
    match value {
        Value::Object(members) => {
            into.extend(members.get("$ref").and_then(Value::as_str));
            members.values().for_each(|member| collect_references(member, into));
        }
        Value::Array(items) => items.iter().for_each(|item| collect_references(item, into)),
        _ => {}
    }
}

fn is_sample(line: &str) -> bool {
    !line.is_empty() && !line.starts_with('#')
}

/// A pattern that allowed less would have clients refuse what is good, one that allowed more send
/// what is not.
#[tokio::test]
async fn the_description_has_the_grammar_of_keys_and_scopes() {
    let server = Server::start().await;
    let document = server.client().get("/openapi.json").send().await.expect(200).json();
    let pattern = |name: &str| {
        let pattern = document["components"]["schemas"][name]["pattern"].as_str();
        Regex::new(pattern.unwrap_or_else(|| panic!("{name} has no pattern"))).unwrap()
    };
    let scope = pattern("Scope");
    for text in (0..0x180).filter_map(char::from_u32).map(String::from) {
        assert_eq!(scope.is_match(&text), text.parse::<Scope>().is_ok(), "{text:?}");
    }
    let key = server.tenant().create("a").await;
    assert!(pattern("RawKey").is_match(key.raw()));
    assert!(pattern("KeyPrefix").is_match(&key.key_prefix));
    assert!(!pattern("RawKey").is_match(&key.key_prefix));
}
