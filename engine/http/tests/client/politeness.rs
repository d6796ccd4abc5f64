use crate::support::*;
use holdfast_host::{BoxFuture, Moment, TaskEnd};
use holdfast_http::{ClientConfig, FetchError, Gate, Origin, Refusal, Request, Stage};
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::io::AsyncWriteExt;
use url::Url;

/// What the server saw: when requests began, and how many there were at once.
#[derive(Default)]
struct Seen {
    starts: Vec<(Moment, String)>,
    now: usize,
    most: usize,
}

async fn watching(lab: &Lab, takes: Duration) -> (Site, Arc<Mutex<Seen>>) {
    let seen = Arc::new(Mutex::new(Seen::default()));
    let (host, log) = (lab.host.clone(), seen.clone());
    let site = lab.serve_slowly(Spoken::Http1, move |asked| {
        let (host, log) = (host.clone(), log.clone());
        async move {
            {
                let mut log = log.lock().expect("no panic");
                log.starts.push((host.now(), asked.path));
                log.now += 1;
                log.most = log.most.max(log.now);
            }
            host.sleep(takes).await;
            log.lock().expect("no panic").now -= 1;
            Answer::ok("x")
        }
    });
    (site.await, seen)
}

fn gaps(seen: &Mutex<Seen>) -> Vec<Duration> {
    let seen = seen.lock().expect("no panic");
    let pairs = seen.starts.windows(2);
    pairs.map(|pair| pair[1].0.since(pair[0].0)).collect()
}

/// Asks so many times at once and waits for all.
async fn ask_all(lab: &Lab, client: &holdfast_http::Client, site: &Site, count: usize) {
    let mut tasks = Vec::new();
    for n in 0..count {
        let (client, url) = (client.clone(), site.url(&format!("/{n}")));
        tasks.push(lab.host.spawn("asker", async move {
            is_ok(&get(&client, url).await, b"x");
        }));
        // They queue in this order.
        lab.host.sleep(2 * MS).await;
    }
    for task in tasks {
        assert_eq!(task.await, TaskEnd::Returned);
    }
}

/// How much later than it was sent the server may see a request.
const JITTER: Duration = Duration::from_millis(10);

#[test]
fn requests_of_an_origin_keep_their_distance_and_their_order() {
    run(|lab| async move {
        let (site, seen) = watching(&lab, MS).await;
        let config = ClientConfig {
            gap: 80 * MS,
            ..ClientConfig::default()
        };
        let client = lab.client(config);
        // Another origin waits for nothing.
        let (other, _) = watching(&lab, MS).await;
        let began = lab.host.now();
        let (one, two) = (client.clone(), other.url("/"));
        let quick = lab.host.spawn("quick", async move {
            is_ok(&get(&one, two).await, b"x");
        });
        ask_all(&lab, &client, &site, 6).await;
        quick.await;
        let took = lab.host.now().since(began);
        assert!(took >= 5 * 80 * MS, "{took:?}");
        for gap in gaps(&seen) {
            assert!(gap + JITTER >= 80 * MS, "{gap:?}");
        }
        let seen = seen.lock().expect("no panic");
        let order: Vec<_> = seen.starts.iter().map(|(_, path)| path.as_str()).collect();
        assert_eq!(order, ["/0", "/1", "/2", "/3", "/4", "/5"]);
    });
}

#[test]
fn requests_of_an_origin_are_few_at_a_time() {
    run(|lab| async move {
        let (site, seen) = watching(&lab, 30 * MS).await;
        let mut config = ClientConfig::default();
        config.limits.max_per_origin = 3;
        let client = lab.client(config);
        ask_all(&lab, &client, &site, 12).await;
        let seen = seen.lock().expect("no panic");
        assert_eq!(seen.most, 3);
        assert_eq!(site.connections(), 3);
    });
}

/// Lets everything pass, after a gap of its own.
struct Slow(Duration);

impl Gate for Slow {
    fn admit<'a>(&'a self, _hop: &'a Url) -> BoxFuture<'a, Result<(), Refusal>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn gap(&self) -> Duration {
        self.0
    }
}

#[test]
fn who_asks_for_a_longer_gap_keeps_it_whoever_came_before() {
    run(|lab| async move {
        let (site, seen) = watching(&lab, MS).await;
        let client = lab.client(ClientConfig::default());
        let origin = Origin::of(&site.url("/")).expect("a web URL");
        client.set_gap(&origin, 20 * MS).expect("room");
        for own in [0, 80, 0, 80, 5] {
            let request = Request::get(site.url("/"));
            let fetched = client.fetch(&request, &Slow(own * MS), &all).await;
            is_ok(&fetched.outcome, b"x");
        }
        for (gap, asked) in gaps(&seen).into_iter().zip([80, 20, 80, 20]) {
            assert!(gap + JITTER >= asked * MS, "{gap:?} instead of {asked} ms");
        }
    });
}

#[test]
fn a_gap_may_be_set_while_others_wait() {
    run(|lab| async move {
        let (site, seen) = watching(&lab, MS).await;
        let client = lab.client(ClientConfig {
            gap: Duration::from_secs(100),
            ..ClientConfig::default()
        });
        let origin = Origin::of(&site.url("/")).expect("a web URL");
        let (same, host, of) = (client.clone(), lab.host.clone(), origin.clone());
        lab.host.spawn("setter", async move {
            host.sleep(50 * MS).await;
            same.set_gap(&of, 60 * MS).expect("room");
        });
        ask_all(&lab, &client, &site, 4).await;
        for gap in gaps(&seen) {
            assert!(gap + JITTER >= 60 * MS && gap < 1_000 * MS, "{gap:?}");
        }
    });
}

#[test]
fn a_request_that_is_made_again_keeps_its_distance_too() {
    run(|lab| async move {
        let starts = Arc::new(Mutex::new(Vec::new()));
        let (host, log) = (lab.host.clone(), starts.clone());
        // Answers the first request of a connection, and closes it at the second without a word.
        let site = lab.script(move |mut stream, _| {
            let (host, log) = (host.clone(), log.clone());
            async move {
                read_head(&mut stream).await;
                log.lock().expect("no panic").push(host.now());
                let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nx";
                stream.write_all(answer).await.expect("it is read");
                read_head(&mut stream).await;
                log.lock().expect("no panic").push(host.now());
            }
        });
        let site = site.await;
        let client = lab.client(ClientConfig {
            gap: 80 * MS,
            ..ClientConfig::default()
        });
        is_ok(&get(&client, site.url("/")).await, b"x");
        is_ok(&get(&client, site.url("/")).await, b"x");
        let starts = starts.lock().expect("no panic");
        assert_eq!(starts.len(), 3, "the second was made twice");
        for pair in starts.windows(2) {
            assert!(pair[1].since(pair[0]) + JITTER >= 80 * MS, "{starts:?}");
        }
    });
}

#[test]
fn an_origin_may_be_blocked_for_a_while() {
    run(|lab| async move {
        let (site, seen) = watching(&lab, MS).await;
        let client = lab.client(ClientConfig::default());
        let origin = Origin::of(&site.url("/")).expect("a web URL");
        let until = lab.host.now().saturating_add(200 * MS);
        client.block_until(&origin, until).expect("room");
        // An earlier end is no end.
        client.block_until(&origin, lab.host.now()).expect("room");
        let response = get(&client, site.url("/")).await.expect("a response");
        assert!(response.timings.queue >= 150 * MS);
        let seen = seen.lock().expect("no panic");
        assert!(seen.starts[0].0 >= until);
    });
}

#[test]
fn a_waiter_that_goes_gives_its_turn_back() {
    run(|lab| async move {
        // Long enough for all that wait meanwhile to have gone, however busy the machine is.
        let (site, seen) = watching(&lab, 1_000 * MS).await;
        let mut config = ClientConfig {
            gap: 50 * MS,
            ..ClientConfig::default()
        };
        config.limits.max_per_origin = 1;
        let client = lab.client(config);
        let first = {
            let (client, url) = (client.clone(), site.url("/first"));
            lab.host.spawn("first", async move {
                is_ok(&get(&client, url).await, b"x");
            })
        };
        lab.host.sleep(5 * MS).await;
        for _ in 0..20 {
            let waiter = lab.host.timeout(MS, get(&client, site.url("/gone")));
            assert!(waiter.await.is_err());
        }
        is_ok(&get(&client, site.url("/last")).await, b"x");
        first.await;
        let seen = seen.lock().expect("no panic");
        let paths: Vec<_> = seen.starts.iter().map(|(_, path)| path.as_str()).collect();
        assert_eq!(paths, ["/first", "/last"]);
    });
}

#[test]
fn queues_are_bounded_in_length_and_time() {
    run(|lab| async move {
        let (site, _) = watching(&lab, 500 * MS).await;
        let mut config = ClientConfig::default();
        config.limits.max_per_origin = 1;
        config.limits.max_waiting = 2;
        config.timeouts.queue = 100 * MS;
        let client = lab.client(config);
        let ask = || {
            let (client, url) = (client.clone(), site.url("/"));
            let outcome = Arc::new(Mutex::new(None));
            let told = outcome.clone();
            let task = lab.host.spawn("asker", async move {
                *told.lock().expect("no panic") = Some(get(&client, url).await);
            });
            (task, outcome)
        };
        let mut asked = Vec::new();
        for _ in 0..4 {
            asked.push(ask());
            lab.host.sleep(5 * MS).await;
        }
        let mut outcomes = Vec::new();
        for (task, outcome) in asked {
            task.await;
            outcomes.push(outcome.lock().expect("no panic").take().expect("an end"));
        }
        is_ok(&outcomes.remove(0), b"x");
        failed(outcomes.remove(2), "busy");
        for outcome in outcomes {
            let error = failed(outcome, "timeout");
            assert!(matches!(
                error,
                FetchError::Timeout {
                    stage: Stage::Queue,
                    ..
                }
            ));
        }
    });
}
