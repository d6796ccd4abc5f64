//! The machines of the web: a few, which own all its names.

use super::{errand::Chosen, stage::Stage};
use crate::web::{
    Web,
    serve::{Observed, Server, Speaks},
};
use holdfast_host::Host;
use holdfast_sim::{
    draw::{Domain, Draws},
    full::World,
    link::Disturbance,
};
use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

/// How many machines the web has: those that serve, and one on which nobody listens.
pub(super) const WEB_MACHINES: u32 = SERVING + 1;
/// Those that serve.
const SERVING: u32 = 2;
/// The ports on which the model's hosts listen.
const PORTS: [u16; 2] = [80, 8080];
/// The entity of [`Domain::Workload`] that draws cuts.
const CUTS: u64 = 1 << 45;
/// The mean time between cuts, and the longest one.
const CUT_PAUSE_NS: u64 = 8_000_000_000;
const LONGEST_CUT_NS: u64 = 5_000_000_000;
/// Numbers of faults that are not the plan's.
const FAULT: u32 = 1 << 20;

/// The web as it is served in one run; clones are handles on the same.
#[derive(Clone)]
pub(super) struct Sites {
    stage: Stage,
    /// The model.
    pub(super) web: Web,
    /// What it was asked.
    pub(super) observed: Observed,
    /// When nodes could not reach a part of it; simulated time.
    cuts: Arc<Mutex<Vec<(Duration, Duration)>>>,
    /// By how much simulated time is ahead of the servers' clocks.
    epoch: Arc<OnceLock<Duration>>,
}

impl Sites {
    pub(super) fn new(stage: &Stage, web: &Web) -> Self {
        Sites {
            stage: stage.clone(),
            web: web.clone(),
            observed: Observed::by_a_cluster(web),
            cuts: Arc::default(),
            epoch: Arc::default(),
        }
    }

    /// When nodes could not reach a part of the web beside what the plan says.
    pub(super) fn cuts(&self) -> Vec<(Duration, Duration)> {
        self.cuts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// By how much simulated time is ahead of the servers' clocks, which are right.
    pub(super) fn epoch(&self) -> Duration {
        self.epoch.get().copied().unwrap_or_default()
    }

    /// Gives every host its name, and has the web's machines serve.
    pub(super) fn serve(&self, chosen: &Chosen) {
        let world = &self.stage.world;
        let first = world.plan().nodes;
        for machine in first..first + WEB_MACHINES {
            let way = chosen.way.as_nanos() as u64;
            world.links(|links| links.steady(machine, way));
        }
        for (place, origin) in self.web.origins().iter().enumerate() {
            if !origin.exists() {
                continue;
            }
            let machine = match origin.listens() {
                true => first + place as u32 % SERVING,
                false => first + SERVING,
            };
            let authority = origin.authority();
            let name = authority
                .split_once(':')
                .map_or(authority, |(name, _)| name);
            world.add_name(name, vec![World::ip(machine)]);
        }
        for machine in 0..SERVING {
            let sites = self.clone();
            // It serves for as long as the world stands.
            drop(
                world.client(&format!("web-{}", machine + 1), move |host| async move {
                    let _servers = sites.listen(&host, first + machine).await;
                    std::future::pending::<()>().await;
                }),
            );
        }
        let sites = self.clone();
        let is_cut = chosen.is_cut;
        drop(world.client("web-nobody", move |_| async move {
            if is_cut {
                sites.cut_now_and_then(first).await;
            }
            std::future::pending::<()>().await;
        }));
    }

    async fn listen(&self, host: &Host, machine: u32) -> Vec<Server> {
        let clock = Duration::from_nanos(host.now().as_nanos());
        let _ = self.epoch.set(self.stage.world.now().saturating_sub(clock));
        let mut servers = Vec::new();
        for port in PORTS {
            let address = SocketAddr::new(World::ip(machine), port);
            let listener = host.network.listen(address).await;
            let listener = listener.expect("a new machine's ports are free");
            let server = Server::start(
                host,
                listener,
                &self.observed,
                Speaks::ForAll,
                &self.web,
                None,
            );
            servers.push(server.expect("no certificate is to be made"));
        }
        servers
    }

    /// Cuts the way between some nodes and a part of the web, until the faults are over.
    async fn cut_now_and_then(&self, nodes: u32) {
        let world = &self.stage.world;
        let mut draws = Draws::new(world.plan().seed, Domain::Workload, CUTS);
        for number in 0.. {
            let pause = draws.exponential(CUT_PAUSE_NS);
            world.sleep(Duration::from_nanos(pause)).await;
            let lasts = Duration::from_nanos(draws.magnitude(50_000_000, LONGEST_CUT_NS));
            let (from, until) = (world.now(), world.now() + lasts);
            if until >= world.horizon() {
                return;
            }
            let machine = nodes + draws.range(0, u64::from(SERVING)) as u32;
            let some: Vec<u32> = match draws.chance(0.5) {
                true => (0..nodes).collect(),
                false => vec![draws.range(0, u64::from(nodes)) as u32],
            };
            let (from_side, to_side) = match draws.chance(0.5) {
                true => (some, vec![machine]),
                false => (vec![machine], some),
            };
            let cut = Disturbance::OneWay {
                from: from_side,
                to: to_side,
            };
            world.mark("web-cut-off");
            world.links(|links| links.disturb(FAULT + number, cut));
            self.cuts
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push((from, until));
            world.sleep(lasts).await;
            world.links(|links| links.heal(FAULT + number));
        }
    }
}
