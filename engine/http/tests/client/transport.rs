use crate::support::*;
use holdfast_http::{
    Addresses, BodyPolicy, ClientConfig, FetchError, Limits, Plain, Request, Stage, Timeouts,
};
use http::{Method, Version};
use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use url::Url;

fn quick() -> ClientConfig {
    ClientConfig {
        timeouts: Timeouts {
            connect: 300 * MS,
            tls: 300 * MS,
            head: 300 * MS,
            body: 300 * MS,
            total: 2_000 * MS,
            ..Timeouts::default()
        },
        ..ClientConfig::default()
    }
}

#[test]
fn a_request_says_who_asks_and_for_what() {
    run(|lab| async move {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = asked.clone();
        let site = lab
            .serve(Spoken::Http1, move |asked| {
                log.lock().expect("no panic").push(asked);
                Answer::ok("hello")
            })
            .await;
        let client = lab.client(ClientConfig::default());
        let mut url = site.url("/a/|b?c={d}|\"#not-sent");
        url.set_username("us er").expect("a host");
        url.set_password(Some("päss")).expect("a host");
        let request = Request::get(url.clone())
            .header("Referer", "http://elsewhere.test/")
            .and_then(|request| request.header("Accept", "text/html"))
            .and_then(|request| request.header("If-None-Match", "\"v1\""))
            .expect("good headers");
        let response = client.send(&request, &all).await;
        is_ok(&response, b"hello");
        let response = response.expect("a response");
        assert_eq!(response.head.url, url);
        assert_eq!(response.head.version, Version::HTTP_11);
        assert_eq!(response.remote, site.address);
        assert_eq!((response.bytes.encoded, response.bytes.decoded), (5, 5));
        assert!(response.timings.connect.is_some() && response.timings.tls.is_none());
        let asked = asked.lock().expect("no panic").remove(0);
        assert_eq!(asked.method, "GET");
        assert!(asked.path.starts_with("/a/|b?c="), "{}", asked.path);
        assert!(!asked.path.contains('#'));
        assert_eq!(asked.header("host"), site.address.to_string());
        assert!(asked.header("user-agent").starts_with("holdfast/"));
        assert_eq!(asked.header("accept"), "text/html");
        assert_eq!(asked.header("accept-encoding"), "gzip, deflate, br, zstd");
        assert_eq!(asked.header("referer"), "http://elsewhere.test/");
        assert_eq!(asked.header("if-none-match"), "\"v1\"");
        // base64 of `us er:päss`
        assert_eq!(asked.header("authorization"), "Basic dXMgZXI6cMOkc3M=");
    });
}

#[test]
fn a_body_is_sent_and_head_has_none() {
    run(|lab| async move {
        let site = lab
            .serve(Spoken::Http1, |asked| {
                Answer::ok(format!("{} {}", asked.method, asked.body.len()))
                    .header("content-encoding", "identity")
            })
            .await;
        let client = lab.client(ClientConfig::default());
        let post = Request::new(Method::POST, site.url("/")).body(vec![1; 100_000]);
        is_ok(&client.send(&post, &all).await, b"POST 100000");
        let head = Request::head(site.url("/"));
        is_ok(&client.send(&head, &all).await, b"");
        assert_eq!(site.connections(), 1);
        let connect = Request::new(Method::CONNECT, site.url("/"));
        failed(client.send(&connect, &all).await, "invalid-url");
    });
}

#[test]
fn connections_are_used_again_until_they_are_idle_for_too_long() {
    run(|lab| async move {
        let site = lab.serve(Spoken::Http1, |_| Answer::ok("x")).await;
        let mut config = ClientConfig::default();
        config.timeouts.idle = 300 * MS;
        let client = lab.client(config);
        for number in 0..10 {
            let response = get(&client, site.url("/")).await.expect("a response");
            assert_eq!(response.is_reused, number > 0);
        }
        assert_eq!(site.connections(), 1);
        assert_eq!(client.holdings().idle, 1);
        lab.host.sleep(600 * MS).await;
        // Nobody asked: the connection ended by itself.
        assert_eq!(client.holdings().connections, 0);
        is_ok(&get(&client, site.url("/")).await, b"x");
        assert_eq!(site.connections(), 2);
    });
}

#[test]
fn connections_are_bounded_and_idle_ones_make_room() {
    run(|lab| async move {
        let mut config = ClientConfig::default();
        config.limits.max_connections = 2;
        let client = lab.client(config);
        let mut sites = Vec::new();
        for _ in 0..5 {
            let host = lab.host.clone();
            let slow = move |_| {
                let host = host.clone();
                async move {
                    host.sleep(20 * MS).await;
                    Answer::ok("x")
                }
            };
            sites.push(lab.serve_slowly(Spoken::Http1, slow).await);
        }
        let most = Arc::new(AtomicUsize::new(0));
        let tasks: Vec<_> = (0..30)
            .map(|n| {
                let (client, url) = (client.clone(), sites[n % 5].url("/"));
                let most = most.clone();
                lab.host.spawn("asker", async move {
                    is_ok(&get(&client, url).await, b"x");
                    most.fetch_max(client.holdings().connections, Ordering::SeqCst);
                })
            })
            .collect();
        for task in tasks {
            assert_eq!(task.await, holdfast_host::TaskEnd::Returned);
        }
        assert!((1..=2).contains(&most.load(Ordering::SeqCst)));
    });
}

#[test]
fn idle_connections_are_bounded() {
    run(|lab| async move {
        let mut config = ClientConfig::default();
        config.limits.max_idle = 2;
        let client = lab.client(config);
        for _ in 0..5 {
            let site = lab.serve(Spoken::Http1, |_| Answer::ok("x")).await;
            is_ok(&get(&client, site.url("/")).await, b"x");
        }
        assert_eq!(client.holdings().idle, 2);
    });
}

/// A server that answers one request on a connection and closes it when the next has come.
async fn forgetful(lab: &Lab) -> Site {
    lab.script(|mut stream, _| async move {
        read_head(&mut stream).await;
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nx";
        stream.write_all(answer).await.expect("it reads");
        read_head(&mut stream).await;
    })
    .await
}

#[test]
fn a_kept_connection_that_was_closed_is_made_up_for_once() {
    run(|lab| async move {
        let site = forgetful(&lab).await;
        let client = lab.client(ClientConfig::default());
        is_ok(&get(&client, site.url("/")).await, b"x");
        is_ok(&get(&client, site.url("/")).await, b"x");
        assert_eq!(site.connections(), 2);
        // What may have been carried out is not sent again.
        let post = Request::new(Method::POST, site.url("/")).body("do it");
        let error = client.send(&post, &all).await.expect_err("no answer");
        // Closed with a body unread, the connection is reset.
        assert!(matches!(
            error,
            FetchError::Closed | FetchError::Reset { .. }
        ));
        assert_eq!(site.connections(), 2);
        // A new connection that is closed is no stale one.
        let never = lab.script(|mut stream, _| async move {
            read_head(&mut stream).await;
        });
        let never = never.await;
        failed(get(&client, never.url("/")).await, "connection-closed");
        assert_eq!(never.connections(), 1);
    });
}

#[test]
fn a_connection_that_was_closed_while_idle_is_not_used() {
    run(|lab| async move {
        let site = lab
            .bytes("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nx")
            .await;
        let client = lab.client(ClientConfig::default());
        let post = Request::new(Method::POST, site.url("/"));
        for _ in 0..5 {
            is_ok(&client.send(&post, &all).await, b"x");
            lab.host.sleep(20 * MS).await;
        }
        assert_eq!(site.connections(), 5);
    });
}

#[test]
fn names_that_are_none_and_ports_that_are_closed() {
    run(|lab| async move {
        let client = lab.client(quick());
        let url = |text: &str| Url::parse(text).expect("a URL");
        let error = failed(
            get(&client, url("http://nobody.invalid/")).await,
            "name-not-found",
        );
        assert!(error.to_string().contains("nobody.invalid"));
        let site = lab.serve(Spoken::Http1, |_| Answer::ok("x")).await;
        let localhost = format!("http://localhost:{}/", site.address.port());
        // IPv6 refuses, IPv4 answers.
        is_ok(&get(&client, url(&localhost)).await, b"x");
        let any = "127.0.0.1:0".parse().expect("an address");
        let listener = lab.host.network.listen(any).await.expect("a port");
        let closed = format!("http://{}/", listener.local_addr());
        drop(listener);
        let error = failed(get(&client, url(&closed)).await, "connection-refused");
        assert!(error.is_transient());
        failed(
            get(&client, url("ftp://a.test/")).await,
            "unsupported-scheme",
        );
    });
}

#[test]
fn private_addresses_are_kept_out_when_asked() {
    run(|lab| async move {
        let site = lab.serve(Spoken::Http1, |_| Answer::ok("x")).await;
        let config = ClientConfig {
            addresses: Addresses::Public,
            ..quick()
        };
        let client = lab.client(config);
        failed(get(&client, site.url("/")).await, "address-not-allowed");
        let name = format!("http://localhost:{}/", site.address.port());
        let url = Url::parse(&name).expect("a URL");
        failed(get(&client, url).await, "address-not-allowed");
        assert_eq!(site.connections(), 0);
    });
}

#[track_caller]
fn is_late(error: &FetchError, expected: Stage) {
    let FetchError::Timeout { stage, .. } = error else {
        panic!("{error}");
    };
    assert_eq!(*stage, expected);
}

#[test]
fn every_stage_has_its_end() {
    run(|lab| async move {
        let client = lab.client(quick());
        let silent = lab.script(|mut stream, _| async move {
            let _ = stream.read_to_end(&mut Vec::new()).await;
        });
        let silent = silent.await;
        let began = lab.host.now();
        is_late(
            &failed(get(&client, silent.url("/")).await, "timeout"),
            Stage::Head,
        );
        let took = lab.host.now().since(began);
        assert!(took >= 300 * MS && took < 1_000 * MS, "{took:?}");

        let tls = format!("https://{}/", silent.address);
        let tls = Url::parse(&tls).expect("a URL");
        is_late(&failed(get(&client, tls).await, "timeout"), Stage::Tls);

        let stuck = lab.script(|mut stream, _| async move {
            read_head(&mut stream).await;
            let head = b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n12345";
            let _ = stream.write_all(head).await;
            let _ = stream.read_to_end(&mut Vec::new()).await;
        });
        let stuck = stuck.await;
        is_late(
            &failed(get(&client, stuck.url("/")).await, "timeout"),
            Stage::Body,
        );

        // A byte now and then is never late by itself.
        let host = lab.host.clone();
        let drip = lab.script(move |mut stream, _| {
            let host = host.clone();
            async move {
                read_head(&mut stream).await;
                let head = b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n";
                let _ = stream.write_all(head).await;
                while stream.write_all(b".").await.is_ok() {
                    host.sleep(50 * MS).await;
                }
            }
        });
        let drip = drip.await;
        let began = lab.host.now();
        is_late(
            &failed(get(&client, drip.url("/")).await, "timeout"),
            Stage::Total,
        );
        let took = lab.host.now().since(began);
        assert!(took >= 2_000 * MS && took < 3_000 * MS, "{took:?}");

        // The same with a head.
        let host = lab.host.clone();
        let drip = lab.script(move |mut stream, _| {
            let host = host.clone();
            async move {
                read_head(&mut stream).await;
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nx: ").await;
                while stream.write_all(b".").await.is_ok() {
                    host.sleep(50 * MS).await;
                }
            }
        });
        let drip = drip.await;
        is_late(
            &failed(get(&client, drip.url("/")).await, "timeout"),
            Stage::Head,
        );
        lab.host.sleep(20 * MS).await;
        assert_eq!(client.holdings().connections, 0);
    });
}

#[test]
fn a_dropped_request_is_cut() {
    run(|lab| async move {
        let client = lab.client(ClientConfig::default());
        let silent = lab.script(|mut stream, _| async move {
            let _ = stream.read_to_end(&mut Vec::new()).await;
        });
        let silent = silent.await;
        for _ in 0..20 {
            let asked = lab.host.timeout(20 * MS, get(&client, silent.url("/")));
            assert!(asked.await.is_err());
        }
        lab.host.sleep(20 * MS).await;
        assert_eq!(client.holdings().connections, 0);
    });
}

#[test]
fn http2_serves_all_on_one_connection() {
    run(|lab| async move {
        let host = lab.host.clone();
        let site = lab.serve_slowly(Spoken::Http2, move |asked| {
            let host = host.clone();
            async move {
                host.sleep(30 * MS).await;
                assert_eq!(asked.version, Version::HTTP_2);
                Answer::ok(asked.path)
            }
        });
        let site = site.await;
        let config = ClientConfig {
            plain: Plain::Http2,
            limits: Limits {
                max_per_origin: 20,
                ..Limits::default()
            },
            ..quick()
        };
        let client = lab.client(config);
        let began = lab.host.now();
        let tasks: Vec<_> = (0..20)
            .map(|n| {
                let (client, url) = (client.clone(), site.url(&format!("/{n}")));
                lab.host.spawn("asker", async move {
                    is_ok(&get(&client, url).await, format!("/{n}").as_bytes());
                })
            })
            .collect();
        for task in tasks {
            assert_eq!(task.await, holdfast_host::TaskEnd::Returned);
        }
        assert_eq!(site.connections(), 1);
        assert!(lab.host.now().since(began) < 20 * 30 * MS);
        assert_eq!(client.holdings().connections, 1);
    });
}

#[test]
fn a_shared_connection_that_falls_silent_serves_nobody_new() {
    run(|lab| async move {
        let host = lab.host.clone();
        let count = Arc::new(AtomicUsize::new(0));
        // The first two requests are never answered.
        let site = lab.serve_slowly(Spoken::Http2, move |_| {
            let (host, number) = (host.clone(), count.fetch_add(1, Ordering::SeqCst));
            async move {
                if number < 1 {
                    host.sleep(Duration::from_secs(100)).await;
                }
                Answer::ok("x")
            }
        });
        let site = site.await;
        let config = ClientConfig {
            plain: Plain::Http2,
            ..quick()
        };
        let client = lab.client(config);
        is_late(
            &failed(get(&client, site.url("/")).await, "timeout"),
            Stage::Head,
        );
        is_ok(&get(&client, site.url("/")).await, b"x");
        assert_eq!(site.connections(), 2);
    });
}

#[test]
fn a_body_that_is_not_wanted_costs_little_and_poisons_nothing() {
    run(|lab| async move {
        for (spoken, plain) in [(Spoken::Http1, Plain::Http1), (Spoken::Http2, Plain::Http2)] {
            let is_http2 = plain == Plain::Http2;
            let site = lab.serve(spoken, |asked| {
                let size: usize = asked.path[1..].parse().expect("a size");
                Answer::ok(vec![7; size])
            });
            let site = site.await;
            let client = lab.client(ClientConfig { plain, ..quick() });
            let discard = |_: &_| BodyPolicy::Discard;
            let prefix = |_: &_| BodyPolicy::Prefix { max: 1_000 };
            for (size, new_connections) in [(0, 1), (10_000, 1), (20_000_000, 1), (100, 2)] {
                let request = Request::get(site.url(&format!("/{size}")));
                let response = client.send(&request, &discard).await.expect("a head");
                assert_eq!(response.is_truncated, size > 0);
                assert_eq!(response.body.len(), 0);
                let expected = if is_http2 { 1 } else { new_connections };
                assert_eq!(site.connections(), expected, "{size}");
            }
            let before = site.connections();
            for (size, new_connections) in
                [(999, 0), (1_000, 0), (1_001, 0), (9_000_000, 0), (1, 1)]
            {
                let request = Request::get(site.url(&format!("/{size}")));
                let response = client.send(&request, &prefix).await.expect("a head");
                assert_eq!(response.is_truncated, size > 1_000, "{size}");
                assert_eq!(response.body.len(), size.min(1_000));
                let expected = if is_http2 { 0 } else { new_connections };
                assert_eq!(site.connections() - before, expected, "{size}");
            }
        }
    });
}

#[test]
fn a_shared_connection_that_was_closed_is_made_up_for() {
    run(|lab| async move {
        let host = lab.host.clone();
        // Each connection serves for a while and is then gone without a word.
        let site = lab.script(move |stream, _| {
            let host = host.clone();
            async move {
                let handler = Arc::new(|_| async { Answer::ok("x") });
                let serving = speak(host.clone(), stream, true, handler);
                let _ = host.timeout(100 * MS, serving).await;
            }
        });
        let site = site.await;
        let client = lab.client(ClientConfig {
            plain: Plain::Http2,
            ..quick()
        });
        for _ in 0..40 {
            is_ok(&get(&client, site.url("/")).await, b"x");
            lab.host.sleep(10 * MS).await;
        }
        assert!((4..=20).contains(&site.connections()));
    });
}

#[test]
fn connections_end_with_their_client() {
    run(|lab| async move {
        for (spoken, plain) in [(Spoken::Http1, Plain::Http1), (Spoken::Http2, Plain::Http2)] {
            let ended = Arc::new(AtomicUsize::new(0));
            let (host, count) = (lab.host.clone(), ended.clone());
            let is_http2 = matches!(spoken, Spoken::Http2);
            let site = lab.script(move |stream, _| {
                let (host, count) = (host.clone(), count.clone());
                async move {
                    let handler = Arc::new(|_| async { Answer::ok("x") });
                    speak(host, stream, is_http2, handler).await;
                    count.fetch_add(1, Ordering::SeqCst);
                }
            });
            let site = site.await;
            let client = lab.client(ClientConfig { plain, ..quick() });
            is_ok(&get(&client, site.url("/")).await, b"x");
            assert_eq!(ended.load(Ordering::SeqCst), 0);
            drop(client);
            lab.host.sleep(50 * MS).await;
            assert_eq!(ended.load(Ordering::SeqCst), 1);
        }
    });
}

#[test]
fn waiting_for_a_connection_is_in_no_timeout_but_the_queues() {
    run(|lab| async move {
        let host = lab.host.clone();
        let slow = move |_| {
            let host = host.clone();
            async move {
                host.sleep(200 * MS).await;
                Answer::ok("x")
            }
        };
        let one = lab.serve_slowly(Spoken::Http1, slow.clone()).await;
        let other = lab.serve_slowly(Spoken::Http1, slow).await;
        let mut config = quick();
        config.limits.max_connections = 1;
        config.timeouts.total = 300 * MS;
        let client = lab.client(config);
        let first = {
            let (client, url) = (client.clone(), one.url("/"));
            lab.host.spawn("first", async move {
                is_ok(&get(&client, url).await, b"x");
            })
        };
        lab.host.sleep(10 * MS).await;
        let response = get(&client, other.url("/")).await.expect("a response");
        assert!(response.timings.queue > 100 * MS);
        assert_eq!(first.await, holdfast_host::TaskEnd::Returned);
    });
}
