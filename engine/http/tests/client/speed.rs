use crate::support::*;
use holdfast_http::{ClientConfig, Limits, Plain};

/// How many requests a second, server and client in one process.
#[test]
#[ignore = "a measurement: run it alone"]
fn speed() {
    for (spoken, plain) in [(Spoken::Http1, Plain::Http1), (Spoken::Http2, Plain::Http2)] {
        for (askers, size) in [(1, 64), (32, 64), (32, 20_000)] {
            let spoken = spoken.clone();
            run(|lab| async move {
                let site = lab
                    .serve(spoken, move |_| Answer::ok(vec![b'x'; size]))
                    .await;
                let limits = Limits {
                    max_per_origin: askers,
                    ..Limits::default()
                };
                let client = lab.client(ClientConfig {
                    plain,
                    limits,
                    ..ClientConfig::default()
                });
                let each = 20_000 / askers;
                let began = lab.host.now();
                let tasks: Vec<_> = (0..askers)
                    .map(|_| {
                        let (client, url) = (client.clone(), site.url("/"));
                        lab.host.spawn("asker", async move {
                            for _ in 0..each {
                                let fetched = fetch(&client, url.clone()).await;
                                assert_eq!(fetched.outcome.expect("a response").body.len(), size);
                            }
                        })
                    })
                    .collect();
                for task in tasks {
                    assert_eq!(task.await, holdfast_host::TaskEnd::Returned);
                }
                let took = lab.host.now().since(began).as_secs_f64();
                let rate = (each * askers) as f64 / took;
                println!("{plain:?}, {askers} at a time, {size} bytes: {rate:.0} a second");
            });
        }
    }
}
