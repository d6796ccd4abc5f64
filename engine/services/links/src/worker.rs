use crate::{
    Command, Links, Mutant, Outcome,
    command::MAX_REDIRECTS,
    perform::{Checker, Checking},
    probe::Probes,
    query,
    robots::RobotsCache,
    service::MAX_RUNNING,
    sweep,
};
use holdfast_host::{Host, TaskHandle};
use holdfast_http::{Addresses, Client, ClientConfig, ConfigError, tls::Roots};
use holdfast_replica::Consistency;
use holdfast_tables::{Pool, PoolSettings, TablesHandle};
use holdfast_web::robots::ProductToken;
use rand_chacha::rand_core::RngCore;
use std::{sync::Arc, time::Duration};

/// How often the leader looks whether a scheduled job is due.
const LOOK: Duration = Duration::from_secs(1);

/// Sweeps after which it looks at the time again, and the pause between two, in which others' commands have their turn.
const SWEEPS_AT_ONCE: u32 = 100;
const SWEEP_PAUSE: Duration = Duration::from_millis(10);

/// How a node checks links.
#[derive(Clone, Debug)]
pub struct LinksSettings {
    /// How robots.txt calls this crawler.
    pub product: ProductToken,
    /// The `User-Agent` header; empty: made of the product.
    pub user_agent: String,
    /// Requests under way to one host.
    pub per_host: usize,
    /// Requests under way in all.
    pub in_flight: usize,
    /// Time that asking for one target may take; where it redirects to is another, unless cookies tie them together.
    pub timeout: Duration,
    /// Time that a connection may take to be made.
    pub connect_timeout: Duration,
    /// Which addresses may be asked.
    pub addresses: Addresses,
    /// Which certificates are trusted.
    pub roots: Roots,
    /// How long after the last sign of life of one checker another may take its place.
    pub lease: Duration,
    /// A bug to plant in the tables; has an effect only where debug assertions are on.
    pub tables_mutant: Option<holdfast_tables::Mutant>,
    /// A bug to plant here; likewise.
    pub mutant: Option<Mutant>,
}

impl Default for LinksSettings {
    fn default() -> Self {
        LinksSettings {
            product: ProductToken::new("holdfast").expect("a token"),
            user_agent: String::new(),
            per_host: 6,
            in_flight: 256,
            timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(10),
            addresses: Addresses::Any,
            roots: Roots::Bundled,
            lease: Duration::from_secs(3),
            tables_mutant: None,
            mutant: None,
        }
    }
}

/// The part of the service that acts, on one node: checks what the tables ask for while the node leads, begins jobs
/// whose time has come, and has swept away what deleted jobs have left. Dropping it stops it.
pub struct LinksWorker {
    _pool: Pool,
    scheduler: TaskHandle,
}

impl LinksWorker {
    /// Starts it.
    ///
    /// # Errors
    /// [`ConfigError`] when the settings make no client.
    pub fn start(
        host: &Host,
        tables: TablesHandle,
        settings: &LinksSettings,
    ) -> Result<LinksWorker, ConfigError> {
        let client = Client::new(host, client_config(settings), &settings.roots)?;
        let nonce = host.rng("links").next_u64();
        let robots = RobotsCache::new(&client, settings.product.clone(), settings.mutant);
        let checker = Checker::new(client, robots, Probes::new(nonce), settings.mutant);
        let pool = PoolSettings {
            in_flight: settings.in_flight,
            per_lane: settings.per_host,
            lease: settings.lease,
            mutant: settings.tables_mutant,
            ..PoolSettings::default()
        };
        let performer = Arc::new(Checking(Arc::new(checker)));
        Ok(LinksWorker {
            _pool: Pool::start(host, tables.clone(), performer, pool),
            scheduler: host.spawn("links-scheduler", schedule(host.clone(), tables)),
        })
    }
}

impl Drop for LinksWorker {
    fn drop(&mut self) {
        self.scheduler.abort();
    }
}

fn client_config(settings: &LinksSettings) -> ClientConfig {
    let mut config = ClientConfig {
        addresses: settings.addresses,
        ..ClientConfig::default()
    };
    config.user_agent = match settings.user_agent.is_empty() {
        false => settings.user_agent.clone(),
        true => format!(
            "Mozilla/5.0 (compatible; {}/{}; link checker)",
            settings.product.as_str(),
            env!("CARGO_PKG_VERSION")
        ),
    };
    config.accept = "text/html,application/xhtml+xml,*/*;q=0.8".to_owned();
    config.timeouts.total = settings.timeout;
    config.timeouts.head = settings.timeout;
    config.timeouts.body = settings.timeout;
    config.timeouts.connect = settings.connect_timeout;
    config.timeouts.tls = settings.connect_timeout;
    config.mutant = settings.mutant.and_then(Mutant::http);
    config.limits.max_redirects = MAX_REDIRECTS;
    config.limits.max_per_origin = settings.per_host;
    config.limits.max_connections = settings.in_flight * 2;
    config.limits.max_idle = settings.in_flight;
    config
}

/// Begins scheduled jobs and sweeps up after deleted ones while this node leads.
async fn schedule(host: Host, tables: TablesHandle) {
    let mut standing = tables.standing();
    loop {
        if standing.wait_for(|standing| standing.leads).await.is_err() {
            return;
        }
        host.sleep(LOOK).await;
        let look = tables.read(Consistency::Stale, |reader| {
            let due = query::next_due(reader)?;
            Ok((due, query::running(reader)?, sweep::is_due(reader)?))
        });
        let Ok((due, running, has_left)) = look.await else {
            continue;
        };
        if due.is_some_and(|due| due <= host.unix_time().as_nanos()) && running < MAX_RUNNING {
            let _ = tables.propose::<Links>(None, &Command::Tick).await;
        }
        if has_left {
            sweep_some(&host, &tables).await;
        }
    }
}

async fn sweep_some(host: &Host, tables: &TablesHandle) {
    for _ in 0..SWEEPS_AT_ONCE {
        let swept = tables.propose::<Links>(None, &Command::Sweep).await;
        match swept.map(|proposed| proposed.outcome) {
            Ok(Ok(Outcome::Swept(false))) => host.sleep(SWEEP_PAUSE).await,
            // All is gone, or somebody else leads.
            _ => return,
        }
    }
}
