use crate::{
    cli::{Connection, Failure, print_json},
    production::without_parents,
};
use clap::{Args, Subcommand};
use holdfast_blobs::{BlobId, FetchSettings, fetch, measure};
use holdfast_host::Host;
use holdfast_http::{Client as HttpClient, ClientConfig, tls::Roots};
use holdfast_node::{client::FileContent, wire::blobs::BlobReply};
use serde::Serialize;
use std::{
    io::{self, Write},
    net::SocketAddr,
    path::PathBuf,
    time::Duration,
};

/// How long a blob may take when nothing else is said.
const PATIENCE: Duration = Duration::from_secs(600);

/// Store and fetch content-addressed blobs
#[derive(Debug, Subcommand)]
pub enum Blob {
    Put(Put),
    Get(Get),
    /// List the node's blobs
    List,
    /// Delete a blob of the node
    Delete(Which),
}

/// Store a file at the node, which announces it in the DHT
#[derive(Debug, Args)]
pub struct Put {
    /// The file
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// Fetch a blob from those who have it
///
/// They are found through the node, and asked one after the other. Nothing is believed that is not what the name says;
/// what came before an interruption is used by the next attempt.
#[derive(Debug, Args)]
pub struct Get {
    /// Its name: the SHA-256 of its bytes, 64 hexadecimal digits
    #[arg(value_name = "ID")]
    id: BlobId,
    /// The file to write; named as the blob when nothing is said
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Ask this one instead of those that the DHT knows; repeat for several
    #[arg(long = "provider", value_name = "IP:PORT")]
    providers: Vec<SocketAddr>,
    /// Largest blob that is taken
    #[arg(long, value_name = "SIZE", default_value = "64MiB",
          value_parser = holdfast_node::config::parse_bytes)]
    max_bytes: u64,
}

#[derive(Debug, Args)]
pub struct Which {
    /// Its name: 64 hexadecimal digits
    #[arg(value_name = "ID")]
    id: BlobId,
}

/// What came of fetching a blob.
#[derive(Serialize)]
struct Got {
    id: String,
    bytes: u64,
    resumed: u64,
    file: PathBuf,
    failed: Vec<FailedProvider>,
}

#[derive(Serialize)]
struct FailedProvider {
    provider: SocketAddr,
    error: String,
}

impl Blob {
    pub async fn run(self, host: &Host, connection: &Connection) -> Result<(), Failure> {
        match self {
            Blob::Put(put) => put.run(host, connection).await,
            Blob::Get(get) => get.run(host, connection).await,
            Blob::List => list(host, connection).await,
            Blob::Delete(which) => {
                let client = connection.client(host).await?;
                Ok(client.delete_blob(which.id).await?)
            }
        }
    }
}

impl Put {
    async fn run(self, host: &Host, connection: &Connection) -> Result<(), Failure> {
        let path = without_parents(&self.file)?;
        let file = path.clone();
        let measured = host.blocking(move |disk| measure(disk, &file));
        let info = measured.await.map_err(|error| {
            let message = format!("{}: {error}", self.file.display());
            io::Error::new(error.kind(), message)
        })?;
        let client = connection.client_for(host, Some(PATIENCE)).await?;
        let bytes = info.bytes;
        let stored = client.put_blob_file(FileContent { path, bytes }).await?;
        let id = info.id.to_string();
        if stored.id != id {
            let message = format!("the node has stored {} instead of {id}", stored.id);
            return Err(Failure::Invalid(message));
        }
        Ok(print(&stored, connection.json)?)
    }
}

impl Get {
    async fn run(self, host: &Host, connection: &Connection) -> Result<(), Failure> {
        let patience = connection.timeout.unwrap_or(PATIENCE);
        let providers = match self.providers.is_empty() {
            true => {
                let client = connection.client_for(host, Some(PATIENCE)).await?;
                client.dht_peers(self.id.key()).await?.peers
            }
            false => self.providers,
        };
        let http = HttpClient::new(host, http_config(), &Roots::Bundled);
        let http = http.map_err(|error| Failure::Invalid(error.to_string()))?;
        let settings = FetchSettings {
            blob_bytes: self.max_bytes,
            patience,
            ..FetchSettings::default()
        };
        let file = self.out.unwrap_or_else(|| self.id.to_string().into());
        let target = without_parents(&file)?;
        let fetched = fetch(host, &http, self.id, &providers, &target, &settings).await;
        let fetched = fetched.map_err(Failure::Fetch)?;
        if !connection.json {
            for (provider, error) in &fetched.failed {
                eprintln!("{provider}: {error}");
            }
            let mut out = io::stdout().lock();
            writeln!(out, "{}\t{}\t{}", self.id, fetched.bytes, file.display())?;
            return Ok(out.flush()?);
        }
        let failed = fetched.failed.into_iter();
        Ok(print_json(&Got {
            id: self.id.to_string(),
            bytes: fetched.bytes,
            resumed: fetched.resumed,
            file,
            failed: failed
                .map(|(provider, error)| FailedProvider {
                    provider,
                    error: error.to_string(),
                })
                .collect(),
        })?)
    }
}

/// Bytes as they are: a coding would be undone before they are counted.
fn http_config() -> ClientConfig {
    let mut config = ClientConfig {
        accept: "application/octet-stream".to_owned(),
        accept_encoding: String::new(),
        ..ClientConfig::default()
    };
    // There may be another who has it: one that is gone is not waited for long.
    config.timeouts.connect = Duration::from_secs(5);
    config
}

async fn list(host: &Host, connection: &Connection) -> Result<(), Failure> {
    let client = connection.client(host).await?;
    let mut cursor: Option<String> = None;
    loop {
        let page = client.blobs(cursor.as_deref()).await?;
        for blob in &page.blobs {
            print(blob, connection.json)?;
        }
        match page.next {
            Some(next) => cursor = Some(next),
            None => return Ok(()),
        }
    }
}

fn print(blob: &BlobReply, is_json: bool) -> io::Result<()> {
    if is_json {
        return print_json(blob);
    }
    let mut out = io::stdout().lock();
    writeln!(out, "{}\t{}", blob.id, blob.bytes)?;
    out.flush()
}
