//! A job with every verdict.

use holdfast_links::{
    CheckJob, JobId, JobOptions, LinkResult, Redirect, Status, Timings, Verdict, report::Totals,
};
use holdfast_web::LinkKind;

const SECOND: u64 = 1_000_000_000;
/// 2026-03-01T12:00:00Z.
const START: u64 = 1_772_366_400 * SECOND;
const SITE: &str = "https://docs.example.org";

/// A completed job over the results.
pub fn job(results: &[LinkResult]) -> CheckJob {
    let mut totals = Totals::default();
    for result in results {
        totals.add(result.verdict);
    }
    CheckJob {
        id: JobId(0x0195_4f2c_8a00_7000_8000_0000_0000_002a),
        version: 3,
        target_domain: "docs.example.org".to_owned(),
        start_urls: vec![format!("{SITE}/")],
        status: Status::Completed,
        created_at: START - SECOND,
        scheduled_for: None,
        every_ms: Some(86_400_000),
        started_at: Some(START),
        completed_at: Some(START + 200 * SECOND),
        total_links: totals.links(),
        broken_count: totals.broken(),
        pages: 4,
        targets: totals.links(),
        pending: totals.pending(),
        skipped: 2,
        previous: Some(JobId(41)),
        failure: None,
        options: JobOptions::default(),
    }
}

/// A link that works.
pub fn link(id: u64, page: Option<&str>, target: &str) -> LinkResult {
    let number = u32::try_from(id).expect("a small id");
    LinkResult {
        id,
        job: JobId(0x0195_4f2c_8a00_7000_8000_0000_0000_002a),
        source: page.map(|page| format!("{SITE}{page}")),
        ordinal: number,
        line: if page.is_some() { 10 + number } else { 0 },
        column: if page.is_some() { 5 } else { 0 },
        kind: LinkKind::Anchor,
        element: "a".to_owned(),
        text: "Read more".to_owned(),
        raw: target.to_owned(),
        target: target.to_owned(),
        final_url: None,
        status: Some(200),
        redirects: Vec::new(),
        verdict: Some(Verdict::Alive),
        reason: "status_200".to_owned(),
        detail: "200 OK".to_owned(),
        attempts: 1,
        timings: Timings {
            wait_ms: 1,
            head_ms: 42,
            total_ms: 57,
        },
        checked_at: Some(START + id * SECOND),
    }
}

fn with(mut link: LinkResult, verdict: Verdict, reason: &str, detail: &str) -> LinkResult {
    link.verdict = Some(verdict);
    link.reason = reason.to_owned();
    link.detail = detail.to_owned();
    link.status = reason
        .strip_prefix("status_")
        .and_then(|code| code.parse().ok());
    link
}

fn redirect(url: &str, status: u16, to: &str) -> Redirect {
    Redirect {
        url: url.to_owned(),
        status,
        to: to.to_owned(),
    }
}

/// Every verdict, a link without one, twins, and texts that want to be something else.
pub fn results() -> Vec<LinkResult> {
    use Verdict::*;
    let home = Some("/");
    let guide = Some("/guide/install");
    let mut all = vec![
        link(1, None, "https://docs.example.org/"),
        link(2, home, "https://docs.example.org/guide/install"),
        with(
            link(3, home, "https://old.example.net/tool.html"),
            Dead,
            "status_404",
            "404 Not Found, at each of 3 tries",
        ),
        with(
            link(4, home, "http://docs.example.org/faq"),
            Moved,
            "redirect_301",
            "moved for good",
        ),
        with(
            link(5, home, "https://shop.example.com/"),
            Blocked,
            "status_403",
            "403 Forbidden, with a page that tells programs to go away",
        ),
        with(
            link(6, home, "mailto:docs@example.org"),
            Unverifiable,
            "scheme_mailto",
            "a mail address",
        ),
        with(
            link(7, guide, "https://old.example.net/tool.html"),
            Dead,
            "status_404",
            "404 Not Found, at each of 3 tries",
        ),
        with(
            link(8, guide, "https://old.example.net/tool.html"),
            Dead,
            "status_404",
            "404 Not Found, at each of 3 tries",
        ),
        with(
            link(9, guide, "https://docs.example.org/faq#logging-in"),
            FragmentMissing,
            "fragment",
            "the page has no place named \"logging-in\"",
        ),
        with(
            link(10, guide, "https://api.example.com/v1/status"),
            Throttled,
            "status_429",
            "429 Too Many Requests for 10 minutes",
        ),
        with(
            link(11, guide, "https://mirror.example.net/holdfast.tar.gz"),
            Flaky,
            "timeout_head",
            "2 of 5 tries were answered",
        ),
        with(
            link(12, Some("/faq"), "https://blog.example.com/2019/lost"),
            Soft404,
            "soft404_probe",
            "looks like the site's page for addresses that do not exist",
        ),
        with(
            link(13, Some("/faq"), "https://sso.example.com/in?next=%2F"),
            RedirectLoop,
            "redirect_loop",
            "comes back to where it was after 2 redirects",
        ),
        with(
            link(14, Some("/faq"), "https://expired.example.com/"),
            TlsProblem,
            "tls_expired",
            "the certificate was valid until 2026-01-31",
        ),
        link(15, Some("/faq"), "https://docs.example.org/new"),
        with(
            link(16, Some("/faq"), "https://x.example/?a=<b>&c=\"{0}\"[d](e)"),
            Dead,
            "dns_no_name",
            "no such host: x.example",
        ),
    ];
    all[3].final_url = Some("https://docs.example.org/help".to_owned());
    all[3].redirects = vec![redirect(
        "http://docs.example.org/faq",
        301,
        "https://docs.example.org/help",
    )];
    all[12].redirects = vec![
        redirect(
            "https://sso.example.com/in?next=%2F",
            302,
            "https://sso.example.com/check",
        ),
        redirect(
            "https://sso.example.com/check",
            302,
            "https://sso.example.com/in?next=%2F",
        ),
    ];
    all[14].verdict = None;
    all[14].status = None;
    all[14].reason.clear();
    all[14].detail.clear();
    all[14].attempts = 0;
    all[14].checked_at = None;
    all[15].text = "=HYPERLINK(\"//evil\") </script><b>\u{1b}[31m, \u{202e}dne".to_owned();
    all[10].kind = LinkKind::Image;
    all[10].element = "img".to_owned();
    all[10].text.clear();
    all
}
