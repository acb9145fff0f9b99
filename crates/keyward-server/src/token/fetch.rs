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
        let client = Client::builder()
            // Keys that were asked for in confidence are not taken from a redirect without it.
            .https_only(secure)
            .redirect(redirect::Policy::limited(MAX_REDIRECTS))
            .build()
            .context("the HTTP client for --jwks cannot be made")?;
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
