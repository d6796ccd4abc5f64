//! What a server may answer.

use super::{Case, Role, Scene, fault, fine, open};
use crate::web::{
    Certificate, Verdict,
    answer::{Answer, Behaviour, Body, Fault, Reply},
    text,
};
use bytes::Bytes;
use std::time::Duration;

use Verdict::{Alive, Blocked, Dead, Flaky, Soft404, Throttled, TlsProblem};

pub(super) const CASES: [Case; 54] = [
    fault("status-404", |s| always(s, Reply::html(404, text::missing()), &[Dead])),
    fault("status-404-empty", |s| always(s, Reply::empty(404), &[Dead])),
    fault("status-410", |s| always(s, Reply::html(410, text::missing()), &[Dead])),
    fault("status-400", |s| always(s, Reply::empty(400), &[Dead])),
    fault("status-500", |s| always(s, Reply::empty(500), &[Dead])),
    fault("status-502", |s| always(s, Reply::empty(502), &[Dead])),
    fault("status-404-json", |s| {
        let reply = Reply::of(404, "application/problem+json", r#"{"status": 404}"#);
        always(s, reply, &[Dead]);
    }),
    fault("head-200-get-404", |s| {
        let behaviour = Behaviour::ByMethod {
            head: ok().into(),
            other: Reply::empty(404).into(),
        };
        serve(s, behaviour, &[Dead]);
    }),
    fault("500-then-404", |s| {
        let behaviour = Behaviour::InTurn {
            first: vec![Reply::empty(500).into()],
            then: Reply::empty(404).into(),
        };
        serve(s, behaviour, &[Dead]);
    }),
    fault("drops-connection", |s| always(s, Fault::Drop, &[Dead])),
    fault("closes-in-head", |s| {
        always(s, raw(b"HTTP/1.1 200 OK\r\nContent-Ty"), &[Dead]);
    }),
    fault("garbage", |s| {
        always(s, raw(b"\x16\x03\x01\x00\x02this is not HTTP\r\n\r\n"), &[Dead]);
    }),
    fault("bad-status-line", |s| {
        always(s, raw(b"HTTP/1.1 abc OK\r\nContent-Length: 0\r\n\r\n"), &[Dead]);
    }),
    fault("refused", |s| elsewhere(s, Role::Refusing, &[Dead])).needing(Role::Refusing),
    fault("no-such-host", |s| elsewhere(s, Role::Nowhere, &[Dead])).needing(Role::Nowhere),
    fault("no-such-idn-host", |s| {
        let url = format!("http://b\u{fc}cher-{}.nowhere/", s.path("").len());
        s.a(&url, &[Dead]);
    }),
    fault("other-host-404", |s| {
        let path = s.path("");
        let url = s.serve_at(Role::Partner, &path, Reply::html(404, text::missing()));
        s.a(&url, &[Dead]);
    })
    .needing(Role::Partner),
    fault("soft-404", |s| {
        let path = s.path(".html");
        let url = s.url_at(Role::Soft, &path);
        s.a(&url, &[Soft404]);
    })
    .needing(Role::Soft),
    fault("soft-404-query", |s| {
        let path = s.path("?item=17");
        let url = s.url_at(Role::Soft, &path);
        s.a(&url, &[Soft404]);
    })
    .needing(Role::Soft),
    fault("tls-expired", |s| tls(s, Certificate::Expired))
        .needing(Role::Tls(Certificate::Expired)),
    fault("tls-wrong-host", |s| tls(s, Certificate::WrongHost))
        .needing(Role::Tls(Certificate::WrongHost)),
    fault("tls-self-signed", |s| tls(s, Certificate::SelfSigned))
        .needing(Role::Tls(Certificate::SelfSigned)),
    fault("tls-unknown-authority", |s| tls(s, Certificate::UnknownAuthority))
        .needing(Role::Tls(Certificate::UnknownAuthority)),
    fault("hangs", |s| always(s, Fault::Hang, &[Dead])).slow(),
    fault("head-200-get-hangs", |s| {
        let behaviour = Behaviour::ByMethod {
            head: ok().into(),
            other: Fault::Hang.into(),
        };
        serve(s, behaviour, &[Dead]);
    })
    .slow(),
    fault("slow-404", |s| {
        let mut reply = Reply::empty(404);
        reply.delay = Duration::from_secs(2);
        always(s, reply, &[Dead]);
    })
    .slow(),
    fine("tls-good", |s| {
        let path = s.path("");
        let url = s.serve_at(Role::Tls(Certificate::Good), &path, ok());
        s.a(&url, &[Alive]);
    })
    .needing(Role::Tls(Certificate::Good)),
    fine("soft-site-real-page", |s| {
        let path = s.path(".html");
        let body = "<h1>Opening hours</h1><p>We are open from nine to five on working days, and until noon on \
                    Saturdays. The workshop is behind the mill, two minutes from the station.</p>";
        let url = s.serve_at(Role::Soft, &path, Reply::html(200, text::small(body)));
        s.a(&url, &[Alive]);
    })
    .needing(Role::Soft),
    fine("other-host-200", |s| {
        let path = s.path("");
        let url = s.serve_at(Role::Partner, &path, ok());
        s.a(&url, &[Alive]);
    })
    .needing(Role::Partner),
    fine("head-404-get-200", |s| broken_head(s, Reply::empty(404).into())),
    fine("head-405-get-200", |s| broken_head(s, Reply::empty(405).with("allow", "GET").into())),
    fine("head-500-get-200", |s| broken_head(s, Reply::empty(500).into())),
    fine("head-drops-get-200", |s| broken_head(s, Fault::Drop.into())),
    fine("head-hangs-get-200", |s| broken_head(s, Fault::Hang.into())).slow(),
    fine("429-once", |s| {
        let wait = Reply::empty(429).with("retry-after", "1");
        in_turn(s, vec![wait.into()], &[Alive, Flaky]);
    }),
    fine("500-once", |s| {
        in_turn(s, vec![Reply::empty(500).into()], &[Flaky, Alive]);
    }),
    fine("503-twice", |s| {
        let busy: Answer = Reply::empty(503).into();
        in_turn(s, vec![busy.clone(), busy], &[Flaky, Alive]);
    }),
    fine("503-once-retry-after", |s| {
        let wait = Reply::empty(503).with("retry-after", "1");
        in_turn(s, vec![wait.into()], &[Alive, Flaky]);
    }),
    fine("drops-once", |s| in_turn(s, vec![Fault::Drop.into()], &[Flaky, Alive])),
    fine("slow-200", |s| {
        let mut reply = ok();
        reply.delay = Duration::from_millis(400);
        always(s, reply, &[Alive]);
    }),
    fine("head-60-kib", |s| {
        let mut reply = ok();
        for _ in 0..15 {
            reply = reply.with("x-padding", &"x".repeat(4 << 10));
        }
        always(s, reply, &[Alive]);
    }),
    fine("status-204", |s| always(s, Reply::empty(204), &[Alive])),
    fine("status-203", |s| always(s, Reply::html(203, text::small("Copied.")), &[Alive])),
    fine("endless-video", |s| {
        let body = Body::Endless(Bytes::from(vec![0; 16 << 10]));
        let reply = Reply::empty(200).with("content-type", "video/mp4");
        always(s, reply.carrying(body), &[Alive]);
    })
    .slow(),
    open("wall-403", |s| {
        let html = text::small("<h1>Just a moment...</h1><p>Checking that you are human.</p>");
        let reply = Reply::html(403, html).with("cf-mitigated", "challenge");
        always(s, reply, &[Blocked]);
    }),
    open("wall-999", |s| always(s, Reply::empty(999), &[Blocked])),
    open("login-401", |s| {
        let reply = Reply::empty(401).with("www-authenticate", "Basic realm=\"staff\"");
        always(s, reply, &[Blocked]);
    }),
    open("429-always", |s| always(s, Reply::empty(429), &[Throttled])).slow(),
    open("429-an-hour", |s| {
        always(s, Reply::empty(429).with("retry-after", "3600"), &[Throttled]);
    })
    .slow(),
    open("503-always", |s| always(s, Reply::empty(503), &[Throttled, Dead])).slow(),
    open("status-300", |s| always(s, Reply::html(300, text::small("Choose.")), &[Alive, Dead])),
    open("bad-chunk", |s| {
        let bytes = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n";
        always(s, raw(bytes), &[Dead, Alive, Flaky]);
    }),
    open("truncated-html", |s| {
        let body = Body::Truncated {
            sent: text::small("<p>And then").into(),
            announced: 4096,
        };
        let reply = Reply::html(200, "").carrying(body);
        always(s, reply, &[Alive, Dead, Flaky]);
    }),
    open("endless-html", |s| {
        let body = Body::Endless(Bytes::from_static(b"<p>And on, and on, and on.</p>\n"));
        always(s, Reply::html(200, "").carrying(body), &[Alive, Dead]);
    })
    .slow(),
];

pub(super) fn ok() -> Reply {
    Reply::html(200, text::small("<p>All is well.</p>"))
}

fn raw(bytes: &'static [u8]) -> Fault {
    Fault::Raw(Bytes::from_static(bytes))
}

fn serve(s: &mut Scene<'_>, behaviour: Behaviour, verdicts: &[Verdict]) {
    let path = s.path("");
    s.serve(&path, behaviour);
    s.a(&path, verdicts);
}

fn always(s: &mut Scene<'_>, answer: impl Into<Answer>, verdicts: &[Verdict]) {
    serve(s, Behaviour::Always(answer.into()), verdicts);
}

fn in_turn(s: &mut Scene<'_>, first: Vec<Answer>, verdicts: &[Verdict]) {
    let then = ok().into();
    serve(s, Behaviour::InTurn { first, then }, verdicts);
}

fn broken_head(s: &mut Scene<'_>, head: Answer) {
    let other = ok().into();
    serve(s, Behaviour::ByMethod { head, other }, &[Alive]);
}

fn elsewhere(s: &mut Scene<'_>, role: Role, verdicts: &[Verdict]) {
    let path = s.path("");
    let url = s.url_at(role, &path);
    s.a(&url, verdicts);
}

fn tls(s: &mut Scene<'_>, certificate: Certificate) {
    let path = s.path("");
    let url = s.serve_at(Role::Tls(certificate), &path, ok());
    s.a(&url, &[TlsProblem]);
}
