//! The URL where an identity provider publishes its keys.

use anyhow::{Context as _, bail, ensure};
use reqwest::{Client, StatusCode, Url, redirect};

use super::jwks::{KeySet, MAX_LEN};

/// Most redirects that are followed.
const MAX_REDIRECTS: usize = 3;

/// Fetches a JWK set from a URL. The caller bounds the time that it takes.
pub struct Fetcher {
    client: Client,
    url: Url,
}

impl Fetcher {
    /// The fetcher for `source`, or `None` where that is no URL but a path.
    ///
    /// # Errors
    ///
    /// When it is a URL that cannot be fetched. The message does not show it: it may hold a
    /// password.
    pub fn of_url(source: &str) -> anyhow::Result<Option<Self>> {
        let Some((scheme, _)) = source.split_once("://") else { return Ok(None) };
        let secure = match scheme.to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => false,
            _ => bail!("--jwks takes an http:// or https:// URL, or the path of a file"),
        };
        let url = Url::parse(source).context("the URL of --jwks is malformed")?;
        let mut client = Client::builder()
            // Some providers turn away clients that do not say who they are.
            .user_agent("keyward")
            .redirect(redirect::Policy::limited(MAX_REDIRECTS));
        client = if secure {
            // Keys that were asked for in confidence are not taken from a redirect without it.
            client.https_only(true)
        } else {
            // No certificate is asked for, so none is needed: small images hold none at all, and
            // the client would not start there. A redirect to https fails, as it cannot be trusted.
            client.tls_certs_only([])
        };
        let client = client.build().context("the HTTP client for --jwks cannot be made")?;
        Ok(Some(Self { client, url }))
    }

    /// Fetches the set once.
    ///
    /// # Errors
    ///
    /// When there is no answer, or none that is a set of keys. No message shows the URL.
    pub async fn fetch(&self) -> anyhow::Result<KeySet> {
        let request = self.client.get(self.url.clone());
        let mut response = request.send().await.map_err(reqwest::Error::without_url)?;
        let status = response.status();
        ensure!(status == StatusCode::OK, "the answer has the status {status}");
        let mut json = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(reqwest::Error::without_url)? {
            ensure!(json.len() + chunk.len() <= MAX_LEN, "the answer exceeds {MAX_LEN} bytes");
            json.extend_from_slice(&chunk);
        }
        KeySet::parse(&json).context("the answer cannot be used")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;
    use crate::token::forge::{Provider, clock, padded};
    use crate::token::{TokenError, TokenOptions, Tokens};

    /// A web server that gives every request the same answer, and counts them.
    struct Site {
        url: String,
        requests: Arc<AtomicUsize>,
    }

    impl Site {
        /// Answers with this head and body. `{url}` in the head is the site's own URL.
        async fn answering(head: &str, body: String) -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("http://{}", listener.local_addr().unwrap());
            let answer = format!("HTTP/1.1 {}\r\n\r\n{body}", head.replace("{url}", &url));
            let requests = Arc::new(AtomicUsize::new(0));
            let count = Arc::clone(&requests);
            tokio::spawn(async move {
                while let Ok((mut client, _)) = listener.accept().await {
                    count.fetch_add(1, Ordering::SeqCst);
                    let _ = client.read(&mut [0; 4096]).await;
                    let _ = client.write_all(answer.as_bytes()).await;
                }
            });
            Self { url, requests }
        }

        async fn publishing(body: String) -> Self {
            Self::answering("200 OK\r\nConnection: close", body).await
        }

        async fn fetch(&self) -> Result<KeySet, String> {
            let url = format!("{}/keys?token=hunter2", self.url);
            let fetcher = Fetcher::of_url(&url).unwrap().expect("it is a URL");
            fetcher.fetch().await.map_err(|error| format!("{error:#}"))
        }

        fn requests(&self) -> usize {
            self.requests.load(Ordering::SeqCst)
        }
    }

    fn options(url: &str) -> TokenOptions {
        TokenOptions {
            jwks: Some(url.to_owned()),
            issuer: Some(Provider::ISSUER.to_owned()),
            audience: Some(Provider::AUDIENCE.to_owned()),
            ..TokenOptions::default()
        }
    }

    #[test]
    fn a_path_is_no_url() {
        for path in ["jwks.json", "/etc/jwks.json", "./http:/x", "https:", ""] {
            assert!(Fetcher::of_url(path).unwrap().is_none(), "{path}");
        }
        for url in ["http://127.0.0.1/", "https://id.example/jwks", "HTTPS://id.example"] {
            assert!(Fetcher::of_url(url).unwrap().is_some(), "{url}");
        }
    }

    #[tokio::test]
    async fn many_tokens_cost_one_fetch_and_unknown_keys_one_more() {
        let provider = Provider::shared();
        let site = Site::publishing(provider.jwks().to_string()).await;
        let tokens = Tokens::open(options(&site.url), clock()).await.unwrap();
        for _ in 0..10 {
            for (kid, signer) in provider.signers() {
                let token = signer.token_naming(kid, &Provider::claims());
                assert!(tokens.authenticate(&token).await.is_ok());
            }
        }
        let unknown = provider.ec.token_naming("unknown", &Provider::claims());
        assert_eq!(site.requests(), 1);
        for _ in 0..10 {
            assert_eq!(tokens.authenticate(&unknown).await, Err(TokenError::Invalid));
        }
        assert_eq!(site.requests(), 2);
    }

    #[tokio::test]
    async fn without_keys_only_tokens_that_need_them_are_left_open() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        drop(listener);
        let tokens = Tokens::open(options(&url), clock()).await.unwrap();
        let provider = Provider::shared();
        let token = provider.ec.token_naming("ec", &Provider::claims());
        assert_eq!(tokens.authenticate(&token).await, Err(TokenError::Unavailable));
        for hopeless in ["", "x.y.z", "eyJhbGciOiJub25lIn0.e30.", "eyJhbGciOiJIUzI1NiJ9.e30.e30"] {
            assert_eq!(tokens.authenticate(hopeless).await, Err(TokenError::Invalid), "{hopeless}");
        }
    }

    #[tokio::test]
    async fn an_answer_that_is_no_set_of_keys_is_an_error() {
        let jwks = Provider::shared().jwks().to_string();
        for head in ["404 Not Found", "500 Oops", "204 No Content", "304 Not Modified"] {
            let site = Site::answering(&format!("{head}\r\nConnection: close"), jwks.clone()).await;
            assert!(site.fetch().await.unwrap_err().contains(&head[..3]), "{head}");
        }
        for body in ["", "<html>", "{}", r#"{"keys":[]}"#] {
            let site = Site::publishing(body.to_owned()).await;
            assert!(site.fetch().await.unwrap_err().contains("cannot be used"), "{body}");
        }
    }

    #[tokio::test]
    async fn an_answer_without_end_is_cut_off() {
        let jwks = Provider::shared().jwks().to_string();
        let largest = Site::publishing(padded(jwks.clone(), MAX_LEN)).await;
        assert!(largest.fetch().await.is_ok());
        let larger = Site::publishing(padded(jwks, MAX_LEN + 1)).await;
        assert!(larger.fetch().await.unwrap_err().contains("exceeds"));
    }

    #[tokio::test]
    async fn redirects_are_followed_a_few_times() {
        let site = Site::publishing(Provider::shared().jwks().to_string()).await;
        let moved = format!("302 Found\r\nConnection: close\r\nLocation: {}/there", site.url);
        assert!(Site::answering(&moved, String::new()).await.fetch().await.is_ok());
        let circle = "302 Found\r\nConnection: close\r\nLocation: {url}/again";
        let circle = Site::answering(circle, String::new()).await;
        circle.fetch().await.unwrap_err();
        assert_eq!(circle.requests(), 1 + MAX_REDIRECTS);
    }

    #[tokio::test]
    async fn no_error_shows_the_url() {
        let refusing = Site::answering("404 Not Found\r\nConnection: close", String::new()).await;
        let garbled = Site::answering("no status", String::new()).await;
        let circle = "302 Found\r\nConnection: close\r\nLocation: {url}/hunter2";
        let circle = Site::answering(circle, String::new()).await;
        for site in [refusing, garbled, circle] {
            let error = site.fetch().await.unwrap_err();
            assert!(!error.contains("hunter2") && !error.contains("127.0.0.1"), "{error}");
        }
    }
}
