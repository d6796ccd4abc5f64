//! Conditional requests (RFC 9110, §13): entity tags, and what `If-Match` and `If-None-Match` make of them.

use super::{Problem, ProblemKind};
use http::{HeaderMap, HeaderName, HeaderValue, header};

/// Most tags in one condition.
const MAX_TAGS: usize = 32;

/// An entity tag (RFC 9110, §8.8.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntityTag {
    /// It only says that two representations mean the same, not that they are the same.
    pub is_weak: bool,
    /// What stands between the quotes: visible ASCII without quotes, and bytes above it.
    pub opaque: Vec<u8>,
}

impl EntityTag {
    /// The strong tag of a version that has a number.
    pub fn of_version(version: u64) -> EntityTag {
        EntityTag {
            is_weak: false,
            opaque: version.to_string().into_bytes(),
        }
    }

    /// The version whose strong tag it is; `None` when it is no tag of ours.
    pub fn version(&self) -> Option<u64> {
        let text = std::str::from_utf8(&self.opaque).ok()?;
        let version = text.parse().ok()?;
        (!self.is_weak && *self == EntityTag::of_version(version)).then_some(version)
    }

    /// As a header's value.
    pub fn to_value(&self) -> HeaderValue {
        let weak: &[u8] = if self.is_weak { b"W/" } else { b"" };
        let bytes = [weak, b"\"", &self.opaque, b"\""].concat();
        HeaderValue::from_bytes(&bytes).expect("what is in a tag may stand in a header")
    }

    /// Whether both stand for the same bytes (§8.8.3.2).
    fn is_strongly(&self, other: &EntityTag) -> bool {
        !self.is_weak && self == other
    }

    /// Whether both stand for the same meaning.
    fn is_weakly(&self, other: &EntityTag) -> bool {
        self.opaque == other.opaque
    }
}

/// Which representations a condition names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tags {
    /// `*`: whichever there is.
    Any,
    /// One of these.
    These(Vec<EntityTag>),
}

/// What a request asks to hold before it is carried out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conditions {
    /// `If-Match`: what is there is one of these.
    pub if_match: Option<Tags>,
    /// `If-None-Match`: what is there is none of these.
    pub if_none_match: Option<Tags>,
}

/// What becomes of a request with [`Conditions`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is carried out.
    Proceed,
    /// The client has what it would be sent: 304 to a read.
    NotModified,
    /// It is refused: 412.
    Failed,
}

impl Conditions {
    /// Reads a request's headers.
    ///
    /// # Errors
    /// 400 when a header is neither `*` nor a list of tags, or a list is too long.
    pub fn of(headers: &HeaderMap) -> Result<Conditions, Problem> {
        Ok(Conditions {
            if_match: tags(headers, header::IF_MATCH)?,
            if_none_match: tags(headers, header::IF_NONE_MATCH)?,
        })
    }

    /// Refuses (428) what would overwrite something without saying what it expects to be there.
    pub fn require_match(&self) -> Result<(), Problem> {
        match self.if_match {
            Some(_) => Ok(()),
            None => Err(Problem::new(
                ProblemKind::PreconditionRequired,
                "say with If-Match which version is meant to be changed: the ETag that was read, or * for any",
            )),
        }
    }

    /// What becomes of a read, or of a change of something that is locked meanwhile, when `current` is there (§13.2.2).
    pub fn judge(&self, current: Option<&EntityTag>) -> Verdict {
        let names = |tags: &Tags, same: fn(&EntityTag, &EntityTag) -> bool| match (tags, current) {
            (_, None) => false,
            (Tags::Any, Some(_)) => true,
            (Tags::These(tags), Some(current)) => tags.iter().any(|tag| same(tag, current)),
        };
        match (&self.if_match, &self.if_none_match) {
            (Some(tags), _) if !names(tags, EntityTag::is_strongly) => Verdict::Failed,
            (_, Some(tags)) if names(tags, EntityTag::is_weakly) => Verdict::NotModified,
            _ => Verdict::Proceed,
        }
    }
}

fn tags(headers: &HeaderMap, name: HeaderName) -> Result<Option<Tags>, Problem> {
    let values: Vec<&[u8]> = headers
        .get_all(&name)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    if values.is_empty() {
        return Ok(None);
    }
    // Lines of one header are one list (§5.3).
    let text = values.join(&b","[..]);
    if text.trim_ascii() == b"*" {
        return Ok(Some(Tags::Any));
    }
    let malformed = || {
        let header = if name == header::IF_MATCH {
            "If-Match"
        } else {
            "If-None-Match"
        };
        Problem::bad_request(format!(
            "the header {header} must be `*` or at most {MAX_TAGS} ETags such as \"12\", with commas between them"
        ))
    };
    let tags = list(&text).filter(|tags| !tags.is_empty());
    tags.map(|tags| Some(Tags::These(tags)))
        .ok_or_else(malformed)
}

/// Tags with commas between them; elements may be empty (§5.6.1.2).
fn list(mut text: &[u8]) -> Option<Vec<EntityTag>> {
    let mut tags = Vec::new();
    loop {
        text = text.trim_ascii_start();
        match text.first() {
            None => return Some(tags),
            Some(b',') => text = &text[1..],
            Some(_) => {
                let (tag, rest) = tag(text)?;
                let rest = rest.trim_ascii_start();
                if tags.len() == MAX_TAGS || !(rest.is_empty() || rest.starts_with(b",")) {
                    return None;
                }
                tags.push(tag);
                text = rest;
            }
        }
    }
}

fn tag(text: &[u8]) -> Option<(EntityTag, &[u8])> {
    let strong = text.strip_prefix(b"W/");
    let inner = strong.unwrap_or(text).strip_prefix(b"\"")?;
    let end = inner.iter().position(|byte| *byte == b'"')?;
    let opaque = &inner[..end];
    let is_good = |byte: &u8| *byte == 0x21 || (0x23..=0x7e).contains(byte) || *byte >= 0x80;
    opaque.iter().all(is_good).then(|| {
        let tag = EntityTag {
            is_weak: strong.is_some(),
            opaque: opaque.to_vec(),
        };
        (tag, &inner[end + 1..])
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(if_match: &[&str], if_none_match: &[&str]) -> Result<Conditions, Problem> {
        let mut headers = HeaderMap::new();
        for (name, values) in [
            (header::IF_MATCH, if_match),
            (header::IF_NONE_MATCH, if_none_match),
        ] {
            for value in values {
                headers.append(
                    &name,
                    HeaderValue::from_bytes(value.as_bytes()).expect("a value"),
                );
            }
        }
        Conditions::of(&headers)
    }

    #[track_caller]
    fn check(if_match: &[&str], if_none_match: &[&str], current: Option<u64>, expected: Verdict) {
        let conditions = of(if_match, if_none_match).expect("well-formed");
        let current = current.map(EntityTag::of_version);
        assert_eq!(conditions.judge(current.as_ref()), expected);
    }

    #[test]
    fn conditions_are_judged_as_the_rfc_says() {
        use Verdict::{Failed, NotModified, Proceed};
        check(&[], &[], None, Proceed);
        check(&["\"7\""], &[], Some(7), Proceed);
        check(&["\"7\""], &[], Some(8), Failed);
        check(&["\"7\""], &[], None, Failed);
        check(&["\"6\" , ,\"7\""], &[], Some(7), Proceed);
        check(&["\"6\"", "\"7\""], &[], Some(7), Proceed);
        check(&["W/\"7\""], &[], Some(7), Failed);
        check(&["*"], &[], Some(7), Proceed);
        check(&["*"], &[], None, Failed);
        check(&[], &["\"7\""], Some(7), NotModified);
        check(&[], &["W/\"7\""], Some(7), NotModified);
        check(&[], &["\"6\", \"8\""], Some(7), Proceed);
        check(&[], &["*"], Some(7), NotModified);
        check(&[], &["*"], None, Proceed);
        // A tag may hold a comma.
        check(&["\"a,b\", \"7\""], &[], Some(7), Proceed);
        check(&["\"7\""], &["\"7\""], Some(7), NotModified);
        check(&["\"6\""], &["\"7\""], Some(7), Failed);
    }

    #[test]
    fn malformed_conditions_are_refused() {
        let long = vec!["\"1\""; MAX_TAGS + 1].join(",");
        for bad in [
            "",
            ",",
            "7",
            "\"7",
            "7\"",
            "w/\"7\"",
            "W\"7\"",
            "\"7\" \"8\"",
            "\"7\";",
            "*, \"7\"",
            "\"a b\"",
            "**",
            &long,
        ] {
            assert!(of(&[bad], &[]).is_err(), "{bad}");
            assert!(of(&[], &[bad]).is_err(), "{bad}");
        }
        let kind = of(&[], &[])
            .expect("none")
            .require_match()
            .expect_err("refused")
            .kind;
        assert_eq!(kind, ProblemKind::PreconditionRequired);
        of(&["*"], &[])
            .expect("one")
            .require_match()
            .expect("it is said");
    }

    #[test]
    fn versions_are_the_tags_that_this_house_makes() {
        let tag = EntityTag::of_version(12);
        assert_eq!(
            (tag.to_value(), tag.version()),
            (HeaderValue::from_static("\"12\""), Some(12))
        );
        for foreign in ["+12", "012", "", "x", "99999999999999999999"] {
            let tag = EntityTag {
                is_weak: false,
                opaque: foreign.into(),
            };
            assert_eq!(tag.version(), None, "{foreign}");
        }
        let weak = EntityTag {
            is_weak: true,
            ..tag
        };
        assert_eq!(
            (weak.to_value(), weak.version()),
            (HeaderValue::from_static("W/\"12\""), None)
        );
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            if let Some(tags) = list(&bytes) {
                let values = tags.iter().map(|tag| tag.to_value().as_bytes().to_vec());
                let again = values.collect::<Vec<_>>().join(&b", "[..]);
                prop_assert_eq!(list(&again), Some(tags));
            }
        }
    }
}
