//! `keyward serve`.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use keyward_core::clock::{SystemClock, SystemEntropy};
use keyward_core::details::ExpiryPolicy;
use keyward_core::service::{Keys, Rules};
use keyward_core::store::KeyStore;
use keyward_core::verify::{Bounds, Verifier};
use tracing::Level;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::prelude::*;

use crate::config::{LogFormat, ServeOptions};
use crate::drivers::Storage;
use crate::http::{App, Front, Limits, Metrics, TrustedProxies};
use crate::poll;
use crate::seal::Sealing;
use crate::serve::{Listener, raise_file_limit, stop_signal};
use crate::timer::SystemTimer;
use crate::token::{self, Tokens};
use crate::uses::Uses;

/// How often histograms are folded.
const METRICS_UPKEEP: Duration = Duration::from_secs(10);

/// Runs the server until it is told to stop.
pub fn run(options: &ServeOptions) -> anyhow::Result<()> {
    start_log(options)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(serve(options))
}

async fn serve(options: &ServeOptions) -> anyhow::Result<()> {
    let storage = options.storage.parse()?;
    let stop = stop_signal()?;
    // The address comes first: it is free or not at once, while a storage may take its time.
    let listener = Listener::bind(options.listen)?;
    let store = storage.open(&options.database).await?;
    let served = serve_from(options, &storage, Arc::clone(&store), listener, stop).await;
    // Also when it could not even begin: a storage that is not closed has threads at work, which
    // the end of the process would cut down.
    let closed = store.close().await.context("the storage did not close cleanly");
    served.and(closed)?;
    tracing::info!("stopped");
    Ok(())
}

async fn serve_from(
    options: &ServeOptions,
    storage: &Storage,
    store: Arc<dyn KeyStore>,
    listener: Listener,
    stop: impl Future<Output = &'static str>,
) -> anyhow::Result<()> {
    let format = &options.key_prefix;
    let tokens = Tokens::open(token_options(options, storage)?, Arc::new(SystemClock)).await?;
    let bounds = Bounds {
        cache_entries: options.limits.cache_entries,
        miss_concurrency: options.limits.miss_concurrency,
        freshness_wait: options.limits.freshness_wait,
    };
    let timer = Arc::new(SystemTimer);
    let (verifier, follower) =
        Verifier::new(Arc::clone(&store), format.clone(), bounds, Arc::clone(&timer) as _);
    let verifier = Arc::new(verifier);
    let following = tokio::spawn(poll::follow(Arc::clone(&store), follower));
    let uses = Uses::start(&verifier, &store, !options.no_last_used).await;
    let audit = options.audit.key.or_of(storage)?;
    let sealing = audit.as_ref().map(|key| Sealing::start(&store, key));
    if sealing.is_none() {
        tracing::warn!("audit events are not signed: there is no --audit-key");
    }
    let expiry =
        ExpiryPolicy { longest: options.expiry.max_ttl, required: options.expiry.require_expiry };
    let keys = Keys::new(
        Arc::clone(&store),
        Arc::clone(&verifier),
        format.clone(),
        Rules { expiry, audit },
        Arc::new(SystemClock),
        timer,
        Arc::new(SystemEntropy),
    );
    let app = Arc::new(App {
        keys: Arc::new(keys),
        verifier,
        store,
        tokens,
        metrics: Metrics::new(storage.name())?,
        limits: Limits {
            body: options.limits.max_body_bytes,
            headers: options.limits.max_header_bytes,
            time: options.limits.request_timeout,
        },
    });
    let metrics = Arc::clone(&app);
    tokio::spawn(async move {
        let mut ticks = tokio::time::interval(METRICS_UPKEEP);
        loop {
            ticks.tick().await;
            metrics.metrics.upkeep();
        }
    });

    let connections = raise_file_limit(options.limits.max_connections)?;
    let proxies = TrustedProxies(options.audit.trusted_proxies.clone());
    let front = Front::new(Arc::clone(&app), format.clone(), proxies, &SystemEntropy)?;
    say_ready(&listener, storage.name())?;
    let serving = listener.serve(Arc::new(front), &app, options.limits.header_timeout, connections);
    serving.until(stop).await;
    following.abort();
    if let Some(sealing) = sealing {
        sealing.end().await;
    }
    uses.end().await;
    Ok(())
}

/// The one line on standard output.
fn say_ready(listener: &Listener, storage: &str) -> anyhow::Result<()> {
    let address = listener.address()?;
    tracing::info!(%address, storage, version = env!("CARGO_PKG_VERSION"), "listening");
    let mut out = std::io::stdout().lock();
    writeln!(out, "keyward listening on http://{address} ({storage})")?;
    Ok(out.flush()?)
}

/// How callers' tokens are judged: by the identity provider's keys, by the secret that was given, or
/// by the storage's own.
fn token_options(options: &ServeOptions, storage: &Storage) -> anyhow::Result<token::TokenOptions> {
    let callers = &options.callers;
    let secrets = match (callers.secret.secrets()?, storage.directory()) {
        (Some(secrets), _) => Some(secrets),
        (None, _) if callers.jwks.is_some() => None,
        (None, Some(directory)) => {
            Some(token::local_secret(&directory, token::LocalSecret::TOKEN, &SystemEntropy)?)
        }
        (None, None) => bail!(
            "{}:// keeps no secret of its own: give --token-secret, --token-secret-file or --jwks",
            storage.name()
        ),
    };
    Ok(token::TokenOptions {
        jwks: callers.jwks.clone(),
        issuer: callers.issuer.clone(),
        audience: callers.audience.clone(),
        claims: callers.claims(),
        secrets,
    })
}

fn start_log(options: &ServeOptions) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&options.log).context("--log is not a filter")?;
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = match options.log_format {
        LogFormat::Text => lines.with_ansi(false).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    // Below warnings, libraries write out what they handle: paths, headers, bodies. A key may be in
    // any of them, so no filter brings those lines back.
    let ours = filter_fn(|line| {
        *line.level() <= Level::WARN || line.target().starts_with(env!("CARGO_BIN_NAME"))
    });
    tracing_subscriber::registry().with(lines.with_filter(ours)).with(filter).init();
    Ok(())
}
