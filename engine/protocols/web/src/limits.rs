use serde::{Deserialize, Serialize};
use thiserror::Error;

/// What is taken in at most of one document. Over a limit the rest is left out, and a [`Problem`] says so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Links of one document, those of nested documents (`srcdoc`) included.
    pub links: usize,
    /// Bytes of one URL before it is resolved. Longer ones are problems of their link.
    pub url_bytes: usize,
    /// Bytes that are kept of a link as it was written.
    pub raw_bytes: usize,
    /// Bytes of one attribute; the rest of it is not looked at.
    pub attribute_bytes: usize,
    /// Attributes of one tag.
    pub attributes: usize,
    /// Bytes of one style sheet inside a page.
    pub style_bytes: usize,
    /// Characters of a link's text.
    pub text_chars: usize,
    /// Characters of a title.
    pub title_chars: usize,
    /// Names that fragments can point to.
    pub fragments: usize,
    /// Bytes of all names that fragments can point to.
    pub fragment_bytes: usize,
    /// Documents inside of one another (`srcdoc`).
    pub nesting: usize,
    /// Problems that are kept of one document.
    pub problems: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            links: 50_000,
            url_bytes: 8 << 10,
            raw_bytes: 2 << 10,
            attribute_bytes: 1 << 20,
            attributes: 256,
            style_bytes: 4 << 20,
            text_chars: 200,
            title_chars: 300,
            fragments: 100_000,
            fragment_bytes: 4 << 20,
            nesting: 3,
            problems: 100,
        }
    }
}

/// What is wrong with a document as a whole. What could be read of it is given all the same.
#[derive(Clone, Debug, PartialEq, Eq, Error, Serialize, Deserialize)]
#[serde(tag = "problem", rename_all = "snake_case")]
pub enum Problem {
    /// More links than [`Limits::links`]; the rest is left out.
    #[error("more than {limit} links")]
    TooManyLinks {
        /// The limit.
        limit: usize,
    },
    /// More names than [`Limits::fragments`] or [`Limits::fragment_bytes`]; a fragment that is not found may exist.
    #[error("too many names that fragments can point to")]
    TooManyFragments,
    /// An attribute is longer than [`Limits::attribute_bytes`]; its end was not looked at.
    #[error("line {line}: an attribute is longer than {limit} bytes")]
    AttributeTooLong {
        /// The line of its tag, from 1.
        line: u32,
        /// The limit.
        limit: usize,
    },
    /// A tag has more attributes than [`Limits::attributes`]; the rest was not looked at.
    #[error("line {line}: a tag has more than {limit} attributes")]
    TooManyAttributes {
        /// The line of its tag, from 1.
        line: u32,
        /// The limit.
        limit: usize,
    },
    /// A style sheet is longer than [`Limits::style_bytes`]; its end was not looked at.
    #[error("line {line}: a style sheet is longer than {limit} bytes")]
    StyleTooLong {
        /// The line of its tag, from 1.
        line: u32,
        /// The limit.
        limit: usize,
    },
    /// Documents inside documents, deeper than [`Limits::nesting`]; the innermost were not looked at.
    #[error("line {line}: documents are nested deeper than {limit}")]
    TooDeep {
        /// The line of its tag, from 1.
        line: u32,
        /// The limit.
        limit: usize,
    },
    /// `<base href>` is no URL: the document's own is the base.
    #[error("line {line}: the base URL is invalid: {reason}")]
    InvalidBase {
        /// The line of its tag, from 1.
        line: u32,
        /// Why.
        reason: crate::UrlProblem,
    },
    /// The document is not well-formed XML; what stands before this place was read.
    #[error("line {line}: malformed XML: {reason}")]
    MalformedXml {
        /// Where, from 1.
        line: u32,
        /// Why.
        reason: String,
    },
    /// Elements of an XML document are nested too deep to be what it says it is.
    #[error("line {line}: elements are nested deeper than {limit}")]
    ElementsTooDeep {
        /// Where, from 1.
        line: u32,
        /// The limit.
        limit: usize,
    },
    /// An XML document whose outermost element is none that holds links.
    #[error("unknown kind of document: <{root}>")]
    UnknownRoot {
        /// Its outermost element, shortened.
        root: String,
    },
    /// Bytes that do not exist in the document's encoding; each was read as U+FFFD.
    #[error("bytes that are not {encoding}")]
    Undecodable {
        /// The encoding.
        encoding: String,
    },
    /// More problems than [`Limits::problems`].
    #[error("more problems than are kept")]
    TooManyProblems,
}

/// A bounded list of problems.
#[derive(Clone, Debug, Default)]
pub(crate) struct Problems {
    list: Vec<Problem>,
}

impl Problems {
    pub fn add(&mut self, problem: Problem, limits: &Limits) {
        if self.list.len() < limits.problems {
            self.list.push(problem);
        } else if self.list.last() != Some(&Problem::TooManyProblems) {
            self.list.push(Problem::TooManyProblems);
        }
    }

    /// A problem that is worth saying once, however often it occurs.
    pub fn add_once(&mut self, problem: Problem, limits: &Limits) {
        if !self.list.contains(&problem) {
            self.add(problem, limits);
        }
    }

    pub fn into_vec(self) -> Vec<Problem> {
        self.list
    }
}
