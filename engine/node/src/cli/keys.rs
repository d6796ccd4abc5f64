use super::{Connection, Failure, finish, print_json};
use clap::{Args, Subcommand};
use holdfast_host::Host;
use holdfast_node::{
    auth::{ApiKey, Grant, KeyId},
    http::parse_rfc3339,
    wire::keys::{ApiKeyInfo, CreatedKey, NewKeyRequest},
};
use serde::Serialize;
use std::{
    collections::BTreeSet,
    fmt::Write as _,
    io::{self, Write},
    process::ExitCode,
};

/// Make and revoke API keys.
#[derive(Debug, Subcommand)]
pub enum Keys {
    /// Make a key, and the lines of a configuration that take it
    New(New),
    /// Make a key that every node of a cluster takes
    Create(Create),
    /// List the keys of a cluster, the newest first
    List,
    /// Show what is known of a key of a cluster
    Show(Which),
    /// Take a key of a cluster back, for good
    Revoke(Which),
}

/// Make a key that every node of a cluster takes.
///
/// A node makes it, and it is shown once. The key with which the node is asked needs the scope keys:write, and every
/// scope that the new one is to have. The first is made with a key that the nodes' configuration lists, see
/// `engine keys new`.
#[derive(Debug, Args)]
pub struct Create {
    /// What the key may be used for, such as kv:read; repeat for several. `kv:*`, `*:read` and `*` stand for many
    #[arg(long = "scope", value_name = "SCOPE", required = true)]
    scopes: Vec<Grant>,
    /// Whose it is, for people
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
    /// From when on it opens nothing, such as 2027-01-01T00:00:00Z
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    expires: Option<String>,
}

#[derive(Debug, Args)]
pub struct Which {
    /// The key's id: the part between hf_ and the secret
    id: KeyId,
}

impl Keys {
    /// What of `connection` does not go with this, for people.
    pub fn conflict(&self, connection: &Connection) -> Option<&'static str> {
        let asks_none = matches!(self, Keys::New(_));
        (asks_none && connection.is_for_nodes()).then_some(
            "--endpoint, --timeout, --api-key-file and --ca-file are for talking to a node, and `keys new` asks none",
        )
    }
}

/// Make a key, and the lines of a configuration that take it.
///
/// No node is asked. The key is shown once: what the configuration gets is its hash, from which the key cannot be
/// found.
#[derive(Debug, Args)]
pub struct New {
    /// What the key may be used for, such as kv:read; repeat for several. `kv:*`, `*:read` and `*` stand for many
    #[arg(long = "scope", value_name = "SCOPE", required = true)]
    scopes: Vec<Grant>,
    /// Whose it is, for people
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
    /// From when on it opens nothing, such as 2027-01-01T00:00:00Z
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    expires: Option<String>,
}

fn parse_time(text: &str) -> Result<String, String> {
    match parse_rfc3339(text) {
        Some(_) => Ok(text.to_owned()),
        None => Err("write a time in UTC, such as 2027-01-01T00:00:00Z".to_owned()),
    }
}

/// A key that was made, as it is printed in JSON and, without the key itself, stands in a configuration.
#[derive(Serialize)]
struct Made {
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    id: String,
    hash: String,
    scopes: BTreeSet<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
}

/// Carries out one command.
pub async fn run(host: Host, keys: Keys, connection: Connection) -> ExitCode {
    let (host, connection) = (&host, &connection);
    finish(match keys {
        Keys::New(new) => new.run(host, connection).map_err(Failure::Io),
        Keys::Create(create) => create.run(host, connection).await,
        Keys::List => list(host, connection).await,
        Keys::Show(which) => which.show(host, connection).await,
        Keys::Revoke(which) => which.revoke(host, connection).await,
    })
}

impl Create {
    async fn run(self, host: &Host, connection: &Connection) -> Result<(), Failure> {
        let request = NewKeyRequest {
            scopes: self.scopes.iter().map(Grant::to_string).collect(),
            name: self.name.unwrap_or_default(),
            expires_at: self.expires,
        };
        let client = connection.client(host).await?;
        let created = client.create_key(&request).await?;
        if connection.json {
            return Ok(print_json(&created)?);
        }
        let CreatedKey { info, key, note } = created;
        if let Some(note) = note {
            eprintln!("{note}");
        }
        // The key on a line of its own, for who takes the output apart.
        let key = key.map_or(String::new(), |key| format!("{key}\n\n"));
        let hint = "The key stands above, and is not shown again.";
        let hint = if key.is_empty() { "" } else { hint };
        print(&format!("{key}{}{hint}\n", described(&info)))
    }
}

/// All pages, each as it comes.
async fn list(host: &Host, connection: &Connection) -> Result<(), Failure> {
    let client = connection.client(host).await?;
    let mut cursor: Option<String> = None;
    loop {
        let page = client.keys(cursor.as_deref()).await?;
        for key in &page.keys {
            if connection.json {
                print_json(key)?;
                continue;
            }
            let state = match (&key.revoked_at, &key.expires_at) {
                (Some(at), _) => format!("revoked {at}"),
                (None, Some(at)) => format!("expires {at}"),
                (None, None) => "no end".to_owned(),
            };
            let (scopes, name) = (key.scopes.join(" "), &key.name);
            print(&format!("{}\t{scopes}\t{state}\t{name}\n", key.id))?;
        }
        match page.next {
            Some(next) => cursor = Some(next),
            None => return Ok(()),
        }
    }
}

impl Which {
    async fn show(self, host: &Host, connection: &Connection) -> Result<(), Failure> {
        let client = connection.client(host).await?;
        let key = client.key(self.id).await?;
        if connection.json {
            return Ok(print_json(&key)?);
        }
        print(&described(&key))
    }

    async fn revoke(self, host: &Host, connection: &Connection) -> Result<(), Failure> {
        let client = connection.client(host).await?;
        client.revoke_key(self.id).await?;
        match connection.json {
            true => Ok(print_json(&serde_json::json!({"revoked": self.id}))?),
            false => print("revoked\n"),
        }
    }
}

/// A key for people: a line for everything that is known of it.
fn described(key: &ApiKeyInfo) -> String {
    let (scopes, by) = (key.scopes.join(" "), &key.created_by);
    let created = format!("{} by {by}", key.created_at);
    let lines = [
        ("id", Some(&key.id)),
        ("name", Some(&key.name).filter(|name| !name.is_empty())),
        ("scopes", Some(&scopes)),
        ("created", Some(&created)),
        ("expires", key.expires_at.as_ref()),
        ("revoked", key.revoked_at.as_ref()),
    ];
    let given = lines
        .into_iter()
        .filter_map(|(what, told)| Some((what, told?)));
    given
        .map(|(what, told)| format!("{what:8} {told}\n"))
        .collect()
}

fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

impl New {
    fn run(self, host: &Host, connection: &Connection) -> io::Result<()> {
        let key = ApiKey::generate(&mut host.rng("api-key"));
        let made = Made {
            key: connection.json.then(|| key.reveal().to_owned()),
            id: key.id().to_string(),
            hash: key.hash().to_string(),
            scopes: self.scopes.iter().map(Grant::to_string).collect(),
            expires: self.expires,
            name: self.name,
        };
        if connection.json {
            return print_json(&made);
        }
        let mut text = String::new();
        let lines = toml::to_string(&made).map_err(io::Error::other)?;
        // A string takes what is written.
        let _ = write!(
            text,
            "{}\n\n# The key stands above, and is not shown again. For the configuration of the nodes that take it:\n\
             [auth]\nmode = \"keys\"\n\n[[auth.keys]]\n{lines}",
            key.reveal()
        );
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())?;
        out.flush()
    }
}
