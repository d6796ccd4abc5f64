//! How a URL may be written.

use super::{Case, Role, Scene, answers::ok, fault, fine};
use crate::web::Verdict;

use Verdict::{Alive, Dead, InvalidUrl, Unverifiable};

pub(super) const CASES: [Case; 27] = [
    fault("url-open-bracket", |s| unwritten(s, "http://[half-{}/")),
    fault("url-port-too-high", |s| {
        unwritten(s, "http://host-{}.example:99999/")
    }),
    fault("url-space-in-host", |s| {
        unwritten(s, "http://two words-{}.example/")
    }),
    fault("url-missing-with-query", |s| {
        let path = s.path("?a=1&b=2");
        s.a(&path, &[Dead]);
    }),
    fault("url-missing-unicode", |s| {
        let path = s.path("/\u{fc}bersicht");
        s.a(&path, &[Dead]);
    }),
    fault("url-missing-encoded-slash", |s| {
        let (path, other) = (s.path("/a%2Fb"), s.path("/a/b"));
        s.serve(&other, ok());
        s.a(&path, &[Dead]);
    }),
    fine("url-mailto", |s| {
        unverifiable(s, "mailto:office-{}@example.org?subject=Hello%20there")
    }),
    fine("url-tel", |s| unverifiable(s, "tel:+49-30-5550{}")),
    fine("url-sms", |s| unverifiable(s, "sms:+49305550{}")),
    fine("url-javascript", |s| unverifiable(s, "javascript:void({})")),
    fine("url-data", |s| {
        unverifiable(s, "data:text/plain,hello%20{}")
    }),
    fine("url-urn", |s| unverifiable(s, "urn:isbn:97831614841{}")),
    fine("url-own-scheme", |s| {
        unverifiable(s, "whatsapp://send?text={}")
    }),
    fine("url-upper-case", |s| {
        let url = s.url(&s.some_page()).replace("http://", "HTTP://");
        s.a(&url, &[Alive]);
    }),
    fine("url-without-scheme", |s| {
        let url = s.url(&s.some_page());
        s.a(url.trim_start_matches("http:"), &[Alive]);
    }),
    fine("url-dot-segments", |s| {
        let href = format!("/x/./y/../..{}", s.some_page());
        s.a(&href, &[Alive]);
    }),
    fine("url-relative-dots", |s| s.a("../p/./0.html", &[Alive])),
    fine("url-backslashes", |s| {
        let href = s.some_page().replace('/', "\\");
        s.a(&href, &[Alive]);
    }),
    fine("url-line-break", |s| {
        let page = s.some_page();
        let (begin, end) = page.split_at(3);
        s.a(&format!("{begin}\n{end}"), &[Alive]);
    }),
    fine("url-empty", |s| s.a("", &[Alive])),
    fine("url-only-query", |s| s.a("?page=2", &[Alive])),
    fine("url-unicode-path", |s| {
        let path = s.path("/stra\u{df}e/\u{4f60}\u{597d}");
        s.serve(&path, ok());
        s.a(&path, &[Alive]);
        // The same, as others write it.
        let encoded = s.path("/stra%C3%9Fe/%E4%BD%A0%E5%A5%BD");
        s.a(&encoded, &[Alive]);
    }),
    fine("url-percent-variants", |s| {
        let path = s.path("/~user");
        s.serve(&path, ok());
        let encoded = s.path("/%7Euser");
        s.serve(&encoded, ok());
        s.a(&path, &[Alive]);
        s.a(&encoded, &[Alive]);
    }),
    fine("url-space-in-path", |s| {
        let path = s.path("/two words");
        s.serve(&path, ok());
        s.a(&path, &[Alive]);
    }),
    fine("url-pipe-and-brackets", |s| {
        let path = s.path("/a|b[1]?q={x}");
        s.serve(&path, ok());
        s.a(&path, &[Alive]);
    }),
    fine("url-entities", |s| {
        let path = s.path("/e?a=1&copy=2");
        s.serve(&path, ok());
        s.a(&path, &[Alive]);
    }),
    fine("url-long", |s| {
        let path = s.path(&format!("/{}", "long".repeat(400)));
        let url = s.serve_at(Role::Partner, &path, ok());
        s.a(&url, &[Alive]);
    })
    .needing(Role::Partner),
];

/// What no URL parser takes.
fn unwritten(s: &mut Scene<'_>, template: &str) {
    let url = template.replace("{}", &s.number().to_string());
    s.a(&url, &[InvalidUrl]);
}

fn unverifiable(s: &mut Scene<'_>, template: &str) {
    let url = template.replace("{}", &s.number().to_string());
    s.a(&url, &[Unverifiable]);
}
