//! The route table: what each path and method is called, asks for, takes and gives.
//!
//! One description serves three ends. [`Router`] dispatches by it, the OpenAPI document is written from it
//! ([`super::openapi`]), and who may do what, and what is audited, is decided by it. A service brings a [`Service`] and
//! adds it to [`SERVICES`]; nothing else has to be told.

mod access;
mod blobs;
mod dht;
mod kv;
mod links;
mod records;
mod router;
mod system;

pub(super) use router::{PathValues, Router, method_not_allowed};

use super::{Api, Upload};
use crate::{
    auth::{Actor, Identity, Scope},
    config::LimitsSection,
    http::{Problem, ProblemKind, ReplyBody},
};
use holdfast_host::BoxFuture;
use http::{Method, Response, request::Parts};

/// Everything that a node answers.
pub(super) static SERVICES: &[&Service] = &[
    &kv::SERVICE,
    &links::SERVICE,
    &dht::SERVICE,
    &blobs::SERVICE,
    &access::SERVICE,
    &records::SERVICE,
    &system::SERVICE,
];

/// Paths that belong together.
pub(super) struct Service {
    /// The tag of its operations.
    pub name: &'static str,
    /// What it is for.
    pub about: &'static str,
    /// Its paths.
    pub paths: &'static [Path],
    /// A JSON object of the schemas that its operations name.
    pub schemas: &'static str,
}

/// A path, and what can be done there.
pub(super) struct Path {
    /// Segments between slashes; `{name}` stands for any one segment that is not empty, `{+name}` (last) for all that
    /// follows, slashes included. As in RFC 6570.
    pub template: &'static str,
    /// Under which name requests are counted.
    pub label: &'static str,
    /// The template's parameters.
    pub parameters: &'static [Parameter],
    /// In the order in which `Allow` names their methods.
    pub operations: &'static [Operation],
}

/// What a method does at a path.
pub(super) struct Operation {
    pub method: Method,
    /// Whether HEAD may be asked where GET is.
    pub head: Head,
    /// The name of the operation in the OpenAPI document and in the audit log; no two have the same.
    pub id: &'static str,
    pub summary: &'static str,
    pub access: Access,
    pub effect: Effect,
    /// In the query and in headers.
    pub parameters: &'static [Parameter],
    pub request: Option<RequestBody>,
    pub reply: Reply,
    /// Why it may be refused, beside what [`Operation::refusals`] adds.
    pub refusals: &'static [&'static [ProblemKind]],
    pub run: Run,
}

/// Whether HEAD is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Head {
    /// It is answered as GET, without the body.
    AsGet,
    /// It is not.
    No,
}

/// Who may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// Anybody, as often as they like: probes must not be turned away.
    Probe,
    /// Anybody.
    Open,
    /// Who was granted the scope.
    Scope(Scope),
}

/// What an operation does to the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    Read,
    /// Also asked for in vain, it is audited.
    Change,
}

/// What an operation may be told in its path, query or headers.
pub(super) struct Parameter {
    pub name: &'static str,
    pub place: Place,
    pub kind: Kind,
    pub about: &'static str,
}

/// Where a parameter stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Path,
    Query,
    Header,
}

/// What a parameter is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    /// Not negative, 64 bits.
    Number,
    /// `name`, `name=true` or `name=false`.
    Switch,
    /// One of these.
    Choice(&'static [&'static str]),
}

/// A body that an operation takes.
pub(super) struct RequestBody {
    pub content: Content,
    pub limit: BodyLimit,
    pub about: &'static str,
}

/// Which of `[limits]` bounds a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyLimit {
    Value,
    Body,
    /// Of a stream, which its operation bounds.
    Blob,
}

impl BodyLimit {
    /// Most bytes of a body that is read in one piece.
    pub fn of(self, limits: &LimitsSection) -> u64 {
        match self {
            BodyLimit::Value => limits.value_bytes,
            BodyLimit::Body | BodyLimit::Blob => limits.body_bytes,
        }
    }

    /// The key of the configuration that sets it.
    pub fn key(self) -> &'static str {
        match self {
            BodyLimit::Value => "limits.value_bytes",
            BodyLimit::Body => "limits.body_bytes",
            BodyLimit::Blob => "blobs.blob_bytes",
        }
    }
}

/// What a body holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// JSON of the schema of this name.
    Json(&'static str),
    /// A stream of JSON documents of the schema of this name: one a line, or one a server-sent event.
    Stream(&'static str),
    /// Server-sent events whose data is of the schema of this name.
    Events(&'static str),
    /// A report over the link checker's results, in one of several formats; as JSON of the schema of this name.
    Report(&'static str),
    /// Text of this media type.
    Text(&'static str),
    /// None (204).
    Nothing,
    /// Any bytes, of any media type.
    Bytes,
}

/// How success is answered.
pub(super) struct Reply {
    pub status: u16,
    pub about: &'static str,
    pub content: Content,
    /// Names and meanings of headers.
    pub headers: &'static [(&'static str, &'static str)],
    /// Whether a client that has it already may be told so (304).
    pub caching: Caching,
}

/// Whether `If-None-Match` saves a client an answer that it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Caching {
    ByTag,
    No,
}

/// What carries an operation out.
pub(super) type Run = for<'a> fn(&'a Api, Call<'a>) -> Answering<'a>;

/// An answer under way.
pub(super) type Answering<'a> = BoxFuture<'a, Result<Response<ReplyBody>, Problem>>;

/// A request on its way to the operation that it asks for.
pub(super) struct Call<'a> {
    pub operation: &'static Operation,
    pub path: PathValues,
    /// Who asks.
    pub actor: Actor,
    /// What they may; `None` where nobody is asked for a scope.
    pub identity: Option<Identity>,
    pub head: &'a Parts,
    pub body: &'a mut Upload,
}

impl Path {
    /// What `method` does here.
    pub fn operation(&self, method: &Method) -> Option<&'static Operation> {
        self.operations.iter().find(|operation| {
            let is_head = method == Method::HEAD && operation.head == Head::AsGet;
            operation.method == *method || is_head
        })
    }

    /// Every method that is taken here.
    pub fn methods(&self) -> impl Iterator<Item = Method> {
        self.operations.iter().flat_map(|operation| {
            let head = (operation.head == Head::AsGet).then_some(Method::HEAD);
            [operation.method.clone()].into_iter().chain(head)
        })
    }
}

impl Operation {
    /// Every kind of refusal that it may answer with.
    pub fn refusals(&self) -> impl Iterator<Item = ProblemKind> {
        use ProblemKind as P;
        let body: &[P] = match &self.request {
            None => &[],
            Some(body) if matches!(body.content, Content::Json(_)) => {
                &[P::TooLarge, P::RequestTimeout, P::UnsupportedMediaType]
            }
            Some(_) => &[P::TooLarge, P::RequestTimeout],
        };
        let any: &[P] = &[P::BadRequest, P::ForeignOrigin, P::HeadersTooLarge];
        let guarded: &[P] = match self.access {
            Access::Probe => &[],
            Access::Open => &[P::RateLimited],
            Access::Scope(_) => &[
                P::Unauthenticated,
                P::InsufficientScope,
                P::RateLimited,
                P::Unavailable,
            ],
        };
        let groups = [any, guarded, body].into_iter();
        let groups = groups.chain(self.refusals.iter().copied());
        groups.flatten().copied()
    }

    /// The scope that it asks for, if any.
    pub fn scope(&self) -> Option<Scope> {
        match self.access {
            Access::Scope(scope) => Some(scope),
            Access::Open | Access::Probe => None,
        }
    }
}

impl Parameter {
    const CONSISTENCY: Parameter = Parameter::query(
        "consistency",
        Kind::Choice(&["linearizable", "stale"]),
        "`linearizable` (when it is absent) sees every write that was acknowledged before the read began; `stale` sees \
         what the node asked has.",
    );
    const LIMIT: Parameter = Parameter::query(
        "limit",
        Kind::Number,
        "At most so many items; 0 for as many as the node allows.",
    );
    const CURSOR: Parameter = Parameter::query(
        "cursor",
        Kind::Text,
        "Go on from there: the `next` of the page before.",
    );

    const fn query(name: &'static str, kind: Kind, about: &'static str) -> Parameter {
        Parameter {
            name,
            place: Place::Query,
            kind,
            about,
        }
    }

    const fn header(name: &'static str, about: &'static str) -> Parameter {
        Parameter {
            name,
            place: Place::Header,
            kind: Kind::Text,
            about,
        }
    }
}

impl Reply {
    /// 200 with JSON.
    const fn json(schema: &'static str, about: &'static str) -> Reply {
        Reply {
            status: 200,
            about,
            content: Content::Json(schema),
            headers: &[],
            caching: Caching::No,
        }
    }

    /// 204.
    const fn nothing(about: &'static str) -> Reply {
        Reply {
            status: 204,
            about,
            content: Content::Nothing,
            headers: &[],
            caching: Caching::No,
        }
    }

    /// 200 with text.
    const fn text(media_type: &'static str, about: &'static str) -> Reply {
        Reply {
            status: 200,
            about,
            content: Content::Text(media_type),
            headers: &[],
            caching: Caching::No,
        }
    }
}
