use super::{Path, Service};
use crate::http::{Problem, ProblemKind, percent_decode};
use bytes::Bytes;
use http::{HeaderValue, Method, header};
use std::collections::BTreeMap;

/// Finds the path of the table that a request names.
///
/// Templates without parameters are looked up; the others are tried one after the other, those first that say more
/// literally.
pub(in crate::api) struct Router {
    exact: BTreeMap<&'static str, &'static Path>,
    patterns: Vec<(Vec<Segment>, &'static Path)>,
    /// What a client that is lost is told.
    known: String,
}

/// What the parameters of a template stand for, decoded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::api) struct PathValues(Vec<(&'static str, Bytes)>);

impl PathValues {
    /// What the template's `{name}` or `{+name}` stands for.
    ///
    /// # Panics
    /// When the template has no such parameter: the table and its operation disagree.
    pub fn get(&self, name: &str) -> Bytes {
        let value = self.0.iter().find(|(one, _)| *one == name);
        let (_, value) = value.expect("an operation asks for parameters of its own path");
        value.clone()
    }
}

/// Ordered by how much is said.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Segment {
    Literal(&'static str),
    One(&'static str),
    Rest(&'static str),
}

impl Segment {
    fn of(text: &'static str) -> Segment {
        let inner = text.strip_prefix('{').and_then(|t| t.strip_suffix('}'));
        match inner {
            None => Segment::Literal(text),
            Some(name) => match name.strip_prefix('+') {
                None => Segment::One(name),
                Some(name) => Segment::Rest(name),
            },
        }
    }
}

impl Router {
    /// A router for everything in these services.
    ///
    /// # Panics
    /// When two templates match the same paths, or one cannot be read: the table is part of the program.
    pub fn new(services: &[&'static Service]) -> Router {
        let mut router = Router {
            exact: BTreeMap::new(),
            patterns: Vec::new(),
            known: String::new(),
        };
        let mut known = Vec::new();
        for path in services.iter().flat_map(|service| service.paths) {
            known.push(path.template.replace("{+", "{"));
            router.add(path);
        }
        router.patterns.sort_by(|(a, _), (b, _)| a.cmp(b));
        router.known = format!("known paths: {}", known.join(", "));
        router
    }

    fn add(&mut self, path: &'static Path) {
        let template = path.template;
        let inner = template.strip_prefix('/').expect("a template begins at /");
        if !template.contains('{') {
            let before = self.exact.insert(template, path);
            assert!(before.is_none(), "{template} is there twice");
            return;
        }
        let segments: Vec<Segment> = inner.split('/').map(Segment::of).collect();
        let rest = segments
            .iter()
            .position(|one| matches!(one, Segment::Rest(_)));
        assert!(
            rest.is_none_or(|at| at + 1 == segments.len()),
            "{template} goes on after what takes all"
        );
        let is_same = |(other, _): &(Vec<Segment>, _)| shape(other) == shape(&segments);
        assert!(
            !self.patterns.iter().any(is_same),
            "{template} is there twice"
        );
        self.patterns.push((segments, path));
    }

    /// The path that `path` names, and what stands for its parameters.
    pub fn find(&self, path: &str) -> Result<(&'static Path, PathValues), Problem> {
        if let Some(found) = self.exact.get(path) {
            return Ok((found, PathValues::default()));
        }
        for (segments, found) in &self.patterns {
            let Some(values) = matched(segments, path) else {
                continue;
            };
            let decode = |(name, text)| Ok((name, percent_decode(text)?));
            let values = values.into_iter().map(decode);
            return Ok((found, PathValues(values.collect::<Result<_, Problem>>()?)));
        }
        Err(Problem::new(ProblemKind::UnknownRoute, self.known.as_str()))
    }
}

/// The refusal of a method that `path` does not take.
pub(in crate::api) fn method_not_allowed(path: &Path, method: &Method) -> Problem {
    let names: Vec<String> = path.methods().map(|method| method.to_string()).collect();
    let allowed = names.join(", ");
    let header = HeaderValue::from_str(&allowed).expect("method names are ASCII");
    Problem::new(
        ProblemKind::MethodNotAllowed,
        format!("{method} is not for this path; it takes {allowed}"),
    )
    .with_header(header::ALLOW, header)
}

/// Two templates of one shape match the same paths.
fn shape(segments: &[Segment]) -> Vec<Segment> {
    let nameless = segments.iter().map(|segment| match segment {
        Segment::Literal(text) => Segment::Literal(text),
        Segment::One(_) => Segment::One(""),
        Segment::Rest(_) => Segment::Rest(""),
    });
    nameless.collect()
}

/// What stands in `path` for the parameters, not decoded yet; `None` when it does not match.
fn matched<'p>(segments: &[Segment], path: &'p str) -> Option<Vec<(&'static str, &'p str)>> {
    let mut values = Vec::new();
    let mut left = Some(path.strip_prefix('/')?);
    for segment in segments {
        let here = left?;
        let (text, after) = match here.split_once('/') {
            Some((text, after)) => (text, Some(after)),
            None => (here, None),
        };
        match segment {
            Segment::Literal(literal) if *literal == text => {}
            Segment::One(name) if !text.is_empty() => values.push((*name, text)),
            Segment::Rest(name) => {
                values.push((*name, here));
                return Some(values);
            }
            Segment::Literal(_) | Segment::One(_) => return None,
        }
        left = after;
    }
    left.is_none().then_some(values)
}

#[cfg(test)]
mod tests {
    use super::{super::SERVICES, *};
    use proptest::prelude::*;

    #[test]
    fn everything_after_the_prefix_is_the_key() {
        let router = Router::new(SERVICES);
        let key = |path: &str| router.find(path).expect(path).1.get("key");
        assert_eq!(key("/v1/kv/keys/a/b%2Fc%00"), &b"a/b/c\0"[..]);
        assert_eq!(key("/v1/kv/keys/../x"), "../x");
        assert_eq!(key("/v1/kv/keys//"), "/");
        assert_eq!(key("/v1/kv/keys/"), "");
        for (path, kind) in [
            ("/v1/kv/keys/%x", ProblemKind::BadRequest),
            ("/v1/kv/keys", ProblemKind::UnknownRoute),
            ("/v1/kv/range/", ProblemKind::UnknownRoute),
            ("", ProblemKind::UnknownRoute),
            ("*", ProblemKind::UnknownRoute),
        ] {
            let refused = router.find(path).map(|(path, _)| path.template);
            assert_eq!(refused.expect_err(path).kind, kind, "{path}");
        }
    }

    static MADE_UP: Service = Service {
        name: "made-up",
        about: "",
        schemas: "{}",
        paths: &[
            path("/a/{+rest}"),
            path("/a/{id}"),
            path("/a/{id}/b"),
            path("/a/new"),
        ],
    };

    const fn path(template: &'static str) -> Path {
        Path {
            template,
            label: "",
            parameters: &[],
            operations: &[],
        }
    }

    #[test]
    fn what_says_more_goes_first() {
        let router = Router::new(&[&MADE_UP]);
        for (asked, template, values) in [
            ("/a/new", "/a/new", &[][..]),
            ("/a/n%65w", "/a/{id}", &[("id", "new")]),
            ("/a/7", "/a/{id}", &[("id", "7")]),
            ("/a/7%2F8", "/a/{id}", &[("id", "7/8")]),
            ("/a/7/b", "/a/{id}/b", &[("id", "7")]),
            ("/a/7/c", "/a/{+rest}", &[("rest", "7/c")]),
            ("/a/", "/a/{+rest}", &[("rest", "")]),
            ("/a//b", "/a/{+rest}", &[("rest", "/b")]),
        ] {
            let (found, told) = router.find(asked).expect(asked);
            assert_eq!(found.template, template, "{asked}");
            let values: Vec<_> = values.iter().map(|(n, v)| (*n, Bytes::from(*v))).collect();
            assert_eq!(told.0, values, "{asked}");
        }
    }

    static TWICE: Service = Service {
        name: "twice",
        about: "",
        schemas: "{}",
        paths: &[path("/a/{id}"), path("/a/{name}")],
    };

    #[test]
    #[should_panic(expected = "/a/{name} is there twice")]
    fn a_table_that_contradicts_itself_is_refused() {
        Router::new(&[&TWICE]);
    }

    proptest! {
        #[test]
        fn no_path_makes_the_router_panic(path in "/?(v1/kv/keys/|v1|kv|healthz)?[/%a-z0-9.+ \\PC]{0,40}") {
            let _ = Router::new(SERVICES).find(&path);
        }
    }
}
