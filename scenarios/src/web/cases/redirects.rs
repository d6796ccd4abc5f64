//! Redirects, and where they end.

use super::{Case, Role, Scene, answers::ok, fault, fine, open};
use crate::web::{
    Verdict,
    answer::{Behaviour, Reply},
    text,
};

use Verdict::{Alive, Dead, InvalidUrl, Moved, RedirectLoop, Soft404, Unverifiable};

pub(super) const CASES: [Case; 33] = [
    fault("redirect-to-itself", |s| {
        let path = s.path("");
        s.serve(&path, Reply::redirect(302, &path));
        s.a(&path, &[RedirectLoop]);
    }),
    fault("redirect-loop", |s| {
        let (one, other) = (s.path("/one"), s.path("/other"));
        s.serve(&one, Reply::redirect(301, &other));
        s.serve(&other, Reply::redirect(301, &one));
        s.a(&one, &[RedirectLoop]);
    }),
    fault("redirect-loop-over-hosts", |s| {
        let path = s.path("");
        let home = s.url(&path);
        let away = s.serve_at(Role::Partner, &path, Reply::redirect(307, &home));
        s.serve(&path, Reply::redirect(307, &away));
        s.a(&path, &[RedirectLoop]);
    })
    .needing(Role::Partner),
    fault("redirect-loop-same-cookie", |s| {
        let path = s.path("");
        let again = Reply::redirect(302, &path).with("set-cookie", "session=1; Path=/c/");
        s.serve(&path, again);
        s.a(&path, &[RedirectLoop]);
    }),
    fault("redirect-growing", |s| {
        let path = s.path("");
        s.serve(&path, Behaviour::Growing);
        s.a(&path, &[RedirectLoop, Dead]);
    }),
    fault("redirect-chain-of-30", |s| {
        chain(s, 30, 302, &[Dead, RedirectLoop])
    }),
    fault("redirect-302-to-404", |s| to_missing(s, 302)),
    fault("redirect-301-to-404", |s| to_missing(s, 301)),
    fault("redirect-307-to-500", |s| {
        let (path, end) = (s.path(""), s.path("/end"));
        s.serve(&path, Reply::redirect(307, &end));
        s.serve(&end, Reply::empty(500));
        s.a(&path, &[Dead]);
    }),
    fault("redirect-relative-to-404", |s| {
        let path = s.path("/a/b");
        s.serve(&path, Reply::redirect(302, "../nowhere/"));
        s.a(&path, &[Dead]);
    }),
    fault("redirect-to-refused", |s| {
        let path = s.path("");
        let url = s.url_at(Role::Refusing, &path);
        s.serve(&path, Reply::redirect(302, &url));
        s.a(&path, &[Dead]);
    })
    .needing(Role::Refusing),
    fault("redirect-to-no-such-host", |s| {
        let path = s.path("");
        let url = s.url_at(Role::Nowhere, &path);
        s.serve(&path, Reply::redirect(308, &url));
        s.a(&path, &[Dead]);
    })
    .needing(Role::Nowhere),
    fault("redirect-to-invalid-url", |s| {
        let path = s.path("");
        s.serve(&path, Reply::redirect(302, "http://[half/"));
        s.a(&path, &[Dead, InvalidUrl]);
    }),
    fine("redirect-301", |s| to(s, 301, &[Moved])),
    fine("redirect-302", |s| to(s, 302, &[Alive])),
    fine("redirect-303", |s| to(s, 303, &[Alive])),
    fine("redirect-307", |s| to(s, 307, &[Alive])),
    fine("redirect-308", |s| to(s, 308, &[Moved])),
    fine("redirect-chain-of-4", |s| chain(s, 4, 302, &[Alive])),
    fine("redirect-chain-of-4-permanent", |s| {
        chain(s, 4, 301, &[Moved])
    }),
    fine("redirect-relative", |s| {
        let (path, end) = (s.path("/a/b"), s.path("/end"));
        s.serve(&path, Reply::redirect(302, "../end?x=1#there"));
        s.serve(
            &end,
            Reply::html(200, text::small("<p id=\"there\">There.</p>")),
        );
        s.a(&path, &[Alive]);
    }),
    fine("redirect-without-scheme", |s| {
        let (path, end) = (s.path(""), s.path("/end"));
        let url = s.url(&end);
        let url = url.trim_start_matches("http:");
        s.serve(&path, Reply::redirect(302, url));
        s.serve(&end, ok());
        s.a(&path, &[Alive]);
    }),
    fine("redirect-to-other-host", |s| {
        let path = s.path("");
        let url = s.serve_at(Role::Partner, &path, ok());
        s.serve(&path, Reply::redirect(302, &url));
        s.a(&path, &[Alive]);
    })
    .needing(Role::Partner),
    fine("redirect-utf8-location", |s| {
        let (path, end) = (s.path(""), s.path("/stra\u{df}e"));
        s.serve(&path, Reply::redirect(302, &end));
        s.serve(&end, ok());
        s.a(&path, &[Alive]);
    }),
    fine("redirect-cookie-wall", |s| {
        // The same URL twice, and no loop: the second time a cookie comes along.
        let path = s.path("");
        let wall = Reply::redirect(302, &path).with("set-cookie", "passed=1; Path=/c/; HttpOnly");
        s.serve(
            &path,
            Behaviour::ByCookie {
                cookie: "passed=1",
                without: wall.into(),
                with: ok().into(),
            },
        );
        s.a(&path, &[Alive]);
    }),
    fine("redirect-cookie-detour", |s| {
        let (path, detour) = (s.path(""), s.path("/consent"));
        s.serve(
            &path,
            Behaviour::ByCookie {
                cookie: "consent=yes",
                without: Reply::redirect(302, &detour).into(),
                with: ok().into(),
            },
        );
        let back = Reply::redirect(302, &path).with("set-cookie", "consent=yes; Path=/");
        s.serve(&detour, back);
        s.a(&path, &[Alive]);
    }),
    open("redirect-cookie-wall-permanent", |s| {
        // What moved for good to itself has hardly moved.
        let path = s.path("");
        let wall = Reply::redirect(301, &path).with("set-cookie", "gone-by=1; Path=/c/");
        s.serve(
            &path,
            Behaviour::ByCookie {
                cookie: "gone-by=1",
                without: wall.into(),
                with: ok().into(),
            },
        );
        s.a(&path, &[Alive, Moved, RedirectLoop]);
    }),
    open("redirect-home-for-missing", |s| {
        let path = s.path("/an-old-article.html");
        s.serve(&path, Reply::redirect(302, "/"));
        s.a(&path, &[Soft404, Alive]);
    }),
    open("redirect-without-location", |s| {
        let path = s.path("");
        s.serve(&path, Reply::html(302, text::small("Found, but where?")));
        s.a(&path, &[Dead, Alive]);
    }),
    open("redirect-empty-location", |s| {
        let path = s.path("");
        s.serve(&path, Reply::redirect(302, ""));
        s.a(&path, &[RedirectLoop, Dead, Alive]);
    }),
    open("redirect-to-mailto", |s| {
        let path = s.path("");
        s.serve(&path, Reply::redirect(302, "mailto:office@example.org"));
        s.a(&path, &[Dead, Unverifiable]);
    }),
    open("status-304-unasked", |s| {
        let path = s.path("");
        s.serve(&path, Reply::empty(304));
        s.a(&path, &[Alive, Dead]);
    }),
    open("redirect-chain-of-12", |s| {
        chain(s, 12, 302, &[Dead, RedirectLoop, Alive])
    }),
];

fn to(s: &mut Scene<'_>, status: u16, verdicts: &[Verdict]) {
    let (path, end) = (s.path(""), s.path("/end"));
    s.serve(&path, Reply::redirect(status, &end));
    s.serve(&end, ok());
    s.a(&path, verdicts);
}

fn to_missing(s: &mut Scene<'_>, status: u16) {
    let (path, end) = (s.path(""), s.path("/end"));
    s.serve(&path, Reply::redirect(status, &end));
    s.a(&path, &[Dead]);
}

fn chain(s: &mut Scene<'_>, length: usize, status: u16, verdicts: &[Verdict]) {
    let step = |s: &Scene<'_>, i: usize| s.path(&format!("/{i}"));
    for i in 0..length {
        let (from, to) = (step(s, i), step(s, i + 1));
        s.serve(&from, Reply::redirect(status, &to));
    }
    let (begin, end) = (step(s, 0), step(s, length));
    s.serve(&end, ok());
    s.a(&begin, verdicts);
}
