use crate::support::*;
use flate2::{Compression, write::GzEncoder};
use holdfast_http::{BodyPolicy, ClientConfig, Request};
use std::io::Write;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).expect("a vector takes all");
    encoder.finish().expect("a vector takes all")
}

#[test]
fn codings_are_undone_and_counted() {
    run(|lab| async move {
        let text = "a page about things. ".repeat(1_000);
        let body = gzip(text.as_bytes());
        let encoded = body.len() as u64;
        let site = lab.serve(Spoken::Http1, move |asked| {
            Answer::ok(body.clone()).header("content-encoding", &asked.path[1..])
        });
        let site = site.await;
        let client = lab.client(ClientConfig::default());
        let response = get(&client, site.url("/gzip")).await;
        is_ok(&response, text.as_bytes());
        let bytes = response.expect("a response").bytes;
        assert_eq!(bytes.encoded, encoded);
        assert_eq!(bytes.decoded, text.len() as u64);
        failed(get(&client, site.url("/br")).await, "bad-content-coding");
        let error = failed(
            get(&client, site.url("/snappy")).await,
            "unknown-content-coding",
        );
        assert!(error.to_string().contains("snappy"), "{error}");
        // Who does not want the body does not mind its coding.
        let request = Request::get(site.url("/snappy"));
        let response = client.send(&request, &|_| BodyPolicy::Discard).await;
        assert!(response.is_ok());
        let request = Request::get(site.url("/gzip"));
        let prefix = |_: &_| BodyPolicy::Prefix { max: 10 };
        let response = client.send(&request, &prefix).await.expect("a response");
        assert_eq!(&response.body[..], b"a page abo");
        assert!(response.is_truncated);
    });
}

#[test]
fn every_bound_ends_a_body() {
    run(|lab| async move {
        let site = lab.serve(Spoken::Http1, |asked| match asked.path.as_str() {
            "/bomb" => Answer::ok(gzip(&vec![0; 20 << 20])).header("content-encoding", "gzip"),
            "/small-bomb" => Answer::ok(gzip(&vec![0; 1 << 19])).header("content-encoding", "gzip"),
            path => Answer::ok(vec![b'x'; path[1..].parse().expect("a size")]),
        });
        let site = site.await;
        let mut config = ClientConfig::default();
        config.limits.max_encoded = 200_000;
        config.limits.max_decoded = 100_000_000;
        let client = lab.client(config);
        failed(get(&client, site.url("/200001")).await, "body-too-large");
        is_ok(
            &get(&client, site.url("/200000")).await,
            &vec![b'x'; 200_000],
        );
        let some = |_: &_| BodyPolicy::Collect { max: 150_000 };
        let request = |path| Request::get(site.url(path));
        failed(
            client.send(&request("/150001"), &some).await,
            "decoded-too-large",
        );
        assert!(client.send(&request("/150000"), &some).await.is_ok());
        let lots = |_: &_| BodyPolicy::Collect { max: 90_000_000 };
        failed(
            client.send(&request("/bomb"), &lots).await,
            "decompression-bomb",
        );
        // Half a mebibyte hurts nobody.
        assert!(client.send(&request("/small-bomb"), &lots).await.is_ok());
        // Who asks for little of it stops before it is one.
        let little = |_: &_| BodyPolicy::Prefix { max: 1_000 };
        let response = client.send(&request("/bomb"), &little).await;
        assert!(response.expect("a start").is_truncated);
    });
}

#[test]
fn the_policy_is_told_the_head() {
    run(|lab| async move {
        let site = lab.serve(Spoken::Http1, |asked| {
            Answer::ok("body").header("content-type", &asked.path[1..])
        });
        let site = site.await;
        let client = lab.client(ClientConfig::default());
        let pages = |head: &holdfast_http::Head| match head.media_type().as_str() {
            "text/html" => BodyPolicy::Collect { max: 100 },
            _ => BodyPolicy::Discard,
        };
        for (kind, expected) in [("Text/HTML;charset=utf-8", "body"), ("image/png", "")] {
            let request = Request::get(site.url(&format!("/{kind}")));
            let response = client.send(&request, &pages).await.expect("a response");
            assert_eq!(response.body, expected);
            assert_eq!(response.is_truncated, expected.is_empty());
        }
        assert_eq!(site.connections(), 1);
    });
}
