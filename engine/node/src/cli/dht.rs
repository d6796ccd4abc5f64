mod blob;
mod cluster;
mod crawl;
mod show;

use super::{Connection, Failure, finish, print_json, read_credential};
use clap::{Args, Subcommand, ValueEnum};
use holdfast_host::Host;
use holdfast_kademlia::{
    Id,
    bencode::Raw,
    item::{SecretKey, mutable_target},
};
use holdfast_node::{
    client::{Client, ClientError},
    http::ProblemKind,
    wire::{
        Value,
        dht::{DhtAnnounceRequest, DhtPutRequest, DhtSigned, DhtStoredReply},
    },
};
use holdfast_peers::{KeptKind, NewItem};
use std::{
    io::{self, Write},
    num::NonZeroU16,
    path::PathBuf,
    process::ExitCode,
};

/// Ask and store in the BitTorrent DHT, through a node that is one of it.
#[derive(Debug, Subcommand)]
pub enum Dht {
    /// Show how the node fares
    Status,
    /// List the contacts in the node's tables
    Nodes,
    /// Find the nodes closest to an id, and show who was asked on the way
    Lookup(Target),
    /// Find an item
    Get(Get),
    /// Store an item
    Put(Put),
    /// Make a peer of a torrent known, at the node's address
    Announce(Announce),
    /// Find the peers of a torrent
    Peers(Target),
    /// Ask nodes around an id which torrents they know of
    Sample(Target),
    /// List what the node stores again and again
    Kept,
    /// Store something no more
    Forget(Forget),
    Crawl(crawl::Crawl),
    /// Store and fetch content-addressed blobs
    #[command(subcommand)]
    Blob(blob::Blob),
    /// Find the members of a cluster, and tell where they are
    #[command(subcommand)]
    Cluster(cluster::Cluster),
}

#[derive(Debug, Args)]
pub struct Target {
    /// An id, such as a torrent's info-hash: 40 hexadecimal digits
    #[arg(value_name = "ID")]
    target: Id,
}

#[derive(Debug, Args)]
pub struct Get {
    /// What it is stored under: 40 hexadecimal digits
    #[arg(value_name = "ID")]
    target: Id,
    /// The salt under which a mutable one was stored
    #[arg(long, value_name = "TEXT", default_value = "")]
    salt: String,
}

#[derive(Debug, Args)]
pub struct Put {
    /// The value, a text
    #[arg(value_name = "TEXT", required_unless_present = "bencode")]
    text: Option<String>,
    /// The value as bencode, instead of a text
    #[arg(long, value_name = "BENCODE", conflicts_with = "text")]
    bencode: Option<String>,
    /// Make it a mutable item: a file with the secret seed of its key, 64 hexadecimal digits. It is read here, and not sent
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// Tells items of one key apart
    #[arg(long, value_name = "TEXT", default_value = "", requires = "key_file")]
    salt: String,
    /// Its sequence number; without it, the one after that of the item that is found, and only in place of that one
    #[arg(long, value_name = "NUMBER", requires = "key_file")]
    sequence: Option<i64>,
    /// Store it only where the one that is there has this sequence number
    #[arg(long, value_name = "NUMBER", requires = "sequence")]
    cas: Option<i64>,
    /// Store it again every hour, as long as the node runs
    #[arg(long)]
    keep: bool,
}

#[derive(Debug, Args)]
pub struct Announce {
    /// The torrent's info-hash: 40 hexadecimal digits
    #[arg(value_name = "ID")]
    info_hash: Id,
    /// The peer's port; without it, the one of the node's own datagrams
    #[arg(long, value_name = "PORT")]
    port: Option<NonZeroU16>,
    /// It has all of the torrent
    #[arg(long)]
    seed: bool,
    /// Announce it again every quarter of an hour, as long as the node runs
    #[arg(long)]
    keep: bool,
}

#[derive(Debug, Args)]
pub struct Forget {
    /// What it is
    #[arg(value_enum)]
    kind: Kind,
    /// The torrent, or what the item is stored under
    #[arg(value_name = "ID")]
    target: Id,
}

/// What may be stored again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// A peer of a torrent
    Peer,
    /// An item
    Item,
}

/// Carries out one command.
pub async fn run(host: Host, dht: Dht, connection: Connection) -> ExitCode {
    finish(carry_out(&host, dht, &connection).await)
}

async fn carry_out(host: &Host, dht: Dht, connection: &Connection) -> Result<(), Failure> {
    let dht = match dht {
        Dht::Blob(blob) => return blob.run(host, connection).await,
        Dht::Cluster(cluster) => return cluster.run(host, connection).await,
        dht => dht,
    };
    let client = connection.client(host).await?;
    let is_json = connection.json;
    match dht {
        Dht::Status => show::status(&client.dht_status().await?, is_json)?,
        Dht::Nodes => show::nodes(&client.dht_nodes().await?, is_json)?,
        Dht::Lookup(lookup) => show::lookup(&client.dht_lookup(lookup.target).await?, is_json)?,
        Dht::Get(get) => {
            let reply = client.dht_get(get.target, get.salt.as_bytes()).await?;
            show::item(&reply, is_json)?;
        }
        Dht::Put(put) => {
            let request = put.request(host, &client).await?;
            stored(&client.dht_put(&request).await?, is_json)?;
        }
        Dht::Announce(announce) => {
            let request = DhtAnnounceRequest {
                port: announce.port,
                seed: announce.seed,
                keep: announce.keep,
            };
            let reply = client.dht_announce(announce.info_hash, &request).await?;
            stored(&reply, is_json)?;
        }
        Dht::Peers(peers) => show::peers(&client.dht_peers(peers.target).await?, is_json)?,
        Dht::Sample(sample) => show::samples(&client.dht_samples(sample.target).await?, is_json)?,
        Dht::Kept => show::kept(&client.dht_kept().await?, is_json)?,
        Dht::Forget(forget) => {
            let kind = match forget.kind {
                Kind::Peer => KeptKind::Peer,
                Kind::Item => KeptKind::Item,
            };
            client.dht_forget(kind, forget.target).await?;
        }
        Dht::Crawl(crawl) => crawl.run(host, &client, is_json).await?,
        Dht::Blob(_) | Dht::Cluster(_) => unreachable!("it was carried out above"),
    }
    Ok(())
}

/// Tells what came of storing something; that nobody took it is a failure.
fn stored(reply: &DhtStoredReply, is_json: bool) -> Result<(), Failure> {
    if is_json {
        print_json(reply)?;
    } else {
        let mut out = io::stdout().lock();
        writeln!(out, "{}\tstored by {}", reply.target, reply.stored)?;
        for refusal in &reply.refusals {
            let what = match refusal.code {
                0 => "no answer".to_owned(),
                code => format!("refused with {code}"),
            };
            writeln!(out, "{what}\t{}", refusal.nodes)?;
        }
    }
    match reply.stored {
        0 => Err(Failure::NotStored),
        _ => Ok(()),
    }
}

impl Put {
    async fn request(self, host: &Host, client: &Client) -> Result<DhtPutRequest, Failure> {
        let value = match (self.text, self.bencode) {
            (_, Some(bencode)) => bencode.into_bytes(),
            (text, None) => NewItem::text(text.unwrap_or_default().as_bytes()),
        };
        let mut request = DhtPutRequest {
            keep: self.keep,
            ..DhtPutRequest::default()
        };
        if let Some(file) = &self.key_file {
            let fault =
                |detail: String| Failure::Credential(format!("{}: {detail}", file.display()));
            let bytes = read_credential(host, file).await?;
            let seed =
                seed(&bytes).ok_or_else(|| fault("a seed is 64 hexadecimal digits".into()))?;
            let key = SecretKey::from_seed(&seed);
            let salt = self.salt.as_bytes();
            let (sequence, cas) = match self.sequence {
                Some(sequence) => (sequence, self.cas),
                None => next(client, mutable_target(key.public(), salt), salt).await?,
            };
            let raw = Raw::parse(&value).map_err(|error| Failure::Invalid(error.to_string()))?;
            let signature = key.sign(salt, sequence, raw);
            let signature = signature.map_err(|error| Failure::Invalid(error.to_string()))?;
            request.mutable = Some(DhtSigned {
                key: Value::from(key.public().to_vec()),
                salt: Value::from(salt.to_vec()),
                sequence,
                signature: Value::from(signature.to_vec()),
                cas,
            });
        }
        request.value = Some(Value::from(value));
        Ok(request)
    }
}

/// The sequence number after that of the item that is there, and what to compare with.
async fn next(client: &Client, target: Id, salt: &[u8]) -> Result<(i64, Option<i64>), Failure> {
    match client.dht_get(target, salt).await {
        Ok(found) => {
            let sequence = found.sequence.unwrap_or(0);
            let next = sequence.checked_add(1);
            let next = next.ok_or_else(|| Failure::Invalid("it has the last number".into()))?;
            Ok((next, Some(sequence)))
        }
        Err(ClientError::Refused(problem)) if problem.kind == ProblemKind::NotFound => {
            Ok((1, None))
        }
        Err(error) => Err(error.into()),
    }
}

fn seed(text: &[u8]) -> Option<[u8; 32]> {
    let digits = text.trim_ascii();
    let mut seed = [0; 32];
    if digits.len() != 2 * seed.len() {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16);
    for (byte, pair) in seed.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = (digit(pair[0])? << 4 | digit(pair[1])?) as u8;
    }
    Some(seed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_64_digits() {
        let digits = "00ff".repeat(16);
        let expected: Vec<u8> = [0, 0xff].repeat(16);
        let read = seed(format!("{digits}\n").as_bytes());
        assert_eq!(read.map(|seed| seed.to_vec()), Some(expected));
        for bad in ["", "00", &"0".repeat(63), &"g".repeat(64)] {
            assert_eq!(seed(bad.as_bytes()), None, "{bad:?}");
        }
    }
}
