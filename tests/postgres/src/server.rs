//! Where a server comes from.

use anyhow::{Context as _, Result, bail};
use clap::{Args, ValueEnum};
use sqlx::{Connection as _, PgConnection};

use crate::docker::{self, Container};
use crate::local::{self, Cluster};

/// The variable that holds the URL of a server that is there already. Its role is a superuser.
pub const URL_VARIABLE: &str = "KEYWARD_TEST_POSTGRES_URL";

/// What to do where there is no server to be had.
const NONE: &str = "no Postgres for the tests: set KEYWARD_TEST_POSTGRES_URL, start a Docker \
                    engine, or install Postgres (on Debian: apt install postgresql)";

/// What kind of server is wanted.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// Where the server comes from; left out: the first of them that there is.
    #[arg(long, env = "KEYWARD_TEST_POSTGRES", value_enum)]
    pub from: Option<Source>,

    /// The image that a container is made of.
    #[arg(long, env = "KEYWARD_TEST_POSTGRES_IMAGE", default_value = "postgres:17")]
    pub image: String,

    /// Have the server sync what it writes, as one that keeps data does. A server of the tests loses
    /// nothing when it is killed, and all when the machine loses its power.
    #[arg(long)]
    pub fsync: bool,
}

/// Where a server may come from, in the order in which they are tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Source {
    /// The server that `KEYWARD_TEST_POSTGRES_URL` names.
    Url,
    /// A container.
    Docker,
    /// A throw-away cluster of the programs that are installed here.
    Local,
}

/// A server, until [`Server::end`].
#[derive(Debug)]
pub struct Server {
    url: String,
    origin: String,
    ours: Option<Ours>,
}

/// A server that is to go when it is no longer needed.
#[derive(Debug)]
enum Ours {
    Container(Box<Container>),
    Cluster(Box<Cluster>),
}

impl Server {
    /// Finds or starts a server.
    ///
    /// # Errors
    ///
    /// One sentence. Where the source that comes first is there but cannot serve, no other is tried:
    /// a test must not run on another server than it seems to.
    pub async fn provide(options: &Options) -> Result<Self> {
        let mut server = match options.from {
            Some(Source::Url) => {
                Self::given(given_url().context("KEYWARD_TEST_POSTGRES_URL is not set")?)
            }
            Some(Source::Docker) => {
                docker::find_engine().await.context("no Docker engine answers")?;
                Self::contained(options).await?
            }
            Some(Source::Local) => {
                let programs = local::Programs::find();
                Self::local(&programs.context("there is no initdb here")?, options).await?
            }
            None => Self::first(options).await?,
        };
        if let Err(error) = server.learn_version().await {
            server.end().await?;
            return Err(error);
        }
        Ok(server)
    }

    async fn first(options: &Options) -> Result<Self> {
        if let Some(url) = given_url() {
            Ok(Self::given(url))
        } else if docker::find_engine().await.is_ok() {
            Self::contained(options).await
        } else if let Some(programs) = local::Programs::find() {
            Self::local(&programs, options).await
        } else {
            bail!(NONE)
        }
    }

    fn given(url: String) -> Self {
        Self { url, origin: format!("the server of {URL_VARIABLE}"), ours: None }
    }

    async fn contained(options: &Options) -> Result<Self> {
        let container = Container::start(&options.image, &settings(options)).await?;
        let origin = format!("a container of {}", options.image);
        Ok(Self { url: container.url(), origin, ours: Some(Ours::Container(Box::new(container))) })
    }

    async fn local(programs: &local::Programs, options: &Options) -> Result<Self> {
        let cluster = Cluster::start(programs, &settings(options)).await?;
        let origin = format!("a throw-away cluster of {}", programs.directory().display());
        Ok(Self { url: cluster.url(), origin, ours: Some(Ours::Cluster(Box::new(cluster))) })
    }

    /// Asks the server for its version, which is also the proof that it answers.
    async fn learn_version(&mut self) -> Result<()> {
        let mut connection = PgConnection::connect(&self.url).await;
        let connection = connection
            .as_mut()
            .map_err(|error| anyhow::anyhow!("{} does not answer: {error}", self.origin))?;
        let version: String =
            sqlx::query_scalar("SHOW server_version").fetch_one(connection).await?;
        self.origin.push_str(", version ");
        self.origin.push_str(version.split(' ').next().unwrap_or(&version));
        Ok(())
    }

    /// The URL of the server's `postgres` database, for a superuser.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// In words for people, without a password.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Takes the server away, unless it was there before.
    pub async fn end(self) -> Result<()> {
        match self.ours {
            None => Ok(()),
            Some(Ours::Container(container)) => container.remove().await,
            Some(Ours::Cluster(cluster)) => cluster.remove().await,
        }
    }
}

fn given_url() -> Option<String> {
    std::env::var(URL_VARIABLE).ok().filter(|url| !url.is_empty())
}

/// The settings of a server that is ours, as `postgres -c` takes them.
fn settings(options: &Options) -> Vec<&'static str> {
    let mut settings = vec!["max_connections=300"];
    if !options.fsync {
        settings.extend(["fsync=off", "full_page_writes=off"]);
    }
    settings.into_iter().flat_map(|setting| ["-c", setting]).collect()
}
