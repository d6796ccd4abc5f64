//! Who asks: nobody is authenticated, so a browser that reaches a node must not ask in the name of whatever page it
//! shows. A page can send a form or plain text anywhere, but neither JSON nor PUT nor DELETE without being allowed to,
//! which no answer of a node does; and what it sends to change something says where the page is from.

use super::{Problem, ProblemKind};
use http::{header, request::Parts, uri::Authority};
use std::net::IpAddr;

/// Refuses what a page of another origin asks; those of the node's own begin with `scheme`.
pub(super) fn check(head: &Parts, scheme: &str) -> Result<(), Problem> {
    let mut origins = head.headers.get_all(header::ORIGIN).iter();
    let Some(origin) = origins.next() else {
        return Ok(());
    };
    let origin = String::from_utf8_lossy(origin.as_bytes());
    let named = origin.strip_prefix(scheme).and_then(|o| o.parse().ok());
    let is_own = named.is_some_and(|named: Authority| {
        // A name may be made to lead here by whoever owns it, an address may not.
        asked_at(head).as_ref() == Some(&named) && is_address(&named)
    });
    if is_own && origins.next().is_none() {
        return Ok(());
    }
    Err(Problem::new(
        ProblemKind::ForeignOrigin,
        format!("a page of {origin} may not ask this node"),
    ))
}

/// At which address the client reached this node.
fn asked_at(head: &Parts) -> Option<Authority> {
    let in_target = head.uri.authority().cloned();
    in_target.or_else(|| head.headers.get(header::HOST)?.to_str().ok()?.parse().ok())
}

fn is_address(authority: &Authority) -> bool {
    let host = authority.host();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<IpAddr>().is_ok()
}

/// Refuses a body that does not claim to be JSON.
pub(super) fn check_json(head: &Parts) -> Result<(), Problem> {
    let given = head.headers.get(header::CONTENT_TYPE);
    let given = given.map_or("", |given| given.to_str().unwrap_or(""));
    let media_type = given.split(';').next().unwrap_or("").trim();
    if media_type.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    Err(Problem::new(
        ProblemKind::UnsupportedMediaType,
        format!("the header Content-Type must be application/json, not `{given}`"),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(headers: &[(&str, &str)]) -> Result<(), Problem> {
        let mut request = http::Request::post("/v1/kv/txn");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (head, ()) = request.body(()).expect("a request").into_parts();
        check(&head, "http://")
    }

    #[test]
    fn only_the_nodes_own_origin_may_ask() {
        for (host, origin) in [
            ("127.0.0.1:7480", "http://127.0.0.1:7480"),
            ("localhost:7480", "http://localhost:7480"),
            ("[::1]:7480", "http://[::1]:7480"),
        ] {
            assert_eq!(asked(&[("host", host), ("origin", origin)]), Ok(()));
        }
        assert_eq!(asked(&[("host", "anything")]), Ok(()));
        for (host, origin) in [
            ("127.0.0.1:7480", "null"),
            ("127.0.0.1:7480", ""),
            ("127.0.0.1:7480", "http://evil.example"),
            ("127.0.0.1:7480", "http://127.0.0.1:8080"),
            ("127.0.0.1:7480", "https://127.0.0.1:7480"),
            // A name that was made to lead to this node.
            ("evil.example:7480", "http://evil.example:7480"),
        ] {
            let refused = asked(&[("host", host), ("origin", origin)]);
            let kind = refused.expect_err(origin).kind;
            assert_eq!(kind, ProblemKind::ForeignOrigin);
        }
        let own = ("origin", "http://127.0.0.1:7480");
        let twice = asked(&[("host", "127.0.0.1:7480"), own, own]);
        assert!(twice.is_err(), "which one?");
    }
}
