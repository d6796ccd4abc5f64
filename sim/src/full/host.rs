//! The simulated [`Host`]: one process's view of the world.

use super::{
    connection::End,
    core::Timer,
    disk::NodeDisk,
    gate::Gate,
    net::NOWHERE,
    stream::{SimDatagrams, SimListener, SimStream},
    tasks,
    world::World,
};
use holdfast_host::{
    BoxFuture, Clock, Datagrams, Entropy, Host, Job, Listener, Moment, Network, Sleep, Stream,
    TaskHandle, Tasks, UnixTime,
};
use rand_chacha::ChaCha8Rng;
use std::{
    future::{Future, pending, ready},
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

/// Every service of one process, behind the four traits of a [`Host`].
pub(super) struct Process {
    world: World,
    gate: Arc<Gate>,
    spawner: madsim::runtime::NodeHandle,
}

/// The host of the process behind `gate`.
pub(super) fn host(world: &World, gate: &Arc<Gate>, spawner: &madsim::runtime::NodeHandle) -> Host {
    let process = Arc::new(Process {
        world: world.clone(),
        gate: gate.clone(),
        spawner: spawner.clone(),
    });
    Host {
        clock: process.clone(),
        network: process.clone(),
        tasks: process.clone(),
        entropy: process,
    }
}

impl Process {
    /// A future that does `act` at its first poll, and never returns when the process is dead.
    fn at_once<T: Send + 'static>(
        &self,
        act: impl FnOnce(World, Arc<Gate>) -> T + Send + 'static,
    ) -> BoxFuture<'static, T> {
        let (world, gate) = (self.world.clone(), self.gate.clone());
        Box::pin(async move {
            if !gate.is_alive() {
                pending::<()>().await;
            }
            act(world, gate)
        })
    }
}

impl Clock for Process {
    fn now(&self) -> Moment {
        self.world.with(|core| core.node_now(self.gate.node))
    }

    fn unix_time(&self) -> UnixTime {
        self.world.with(|core| core.node_unix_time(self.gate.node))
    }

    fn sleep_until(&self, deadline: Moment) -> Sleep {
        Box::pin(SimSleep {
            world: self.world.clone(),
            gate: self.gate.clone(),
            deadline: Deadline::Node(deadline),
            timer: None,
        })
    }
}

/// What a sleeper waits for.
#[derive(Clone, Copy)]
enum Deadline {
    /// A reading of its node's monotonic clock.
    Node(Moment),
    /// An instant of the world, in nanoseconds: what devices go by.
    World(u64),
}

struct SimSleep {
    world: World,
    gate: Arc<Gate>,
    deadline: Deadline,
    timer: Option<Timer>,
}

impl Future for SimSleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if !self.gate.is_alive() {
            return Poll::Pending;
        }
        let this = &mut *self;
        this.world.with(|core| {
            let at = match this.deadline {
                Deadline::World(at) => at,
                Deadline::Node(deadline) => core.instant_of(this.gate.node, deadline),
            };
            match core.poll_sleep(this.gate.node, at, &mut this.timer, cx) {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        })
    }
}

impl Drop for SimSleep {
    fn drop(&mut self) {
        if let Some(timer) = self.timer.take() {
            self.world.with(|core| core.cancel_sleep(timer));
        }
    }
}

/// Sleeps until an instant of the world, on no node.
pub(super) async fn world_sleep(world: &World, at: u64) {
    SimSleep {
        world: world.clone(),
        gate: Arc::new(Gate::new(NOWHERE, 0)),
        deadline: Deadline::World(at),
        timer: None,
    }
    .await;
}

impl Network for Process {
    fn bind(&self, address: SocketAddr) -> BoxFuture<'static, io::Result<Datagrams>> {
        self.at_once(move |world, gate| {
            let address = world.with(|core| core.bind_datagrams(gate.node, address))?;
            let socket: Datagrams = Box::new(SimDatagrams {
                world,
                gate,
                address,
            });
            Ok(socket)
        })
    }

    fn listen(&self, address: SocketAddr) -> BoxFuture<'static, io::Result<Listener>> {
        self.at_once(move |world, gate| {
            let address = world.with(|core| core.listen(gate.node, address))?;
            let listener: Listener = Box::new(SimListener {
                world,
                gate,
                address,
            });
            Ok(listener)
        })
    }

    fn connect(&self, address: SocketAddr) -> BoxFuture<'static, io::Result<Stream>> {
        let request = self.at_once(move |world, gate| {
            let (key, local) = world.with(|core| core.open_connection(gate.node, address))?;
            Ok::<_, io::Error>(SimStream {
                world,
                gate,
                key,
                end: End::Client,
                local,
                remote: address,
            })
        });
        Box::pin(async move { request.await?.connected().await })
    }

    fn resolve(&self, name: &str, port: u16) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> {
        let found = self.world.with(|core| core.resolve(name, port));
        Box::pin(ready(found))
    }
}

impl Tasks for Process {
    fn spawn(&self, name: &'static str, future: BoxFuture<'static, ()>) -> TaskHandle {
        tasks::spawn(&self.world, &self.gate, &self.spawner, name, future)
    }

    fn blocking(&self, job: Job) -> BoxFuture<'static, ()> {
        let (world, gate) = (self.world.clone(), self.gate.clone());
        Box::pin(async move {
            if !gate.is_alive() {
                pending::<()>().await;
            }
            match NodeDisk::run(&world, &gate, job) {
                None => pending().await,
                Some(at) => {
                    SimSleep {
                        world,
                        gate,
                        deadline: Deadline::World(at),
                        timer: None,
                    }
                    .await;
                }
            }
        })
    }
}

impl Entropy for Process {
    fn rng(&self, purpose: &str) -> ChaCha8Rng {
        self.world
            .with(|core| core.generator(self.gate.node, self.gate.incarnation, purpose))
    }
}
