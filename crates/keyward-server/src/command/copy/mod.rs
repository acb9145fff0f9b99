//! `keyward copy`: moves the keys of one storage to another.
//!
//! 1. *Compare.* Both storages are walked through. What the copy would be refused for is found here,
//!    before anything is changed.
//! 2. *Seal* the source. From here on nobody changes it; its keys go on being verified.
//! 3. *Copy* page by page, and the audit trail behind the keys. The target takes a record that it has as
//!    [`keyward_core::key::ApiKey::absorb`] says, so a copy that was killed is simply begun again. When
//!    keys were last used comes along.
//! 4. *Verify.* Both are walked through again, and the target has each record as it must.
//!
//! After that the source stays sealed: whoever goes on using it by mistake is told so. After
//! anything else it is unsealed, also where an earlier copy had sealed it and was killed.

mod events;
mod options;
mod pairs;
mod progress;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail, ensure};
use futures_util::future::BoxFuture;
use keyward_core::clock::{Clock as _, SystemClock};
use keyward_core::fingerprint::Fingerprint;
use keyward_core::freshness::outlast_windows;
use keyward_core::store::{Imported, KeyPlace, KeyStore, StoreError, StoredKey, Use};
use keyward_core::uses::{mark_unnoted, unnoted_until};
use serde::Serialize;

pub use self::options::CopyOptions;
use self::pairs::{Pair, Pairs, Walk, merged};
use self::progress::Progress;
use crate::config::DatabaseOptions;
use crate::drivers::Storage;
use crate::serve::stop_signal;
use crate::timer::SystemTimer;

/// A copy makes few calls at a time, and would rather wait for a busy database than fail.
const DATABASE: DatabaseOptions = DatabaseOptions {
    pool_size: 4,
    pool_wait: Duration::from_secs(10),
    ..DatabaseOptions::DEFAULT
};

const UNSEAL: &str = "`keyward copy --from … --unseal` opens it again";

const NO_USES: &str = "the target does not take when keys were last used";

/// Copies, or unseals.
pub fn run(options: &CopyOptions) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let source = options.source()?;
        match options.target()? {
            Some(target) => copy(options, &source, &target).await,
            None => unseal(&source).await,
        }
    })
}

async fn unseal(storage: &Storage) -> anyhow::Result<()> {
    on(storage, "source", async |source| Ok(source.seal(false).await?)).await?;
    println!("unsealed: the storage takes changes");
    Ok(())
}

async fn copy(options: &CopyOptions, from: &Storage, to: &Storage) -> anyhow::Result<()> {
    ensure!(!from.is_at_the_place_of(to), "the source and the target are the same storage");
    let mut stop = Stop(Box::pin(stop_signal()?));
    let report = on(from, "source", async |source| {
        on(to, "target", async |target| {
            let copy = Copy { source: Arc::clone(&source), target, merge: options.merge };
            copy.run(&mut stop).await
        })
        .await
    })
    .await?;
    report.print(options.json)
}

/// Opens a storage for `work`, and closes it whatever comes of that.
async fn on<T>(
    storage: &Storage,
    side: &'static str,
    work: impl AsyncFnOnce(Arc<dyn KeyStore>) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    ensure!(storage.is_durable(), "the {side} is in memory and would be gone with this command");
    // To open a directory that is not there would make it.
    let missing = storage.directory().filter(|it| side == "source" && !it.exists());
    if let Some(directory) = missing {
        bail!("the {side} is not there: there is no directory {}", directory.display());
    }
    let store = storage.open(&DATABASE).await.with_context(|| format!("the {side}"))?;
    let outcome = work(Arc::clone(&store)).await;
    let closed = store.close().await;
    let value = outcome?;
    closed.with_context(|| format!("the {side} did not close cleanly"))?;
    Ok(value)
}

/// A copy from one open storage to another.
struct Copy {
    source: Arc<dyn KeyStore>,
    target: Arc<dyn KeyStore>,
    /// Whether the target may have records that the source has not.
    merge: bool,
}

impl Copy {
    async fn run(&self, stop: &mut Stop) -> anyhow::Result<Report> {
        let records = stop.unless(self.compare()).await?;
        // Not to be broken off: a seal that is still under way could come after the unsealing.
        let sealed = self.source.seal(true).await.context("the source could not be sealed");
        let moved = match sealed {
            Ok(()) => stop.unless(self.carry_over(records)).await,
            Err(error) => Err(error),
        };
        match moved {
            Ok(report) => Ok(report),
            Err(error) => Err(self.give_up(error).await),
        }
    }

    /// Counts the records of the source, and refuses what must not be copied over.
    async fn compare(&self) -> anyhow::Result<u64> {
        // Nothing, but a sealed target does not take even that.
        self.target.import(&[]).await.map_err(refusal)?;
        let (mut records, mut others) = (0, 0);
        let progress = Progress::start("comparing", None);
        let mut pairs = self.pairs();
        while let Some(pair) = pairs.next().await? {
            match pair {
                Pair::OnlySource(_) => records += 1,
                Pair::OnlyTarget => others += 1,
                Pair::Both(source, target) => {
                    let same = merged(&source, &target).is_ok_and(|it| it.digest == target.digest);
                    ensure!(same, "the target has a different key with the id {}", target.key.id);
                    records += 1;
                }
            }
            progress.add(1);
        }
        ensure!(
            others == 0 || self.merge,
            "the target has {others} keys that the source has not; --merge keeps them beside those \
             that are copied"
        );
        Ok(records)
    }

    async fn carry_over(&self, records: u64) -> anyhow::Result<Report> {
        let imported = self.import(records).await?;
        let events = events::carry_over(self.source.audit(), self.target.audit()).await?;
        let report = self.verify(imported, events).await?;
        // Also where nothing was revoked: an earlier copy may have been killed before it waited.
        outlast_windows(&*self.target, &SystemTimer).await.context("the target")?;
        // While the source can still be unsealed.
        self.target.close().await.context("the target did not close cleanly")?;
        Ok(report)
    }

    async fn import(&self, records: u64) -> anyhow::Result<Imported> {
        // Of a source that never noted uses nothing is known until now.
        let unnoted = unnoted_until(&*self.source).await.context("the source cannot be read")?;
        let unnoted = unnoted.unwrap_or_else(|| SystemClock.now());
        mark_unnoted(&*self.target, unnoted).await.context(NO_USES)?;
        let progress = Progress::start("copying", Some(records));
        let mut imported = Imported::default();
        let mut walk = Walk::start("source", &self.source);
        loop {
            // The next page is being read while this one is written.
            let page = walk.next_page().await?;
            if page.is_empty() {
                return Ok(imported);
            }
            imported += self.target.import(&page).await.map_err(refusal)?;
            self.carry_uses_over(&page).await?;
            progress.add(page.len() as u64);
        }
    }

    /// Brings over when these keys were last used. The later time wins, as in every store.
    async fn carry_uses_over(&self, page: &[StoredKey]) -> anyhow::Result<()> {
        let keys: Vec<KeyPlace> = page.iter().map(|stored| (&stored.key).into()).collect();
        let last = self.source.last_uses(&keys).await.context("the source cannot be read")?;
        let known = |(key, at): (KeyPlace, Option<_>)| Some(Use { key, at: at? });
        let uses: Vec<Use> = keys.into_iter().zip(last).filter_map(known).collect();
        if !uses.is_empty() {
            self.target.record_uses(&uses).await.context(NO_USES)?;
        }
        Ok(())
    }

    async fn verify(&self, imported: Imported, events: u64) -> anyhow::Result<Report> {
        let (mut records, mut others) = (0, 0);
        let (mut of_source, mut of_target) = (Fingerprint::new(), Fingerprint::new());
        let Imported { added, changed, unchanged } = imported;
        let progress = Progress::start("verifying", Some(added + changed + unchanged));
        let mut pairs = self.pairs();
        while let Some(pair) = pairs.next().await? {
            match pair {
                Pair::OnlySource(stored) => bail!("the target lacks the key {}", stored.key.id),
                Pair::OnlyTarget => others += 1,
                Pair::Both(source, target) => {
                    let expected = merged(&source, &target).ok();
                    let Some(expected) = expected.filter(|it| *it == target) else {
                        bail!("the target has the key {} otherwise", target.key.id);
                    };
                    of_source.add(&expected);
                    of_target.add(&target);
                    records += 1;
                    progress.add(1);
                }
            }
        }
        ensure!(
            records == added + changed + unchanged,
            "{records} keys are in both storages, and {} were copied",
            added + changed + unchanged
        );
        let (source_digest, target_digest) = (of_source.finish(), of_target.finish());
        ensure!(source_digest == target_digest, "the digests of the two storages differ");
        Ok(Report {
            records,
            added,
            changed,
            unchanged,
            others,
            events,
            source_digest,
            target_digest,
        })
    }

    fn pairs(&self) -> Pairs {
        Pairs::new(Walk::start("source", &self.source), Walk::start("target", &self.target))
    }

    /// Lets the source go on as before, and says why.
    async fn give_up(&self, error: anyhow::Error) -> anyhow::Error {
        match self.source.seal(false).await {
            Ok(()) => error.context("the copy was given up, and the source takes changes again"),
            Err(why) => anyhow!(
                "{error:#}; and the source could not be unsealed: {:#}. While it is sealed it takes \
                 no changes; {UNSEAL}",
                anyhow::Error::new(why)
            ),
        }
    }
}

/// Comes when the process is told to stop, and says by which signal.
struct Stop(BoxFuture<'static, &'static str>);

impl Stop {
    /// What `work` gives, unless a signal comes first.
    async fn unless<T>(
        &mut self,
        work: impl Future<Output = anyhow::Result<T>>,
    ) -> anyhow::Result<T> {
        tokio::select! {
            signal = &mut self.0 => bail!("stopped by {signal}"),
            outcome = work => outcome,
        }
    }
}

/// Why the target does not take records.
fn refusal(error: StoreError) -> anyhow::Error {
    match error {
        StoreError::Sealed => anyhow!(
            "the target is sealed: its keys were moved elsewhere, or it is the source by another \
             name; {UNSEAL}"
        ),
        StoreError::Conflict(unique) => {
            anyhow!(
                "the target has a different record with the same {unique} as one that is copied"
            )
        }
        error => anyhow::Error::new(error).context("the target does not take the keys"),
    }
}

/// What a verified copy did.
#[derive(Debug, Serialize)]
struct Report {
    /// Keys of the source, all of which are in the target.
    records: u64,
    /// Those that were not there before.
    added: u64,
    /// Those that were there, and are now as they were in the source.
    changed: u64,
    /// Those that were there as they are now.
    unchanged: u64,
    /// Keys of the target that the source has not.
    others: u64,
    /// Events of the source, all of which are in the target.
    events: u64,
    /// The fingerprint of the source's keys, as they must be in the target.
    source_digest: String,
    /// The fingerprint of the same keys, as they are there.
    target_digest: String,
}

impl Report {
    fn print(&self, json: bool) -> anyhow::Result<()> {
        if json {
            println!("{}", serde_json::to_string(self)?);
            return Ok(());
        }
        let Self { records, added, changed, unchanged, others, events, .. } = self;
        let Self { source_digest, target_digest, .. } = self;
        println!("source: {records} records, digest {source_digest}");
        println!("target: {records} records, digest {target_digest}");
        println!(
            "copied: {records} records, {added} added, {changed} changed, {unchanged} unchanged; \
             digest {target_digest}"
        );
        if *others > 0 {
            println!("beside: {others} records that the source has not");
        }
        println!("events: {events} of the audit trail");
        println!("sealed: the source verifies keys, and takes no changes any more");
        Ok(())
    }
}
