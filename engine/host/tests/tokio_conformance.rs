//! The tokio host keeps every promise of the traits, on each kind of runtime and outside of one.

use holdfast_host::{
    BoxFuture, TaskEnd,
    conformance::{Site, checks},
    tokio_host,
};
use std::{
    future::Future,
    net::{IpAddr, Ipv4Addr},
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    thread::Thread,
    time::Duration,
};
use tokio::runtime::{Builder, Runtime};

/// One check may take this long.
const LIMIT: Duration = Duration::from_secs(60);

/// Two hosts of this machine: two roots, two loopback addresses.
struct Machine {
    site: Site,
    _roots: [tempfile::TempDir; 2],
}

impl Machine {
    fn new(runtime: &Runtime) -> Machine {
        let roots = [(); 2].map(|()| tempfile::tempdir().expect("a temporary directory"));
        let host = |root: &tempfile::TempDir| {
            tokio_host::host(root.path().to_owned(), runtime.handle().clone())
        };
        // Only Linux answers on all of 127.0.0.0/8 without being told.
        let other = cfg!(target_os = "linux").then(|| {
            let ip = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
            (host(&roots[1]), ip)
        });
        let ip = IpAddr::V4(Ipv4Addr::LOCALHOST);
        Machine {
            site: Site {
                host: host(&roots[0]),
                ip,
                other,
                name: Some(("localhost".to_owned(), ip)),
            },
            _roots: roots,
        }
    }
}

/// Runs every check by itself and names all that failed; `run` says who polls.
fn run_all(machine: &Machine, mut run: impl FnMut(BoxFuture<'static, ()>)) {
    let mut failed = Vec::new();
    for (name, check) in checks() {
        let site = machine.site.clone();
        let task = machine.site.host.clone();
        let (send, receive) = std::sync::mpsc::channel();
        run(Box::pin(async move {
            let mut check = task.spawn(name, check(site));
            let end = task.timeout(LIMIT, &mut check).await;
            let _ = send.send(end);
        }));
        if receive.recv() != Ok(Ok(TaskEnd::Returned)) {
            failed.push(name);
        }
    }
    assert!(failed.is_empty(), "broken promises: {failed:#?}");
}

#[test]
fn keeps_its_promises_on_many_threads() {
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let machine = Machine::new(&runtime);
    run_all(&machine, |future| runtime.block_on(future));
}

#[test]
fn keeps_its_promises_on_one_thread() {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let machine = Machine::new(&runtime);
    run_all(&machine, |future| runtime.block_on(future));
}

/// The checks themselves are polled by a thread that no runtime knows; only what they spawn is in the runtime.
#[test]
fn keeps_its_promises_to_futures_outside_the_runtime() {
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    let machine = Machine::new(&runtime);
    let host = machine.site.host.clone();
    for (name, check) in checks() {
        let finished = block_on(host.timeout(LIMIT, check(machine.site.clone())));
        assert_eq!(finished, Ok(()), "{name}");
    }
}

/// Unparks the thread that polls.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}
