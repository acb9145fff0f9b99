//! The documented gateways in front of a toy application.

use keyward_tests::client::Client;
use keyward_tests::gateway::{Addresses, Gateway, free_address};
use keyward_tests::server::Server;
use keyward_tests::tenant::KeyObject;
use keyward_tests::tokens;
use keyward_tests::toy::Toy;

#[tokio::test]
async fn nginx_lets_a_key_in_and_then_out() {
    let story = Story::begin(Gateway::nginx).await;
    story.everything().await;
}

#[tokio::test]
async fn caddy_lets_a_key_in_and_then_out() {
    let story = Story::begin(Gateway::caddy).await;
    story.everything().await;
}

/// A gateway before an application, and the server that it asks.
struct Story {
    server: Server,
    application: Toy,
    gateway: Gateway,
    client: Client,
}

impl Story {
    async fn begin(start: fn(&Addresses) -> Gateway) -> Self {
        let (server, application) = (Server::start().await, Toy::start("\"hello\"").await);
        let addresses = Addresses {
            gateway: free_address(),
            keyward: vec![server.address()],
            application: application.address(),
        };
        let gateway = Gateway::start(start, &addresses).await;
        Self { server, application, gateway, client: Client::new(addresses.gateway) }
    }

    async fn everything(self) {
        self.nobody_gets_in_without_a_key().await;
        self.a_key_opens_and_the_application_knows_whose_it_is().await;
        self.what_the_client_claims_to_be_is_taken_away().await;
        self.a_demanded_scope_is_needed_where_it_is_demanded().await;
        self.the_query_and_the_body_are_the_applications().await;
        self.a_revoked_key_is_out_at_once().await;
        self.nobody_gets_in_while_keyward_is_down().await;
    }

    async fn nobody_gets_in_without_a_key(&self) {
        let before = self.application.heads().len();
        let token = self.server.tenant().token().to_owned();
        for path in ["/", "/orders/1", "/_keyward", "/_keyward/orders", "/a?scope=x"] {
            let answer = self.client.get(path).send().await;
            assert!(answer.status == 401 || answer.status == 404, "{path}: {answer:?}");
            assert_eq!(self.client.get("/").bearer(&token).send().await.status, 401);
        }
        let answer = self.client.get("/").send().await.expect(401);
        assert_eq!(answer.header("www-authenticate"), r#"Bearer realm="keyward""#);
        assert_eq!(self.application.heads().len(), before);
    }

    async fn a_key_opens_and_the_application_knows_whose_it_is(&self) {
        let key = self.server.tenant().create_with_scopes(&["orders:read", "x"]).await;
        for request in [
            self.client.get("/a/path").bearer(key.raw()),
            self.client.get("/orders/1").bearer(key.raw()),
            self.client.get("/a/path").header("x-api-key", key.raw()),
        ] {
            assert_eq!(request.send().await.expect(200).body, "\"hello\"");
            self.assert_identity(&key, "orders:read x");
        }
    }

    async fn what_the_client_claims_to_be_is_taken_away(&self) {
        let key = self.server.tenant().create_with_scopes(&[]).await;
        for path in ["/", "/?workspace=x"] {
            let mut request = self.client.get(path).bearer(key.raw());
            for name in [
                "x-keyward-key-id",
                "x-keyward-workspace-id",
                "x-keyward-account-id",
                "x-keyward-scopes",
                "x-keyward-require-scope",
                "x-keyward-require-workspace",
            ] {
                request = request.header(name, "forged");
            }
            request.send().await.expect(200);
            self.assert_identity(&key, "");
            assert!(!self.last_head().contains("forged"), "{}", self.last_head());
        }
    }

    async fn a_demanded_scope_is_needed_where_it_is_demanded(&self) {
        let key = self.server.tenant().create_with_scopes(&["orders:write"]).await;
        let before = self.application.heads().len();
        self.client.get("/orders/1").bearer(key.raw()).send().await.expect(403);
        let generous = self.client.get("/orders/1?scope=orders:write").bearer(key.raw());
        generous.header("x-keyward-require-scope", "orders:write").send().await.expect(403);
        assert_eq!(self.application.heads().len(), before);
        self.client.get("/").bearer(key.raw()).send().await.expect(200);
    }

    async fn the_query_and_the_body_are_the_applications(&self) {
        let key = self.server.tenant().create("a").await;
        let target = "/a/path?scope=api_keys:write&workspace=1&workspace=2&x=%ff";
        for method in ["GET", "POST", "PUT", "DELETE", "PURGE"] {
            let request = self.client.request(method, target).bearer(key.raw());
            request.json(r#"{"some":"body"}"#).send().await.expect(200);
            let line = format!("{method} {target} HTTP/1.");
            assert!(self.last_head().starts_with(&line), "{}", self.last_head());
        }
    }

    async fn a_revoked_key_is_out_at_once(&self) {
        let tenant = self.server.tenant();
        for _ in 0..20 {
            let key = tenant.create("a").await;
            self.client.get("/").bearer(key.raw()).send().await.expect(200);
            tenant.revoke(key.id).await;
            let answer = self.client.get("/").bearer(key.raw()).send().await.expect(401);
            let challenge = r#"Bearer realm="keyward", error="invalid_token""#;
            assert_eq!(answer.header("www-authenticate"), challenge);
        }
    }

    async fn nobody_gets_in_while_keyward_is_down(self) {
        let key = self.server.tenant().create("a").await;
        self.client.get("/").bearer(key.raw()).send().await.expect(200);
        let before = self.application.heads().len();
        self.server.kill().await;
        let answer = self.client.get("/").bearer(key.raw()).send().await;
        assert!(answer.status >= 500, "{answer:?}");
        assert_eq!(self.application.heads().len(), before);
        drop(self.gateway);
    }

    /// The application was told whose the key is, and not the key.
    fn assert_identity(&self, key: &KeyObject, scopes: &str) {
        let head = self.last_head().to_lowercase();
        for (name, value) in [
            ("key-id", key.id.to_string()),
            ("workspace-id", key.workspace_id.to_string()),
            ("account-id", tokens::ACCOUNT.to_owned()),
        ] {
            assert!(head.contains(&format!("\r\nx-keyward-{name}: {value}\r\n")), "{head}");
        }
        let told = head.lines().find_map(|line| line.strip_prefix("x-keyward-scopes:"));
        assert_eq!(told.unwrap_or_default().trim(), scopes);
        assert!(!head.contains("authorization") && !head.contains("x-api-key"), "{head}");
    }

    fn last_head(&self) -> String {
        self.application.heads().pop().expect("the application was asked")
    }
}
