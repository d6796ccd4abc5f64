//! The model web on loopback, byte by byte: what is HTTP, and what is not.
// A client that reads bytes blocks on a socket of its own.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

use holdfast_host::tokio_host;
use holdfast_scenarios::web::{StaticShape, serve::Loopback};
use std::{
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    time::Duration,
};

struct Site {
    served: Loopback,
    /// The servers run on it: dropped last.
    _runtime: tokio::runtime::Runtime,
}

impl Site {
    fn start() -> Site {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let host = tokio_host::host(std::env::temp_dir(), runtime.handle().clone());
        let shape = |addresses| StaticShape {
            pages: 20,
            slow: true,
            faults: StaticShape::kinds(true),
            ..StaticShape::benchmark(addresses)
        };
        let served = runtime.block_on(Loopback::start(&host, 0, 3, shape));
        Site {
            served: served.expect("loopback has ports"),
            _runtime: runtime,
        }
    }

    /// Asks for the target of a case; all that comes until the connection ends or says nothing for a while.
    fn get(&self, case: &str) -> (String, End) {
        let truth = self.served.web.truth();
        let mut of_case = truth.iter().filter(|e| e.case == case);
        let target = of_case.next().unwrap_or_else(|| panic!("no {case}"));
        let rest = target.target.strip_prefix("http://").expect("plain HTTP");
        let (authority, path) = rest.split_once('/').expect("a path");
        let mut stream = TcpStream::connect(authority).expect("it listens");
        let patience = Some(Duration::from_millis(500));
        stream.set_read_timeout(patience).expect("not zero");
        let request =
            format!("GET /{path} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n");
        stream
            .write_all(request.as_bytes())
            .expect("it takes requests");
        let mut bytes = Vec::new();
        let end = match stream.take(1 << 20).read_to_end(&mut bytes) {
            Ok(_) if bytes.len() == 1 << 20 => End::None,
            Ok(_) => End::Closed,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => End::Closed,
            Err(_) => End::Silence,
        };
        (String::from_utf8_lossy(&bytes).into_owned(), end)
    }

    #[track_caller]
    fn check(&self, case: &str, begin: &str, end: End) {
        let (text, ended) = self.get(case);
        assert!(text.starts_with(begin), "{case}: {text:.200}");
        assert!(!begin.is_empty() || text.is_empty(), "{case}: {text:.200}");
        assert_eq!(ended, end, "{case}: {text:.200}");
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Closed,
    Silence,
    /// There was more than one reads.
    None,
}

#[test]
fn each_way_of_not_answering_is_seen_on_the_wire() {
    let site = Site::start();
    site.check("status-404", "HTTP/1.1 404 Not Found\r\n", End::Closed);
    site.check("wall-999", "HTTP/1.1 999 ", End::Closed);
    site.check("drops-connection", "", End::Closed);
    site.check("hangs", "", End::Silence);
    site.check(
        "closes-in-head",
        "HTTP/1.1 200 OK\r\nContent-Ty",
        End::Closed,
    );
    site.check("garbage", "\u{16}\u{3}\u{1}", End::Closed);
    site.check("bad-status-line", "HTTP/1.1 abc", End::Closed);
    site.check("drip", "HTTP/1.1 200 OK\r\n", End::Silence);
    site.check("endless-video", "HTTP/1.1 200 OK\r\n", End::None);
    site.check("endless-html", "HTTP/1.1 200 OK\r\n", End::None);
    let (text, end) = site.get("truncated-html");
    assert!(text.contains("content-length: 4096\r\n"), "{text}");
    assert!(text.ends_with("</html>\n"), "{text}");
    assert_eq!(end, End::Closed);
    let (text, _) = site.get("head-60-kib");
    assert!(text.len() > 60 << 10, "{} bytes", text.len());
    // It fails once a client, and every connection is the same client's.
    site.check("429-once", "HTTP/1.1 429 ", End::Closed);
    site.check("429-once", "HTTP/1.1 200 ", End::Closed);
    let summary = site.served.observed.summary();
    assert_eq!((summary.requests, summary.distinct), (14, 13));
    assert_eq!((summary.duplicates, summary.forbidden), (0, 0));
}
