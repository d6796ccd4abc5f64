use crate::{
    cli::{Connection, Failure, print_json},
    production::write_secret,
};
use clap::{Args, Subcommand};
use holdfast_host::Host;
use holdfast_node::{
    config::ClusterSection,
    discovery::{ClusterKey, ClusterSecret, ItemName, Roster, seed_digits},
    wire::dht::{DhtClusterReply, DhtMember},
};
use rand_chacha::rand_core::RngCore;
use serde::Serialize;
use std::{
    io::{self, Write},
    path::PathBuf,
};

/// Find the members of a cluster through the DHT, and tell it where they are
#[derive(Debug, Subcommand)]
pub enum Cluster {
    Key(Key),
    Show(Show),
    Publish(Publish),
}

/// Make the key of a cluster
///
/// No node is asked. The file gets the secret, for `discovery.key_file` of the nodes that tell where they are; what is
/// printed is the public key, by which others find them: `engine serve --discover`.
#[derive(Debug, Args)]
pub struct Key {
    /// The file to make for the secret; one that is there is not written over
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// Show where the members of a cluster are
///
/// Without a key: those of the cluster of the node that is asked, as it has found them.
#[derive(Debug, Args)]
pub struct Show {
    /// The public key of a cluster, whichever it is: its item is looked up through the node
    #[arg(long, value_name = "KEY")]
    key: Option<ClusterKey>,
    /// The name of that cluster
    #[arg(
        long,
        value_name = "NAME",
        requires = "key",
        default_value = "holdfast"
    )]
    cluster_name: String,
}

/// Tell the DHT now where the node is, and the others of its cluster
#[derive(Debug, Args)]
pub struct Publish {
    /// Also in place of an item that lists other members than the node knows, or that is no list
    #[arg(long)]
    replace: bool,
}

/// What was made.
#[derive(Serialize)]
struct Made {
    key: String,
    file: PathBuf,
}

/// What was found by a key.
#[derive(Serialize)]
struct Found {
    #[serde(skip_serializing_if = "Option::is_none")]
    sequence: Option<i64>,
    members: Vec<DhtMember>,
}

impl Cluster {
    pub async fn run(self, host: &Host, connection: &Connection) -> Result<(), Failure> {
        match self {
            Cluster::Key(key) => key.run(host, connection),
            Cluster::Show(show) => show.run(host, connection).await,
            Cluster::Publish(publish) => {
                let client = connection.client(host).await?;
                let reply = client.dht_publish(publish.replace).await?;
                Ok(print(&reply, connection.json)?)
            }
        }
    }
}

impl Key {
    fn run(self, host: &Host, connection: &Connection) -> Result<(), Failure> {
        let mut seed = [0; 32];
        host.rng("cluster-key").fill_bytes(&mut seed);
        let key = ClusterSecret::from_seed(&seed).public().to_string();
        write_secret(&self.file, &format!("{}\n", seed_digits(&seed)))?;
        if connection.json {
            let file = self.file;
            return Ok(print_json(&Made { key, file })?);
        }
        let mut out = io::stdout().lock();
        writeln!(out, "{key}")?;
        Ok(out.flush()?)
    }
}

impl Show {
    async fn run(self, host: &Host, connection: &Connection) -> Result<(), Failure> {
        let client = connection.client(host).await?;
        let Some(key) = self.key else {
            return Ok(print(&client.dht_cluster().await?, connection.json)?);
        };
        let cluster = ClusterSection {
            name: self.cluster_name,
            ..ClusterSection::default()
        };
        let name = ItemName::new(key, cluster.identity());
        let item = client.dht_get(name.target(), name.salt.as_bytes()).await?;
        let roster = Roster::decode(&item.value.0);
        let roster = roster.map_err(|error| Failure::Invalid(error.to_string()))?;
        let members = Vec::from(&roster);
        if connection.json {
            let sequence = item.sequence;
            return Ok(print_json(&Found { sequence, members })?);
        }
        let mut out = io::stdout().lock();
        write_members(&mut out, &members)?;
        Ok(out.flush()?)
    }
}

fn print(reply: &DhtClusterReply, is_json: bool) -> io::Result<()> {
    if is_json {
        return print_json(reply);
    }
    let mut out = io::stdout().lock();
    writeln!(out, "key       {}", reply.key)?;
    writeln!(out, "item      {}", reply.target)?;
    let number = |number: Option<String>| number.unwrap_or_else(|| "-".to_owned());
    let sequence = number(reply.sequence.map(|sequence| sequence.to_string()));
    writeln!(out, "sequence  {sequence}")?;
    if reply.writes {
        let stored = number(reply.stored.map(|stored| stored.to_string()));
        writeln!(out, "stored    {stored}")?;
    }
    if let Some(error) = &reply.error {
        writeln!(out, "error     {error}")?;
    }
    write_members(&mut out, &reply.members)?;
    out.flush()
}

/// Number, address for peers and address for clients, tabs between them.
fn write_members(out: &mut impl Write, members: &[DhtMember]) -> io::Result<()> {
    let address = |address: &Option<String>| address.clone().unwrap_or_else(|| "-".to_owned());
    for member in members {
        let (peer, client) = (address(&member.peer), address(&member.client));
        writeln!(out, "{}\t{peer}\t{client}", member.node)?;
    }
    Ok(())
}
