use crate::support::*;
use holdfast_http::{ClientConfig, Plain, Timeouts};
use proptest::{prelude::*, strategy::ValueTree, test_runner::TestRunner};

fn config() -> ClientConfig {
    ClientConfig {
        timeouts: Timeouts {
            head: 500 * MS,
            body: 500 * MS,
            ..Timeouts::default()
        },
        ..ClientConfig::default()
    }
}

/// What a client makes of these bytes.
#[track_caller]
fn check(bytes: impl Into<Vec<u8>>, expected: Result<&str, &str>) {
    let bytes = bytes.into();
    let told = String::from_utf8_lossy(&bytes[..bytes.len().min(80)]).into_owned();
    let outcome = run(|lab| async move {
        let site = lab.bytes(bytes).await;
        get(&lab.client(config()), site.url("/")).await
    });
    match expected {
        Ok(body) => assert_eq!(outcome.expect(&told).body, body, "{told}"),
        Err(name) => assert_eq!(outcome.expect_err(&told).name(), name, "{told}"),
    }
}

#[test]
fn heads() {
    check("", Err("connection-closed"));
    check("HTTP/1.1 200", Err("connection-closed"));
    check("HTTP/1.1 200 OK\r\nx: y\r\n", Err("connection-closed"));
    check("not http at all\r\n\r\n", Err("bad-response"));
    check("HTTP/3.7 200 OK\r\n\r\n", Err("bad-response"));
    check("HTTP/1.1 20 OK\r\n\r\n", Err("bad-response"));
    check(
        "HTTP/1.1 200 OK\r\nbad header: x\r\n\r\n",
        Err("bad-response"),
    );
    check(
        "HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n",
        Err("bad-response"),
    );
    check(
        "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n12",
        Err("bad-response"),
    );
    check(
        "HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
        Err("bad-response"),
    );
    check("<html>no head</html>", Err("bad-response"));
    // These are unusual, and well understood.
    check("HTTP/1.0 200 OK\r\n\r\nto the end", Ok("to the end"));
    check("HTTP/1.1 200\r\ncontent-length: 2\r\n\r\nok", Ok("ok"));
    check("HTTP/1.1 200 OK\ncontent-length: 2\n\nok", Ok("ok"));
    check(
        "HTTP/1.1 103 Early\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
        Ok("ok"),
    );
    check(
        b"HTTP/1.1 200 OK\r\nx: \xe4\xff\r\ncontent-length: 2\r\n\r\nok",
        Ok("ok"),
    );
}

#[test]
fn bodies() {
    let chunked =
        |body: &str| format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{body}");
    check(
        "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nshort",
        Err("connection-closed"),
    );
    check(
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok and more",
        Ok("ok"),
    );
    check(chunked("2\r\nok\r\n0\r\n\r\n"), Ok("ok"));
    check(chunked("2;x=y\r\nok\r\n0\r\na: b\r\n\r\n"), Ok("ok"));
    check(chunked("2\r\nok\r\n"), Err("connection-closed"));
    check(chunked("2\r\nok"), Err("connection-closed"));
    check(chunked("zz\r\nok\r\n0\r\n\r\n"), Err("bad-response"));
    check(chunked("2\r\nokay\r\n0\r\n\r\n"), Err("bad-response"));
    check(chunked("ffffffffffffffffff\r\nok"), Err("bad-response"));
}

#[test]
fn large_heads_are_taken_and_larger_ones_are_not() {
    let head = |size: usize| {
        let line = "x".repeat(4_000);
        let lines: String = (0..size / 4_000)
            .map(|n| format!("h{n}: {line}\r\n"))
            .collect();
        format!("HTTP/1.1 200 OK\r\n{lines}content-length: 2\r\n\r\nok")
    };
    check(head(64 << 10), Ok("ok"));
    check(head(200 << 10), Ok("ok"));
    check(head(300 << 10), Err("head-too-large"));
    let one = format!(
        "HTTP/1.1 200 OK\r\nx: {}\r\ncontent-length: 2\r\n\r\nok",
        "y".repeat(70_000)
    );
    check(one, Ok("ok"));
    let fields = |count: usize| {
        let lines: String = (0..count).map(|n| format!("h{n}: x\r\n")).collect();
        format!("HTTP/1.1 200 OK\r\n{lines}content-length: 2\r\n\r\nok")
    };
    check(fields(400), Ok("ok"));
    check(fields(600), Err("head-too-large"));
}

#[test]
fn large_http2_heads_are_taken_and_larger_ones_are_not() {
    run(|lab| async move {
        let site = lab.serve(Spoken::Http2, |asked| {
            let count: usize = asked.path[1..].parse().expect("a count");
            let mut answer = Answer::ok("ok");
            for n in 0..count {
                answer = answer.header(&format!("h{n}"), &"x".repeat(4_000));
            }
            answer
        });
        let site = site.await;
        let config = ClientConfig {
            plain: Plain::Http2,
            ..config()
        };
        let client = lab.client(config);
        is_ok(&get(&client, site.url("/16")).await, b"ok");
        assert!(get(&client, site.url("/80")).await.is_err());
        is_ok(&get(&client, site.url("/0")).await, b"ok");
    });
}

#[test]
fn noise_is_never_a_panic_nor_a_hang() {
    let valid = prop_oneof![
        Just(&b"HTTP/1.1 200 OK\r\n"[..]),
        Just(&b"HTTP/1.1 301 Moved\r\nlocation: "[..]),
        Just(&b"content-length: 5\r\n\r\nhello"[..]),
        Just(&b"transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n"[..]),
        Just(&b"content-encoding: gzip\r\n"[..]),
        Just(&b"set-cookie: a=b\r\n"[..]),
        Just(&b"\r\n\r\n"[..]),
    ]
    .prop_map(<[u8]>::to_vec);
    let noise = proptest::collection::vec(any::<u8>(), 0..40);
    let answer = proptest::collection::vec(prop_oneof![3 => valid, 1 => noise], 0..8);
    run(|lab| async move {
        let mut runner = TestRunner::deterministic();
        for _ in 0..300 {
            let bytes = answer
                .new_tree(&mut runner)
                .expect("a value")
                .current()
                .concat();
            for plain in [Plain::Http1, Plain::Http2] {
                let site = lab.bytes(bytes.clone()).await;
                let client = lab.client(ClientConfig { plain, ..config() });
                let fetched = fetch(&client, site.url("/")).await;
                if let Err(error) = &fetched.outcome {
                    assert!(!error.to_string().is_empty());
                }
            }
        }
    });
}
