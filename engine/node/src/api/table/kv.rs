//! The key-value store's part of the table.

use super::{
    Access, BodyLimit, Caching, Content, Effect, Head, Kind, Operation, Parameter, Path, Place,
    Reply, RequestBody, Service,
};
use crate::{auth::Scope, http::ProblemKind as P};
use http::Method;

pub(super) static SERVICE: Service = Service {
    name: "kv",
    about: "A replicated, multi-version key-value store. Keys are any bytes, percent-encoded in paths, queries and \
            JSON; values are any bytes, base64 in JSON.",
    schemas: include_str!("../../wire/kv.json"),
    paths: &[
        Path {
            template: "/v1/kv/keys/{+key}",
            label: "keys",
            parameters: &[Parameter {
                name: "key",
                place: Place::Path,
                kind: Kind::Text,
                about: "The key: everything after `keys/`, slashes included, percent-encoded.",
            }],
            operations: &[GET, PUT, DELETE],
        },
        Path {
            template: "/v1/kv/range",
            label: "range",
            parameters: &[],
            operations: &[RANGE, DELETE_RANGE],
        },
        Path {
            template: "/v1/kv/txn",
            label: "txn",
            parameters: &[],
            operations: &[TXN],
        },
        Path {
            template: "/v1/kv/compact",
            label: "compact",
            parameters: &[],
            operations: &[COMPACT],
        },
        Path {
            template: "/v1/kv/watch",
            label: "watch",
            parameters: &[],
            operations: &[WATCH],
        },
    ],
};

const KEY: Parameter = Parameter::query("key", Kind::Text, "This key.");
const PREFIX: Parameter = Parameter::query(
    "prefix",
    Kind::Text,
    "All keys that begin with this; all there are when it is empty.",
);
const START: Parameter = Parameter::query("start", Kind::Text, "All keys from this one on.");
const END: Parameter = Parameter::query("end", Kind::Text, "All keys up to and without this one.");
const REVISION: Parameter = Parameter::query(
    "revision",
    Kind::Number,
    "As of this revision; the present one when it is absent.",
);
const CONSISTENCY: Parameter = Parameter::CONSISTENCY;
const PREV_KV: Parameter = Parameter::query("prev_kv", Kind::Switch, "Tell what was there before.");
const IF_MATCH: Parameter = Parameter::header(
    "If-Match",
    "Only when the key has this `ETag`, or with `*` when it is there (RFC 9110, §13.1.1).",
);
const IF_NONE_MATCH: Parameter = Parameter::header(
    "If-None-Match",
    "Only when the key has none of these `ETag`s, or with `*` when it is not there (RFC 9110, §13.1.2).",
);
const SESSION: Parameter = Parameter::header(
    "Holdfast-Session",
    "A session's ticket, `<32 hexadecimal digits>:<sequence>`: retried with the same ticket, a command is carried out \
     once.",
);
const LAST_EVENT_ID: Parameter = Parameter::header(
    "Last-Event-ID",
    "The id of the last event seen: the watch goes on after it (WHATWG HTML, §9.2).",
);

/// Why a read may have no answer.
const READ: &[P] = &[
    P::NoLeader,
    P::Overloaded,
    P::Unavailable,
    P::ReadTimeout,
    P::TooLarge,
];
/// Why a command may not be carried out, or not be known to have been.
const COMMAND: &[P] = &[
    P::NoLeader,
    P::Overloaded,
    P::Unavailable,
    P::OutcomeUnknown,
    P::TooLarge,
    P::OutcomeNotKept,
    P::StaleSequence,
    P::SequenceReused,
    P::UnknownSession,
];
/// What may be wrong with a revision.
const PAST: &[P] = &[P::Compacted, P::FutureRevision];

const ETAG: (&str, &str) = ("ETag", "The revision of the key's last change, in quotes.");

const GET: Operation = Operation {
    method: Method::GET,
    head: Head::AsGet,
    id: "kvGet",
    summary: "Read a key",
    access: Access::Scope(Scope::KV_READ),
    effect: Effect::Read,
    parameters: &[REVISION, CONSISTENCY, IF_MATCH, IF_NONE_MATCH],
    request: None,
    reply: Reply {
        headers: &[ETAG],
        caching: Caching::ByTag,
        ..Reply::json("GetReply", "The key and its value.")
    },
    refusals: &[&[P::KeyNotFound, P::PreconditionFailed], PAST, READ],
    run: |api, call| Box::pin(api.get(call)),
};

const PUT: Operation = Operation {
    method: Method::PUT,
    head: Head::No,
    id: "kvPut",
    summary: "Put a key",
    access: Access::Scope(Scope::KV_WRITE),
    effect: Effect::Change,
    parameters: &[PREV_KV, IF_MATCH, IF_NONE_MATCH, SESSION],
    request: Some(RequestBody {
        content: Content::Bytes,
        limit: BodyLimit::Value,
        about: "The value.",
    }),
    reply: Reply {
        headers: &[ETAG],
        ..Reply::json("PutReply", "It was put.")
    },
    refusals: &[&[P::PreconditionFailed], COMMAND],
    run: |api, call| Box::pin(api.put(call)),
};

const DELETE: Operation = Operation {
    method: Method::DELETE,
    head: Head::No,
    id: "kvDelete",
    summary: "Delete a key",
    access: Access::Scope(Scope::KV_WRITE),
    effect: Effect::Change,
    parameters: &[PREV_KV, IF_MATCH, IF_NONE_MATCH, SESSION],
    request: None,
    reply: Reply::json("DeleteReply", "It is not there any more."),
    refusals: &[&[P::PreconditionFailed], COMMAND],
    run: |api, call| Box::pin(api.delete(call)),
};

const RANGE: Operation = Operation {
    method: Method::GET,
    head: Head::AsGet,
    id: "kvRange",
    summary: "Read many keys",
    access: Access::Scope(Scope::KV_READ),
    effect: Effect::Read,
    parameters: &[
        KEY,
        PREFIX,
        START,
        END,
        CONSISTENCY,
        REVISION,
        Parameter::query(
            "limit",
            Kind::Number,
            "At most so many pairs; 0 for as many as the node allows.",
        ),
        Parameter::query(
            "cursor",
            Kind::Text,
            "Where the page begins: `next` of the page before. Every page is read at the first one's revision.",
        ),
        Parameter::query("keys_only", Kind::Switch, "Leave the values out."),
        Parameter::query("count_only", Kind::Switch, "Only count."),
    ],
    request: None,
    reply: Reply::json("RangeReply", "The pairs, in the order of their keys."),
    refusals: &[&[P::InvalidCursor], PAST, READ],
    run: |api, call| Box::pin(api.read_range(call)),
};

const DELETE_RANGE: Operation = Operation {
    method: Method::DELETE,
    head: Head::No,
    id: "kvDeleteRange",
    summary: "Delete many keys",
    access: Access::Scope(Scope::KV_WRITE),
    effect: Effect::Change,
    parameters: &[KEY, PREFIX, START, END, PREV_KV, SESSION],
    request: None,
    reply: Reply::json("DeleteReply", "They are not there any more."),
    refusals: &[COMMAND],
    run: |api, call| Box::pin(api.delete_range(call)),
};

const TXN: Operation = Operation {
    method: Method::POST,
    head: Head::No,
    id: "kvTxn",
    summary: "Change several keys at one revision, when conditions hold",
    access: Access::Scope(Scope::KV_WRITE),
    effect: Effect::Change,
    parameters: &[SESSION],
    request: Some(RequestBody {
        content: Content::Json("TxnRequest"),
        limit: BodyLimit::Body,
        about: "Conditions, and what to do when they hold and when they do not.",
    }),
    reply: Reply::json("TxnReply", "One of the branches was done."),
    refusals: &[COMMAND],
    run: |api, call| Box::pin(api.txn(call)),
};

const COMPACT: Operation = Operation {
    method: Method::POST,
    head: Head::No,
    id: "kvCompact",
    summary: "Forget what was before a revision",
    access: Access::Scope(Scope::KV_WRITE),
    effect: Effect::Change,
    parameters: &[SESSION],
    request: Some(RequestBody {
        content: Content::Json("CompactRequest"),
        limit: BodyLimit::Body,
        about: "The oldest revision that stays readable.",
    }),
    reply: Reply::json("CompactReply", "It is forgotten."),
    refusals: &[PAST, COMMAND],
    run: |api, call| Box::pin(api.compact(call)),
};

const WATCH: Operation = Operation {
    method: Method::GET,
    head: Head::No,
    id: "kvWatch",
    summary: "Be told of changes as they happen",
    access: Access::Scope(Scope::KV_READ),
    effect: Effect::Read,
    parameters: &[
        KEY,
        PREFIX,
        START,
        END,
        Parameter::query(
            "from_revision",
            Kind::Number,
            "Begin with this revision's changes; when it is absent, with what comes after now.",
        ),
        LAST_EVENT_ID,
    ],
    request: None,
    reply: Reply {
        status: 200,
        about: "What happens, for as long as the client listens; as server-sent events when `Accept` says so.",
        content: Content::Stream("WatchLine"),
        headers: &[],
        caching: Caching::No,
    },
    refusals: &[PAST, READ],
    run: |api, call| Box::pin(api.watch(call)),
};
