//! A neighbour's process: a node of the DHT, and somebody at its machine who fetches blobs to its disk, for which power
//! fails as for everybody.

use super::{
    choose::DOWNLOADS,
    stage::{Door, Stage},
};
use holdfast_blobs::{BlobId, FetchError, Fetched, ProviderError, fetch};
use holdfast_host::{Host, read_file};
use holdfast_http::{Client, ClientConfig, tls::Roots};
use holdfast_node::race::{First, first};
use holdfast_peers::{Dht, DhtHandle};
use holdfast_sim::draw::{Domain, Draws};
use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::sync::Notify;

/// How long a blob may take while faults fly.
const PATIENCE: Duration = Duration::from_secs(60);
/// Entities of [`Domain::Workload`].
const NEIGHBOUR: u64 = 1 << 51;

/// Runs a neighbour.
pub(super) async fn live(
    stage: Stage,
    host: Host,
    node: u32,
    mutant: Option<holdfast_blobs::Mutant>,
    stops: Arc<Vec<Notify>>,
) {
    let world = &stage.world;
    let start = stage.process_began(node);
    let dht = match Dht::start(&host, stage.chosen.dht(node, true)).await {
        Ok(dht) => dht,
        Err(error) => {
            let message = format!("a node of the DHT cannot start: {error}");
            world.fail("recovery", message, Some(node));
            return;
        }
    };
    stage.open_door(Door {
        node,
        start,
        dht: dht.clone(),
        member: None,
    });
    let entity = NEIGHBOUR + (u64::from(node) << 34) + u64::from(start);
    let downloader = Downloader {
        draws: Draws::new(world.plan().seed, Domain::Workload, entity),
        client: client(&host),
        stage: stage.clone(),
        host,
        node,
        dht: dht.clone(),
        mutant,
    };
    let stop = stops[node as usize].notified();
    if let First::One(()) = first(stop, downloader.run()).await {
        stage.close_door(node);
        dht.shutdown().await;
        world.mark("shut-down-in-order");
    }
}

/// As `engine dht blob get` makes one.
pub(super) fn client(host: &Host) -> Client {
    let mut config = ClientConfig {
        accept_encoding: String::new(),
        ..ClientConfig::default()
    };
    config.timeouts.connect = Duration::from_secs(5);
    // Who says nothing for so long is not waited for: strangers do.
    config.timeouts.head = Duration::from_secs(15);
    config.timeouts.body = Duration::from_secs(15);
    Client::new(host, config, &Roots::Bundled).expect("the settings make a client")
}

/// Says what fetching has met.
pub(super) fn tell_fetched(stage: &Stage, fetched: &Result<Fetched, FetchError>) {
    let world = &stage.world;
    let failed = match fetched {
        Ok(fetched) => {
            world.mark("blob-fetched");
            if fetched.resumed > 0 {
                world.mark("fetch-resumed");
            }
            if !fetched.failed.is_empty() {
                world.mark("next-provider-asked");
            }
            &fetched.failed[..]
        }
        Err(FetchError::Nobody(failed)) => &failed[..],
        Err(_) => return,
    };
    let is_lie = |error: &ProviderError| matches!(error, ProviderError::Lie(_));
    if failed.iter().any(|(_, error)| is_lie(error)) {
        world.mark("lie-found-out");
    }
}

struct Downloader {
    stage: Stage,
    host: Host,
    node: u32,
    dht: DhtHandle,
    client: Client,
    draws: Draws,
    mutant: Option<holdfast_blobs::Mutant>,
}

impl Downloader {
    fn fail(&self, property: &str, message: String) {
        self.stage.world.fail(property, message, Some(self.node));
    }

    /// Fetches as long as faults fly, and is there as long as the process runs.
    async fn run(mut self) {
        let errors = self.stage.disk_errors(self.node);
        if let Err(error) = self.check_downloads().await
            && self.stage.disk_errors(self.node) == errors
        {
            self.fail("download", format!("what was fetched: {error}"));
        }
        let pause = self.stage.chosen.pause.as_nanos() as u64 * 2;
        loop {
            let pause = Duration::from_nanos(self.draws.exponential(pause));
            self.host.sleep(pause).await;
            if self.stage.world.now() >= self.stage.world.horizon() {
                // What is to be seen afterwards the judge sees.
                return std::future::pending().await;
            }
            self.fetch_some().await;
        }
    }

    /// What has the name of a blob is that blob, also after a power cut.
    async fn check_downloads(&self) -> io::Result<()> {
        let most = self.stage.chosen.limits.blob_bytes;
        let wrong = self.host.blocking(move |disk| {
            let folder = Path::new(DOWNLOADS);
            disk.create_dir(folder)?;
            for name in disk.list(folder)? {
                let Ok(id) = name.parse::<BlobId>() else {
                    continue;
                };
                let bytes = read_file(disk, &folder.join(&name), most)?;
                if BlobId::of(&bytes) != id {
                    return Ok(Some((id, bytes.len())));
                }
            }
            Ok::<_, io::Error>(None)
        });
        if let Some((id, bytes)) = wrong.await? {
            let message = format!("after a start the {bytes} bytes of {id} are something else");
            self.fail("fetched-bytes", message);
        }
        Ok(())
    }

    async fn fetch_some(&mut self) {
        let blob = self.draws.range(0, self.stage.blobs.len() as u64) as usize;
        let id = self.stage.blobs[blob].id;
        let Ok(found) = self.dht.get_peers(0, id.key()).await else {
            return;
        };
        let mut providers: Vec<SocketAddr> = found.peers;
        self.draws.shuffle(&mut providers);
        let target = PathBuf::from(DOWNLOADS).join(id.to_string());
        let settings = self.stage.chosen.fetching(PATIENCE, self.mutant);
        let errors = self.stage.disk_errors(self.node);
        let (host, client) = (&self.host, &self.client);
        let fetched = fetch(host, client, id, &providers, &target, &settings).await;
        tell_fetched(&self.stage, &fetched);
        match fetched {
            Ok(_) => self.check_fetched(blob, target).await,
            Err(FetchError::Disk { path, error }) => {
                if self.stage.disk_errors(self.node) == errors {
                    self.fail("download", format!("{}: {error}", path.display()));
                }
            }
            Err(FetchError::InUse { target }) => {
                let message = format!("{} is in use, and by nobody", target.display());
                self.fail("download", message);
            }
            Err(FetchError::Nobody(_) | FetchError::TimedOut { .. }) => {}
        }
    }

    /// What was fetched is what was asked for; sometimes it is thrown away, and fetched again later.
    async fn check_fetched(&mut self, blob: usize, target: PathBuf) {
        let goes = self.draws.chance(0.6);
        let most = self.stage.chosen.limits.blob_bytes;
        let read = self.host.blocking(move |disk| {
            let bytes = read_file(disk, &target, most);
            if goes && bytes.is_ok() {
                disk.remove(&target)?;
            }
            bytes
        });
        let right = &self.stage.blobs[blob];
        match read.await {
            Ok(bytes) if bytes == right.content => {}
            Ok(bytes) => {
                let message = format!(
                    "{} was fetched, and its {} bytes are something else",
                    right.id,
                    bytes.len()
                );
                self.fail("fetched-bytes", message);
            }
            Err(error) => {
                let message = format!("{} was fetched, and cannot be read: {error}", right.id);
                self.fail("download", message);
            }
        }
    }
}
