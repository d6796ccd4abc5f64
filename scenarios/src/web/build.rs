//! Putting a web together: origins, ordinary pages, and cases set among them.

use super::{
    Certificate, Conduct, Link, Model, Origin, Place,
    answer::{Behaviour, Reply},
    cases::Case,
    text,
    truth::{Truth, Verdict, normal},
};
use rand::Rng;
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
use std::collections::{BTreeMap, BTreeSet};
use url::Url;

/// What an origin is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Role {
    /// A site whose pages are full of links.
    Site,
    /// Another site, which is linked to.
    Partner,
    /// A site that says 200 to everything.
    Soft,
    /// Serves over TLS with that certificate.
    Tls(Certificate),
    /// Nobody listens there.
    Refusing,
    /// The name does not exist.
    Nowhere,
}

/// An origin under construction.
pub(super) struct Plot {
    pub(super) role: Role,
    origin: Origin,
    /// What is added to each ordinary page.
    inserts: Vec<Vec<String>>,
    /// Pages beside the ordinary ones that a crawl reaches.
    own_pages: Vec<String>,
    /// `<loc>`s of the sitemap.
    sitemap: Vec<String>,
}

/// A web under construction.
pub(super) struct Builder {
    pub(super) rng: ChaCha8Rng,
    pub(super) plots: Vec<Plot>,
    truth: Truth,
    links: Vec<Link>,
    names: Names,
}

/// Texts by number, each once.
#[derive(Default)]
struct Names {
    numbers: BTreeMap<String, u32>,
    texts: Vec<String>,
}

impl Names {
    fn number(&mut self, text: &str) -> u32 {
        if let Some(number) = self.numbers.get(text) {
            return *number;
        }
        let number = self.texts.len() as u32;
        self.numbers.insert(text.to_string(), number);
        self.texts.push(text.to_string());
        number
    }
}

/// Pictures, style sheets and scripts that ordinary pages of one origin share.
const PICTURES: usize = 50;
const SHEETS: usize = 5;
const SCRIPTS: usize = 5;
/// Pages of whose sections there are links.
const QUOTED: usize = 50;

impl Builder {
    pub(super) fn new(seed: u64) -> Self {
        Builder {
            rng: ChaCha8Rng::seed_from_u64(seed),
            plots: Vec::new(),
            truth: Truth::default(),
            links: Vec::new(),
            names: Names::default(),
        }
    }

    /// Adds an origin of `pages` ordinary pages.
    pub(super) fn plot(&mut self, role: Role, authority: &str, pages: usize) -> usize {
        let certificate = match role {
            Role::Tls(certificate) => Some(certificate),
            _ => None,
        };
        let scheme = if certificate.is_some() {
            "https"
        } else {
            "http"
        };
        let base = Url::parse(&format!("{scheme}://{authority}/"));
        let base = base.expect("an authority of the model is well-formed");
        let authority = match base.port() {
            Some(port) => format!("{}:{port}", base.host_str().unwrap_or_default()),
            None => base.host_str().unwrap_or_default().to_string(),
        };
        let fallback = match role {
            Role::Soft => Behaviour::from(Reply::html(200, text::missing())),
            _ => Behaviour::from(Reply::html(404, text::missing())),
        };
        let origin = Origin {
            base: base.to_string(),
            authority,
            certificate,
            exists: role != Role::Nowhere,
            listens: !matches!(role, Role::Nowhere | Role::Refusing),
            pages: Vec::new(),
            conduct: Conduct::default(),
            paths: BTreeMap::new(),
            prefixes: Vec::new(),
            fallback,
        };
        self.plots.push(Plot {
            role,
            origin,
            inserts: vec![Vec::new(); pages],
            own_pages: Vec::new(),
            sitemap: Vec::new(),
        });
        let plot = self.plots.len() - 1;
        if role == Role::Soft {
            // Who says the same on the front page may be one program that reads the path itself.
            let front = "<h1>Welcome</h1><p>Boats for rent, by the hour and by the day, from Easter to October.</p>";
            let front = Reply::html(200, text::small(front));
            self.serve(plot, "/", front.into());
        }
        plot
    }

    /// An origin of that role, by lot, other than `not`.
    fn some(&mut self, role: Role, not: usize) -> usize {
        let plots = self.plots.iter().enumerate();
        let fit = plots.filter(|(i, plot)| plot.role == role && *i != not);
        let fit: Vec<usize> = fit.map(|(i, _)| i).collect();
        assert!(!fit.is_empty(), "the shape has no {role:?}");
        fit[self.rng.random_range(0..fit.len())]
    }

    /// Whether there is an origin of that role.
    pub(super) fn has(&self, role: Role) -> bool {
        self.plots.iter().any(|plot| plot.role == role)
    }

    /// Sets a case among the pages of a plot.
    pub(super) fn set(&mut self, plot: usize, case: &Case, number: usize) {
        let pages = self.plots[plot].inserts.len();
        let page = self.rng.random_range(0..pages);
        (case.build)(&mut Scene {
            builder: self,
            plot,
            page,
            case: case.name,
            number,
        });
    }

    /// Notes a link and what is known of its target.
    fn note(&mut self, page: &str, target: &str, place: Place, case: &str, verdicts: &[Verdict]) {
        self.truth.add(target, case, verdicts);
        if !verdicts.is_empty() {
            let source = self.names.number(page);
            let target = self.names.number(target);
            self.links.push(Link {
                source,
                target,
                place,
            });
        }
    }

    /// Writes the ordinary pages of every plot, `links` on each, and gives the web away.
    pub(super) fn finish(mut self, links: usize) -> Model {
        for plot in 0..self.plots.len() {
            self.write_pages(plot, links);
            self.write_sitemap(plot);
        }
        Model {
            origins: self.plots.into_iter().map(|plot| plot.origin).collect(),
            truth: self.truth,
            links: self.links,
            names: self.names.texts,
        }
    }

    fn write_pages(&mut self, plot: usize, links: usize) {
        let pages = self.plots[plot].inserts.len();
        if pages == 0 {
            return;
        }
        for page in 0..pages {
            let url = self.url(plot, &page_path(page));
            let mut head = String::new();
            let mut body = String::new();
            let rng = &mut self.rng;
            let mut hrefs = vec![
                (Place::named("link-stylesheet"), sheet(rng)),
                (Place::named("script-src"), script(rng)),
                (Place::named("img-src"), picture(rng)),
                (Place::named("img-src"), picture(rng)),
            ];
            // A tree, so that every page is reached.
            let children = [2 * page + 1, 2 * page + 2];
            let children = children.into_iter().filter(|child| *child < pages);
            hrefs.extend(children.map(|child| (Place::named("a-href"), page_path(child))));
            while hrefs.len() < links {
                let mut href = page_path(rng.random_range(0..pages));
                if rng.random_ratio(1, 8) {
                    // Few pages are quoted by the section, and those often.
                    href = page_path(rng.random_range(0..pages.min(QUOTED)));
                    href += &format!("#s{}", rng.random_range(0..text::SECTIONS));
                }
                hrefs.push((Place::named("a-href"), href));
            }
            for (i, (place, href)) in hrefs.into_iter().enumerate() {
                let target = resolve(&url, &href);
                let case = if i < 4 { "asset" } else { "page" };
                self.note(&url, &target, place, case, &[Verdict::Alive]);
                let text = if i < 2 { &mut head } else { &mut body };
                *text += &place.markup(&href);
                text.push('\n');
            }
            for insert in &self.plots[plot].inserts[page] {
                body += insert;
                body.push('\n');
            }
            let html = text::page(page, &head, &body, &mut self.rng);
            let reply = Reply::html(200, html);
            if page == 0 {
                self.serve(plot, "/", reply.clone().into());
            }
            self.serve(plot, &page_path(page), reply.into());
        }
        let origin = &mut self.plots[plot];
        let all = (0..pages).map(page_path).chain(origin.own_pages.drain(..));
        let paths: Vec<String> = std::iter::once("/".to_string()).chain(all).collect();
        let urls = paths.iter().map(|path| self.url(plot, path)).collect();
        self.plots[plot].origin.pages = urls;
        for (count, kind, content_type, bytes) in [
            (PICTURES, "png", "image/png", text::PICTURE),
            (SHEETS, "css", "text/css", b"body { margin: 2em }\n"),
            (SCRIPTS, "js", "text/javascript", b"'use strict';\n"),
        ] {
            for i in 0..count {
                let reply = Reply::of(200, content_type, bytes);
                self.serve(plot, &format!("/asset/{i}.{kind}"), reply.into());
            }
        }
    }

    fn write_sitemap(&mut self, plot: usize) {
        let entries = std::mem::take(&mut self.plots[plot].sitemap);
        if entries.is_empty() {
            return;
        }
        let mut xml = String::from(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
             <urlset xmlns=\"http://www.sitemaps.org/schemas/sitemap/0.9\">\n",
        );
        for entry in entries {
            xml += &format!("<url><loc>{}</loc></url>\n", entry.replace('&', "&amp;"));
        }
        xml += "</urlset>\n";
        let reply = Reply::of(200, "application/xml", xml);
        self.serve(plot, "/sitemap.xml", reply.into());
    }

    pub(super) fn serve(&mut self, plot: usize, target: &str, behaviour: Behaviour) {
        // What clients send has no fragment, and is percent-encoded.
        let sent =
            Url::parse(&self.url(plot, target)).expect("the model's targets are well-formed");
        let sent = match sent.query() {
            Some(query) => format!("{}?{query}", sent.path()),
            None => sent.path().to_string(),
        };
        let before = self.plots[plot].origin.paths.insert(sent, behaviour);
        assert!(before.is_none(), "{target} is served twice");
    }

    /// Lets everything under a path behave in one way.
    pub(super) fn serve_under(&mut self, plot: usize, prefix: &str, behaviour: Behaviour) {
        let prefixes = &mut self.plots[plot].origin.prefixes;
        prefixes.push((prefix.to_string(), behaviour));
    }

    /// What a polite client heeds on a plot.
    pub(super) fn conduct(&mut self, plot: usize) -> &mut Conduct {
        &mut self.plots[plot].origin.conduct
    }

    pub(super) fn url(&self, plot: usize, path: &str) -> String {
        let base = &self.plots[plot].origin.base;
        format!("{}{}", base.trim_end_matches('/'), path)
    }

    /// Origins that serve, by role.
    pub(super) fn of_role(&self, role: Role) -> Vec<usize> {
        let plots = self.plots.iter().enumerate();
        let fit = plots.filter(|(_, plot)| plot.role == role);
        fit.map(|(i, _)| i).collect()
    }

    /// Links pages of different sites with each other, so that one site's checker visits others.
    pub(super) fn cross_link(&mut self, links: usize) {
        let sites = self.of_role(Role::Site);
        let mut seen = BTreeSet::new();
        for _ in 0..links {
            let from = sites[self.rng.random_range(0..sites.len())];
            let to = sites[self.rng.random_range(0..sites.len())];
            let open = !self.plots[to].origin.conduct.forbids_all;
            if from == to || !open || !seen.insert((from, to)) {
                continue;
            }
            let page = self.rng.random_range(0..self.plots[from].inserts.len());
            let other = self.rng.random_range(0..self.plots[to].inserts.len());
            let href = self.url(to, &page_path(other));
            let source = self.url(from, &page_path(page));
            let place = Place::named("a-href");
            self.note(&source, &normal(&href), place, "page", &[Verdict::Alive]);
            self.plots[from].inserts[page].push(place.markup(&href));
        }
    }
}

fn picture(rng: &mut ChaCha8Rng) -> String {
    format!("/asset/{}.png", rng.random_range(0..PICTURES))
}

fn sheet(rng: &mut ChaCha8Rng) -> String {
    format!("/asset/{}.css", rng.random_range(0..SHEETS))
}

fn script(rng: &mut ChaCha8Rng) -> String {
    format!("/asset/{}.js", rng.random_range(0..SCRIPTS))
}

/// Where an ordinary page is.
pub(super) fn page_path(page: usize) -> String {
    format!("/p/{page}.html")
}

/// The target of `href` on the page `url`, as [`Truth`] has it: the text itself when the two make no URL.
pub fn resolve(url: &str, href: &str) -> String {
    let joined = Url::parse(url).and_then(|base| base.join(href));
    joined.map_or_else(|_| href.trim().to_string(), String::from)
}

/// Where a case is set: one ordinary page of one site, and paths of its own.
pub(super) struct Scene<'a> {
    builder: &'a mut Builder,
    plot: usize,
    page: usize,
    case: &'static str,
    number: usize,
}

impl Scene<'_> {
    /// The name of the case.
    pub(super) fn case(&self) -> &'static str {
        self.case
    }

    /// Which of the cases of that name this is.
    pub(super) fn number(&self) -> usize {
        self.number
    }

    /// A path that belongs to this case alone.
    pub(super) fn path(&self, end: &str) -> String {
        format!("/c/{}-{}{end}", self.case, self.number)
    }

    /// Lets a path of the site behave in some way.
    pub(super) fn serve(&mut self, path: &str, behaviour: impl Into<Behaviour>) {
        self.builder.serve(self.plot, path, behaviour.into());
    }

    /// Lets a path of another origin behave in some way, and gives its URL.
    pub(super) fn serve_at(
        &mut self,
        role: Role,
        path: &str,
        behaviour: impl Into<Behaviour>,
    ) -> String {
        let plot = self.builder.some(role, self.plot);
        self.builder.serve(plot, path, behaviour.into());
        self.builder.url(plot, path)
    }

    /// The URL of a path that nobody serves, at an origin of that role.
    pub(super) fn url_at(&mut self, role: Role, path: &str) -> String {
        let plot = self.builder.some(role, self.plot);
        self.builder.url(plot, path)
    }

    /// The URL of a path of the site.
    pub(super) fn url(&self, path: &str) -> String {
        self.builder.url(self.plot, path)
    }

    /// The path of the ordinary page on which the case is set.
    pub(super) fn here(&self) -> String {
        page_path(self.page)
    }

    /// The path of the first ordinary page: it is always there.
    pub(super) fn some_page(&self) -> String {
        page_path(0)
    }

    /// Puts a link on the ordinary page, and notes what its target is.
    pub(super) fn link(&mut self, place: Place, href: &str, verdicts: &[Verdict]) {
        self.insert(place.markup(href));
        let here = self.here();
        self.expect(&here, place, href, verdicts);
    }

    /// A plain link; see [`Scene::link`].
    pub(super) fn a(&mut self, href: &str, verdicts: &[Verdict]) {
        self.link(Place::named("a-href"), href, verdicts);
    }

    /// Puts markup on the ordinary page.
    pub(super) fn insert(&mut self, markup: String) {
        self.builder.plots[self.plot].inserts[self.page].push(markup);
    }

    /// Notes a link that the page at `path` holds, resolved against that page.
    pub(super) fn expect(&mut self, path: &str, place: Place, href: &str, verdicts: &[Verdict]) {
        let page = self.builder.url(self.plot, path);
        let target = resolve(&page, href);
        let case = self.case;
        self.builder.note(&page, &target, place, case, verdicts);
    }

    /// Serves a page of the case's own and links to it.
    pub(super) fn own_page(&mut self, path: &str, behaviour: impl Into<Behaviour>) {
        self.serve(path, behaviour);
        self.a(path, &[Verdict::Alive]);
        self.builder.plots[self.plot]
            .own_pages
            .push(path.to_string());
    }

    /// Serves a page with that body and links to it.
    pub(super) fn own_html(&mut self, path: &str, body: &str) {
        self.own_page(path, Reply::html(200, text::small(body)));
    }

    /// Names a URL in the site's sitemap.
    pub(super) fn list_in_sitemap(&mut self, path: &str, verdicts: &[Verdict]) {
        let url = self.url(path);
        self.builder.plots[self.plot].sitemap.push(url.clone());
        self.expect("/sitemap.xml", Place::Sitemap, &url, verdicts);
    }

    /// What a polite client heeds on the site.
    pub(super) fn conduct(&mut self) -> &mut Conduct {
        self.builder.conduct(self.plot)
    }

    /// Lets everything under a path of the site behave in one way.
    pub(super) fn serve_under(&mut self, prefix: &str, behaviour: impl Into<Behaviour>) {
        self.builder
            .serve_under(self.plot, prefix, behaviour.into());
    }
}
