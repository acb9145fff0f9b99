//! `keyward keys`: the API of a server, from a shell.

mod client;
mod options;
mod show;

use std::io;

use anyhow::Context as _;
use keyward_core::id::{KeyId, WorkspaceId};
use reqwest::Method;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use self::client::Answer;
pub use self::client::{Client, Failure};
use self::options::{Action, Filter, Quiet};
pub use self::options::{Connection, KeysOptions};
use self::show::{KeyObject, many, one, terminal_width};
pub use self::show::{printable, to_the_second};
use super::check::PresentedKey;
use super::output;

/// Does what was asked for, and shows what came of it.
pub fn run(options: &KeysOptions) -> anyhow::Result<()> {
    let workspace = options.workspace.as_deref().map(str::parse).transpose();
    let shell = Shell {
        client: Client::new(&options.connection)?,
        workspace: workspace.map_err(|_| Failure::Usage("--workspace is not a UUID".into()))?,
        json: options.json,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(shell.act(&options.action))
}

/// What every action works with.
struct Shell {
    client: Client,
    workspace: Option<WorkspaceId>,
    json: bool,
}

impl Shell {
    async fn act(&self, action: &Action) -> anyhow::Result<()> {
        let collection = &[];
        match action {
            Action::Create(new) => {
                let mut body = new.details.body();
                body.insert("name".into(), json!(new.name));
                let name = new.idempotency_key.as_deref();
                let path = self.path(collection)?;
                let path: Vec<&str> = path.iter().map(String::as_str).collect();
                let answer = self.client.ask_as(Method::POST, &path, "", Some(body), name).await?;
                self.reveal(&answer, &new.quiet)
            }
            Action::List(filter) => self.list(filter).await,
            Action::Get(key) => {
                let path = &[&*key_id(&key.id)?];
                self.show(&self.ask(Method::GET, path, "", None).await?)
            }
            Action::Edit(change) => match change.body() {
                nothing if nothing.is_empty() => {
                    Err(Failure::Usage("nothing is named that is to be changed".into()).into())
                }
                body => self.change(&change.id.id, body).await,
            },
            Action::Rename { id, name } => {
                let name = ("name".to_owned(), json!(name));
                self.change(&id.id, Map::from_iter([name])).await
            }
            Action::Rotate { id, grace, quiet } => {
                let path = &[&*key_id(&id.id)?, "rotate"];
                let grace = ("grace_seconds".to_owned(), json!(grace.as_secs()));
                let body = Some(Map::from_iter([grace]));
                let answer = self.ask(Method::POST, path, "", body).await?;
                self.reveal(&answer, quiet)
            }
            Action::Revoke { id, reason } => {
                let path = &[&*key_id(&id.id)?];
                let reason = reason.as_ref().map(|reason| ("reason", reason));
                let answer = self.ask(Method::DELETE, path, &query(reason), None).await?;
                let Revoked { status } = parse(&answer)?;
                self.write(&answer, || format!("{}\n", printable(&status)))
            }
            Action::Verify { presented, scopes } => self.verify(presented, scopes).await,
        }
    }

    /// Asks for something below the keys of the workspace.
    async fn ask(
        &self,
        method: Method,
        below: &[&str],
        query: &str,
        body: Option<Map<String, Value>>,
    ) -> Result<Answer, Failure> {
        let path = self.path(below)?;
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        self.client.ask(method, &path, query, body).await
    }

    /// The path of something below the keys of the workspace.
    fn path(&self, below: &[&str]) -> Result<Vec<String>, Failure> {
        let Some(workspace) = self.workspace else {
            return Err(Failure::Usage("--workspace or KEYWARD_WORKSPACE is needed".into()));
        };
        let workspace = workspace.to_string();
        let path = [&["workspaces", &workspace, "api-keys"], below].concat();
        Ok(path.into_iter().map(str::to_owned).collect())
    }

    async fn change(&self, id: &str, body: Map<String, Value>) -> anyhow::Result<()> {
        let path = &[&*key_id(id)?];
        self.show(&self.ask(Method::PATCH, path, "", Some(body)).await?)
    }

    async fn list(&self, filter: &Filter) -> anyhow::Result<()> {
        let mut next =
            Some(query([("limit", "1000".to_owned())].into_iter().chain(filter.query())));
        let (mut keys, mut objects) = (Vec::<KeyObject>::new(), Vec::new());
        while let Some(query) = next {
            let answer = self.ask(Method::GET, &[], &query, None).await?;
            keys.append(&mut parse(&answer)?);
            if self.json {
                // As the server wrote them, without the brackets of the page.
                objects.push(answer.text.trim_matches(['[', ']', '\n', ' ']).to_owned());
                keys.clear();
            }
            next = answer.next;
        }
        objects.retain(|page| !page.is_empty());
        let text = if self.json {
            format!("[{}]\n", objects.join(","))
        } else {
            many(&keys, terminal_width())
        };
        match output::write(&text) {
            // Whoever reads has seen enough of it.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            written => Ok(written?),
        }
    }

    async fn verify(&self, presented: &PresentedKey, scopes: &[String]) -> anyhow::Result<()> {
        let key = presented.read()?;
        let mut body = Map::from_iter([("key".to_owned(), json!(*key))]);
        if !scopes.is_empty() {
            body.insert("scopes".into(), json!(scopes));
        }
        if let Some(workspace) = self.workspace {
            body.insert("workspace_id".into(), json!(workspace.to_string()));
        }
        let path = &["api-keys", "verify"];
        let answer = self.client.ask_as_anybody(Method::POST, path, body).await?;
        let verdict: Verdict = parse(&answer)?;
        let good = verdict.key.filter(|_| verdict.valid);
        self.write(&answer, || good.as_ref().map(one).unwrap_or_default())?;
        if good.is_none() {
            let code = verdict.code.unwrap_or_default();
            let why = format!("the key is not good: {}", printable(&code));
            return Err(Failure::Refused(why).into());
        }
        Ok(())
    }

    fn show(&self, answer: &Answer) -> anyhow::Result<()> {
        let key: KeyObject = parse(answer)?;
        self.write(answer, || one(&key))
    }

    /// Writes the answer as it is, or the same for people.
    fn write(&self, answer: &Answer, for_people: impl FnOnce() -> String) -> anyhow::Result<()> {
        output::write(&self.text(answer, for_people))
            .context("it is done, but standard output does not take the answer")
    }

    fn text(&self, answer: &Answer, for_people: impl FnOnce() -> String) -> String {
        if self.json { format!("{}\n", answer.text) } else { for_people() }
    }

    /// Shows a key that was just made.
    fn reveal(&self, answer: &Answer, quiet: &Quiet) -> anyhow::Result<()> {
        let key: KeyObject = parse(answer)?;
        if let Ok(Replayed { detail }) = serde_json::from_str(&answer.text) {
            let why = format!("the key is {}: {}", printable(&key.id), printable(&detail));
            return Err(Failure::Refused(why).into());
        }
        let secret = key.key.as_deref().ok_or_else(not_of_keyward)?;
        let text =
            if quiet.quiet { format!("{secret}\n") } else { self.text(answer, || one(&key)) };
        output::write(&text).with_context(|| {
            format!("the key {} was made, but not shown, and never will be: revoke it", key.id)
        })?;
        if !quiet.quiet && !self.json {
            eprintln!("keyward: keep the key now: it cannot be had again");
        }
        Ok(())
    }
}

/// What an answer has that shows a key which the same request made before.
#[derive(Deserialize)]
struct Replayed {
    detail: String,
}

#[derive(Deserialize)]
struct Revoked {
    status: String,
}

#[derive(Deserialize)]
struct Verdict {
    valid: bool,
    code: Option<String>,
    key: Option<KeyObject>,
}

/// The id of a key, as it stands in a path. What is none is not shown: it may be the key itself.
fn key_id(text: &str) -> Result<String, Failure> {
    let id = text.parse::<KeyId>().map_err(|_| {
        Failure::Usage("ID is a key's id, a UUID, and neither its prefix nor the key itself".into())
    })?;
    Ok(id.to_string())
}

fn query<V: AsRef<str>>(parameters: impl IntoIterator<Item = (&'static str, V)>) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish()
}

fn parse<T: DeserializeOwned>(answer: &Answer) -> Result<T, Failure> {
    serde_json::from_str(&answer.text).map_err(|_| not_of_keyward())
}

fn not_of_keyward() -> Failure {
    Failure::Refused("the answer is not one that a Keyward gives: is there one at --url?".into())
}
