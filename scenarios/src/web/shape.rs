//! What kinds of web there are.

use super::{
    Certificate, Model, Web,
    build::{Builder, Role},
    cases::{self, Case, Nature, Policy},
};
use rand::{Rng, seq::SliceRandom};
use std::{net::SocketAddr, sync::Arc};

/// Where the origins of a static site are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// The site.
    pub site: SocketAddr,
    /// Another site.
    pub partner: SocketAddr,
    /// A site that says 200 to everything.
    pub soft: SocketAddr,
    /// Where nobody listens.
    pub refusing: SocketAddr,
    /// Servers that show certificates, by those. May be empty: then nothing speaks TLS.
    pub tls: Vec<(Certificate, SocketAddr)>,
}

/// A site on loopback, as a benchmark wants it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StaticShape {
    /// Ordinary pages.
    pub pages: usize,
    /// Links on each.
    pub links: usize,
    /// Targets that a checker must report. The kinds come first, each once and in random order; then plain 404s.
    pub faults: usize,
    /// Whether there are kinds for which a client has to wait.
    pub slow: bool,
    /// Where it is.
    pub addresses: Addresses,
}

impl StaticShape {
    /// The shape of the benchmark: 2,000 pages with 27 links each, and a fault of every kind that lets nobody wait.
    pub fn benchmark(addresses: Addresses) -> Self {
        StaticShape {
            pages: 2000,
            links: 27,
            faults: Self::kinds(false),
            slow: false,
            addresses,
        }
    }

    /// How many kinds of faults there are, with those for which a client has to wait or without.
    pub fn kinds(slow: bool) -> usize {
        let all = cases::all().into_iter();
        let faults = all.filter(|case| case.nature == Nature::Fault && (slow || !case.is_slow));
        faults.count()
    }

    #[cfg(test)]
    pub(super) fn for_tests() -> Self {
        let at = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let tls = Certificate::ALL.into_iter().zip((9005..).map(at));
        StaticShape {
            pages: 40,
            slow: true,
            ..StaticShape::benchmark(Addresses {
                site: at(9001),
                partner: at(9002),
                soft: at(9003),
                refusing: at(9004),
                tls: tls.collect(),
            })
        }
    }
}

/// Makes the origins of a static site; the site has number 0.
pub(super) fn lay_out(builder: &mut Builder, shape: &StaticShape, pages: usize) {
    let at = &shape.addresses;
    let site = builder.plot(Role::Site, &at.site.to_string(), pages);
    cases::set_robots(builder, site, Policy::Strict);
    builder.plot(Role::Partner, &at.partner.to_string(), 0);
    builder.plot(Role::Soft, &at.soft.to_string(), 0);
    builder.plot(Role::Refusing, &at.refusing.to_string(), 0);
    // No such top-level domain is delegated. Checkers leave out the reserved `.invalid` (RFC 6761) without a look.
    builder.plot(Role::Nowhere, "no-such-host.nowhere", 0);
    for (certificate, address) in &at.tls {
        builder.plot(Role::Tls(*certificate), &address.to_string(), 0);
    }
}

impl From<Model> for Web {
    fn from(model: Model) -> Self {
        Web(Arc::new(model))
    }
}

impl Web {
    /// One site with faults that a site on loopback can have. Its number is 0, its root is where to begin.
    pub fn static_site(seed: u64, shape: &StaticShape) -> Web {
        let mut builder = Builder::new(seed);
        lay_out(&mut builder, shape, shape.pages);
        let fit = |case: &Case, builder: &Builder| {
            (shape.slow || !case.is_slow) && case.needs.is_none_or(|role| builder.has(role))
        };
        let all = cases::all();
        let (mut faults, others): (Vec<Case>, Vec<Case>) = all
            .into_iter()
            .filter(|case| fit(case, &builder))
            .partition(|case| case.nature == Nature::Fault);
        faults.shuffle(&mut builder.rng);
        for i in 0..shape.faults {
            match faults.get(i) {
                Some(case) => builder.set(0, case, 0),
                None => builder.set(0, &cases::plain(), 1 + i - faults.len()),
            }
        }
        for case in &others {
            builder.set(0, case, 0);
        }
        builder.finish(shape.links).into()
    }

    /// `hosts` sites with names, a few pages each, that link to each other; and a few of every special kind of host.
    /// Nothing speaks TLS, whose keys no seed decides.
    pub fn simulated(seed: u64, hosts: usize) -> Web {
        Web::simulated_without(seed, hosts, &[])
    }

    /// The same without the cases of these names.
    pub fn simulated_without(seed: u64, hosts: usize, left_out: &[&str]) -> Web {
        let mut builder = Builder::new(seed);
        for i in 0..hosts.max(1) {
            let name = match i % 10 {
                7 => format!("b\u{fc}cher-{i}.example"),
                3 => format!("www.site-{i}.example:8080"),
                _ => format!("site-{i}.example"),
            };
            let pages = builder.rng.random_range(2..8);
            let site = builder.plot(Role::Site, &name, pages);
            let policy = builder.rng.random_range(0..Policy::MIX.len());
            // The first site is where one begins.
            let policy = if i == 0 {
                Policy::Private
            } else {
                Policy::MIX[policy]
            };
            cases::set_robots(&mut builder, site, policy);
        }
        for i in 0..1 + hosts / 20 {
            builder.plot(Role::Partner, &format!("partner-{i}.example"), 0);
            builder.plot(Role::Soft, &format!("soft-{i}.example"), 0);
            builder.plot(Role::Refusing, &format!("refusing-{i}.example"), 0);
            builder.plot(Role::Nowhere, &format!("nowhere-{i}.example"), 0);
        }
        let all: Vec<Case> = cases::all()
            .into_iter()
            .filter(|case| case.needs.is_none_or(|role| builder.has(role)))
            .filter(|case| !left_out.contains(&case.name))
            .collect();
        for site in builder.of_role(Role::Site) {
            if builder.conduct(site).forbids_all {
                continue;
            }
            let count = builder.rng.random_range(4..12);
            for number in 0..count {
                let case = all[builder.rng.random_range(0..all.len())];
                // Paths on hosts that are shared carry the number: one for every case of the web.
                builder.set(site, &case, site * 100 + number);
            }
        }
        builder.cross_link(hosts * 3);
        builder.finish(6).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::{Answer, Request, Verdict};
    use http::{HeaderMap, Method};
    use std::collections::BTreeSet;

    fn status(web: &Web, target: &str) -> Option<u16> {
        let url = url::Url::parse(target).unwrap();
        let port = url.port().map_or(String::new(), |port| format!(":{port}"));
        let authority = format!("{}{port}", url.host_str().unwrap());
        let origin = web.origin_of(&authority)?;
        let query = url
            .query()
            .map_or(String::new(), |query| format!("?{query}"));
        let answer = web.answer(
            origin,
            &Request {
                method: &Method::GET,
                target: &format!("{}{query}", url.path()),
                headers: &HeaderMap::new(),
                attempt: 1,
            },
        );
        answer.status().map(|status| status.as_u16())
    }

    #[test]
    fn the_benchmark_has_the_faults_that_were_asked_for() {
        for (faults, slow) in [(100, false), (7, true), (300, true)] {
            let shape = StaticShape {
                faults,
                slow,
                ..StaticShape::for_tests()
            };
            let web = Web::static_site(3, &shape);
            assert_eq!(web.truth().faults(), faults);
            assert_eq!(web.truth_of(0).faults(), faults, "all are linked");
        }
    }

    #[test]
    fn ordinary_targets_are_there_and_plain_faults_are_not() {
        for web in [
            Web::static_site(5, &StaticShape::for_tests()),
            Web::simulated(5, 60),
        ] {
            let ordinary = |e: &&crate::web::Expectation| e.case == "page" || e.case == "asset";
            for e in web.truth().iter().filter(ordinary) {
                assert_eq!(status(&web, &e.target), Some(200), "{}", e.target);
            }
            let gone = |e: &&crate::web::Expectation| e.verdicts == [Verdict::Dead];
            for e in web.truth().iter().filter(gone) {
                assert_ne!(status(&web, &e.target), Some(200), "{}", e.target);
            }
        }
    }

    #[test]
    fn every_page_that_holds_a_link_is_reached_and_answers() {
        let web = Web::static_site(9, &StaticShape::for_tests());
        let pages: BTreeSet<&str> = web.origins()[0]
            .pages()
            .iter()
            .map(String::as_str)
            .collect();
        assert_eq!(pages.len(), web.origins()[0].pages().len());
        for page in &pages {
            let moved = status(&web, page);
            assert!(matches!(moved, Some(200)), "{page}: {moved:?}");
        }
        // A page is linked from the root by pages that are linked from it, and so on.
        let mut reached = BTreeSet::from([pages.iter().copied().next().unwrap()]);
        loop {
            let before = reached.len();
            let links = web.links().filter(|(page, _, _)| reached.contains(page));
            let found: Vec<&str> = links.map(|(_, target, _)| target).collect();
            reached.extend(found);
            reached.insert(pages.iter().find(|p| p.ends_with("/p/0.html")).unwrap());
            if reached.len() == before {
                break;
            }
        }
        let mut lost = pages.iter().filter(|page| !reached.contains(*page));
        assert_eq!(lost.next(), None);
    }

    #[test]
    fn a_seed_decides_everything() {
        let dump = |seed| {
            let web = Web::simulated(seed, 30);
            let links: Vec<String> = web.links().map(|link| format!("{link:?}")).collect();
            let mut text = format!("{:?}{links:?}", web.truth());
            for (i, origin) in web.origins().iter().enumerate() {
                for page in origin.pages() {
                    let path = page.trim_start_matches(origin.base());
                    let target = format!("/{path}");
                    let answer = web.answer(
                        i,
                        &Request {
                            method: &Method::GET,
                            target: &target,
                            headers: &HeaderMap::new(),
                            attempt: 1,
                        },
                    );
                    assert!(matches!(answer, Answer::Reply(_)), "{page}");
                    text += &format!("{answer:?}");
                }
            }
            text
        };
        assert_eq!(dump(1), dump(1));
        assert_ne!(dump(1), dump(2));
    }

    #[test]
    fn a_simulated_web_has_idn_hosts_and_hosts_that_do_not_exist() {
        let web = Web::simulated(2, 100);
        let origins = web.origins();
        assert!(origins.iter().any(|o| o.authority().starts_with("xn--")));
        assert!(origins.iter().any(|o| o.authority().ends_with(":8080")));
        assert!(origins.iter().any(|o| !o.exists()));
        assert!(origins.iter().any(|o| o.exists() && !o.listens()));
        assert!(origins.iter().any(|o| !o.conduct().min_gap.is_zero()));
        assert!(web.truth().faults() > 200, "{}", web.truth().faults());
    }
}
