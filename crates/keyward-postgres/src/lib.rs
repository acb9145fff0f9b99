//! The Postgres driver of Keyward: the same keys behind any number of nodes.
//!
//! | room | holds |
//! |---|---|
//! | `migrations/` | the schema, with the triggers that every change goes through |
//! | `opening` | what must hold of a database before it is used, and its migration |
//! | `connections` | the pool; time limits; what becomes of a connection that failed |
//! | `lane` | calls that wait together travel together |
//! | `reading`, `adding`, `changing` | the statements about keys |
//! | `uses` | those about when keys were last used |
//! | `events` | the audit trail |
//! | `feed` | what others changed, polled on a connection of its own; the windows |
//! | `row` | a row, and the record that it is |
//! | `error` | what went wrong, told apart by SQLSTATE |
//!
//! Works behind a pooler in transaction mode, because nothing is left in a session. `PgBouncer` 1.21
//! or later needs `max_prepared_statements = 100` and `ignore_startup_parameters = options`; what it
//! ignores is the time limit of statements, in whose place it has `query_timeout`.

mod adding;
mod changing;
mod connections;
mod error;
mod events;
mod feed;
mod lane;
mod opening;
mod reading;
mod row;
mod uses;

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use keyward_core::audit::{AuditLog, Event, EventPosition, Link, NewLink, Recorded, Trace};
use keyward_core::change::Change;
use keyward_core::clock::Timestamp;
use keyward_core::id::{KeyId, WorkspaceId};
use keyward_core::key::ApiKey;
use keyward_core::secret::KeyDigest;
use keyward_core::store::{
    Added, Addition, ChangeFeed, Changed, Filter, Imported, KeyPlace, KeyStore, ListPosition, Mark,
    Poll, StoreError, StoredKey, Use, WindowChange, Windows,
};
use sqlx::postgres::PgConnectOptions;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::changing::Alteration;
use crate::connections::{Connections, WORK_LIMIT};
pub use crate::error::ConnectError;
use crate::error::{TOO_LATE, unavailable};
use crate::feed::Feed;
use crate::lane::{Lane, all_failed};

/// Statements with lookups that are under way at once. Few, so that they gather more digests each
/// when there is much to do; more than one, so that one that is slow does not stop the others.
const LOOKUP_STATEMENTS: u32 = 4;
/// Statements with creations. One waits for the disk while the other is gathered.
const CREATE_STATEMENTS: u32 = 2;
/// Transactions with changes. Each holds the change clock until it is committed, so a second one
/// would only wait, and hold a connection.
const CHANGE_STATEMENTS: u32 = 1;
/// Statements that ask for the windows: one serves all revocations that wait for it.
const WINDOW_STATEMENTS: u32 = 1;

/// Longest wait for the outcome of what is quickly done, beyond that for a connection. Whoever is
/// verified stands at a gate, and hears soon that nobody knows.
const SHORT_PATIENCE: Duration = Duration::from_millis(400);
/// Longest wait for the outcome of everything else, beyond that for a connection.
const LONG_PATIENCE: Duration = WORK_LIMIT;

/// How a store uses its database.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Connections at most.
    pub pool_size: u32,
    /// Longest wait for a free connection, or for a new one.
    pub pool_wait: Duration,
    /// The window of a database that is made now. One that exists keeps its own.
    pub window: Duration,
}

/// Keys in a Postgres database, which other processes may use too.
#[derive(Debug)]
pub struct PostgresStore {
    open: RwLock<Option<Open>>,
}

/// What an open store has.
#[derive(Debug)]
struct Open {
    connections: Arc<Connections>,
    /// Places for what is in no lane: half of the connections, so that no number of lists keeps
    /// verifications from theirs.
    apart: Arc<Semaphore>,
    lanes: Lanes,
    /// The tasks of the lanes.
    tasks: [JoinHandle<()>; 4],
    feed: Arc<Feed>,
}

/// The ways in. Cloned for each call, so that no lane ends before it is answered.
#[derive(Debug, Clone)]
struct Lanes {
    lookups: Lane<KeyDigest, Option<StoredKey>>,
    creations: Lane<Addition, Added>,
    changes: Lane<Alteration, Option<Changed>>,
    windows: Lane<(), Windows>,
}

impl PostgresStore {
    /// Opens the database at `url`, and migrates it where that is needed.
    ///
    /// Must be called within a tokio runtime, which the store then uses.
    ///
    /// # Errors
    ///
    /// When the database cannot be reached or used; see [`ConnectError`].
    pub async fn connect(url: &str, settings: Settings) -> Result<Self, ConnectError> {
        let options = opening::options(url)?;
        opening::prepare(&options, Some(settings.window)).await?;
        let open = Open::start(options, &settings);
        Ok(Self { open: RwLock::new(Some(open)) })
    }

    /// As [`PostgresStore::connect`], for who only looks at it: a database that would have to be migrated
    /// is refused, because nodes of an earlier version may be using it.
    ///
    /// # Errors
    ///
    /// As there, and [`ConnectError::NotMigrated`].
    pub async fn connect_to_read(url: &str, settings: Settings) -> Result<Self, ConnectError> {
        let options = opening::options(url)?;
        opening::prepare(&options, None).await?;
        let open = Open::start(options, &settings);
        Ok(Self { open: RwLock::new(Some(open)) })
    }

    fn with<T>(&self, what: impl FnOnce(&Open) -> T) -> Result<T, StoreError> {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        open.as_ref().map(what).ok_or_else(|| unavailable("the store is closed"))
    }

    fn lanes(&self) -> Result<Lanes, StoreError> {
        self.with(|open| open.lanes.clone())
    }

    /// Runs `work` in a task of its own, which a caller who goes away does not stop: a statement that
    /// is broken off costs its connection.
    async fn apart<T, W>(&self, work: impl FnOnce(Arc<Connections>) -> W) -> Result<T, StoreError>
    where
        T: Send + 'static,
        W: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        let (work, apart) =
            self.with(|open| (work(Arc::clone(&open.connections)), Arc::clone(&open.apart)))?;
        let task = tokio::spawn(async move {
            // Never closed.
            let _place = apart.acquire().await;
            work.await
        });
        task.await.map_err(|error| StoreError::Unavailable(error.into()))?
    }

    /// As [`Self::apart`], for callers who wait no longer than this beyond the wait for a connection.
    async fn soon<T, W>(
        &self,
        patience: Duration,
        work: impl FnOnce(Arc<Connections>) -> W,
    ) -> Result<T, StoreError>
    where
        T: Send + 'static,
        W: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        let patience = patience + self.with(|open| open.connections.wait())?;
        let outcome = timeout(patience, self.apart(work)).await;
        outcome.unwrap_or_else(|_| Err(unavailable(TOO_LATE)))
    }
}

impl Open {
    fn start(options: PgConnectOptions, settings: &Settings) -> Self {
        let &Settings { pool_size, pool_wait, .. } = settings;
        let feed = Arc::new(Feed::new(options.clone()));
        let connections = Arc::new(Connections::new(options, pool_size, pool_wait));
        let (short, long) = (pool_wait + SHORT_PATIENCE, pool_wait + LONG_PATIENCE);
        let each = [(); 4].map(|()| Arc::clone(&connections));
        let [for_lookups, for_creations, for_changes, for_windows] = each;
        let (lookups, looking_up) = Lane::start(LOOKUP_STATEMENTS, short, move |digests| {
            let connections = Arc::clone(&for_lookups);
            async move { reading::find(&connections, digests).await }
        });
        let (creations, creating) = Lane::start(CREATE_STATEMENTS, long, move |additions| {
            let connections = Arc::clone(&for_creations);
            async move { adding::create(&connections, additions).await }
        });
        let (changes, changing) = Lane::start(CHANGE_STATEMENTS, long, move |asked| {
            let connections = Arc::clone(&for_changes);
            async move { changing::change(&connections, asked).await }
        });
        let (windows, asking) = Lane::start(WINDOW_STATEMENTS, long, move |asked: Vec<()>| {
            let connections = Arc::clone(&for_windows);
            async move {
                match feed::windows(&connections).await {
                    Ok(windows) => asked.iter().map(|()| Ok(windows)).collect(),
                    Err(error) => all_failed(asked.len(), &error),
                }
            }
        });
        Self {
            connections,
            apart: Arc::new(Semaphore::new(pool_size.div_ceil(2) as usize)),
            lanes: Lanes { lookups, creations, changes, windows },
            tasks: [looking_up, creating, changing, asking],
            feed,
        }
    }
}

#[async_trait]
impl KeyStore for PostgresStore {
    fn feed(&self) -> Option<&dyn ChangeFeed> {
        Some(self)
    }

    fn audit(&self) -> &dyn AuditLog {
        self
    }

    async fn add(&self, addition: Addition) -> Result<Added, StoreError> {
        match addition.once {
            None => self.lanes()?.creations.call(addition).await,
            Some(once) => {
                let adding = async move |it: Arc<_>| adding::add_once(&it, addition, once).await;
                self.soon(LONG_PATIENCE, adding).await
            }
        }
    }

    async fn get(
        &self,
        workspace: WorkspaceId,
        id: KeyId,
    ) -> Result<Option<StoredKey>, StoreError> {
        self.soon(SHORT_PATIENCE, async move |it| reading::get(&it, workspace, id).await).await
    }

    async fn find(&self, digest: &KeyDigest) -> Result<Option<ApiKey>, StoreError> {
        let found = self.lanes()?.lookups.call(*digest).await?;
        Ok(found.map(|stored| stored.key))
    }

    async fn list(
        &self,
        workspace: WorkspaceId,
        filter: &Filter,
        after: Option<ListPosition>,
        limit: usize,
    ) -> Result<Vec<ApiKey>, StoreError> {
        let filter = filter.clone();
        let page =
            async move |it: Arc<_>| reading::page(&it, workspace, &filter, after, limit).await;
        Ok(self.soon(LONG_PATIENCE, page).await?.into_iter().map(|stored| stored.key).collect())
    }

    async fn change(
        &self,
        workspace: WorkspaceId,
        id: KeyId,
        change: &Change,
        trace: &Trace,
    ) -> Result<Option<Changed>, StoreError> {
        let (change, trace) = (change.clone(), trace.clone());
        self.lanes()?.changes.call(Alteration { workspace, id, change, trace }).await
    }

    async fn scan(&self, after: Option<KeyId>, limit: usize) -> Result<Vec<StoredKey>, StoreError> {
        self.apart(async move |it| reading::scan(&it, after, limit).await).await
    }

    async fn import(&self, records: &[StoredKey]) -> Result<Imported, StoreError> {
        let records: Arc<[StoredKey]> = records.into();
        self.apart(async move |it| adding::import(&it, &records).await).await
    }

    async fn record_uses(&self, uses: &[Use]) -> Result<(), StoreError> {
        let uses: Arc<[Use]> = uses.into();
        self.apart(async move |it| uses::record(&it, &uses).await).await
    }

    async fn last_uses(&self, keys: &[KeyPlace]) -> Result<Vec<Option<Timestamp>>, StoreError> {
        let keys: Arc<[KeyPlace]> = keys.into();
        self.soon(LONG_PATIENCE, async move |it| uses::last(&it, &keys).await).await
    }

    async fn seal(&self, sealed: bool) -> Result<(), StoreError> {
        self.apart(async move |it| changing::seal(&it, sealed).await).await
    }

    async fn ready(&self) -> Result<(), StoreError> {
        let writable = self.soon(SHORT_PATIENCE, async move |it| reading::ready(&it).await).await?;
        if writable { Ok(()) } else { Err(unavailable("the database is read-only")) }
    }

    async fn close(&self) -> Result<(), StoreError> {
        let open = self.open.write().unwrap_or_else(PoisonError::into_inner).take();
        let Some(Open { connections, lanes, tasks, feed, .. }) = open else { return Ok(()) };
        // A lane ends when no caller can send to it any more, and none waits.
        drop(lanes);
        for task in tasks {
            // One that panicked has ended too.
            let _ = task.await;
        }
        feed.close().await;
        connections.close().await;
        Ok(())
    }
}

#[async_trait]
impl ChangeFeed for PostgresStore {
    async fn poll(&self, after: Option<Mark>) -> Result<Poll, StoreError> {
        self.with(|open| Arc::clone(&open.feed))?.poll(after).await
    }

    async fn windows(&self) -> Result<Windows, StoreError> {
        self.lanes()?.windows.call(()).await
    }

    async fn begin_window(&self, window: Duration) -> Result<WindowChange, StoreError> {
        self.apart(async move |it| feed::begin_window(&it, window).await).await
    }

    async fn finish_window(&self, change: &WindowChange) -> Result<bool, StoreError> {
        let change = *change;
        self.apart(async move |it| feed::finish_window(&it, change).await).await
    }

    async fn prune(&self) -> Result<(), StoreError> {
        self.apart(async move |it| feed::prune(&it).await).await
    }
}

#[async_trait]
impl AuditLog for PostgresStore {
    async fn events(
        &self,
        workspace: WorkspaceId,
        after: Option<EventPosition>,
        limit: usize,
    ) -> Result<Vec<Recorded>, StoreError> {
        let page = async move |it: Arc<_>| events::page(&it, workspace, after, limit).await;
        self.soon(LONG_PATIENCE, page).await
    }

    async fn chain(
        &self,
        workspace: WorkspaceId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<Recorded>, StoreError> {
        self.apart(async move |it| events::chain(&it, workspace, after, limit).await).await
    }

    async fn unsealed(
        &self,
        after: Option<EventPosition>,
        limit: usize,
    ) -> Result<Vec<Event>, StoreError> {
        self.apart(async move |it| events::unsealed(&it, after, limit).await).await
    }

    async fn heads(&self, workspaces: &[WorkspaceId]) -> Result<Vec<Option<Link>>, StoreError> {
        let workspaces = workspaces.to_vec();
        self.apart(async move |it| events::heads(&it, &workspaces).await).await
    }

    async fn workspaces(
        &self,
        after: Option<WorkspaceId>,
        limit: usize,
    ) -> Result<Vec<WorkspaceId>, StoreError> {
        self.apart(async move |it| events::workspaces(&it, after, limit).await).await
    }

    async fn link(&self, links: &[NewLink]) -> Result<bool, StoreError> {
        let links: Arc<[NewLink]> = links.into();
        self.apart(async move |it| events::add_links(&it, &links).await).await
    }

    async fn import_events(&self, events: &[Recorded]) -> Result<(), StoreError> {
        let events: Arc<[Recorded]> = events.into();
        self.apart(async move |it| events::import(&it, &events).await).await
    }
}
