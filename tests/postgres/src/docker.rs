//! A server in a container.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use testcontainers::core::client::{ClientError, docker_client_instance};
use testcontainers::core::error::TestcontainersError;
use testcontainers::core::{ContainerPort, IntoContainerPort as _, WaitFor};
use testcontainers::runners::AsyncRunner as _;
use testcontainers::{ContainerAsync, Image, ImageExt as _};
use tokio::time::timeout;

use crate::random_text;

/// How long an engine may take to say that it is there.
const PATIENCE: Duration = Duration::from_secs(10);

/// Shared memory of the container. Docker's 64 MB are too little for parallel queries.
const SHARED_MEMORY: u64 = 256 << 20;

/// Succeeds where a Docker engine answers.
pub async fn find_engine() -> Result<()> {
    let engine = docker_client_instance().await?;
    timeout(PATIENCE, engine.ping()).await??;
    Ok(())
}

/// The image of Postgres, as Docker Hub has it.
#[derive(Debug)]
struct Postgres {
    name: String,
    tag: String,
    password: String,
}

impl Image for Postgres {
    fn name(&self) -> &str {
        &self.name
    }

    fn tag(&self) -> &str {
        &self.tag
    }

    /// The image first starts a server on its own to set it up, whose log goes to standard output.
    /// The log of the real one goes to standard error.
    fn ready_conditions(&self) -> Vec<WaitFor> {
        let ready = "database system is ready to accept connections";
        vec![WaitFor::message_on_stdout(ready), WaitFor::message_on_stderr(ready)]
    }

    fn env_vars(
        &self,
    ) -> impl IntoIterator<
        Item = (impl Into<std::borrow::Cow<'_, str>>, impl Into<std::borrow::Cow<'_, str>>),
    > {
        [("POSTGRES_PASSWORD", self.password.as_str())]
    }

    fn expose_ports(&self) -> &[ContainerPort] {
        &[ContainerPort::Tcp(5432)]
    }
}

/// A running container.
#[derive(Debug)]
pub struct Container {
    container: ContainerAsync<Postgres>,
    url: String,
}

impl Container {
    /// Starts a server with these arguments in a container of this image, which is pulled where the
    /// engine does not have it.
    pub async fn start(image: &str, arguments: &[&str]) -> Result<Self> {
        let password = random_text()?;
        // A colon before a slash belongs to the registry's port.
        let (name, tag) = match image.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, tag),
            _ => (image, "latest"),
        };
        let postgres = Postgres { name: name.into(), tag: tag.into(), password: password.clone() };
        let started = postgres.with_cmd(arguments.iter().copied()).with_shm_size(SHARED_MEMORY);
        let container = match started.start().await {
            Ok(container) => container,
            Err(TestcontainersError::Client(ClientError::PullImage { err, .. })) => {
                bail!("the Docker engine has no image {image} and cannot pull it: {err}")
            }
            Err(error) => return Err(error).with_context(|| format!("no container of {image}")),
        };
        let host = container.get_host().await?.to_string();
        // The name may stand for an address of IPv6 as well, where the port is another.
        let host = if host == "localhost" { "127.0.0.1" } else { &host };
        let port = container.get_host_port_ipv4(5432.tcp()).await?;
        let url = format!("postgres://postgres:{password}@{host}:{port}/postgres");
        Ok(Self { container, url })
    }

    /// The URL of its `postgres` database.
    pub fn url(&self) -> String {
        self.url.clone()
    }

    /// Takes the container away, with its volume.
    pub async fn remove(self) -> Result<()> {
        self.container.rm().await.context("the container of Postgres could not be removed")
    }
}
