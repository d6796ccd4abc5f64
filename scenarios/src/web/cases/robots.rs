//! What a site asks of robots (RFC 9309), and where they would run for ever.

use super::{Case, Scene, fine};
use crate::web::{
    Verdict,
    answer::{Behaviour, Body, Fault, Reply, Trap},
    build::Builder,
    text,
};
use std::time::Duration;

use Verdict::{Alive, Excluded};

pub(super) const CASES: [Case; 4] = [
    fine("robots-disallowed", |s| {
        let path = format!("/private{}", s.path(""));
        s.serve(&path, Reply::html(200, text::small("<p>Private.</p>")));
        let verdict = verdict(s, &path);
        s.a(&path, &[verdict]);
    }),
    fine("trap-calendar", |s| {
        trap(s, Trap::Calendar, "calendar", "/2024/1")
    }),
    fine("trap-segments", |s| {
        trap(s, Trap::Segments, "segments", "/again/")
    }),
    fine("trap-session", |s| {
        trap(s, Trap::Session, "session", "?sid=100001")
    }),
];

/// The most requests in one trap that are not too many.
const TRAP_REQUESTS: usize = 500;

/// A place without an end, of which a crawler may see a little.
fn trap(s: &mut Scene<'_>, trap: Trap, name: &str, begin: &str) {
    let prefix = format!("/trap/{name}-{}", s.number());
    s.serve_under(&prefix, Behaviour::Trap(trap));
    s.conduct().traps.push((prefix.clone(), TRAP_REQUESTS));
    let verdict = verdict(s, &prefix);
    s.a(&format!("{prefix}{begin}"), &[verdict]);
}

/// What to say of a target that is there, if one may look.
fn verdict(s: &mut Scene<'_>, path: &str) -> Verdict {
    match s.conduct().forbids(path) {
        true => Excluded,
        false => Alive,
    }
}

/// How a site's robots.txt is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::web) enum Policy {
    /// Private paths and traps are off limits.
    Strict,
    /// Private paths are off limits, traps are not.
    Private,
    /// The same, told in a syntax that real sites have.
    Odd,
    /// The same, at the end of a redirect.
    Redirected,
    /// The same, and a pause between requests.
    Delay,
    /// 404: everything is allowed.
    Missing,
    /// 403: everything is allowed (RFC 9309, §2.3.1.3).
    Refused,
    /// A page of HTML: nothing is said.
    Page,
    /// Larger than the 500 KiB that must be read, with nothing of interest in them.
    Huge,
    /// 503: nothing is allowed (RFC 9309, §2.3.1.4).
    Unavailable,
    /// The connection is dropped: nothing is allowed either.
    Broken,
}

impl Policy {
    /// Those that a simulated web mixes, the likely ones more than once.
    pub(in crate::web) const MIX: [Policy; 15] = [
        Policy::Strict,
        Policy::Private,
        Policy::Private,
        Policy::Private,
        Policy::Odd,
        Policy::Odd,
        Policy::Redirected,
        Policy::Delay,
        Policy::Missing,
        Policy::Missing,
        Policy::Refused,
        Policy::Page,
        Policy::Huge,
        Policy::Unavailable,
        Policy::Broken,
    ];

    /// Whether private paths are off limits.
    fn keeps_private(self) -> bool {
        use Policy::*;
        matches!(self, Strict | Private | Odd | Redirected | Delay)
    }

    /// Whether nothing may be asked for.
    pub(in crate::web) fn forbids_all(self) -> bool {
        matches!(self, Policy::Unavailable | Policy::Broken)
    }
}

const RULES: &str = "# Rules for everyone\nUser-agent: *\nDisallow: /private/\nAllow: /p/\n";
/// The pause that [`Policy::Delay`] asks for.
const PAUSE: Duration = Duration::from_secs(1);

/// Gives a site its robots.txt, and notes what that asks for. To be called before cases are set.
pub(in crate::web) fn set(builder: &mut Builder, plot: usize, policy: Policy) {
    let plain = |text: String| Behaviour::from(Reply::of(200, "text/plain; charset=utf-8", text));
    let sitemap = format!("Sitemap: {}\n", builder.url(plot, "/sitemap.xml"));
    let behaviour = match policy {
        Policy::Strict => plain(format!("{RULES}Disallow: /trap/\n\n{sitemap}")),
        Policy::Private => plain(format!("{RULES}\n{sitemap}")),
        Policy::Odd => {
            let text = format!(
                "\u{feff}user-AGENT : OtherBot\rdisallow:/\r\r\nUSER-agent:\t* # all\r\n\
                 Noindex: /x\r\nDisallow:\r\n  disallow : /priv*/ # comment\nAllow: /p/\n{sitemap}"
            );
            plain(text)
        }
        Policy::Redirected => {
            builder.serve(
                plot,
                "/robots-are-here",
                plain(format!("{RULES}\n{sitemap}")),
            );
            Reply::redirect(301, "/robots-are-here").into()
        }
        Policy::Delay => plain(format!(
            "{RULES}Crawl-delay: {}\n{sitemap}",
            PAUSE.as_secs()
        )),
        Policy::Missing => Reply::html(404, text::missing()).into(),
        Policy::Refused => Reply::html(403, text::missing()).into(),
        Policy::Page => Reply::html(200, text::small("<p>Welcome!</p>")).into(),
        Policy::Huge => {
            let filler = "# nothing to see here, for a long time\n".repeat(16_000);
            Reply::of(200, "text/plain", "")
                .carrying(Body::Chunked(filler.into()))
                .into()
        }
        Policy::Unavailable => Reply::empty(503).into(),
        Policy::Broken => Fault::Drop.into(),
    };
    builder.serve(plot, "/robots.txt", behaviour);
    let conduct = builder.conduct(plot);
    conduct.forbids_all = policy.forbids_all();
    if policy.keeps_private() {
        conduct.forbidden.push("/private/".into());
    }
    if policy == Policy::Strict {
        conduct.forbidden.push("/trap/".into());
    }
    if policy == Policy::Delay {
        conduct.min_gap = PAUSE;
    }
}
