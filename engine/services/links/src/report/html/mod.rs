//! One self-contained page for people: what was checked, what is broken and where, what to look at.
//!
//! It asks for nothing over the network, opens from a disk, and works without scripts; a script adds the filter. All
//! text goes through `escape::html` and stands in text or in quoted attributes, never in a script or a style. Only
//! `http` and `https` become links. Results are grouped by target, within the bounds of `groups`.

mod groups;

use super::{
    Change, Comparison, ReportOptions, START_PAGES, Severity, Totals, Writer, escape, meaning,
    severity, title,
    when::{Minute, Span},
};
use crate::{CheckJob, LinkResult, Status, Verdict};
use groups::{Group, Groups, Place};
use std::fmt::Write;

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");
/// Places of a target that are shown before somebody asks for more.
const OPEN_PLACES: usize = 3;

/// What the page will show.
pub(super) struct Html {
    job: CheckJob,
    comparison: Option<Comparison>,
    totals: Totals,
    broken: Groups,
    warnings: Groups,
}

impl Html {
    pub fn begin(job: &CheckJob, options: &ReportOptions) -> Html {
        Html {
            job: job.clone(),
            comparison: options.comparison,
            totals: Totals::default(),
            broken: Groups::default(),
            warnings: Groups::default(),
        }
    }
}

impl Writer for Html {
    fn push(&mut self, result: &LinkResult, change: Option<Change>, _: &mut String) {
        self.totals.add(result.verdict);
        let Some(verdict) = result.verdict else {
            return;
        };
        match severity(verdict) {
            Severity::Fine => {}
            Severity::Note | Severity::Warning => self.warnings.add(result, verdict, change),
            Severity::Error => self.broken.add(result, verdict, change),
        }
    }

    fn finish(&mut self, out: &mut String) {
        let mut page = Page { out };
        page.head(&self.job);
        page.summary(&self.job, &self.totals, self.comparison.as_ref());
        page.raw("<main>\n");
        page.filter();
        page.section("broken", "Broken links", std::mem::take(&mut self.broken));
        page.section("warnings", "Warnings", std::mem::take(&mut self.warnings));
        page.raw("</main>\n");
        page.foot(&self.job);
    }
}

/// Appends pieces of the page. Whatever is not of this file goes through [`Page::text`].
struct Page<'a> {
    out: &'a mut String,
}

impl Page<'_> {
    /// Markup.
    fn raw(&mut self, markup: &str) {
        self.out.push_str(markup);
    }

    /// Text of strangers.
    fn text(&mut self, text: &str) {
        escape::html(text, self.out);
    }

    /// Numbers, times and other things that hold no markup.
    fn plain(&mut self, value: impl std::fmt::Display) {
        // Writing to a String does not fail.
        let _ = write!(self.out, "{value}");
    }

    /// A number with its thousands apart.
    fn count(&mut self, count: u64) {
        let digits = count.to_string();
        for (n, digit) in digits.chars().enumerate() {
            if n > 0 && (digits.len() - n).is_multiple_of(3) {
                self.out.push(',');
            }
            self.out.push(digit);
        }
    }

    /// A URL, as a link if it is one that a browser may follow from here.
    fn url(&mut self, url: &str) {
        let scheme = url.split_once("://").map_or("", |(scheme, _)| scheme);
        let is_web = scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https");
        if !is_web {
            self.raw("<code class=\"url\">");
            self.text(url);
            self.raw("</code>");
            return;
        }
        self.raw("<a class=\"url\" rel=\"noopener noreferrer nofollow\" href=\"");
        self.text(url);
        self.raw("\">");
        self.text(url);
        self.raw("</a>");
    }

    fn head(&mut self, job: &CheckJob) {
        self.raw(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"color-scheme\" content=\"light dark\">\n\
             <meta name=\"referrer\" content=\"no-referrer\">\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; \
             script-src 'unsafe-inline'; base-uri 'none'; form-action 'none'\">\n<title>Links of ",
        );
        self.text(&job.target_domain);
        self.raw("</title>\n<style>\n");
        self.raw(STYLE);
        self.raw("</style>\n</head>\n<body>\n");
    }

    fn summary(&mut self, job: &CheckJob, totals: &Totals, comparison: Option<&Comparison>) {
        self.raw("<header>\n<h1>Links of <span class=\"domain\">");
        self.text(&job.target_domain);
        self.raw("</span></h1>\n<p class=\"intro\">");
        self.when(job);
        self.raw("</p>\n");
        if let Some(failure) = &job.failure {
            self.raw("<p class=\"failure\"><b>The job failed.</b> ");
            self.text(failure);
            self.raw("</p>\n");
        }
        self.raw("<dl class=\"figures\">\n");
        let broken = if totals.broken() == 0 { "good" } else { "bad" };
        self.figure(broken, totals.broken(), "broken links");
        self.figure("warn", totals.warnings(), "warnings");
        self.figure("", totals.links(), "links");
        self.figure("", job.pages, "pages read");
        self.figure("", job.targets, "different targets");
        if let Some(Comparison::Counted(counts)) = comparison {
            let new = if counts.newly_broken == 0 { "" } else { "bad" };
            self.figure(new, counts.newly_broken, "newly broken");
            self.figure("", counts.still_broken, "still broken");
            self.figure("good", counts.fixed, "fixed");
            if counts.unclear > 0 {
                self.figure("warn", counts.unclear, "were broken, now unclear");
            }
        }
        self.raw("</dl>\n");
        if let Some(Comparison::NotCompared { .. }) = comparison {
            self.raw("<p class=\"rest\">Too many links are broken to be compared with the last run.</p>\n");
        }
        self.bar(totals);
        self.raw("</header>\n");
    }

    fn when(&mut self, job: &CheckJob) {
        self.raw("<span class=\"status ");
        self.raw(job.status.name());
        self.raw("\">");
        self.raw(job.status.name());
        self.raw("</span> ");
        match (job.started_at, job.completed_at) {
            (Some(start), Some(end)) => {
                self.raw("Checked ");
                self.plain(Minute(start));
                self.raw(", in ");
                self.plain(Span(end.saturating_sub(start)));
            }
            (Some(start), None) => {
                self.raw("Begun ");
                self.plain(Minute(start));
            }
            (None, _) => {
                self.raw("Asked for ");
                self.plain(Minute(job.created_at));
            }
        }
        for (n, url) in job.start_urls.iter().take(3).enumerate() {
            self.raw(if n == 0 { ", from " } else { ", " });
            self.url(url);
        }
        if job.start_urls.len() > 3 {
            self.raw(" and ");
            self.count(job.start_urls.len() as u64 - 3);
            self.raw(" more");
        }
        self.raw(".");
        if !matches!(job.status, Status::Completed) && job.pending > 0 {
            self.raw(" ");
            self.count(job.pending);
            self.raw(" targets have no verdict yet.");
        }
        if job.skipped > 0 {
            self.raw(" ");
            self.count(job.skipped);
            self.raw(" links and pages were left out because of the job's bounds.");
        }
    }

    fn figure(&mut self, class: &str, count: u64, what: &str) {
        self.raw("<div class=\"");
        self.raw(class);
        self.raw("\"><dd>");
        self.count(count);
        self.raw("</dd><dt>");
        self.raw(what);
        self.raw("</dt></div>\n");
    }

    /// Totals by verdict, as a bar and as a list.
    fn bar(&mut self, totals: &Totals) {
        if totals.links() == 0 {
            return;
        }
        self.raw("<div class=\"bar\" aria-hidden=\"true\">");
        for (verdict, count) in totals.iter() {
            self.raw("<i class=\"");
            self.raw(verdict.name());
            self.raw("\" style=\"flex-grow:");
            self.plain(count);
            self.raw("\"></i>");
        }
        if totals.pending() > 0 {
            self.raw("<i class=\"pending\" style=\"flex-grow:");
            self.plain(totals.pending());
            self.raw("\"></i>");
        }
        self.raw("</div>\n<ul class=\"key\">\n");
        for (verdict, count) in totals.iter() {
            self.raw("<li title=\"");
            self.raw(meaning(verdict));
            self.raw("\"><i class=\"");
            self.raw(verdict.name());
            self.raw("\"></i>");
            self.raw(title(verdict));
            self.raw(" <b>");
            self.count(count);
            self.raw("</b></li>\n");
        }
        if totals.pending() > 0 {
            self.raw("<li><i class=\"pending\"></i>No verdict yet <b>");
            self.count(totals.pending());
            self.raw("</b></li>\n");
        }
        self.raw("</ul>\n");
    }

    /// What the script shows; without it there is nothing to filter with.
    fn filter(&mut self) {
        self.raw(
            "<div class=\"filter\" id=\"filter\" hidden>\
             <input id=\"words\" type=\"search\" placeholder=\"only what contains… (/)\" \
             aria-label=\"Only what contains\">\
             <select id=\"verdict\" aria-label=\"Only this verdict\"><option value=\"\">every verdict</option>",
        );
        for verdict in Verdict::ALL {
            if severity(verdict) > Severity::Fine {
                self.raw("<option value=\"");
                self.raw(verdict.name());
                self.raw("\">");
                self.raw(title(verdict));
                self.raw("</option>");
            }
        }
        self.raw("</select><output id=\"shown\"></output></div>\n");
    }

    fn section(&mut self, id: &str, heading: &str, groups: Groups) {
        let rest = groups.rest;
        let groups = groups.sorted();
        self.raw("<section id=\"");
        self.raw(id);
        self.raw("\">\n<h2>");
        self.raw(heading);
        if !groups.is_empty() {
            self.raw(" <span>");
            self.count(groups.len() as u64);
            self.raw(if groups.len() == 1 {
                " target"
            } else {
                " targets"
            });
            self.raw(", most links first</span>");
        }
        self.raw("</h2>\n");
        if groups.is_empty() {
            self.raw("<p class=\"none\">None.</p>\n");
        } else {
            self.raw(
                "<table>\n<thead><tr><th>Verdict</th><th>Target, and where it is linked</th>\
                 <th class=\"number\">Links</th></tr></thead>\n<tbody>\n",
            );
            for group in &groups {
                self.group(group);
            }
            self.raw("</tbody>\n</table>\n");
        }
        if rest > 0 {
            self.raw("<p class=\"rest\">");
            self.count(rest);
            self.raw(
                " more links lead to targets that this page has no room for. \
                 The reports as CSV and JSON have them all.</p>\n",
            );
        }
        self.raw("</section>\n");
    }

    fn group(&mut self, group: &Group) {
        self.raw("<tr data-verdict=\"");
        self.raw(group.verdict.name());
        self.raw("\"><td><span class=\"verdict ");
        self.raw(group.verdict.name());
        self.raw("\" title=\"");
        self.raw(meaning(group.verdict));
        self.raw("\">");
        self.raw(title(group.verdict));
        self.raw("</span>");
        if group.is_new {
            self.raw(" <span class=\"new\">new</span>");
        }
        self.raw("</td><td><div class=\"target\">");
        self.url(&group.target);
        self.raw("</div><p class=\"why\">");
        match (&group.final_url, group.verdict) {
            (Some(to), Verdict::Moved) => {
                self.raw("Write ");
                self.url(to);
                self.raw(" instead.");
            }
            _ => {
                let is_silent = group.detail.is_empty();
                let why = if is_silent {
                    meaning(group.verdict)
                } else {
                    &group.detail
                };
                self.text(why);
            }
        }
        self.raw(" <code>");
        self.text(&group.reason);
        self.raw("</code></p>\n");
        self.redirects(group);
        self.places(group);
        self.raw("</td><td class=\"number\">");
        self.count(group.links);
        self.raw("</td></tr>\n");
    }

    fn redirects(&mut self, group: &Group) {
        // One redirect of a moved page says nothing that its new address does not.
        let few = if group.verdict == Verdict::Moved {
            1
        } else {
            0
        };
        if group.redirects.len() <= few {
            return;
        }
        self.raw("<details><summary>");
        self.count(group.redirects.len() as u64);
        self.raw(if group.redirects.len() == 1 {
            " redirect"
        } else {
            " redirects"
        });
        self.raw("</summary><ol class=\"redirects\">");
        for redirect in &group.redirects {
            self.raw("<li><code>");
            self.plain(redirect.status);
            self.raw("</code> ");
            self.url(&redirect.url);
            self.raw(" → ");
            self.url(&redirect.to);
            self.raw("</li>");
        }
        self.raw("</ol></details>\n");
    }

    fn places(&mut self, group: &Group) {
        let (open, more) = group.places.split_at(group.places.len().min(OPEN_PLACES));
        self.list(open);
        let hidden = group.links.saturating_sub(open.len() as u64);
        let left_out = group.links.saturating_sub(group.places.len() as u64);
        if hidden == 0 {
            return;
        }
        if more.is_empty() {
            self.left_out(left_out);
            return;
        }
        self.raw("<details><summary>");
        self.count(hidden);
        self.raw(if hidden == 1 {
            " more place"
        } else {
            " more places"
        });
        self.raw("</summary>");
        self.list(more);
        self.left_out(left_out);
        self.raw("</details>\n");
    }

    fn left_out(&mut self, count: u64) {
        if count > 0 {
            self.raw("<p class=\"rest\">And ");
            self.count(count);
            self.raw(" more, which the reports as CSV and JSON have.</p>\n");
        }
    }

    fn list(&mut self, places: &[Place]) {
        self.raw("<ul class=\"places\">");
        for place in places {
            self.raw("<li>");
            match &place.page {
                Some(page) => self.url(page),
                None => self.raw(START_PAGES),
            }
            if place.line > 0 {
                self.raw("<span class=\"at\">:");
                self.plain(place.line);
                self.raw(":");
                self.plain(place.column);
                self.raw("</span>");
            }
            self.raw(" <code>&lt;");
            self.text(&place.element);
            self.raw("&gt;</code>");
            if !place.text.is_empty() {
                // The isolation ends before the closing quote does.
                self.raw(" <q><bdi>");
                self.text(&place.text);
                self.raw("</bdi></q>");
            }
            self.raw("</li>");
        }
        self.raw("</ul>\n");
    }

    fn foot(&mut self, job: &CheckJob) {
        self.raw("<footer>Job <code>");
        self.plain(job.id);
        self.raw("</code>, holdfast ");
        self.raw(env!("CARGO_PKG_VERSION"));
        self.raw("</footer>\n<script>\n");
        self.raw(SCRIPT);
        self.raw("</script>\n</body>\n</html>\n");
    }
}
