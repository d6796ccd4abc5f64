//! The part of the table for API keys.

use super::{
    Access, BodyLimit, Caching, Content, Effect, Head, Kind, Operation, Parameter, Path, Place,
    Reply, RequestBody, Service,
};
use crate::{
    api::tables::{COMMAND, READ},
    auth::Scope,
    http::ProblemKind as P,
};
use http::Method;

pub(super) static SERVICE: Service = Service {
    name: "keys",
    about: "API keys that every node of the cluster takes. A key can be given no scope that the key does not have which \
            asks for it. Keys that a node's configuration lists are not among these.",
    schemas: include_str!("../../wire/keys.json"),
    paths: &[
        Path {
            template: "/v1/keys",
            label: "keys",
            parameters: &[],
            operations: &[LIST, CREATE],
        },
        Path {
            template: "/v1/keys/{id}",
            label: "key",
            parameters: &[Parameter {
                name: "id",
                place: Place::Path,
                kind: Kind::Text,
                about: "The key's id: the part between `hf_` and the secret.",
            }],
            operations: &[GET, REVOKE],
        },
    ],
};

const LIST: Operation = Operation {
    method: Method::GET,
    head: Head::AsGet,
    id: "keysList",
    summary: "List the cluster's API keys, the newest first",
    access: Access::Scope(Scope::KEYS_READ),
    effect: Effect::Read,
    parameters: &[Parameter::LIMIT, Parameter::CURSOR, Parameter::CONSISTENCY],
    request: None,
    reply: Reply::json("KeysReply", "A page of keys."),
    refusals: &[&[P::InvalidCursor], READ],
    run: |api, call| Box::pin(api.list_api_keys(call)),
};

const CREATE: Operation = Operation {
    method: Method::POST,
    head: Head::No,
    id: "keysCreate",
    summary: "Make an API key",
    access: Access::Scope(Scope::KEYS_WRITE),
    effect: Effect::Change,
    parameters: &[Parameter::header(
        "Idempotency-Key",
        "A name for this request: asked again with the same, no other key is made, and the answer tells of the first, with \
         `Idempotent-Replayed: true` and without the key itself. Remembered for a day.",
    )],
    request: Some(RequestBody {
        content: Content::Json("NewKeyRequest"),
        limit: BodyLimit::Body,
        about: "What it may be used for.",
    }),
    reply: Reply {
        status: 201,
        about: "The key. Other nodes take it once they have heard of it.",
        content: Content::Json("CreatedKey"),
        headers: &[
            ("Location", "Where is told of the key."),
            ("Cache-Control", "`no-store`: the answer is a secret."),
        ],
        caching: Caching::No,
    },
    refusals: &[&[P::QuotaReached], COMMAND],
    run: |api, call| Box::pin(api.create_api_key(call)),
};

const GET: Operation = Operation {
    method: Method::GET,
    head: Head::AsGet,
    id: "keysGet",
    summary: "Read what is told of an API key",
    access: Access::Scope(Scope::KEYS_READ),
    effect: Effect::Read,
    parameters: &[Parameter::CONSISTENCY],
    request: None,
    reply: Reply::json("ApiKeyInfo", "What is told of the key."),
    refusals: &[&[P::NotFound], READ],
    run: |api, call| Box::pin(api.get_api_key(call)),
};

const REVOKE: Operation = Operation {
    method: Method::DELETE,
    head: Head::No,
    id: "keysRevoke",
    summary: "Take an API key back, for good",
    access: Access::Scope(Scope::KEYS_WRITE),
    effect: Effect::Change,
    parameters: &[Parameter::header(
        "Idempotency-Key",
        "A name for this request. It is harmless to revoke a key twice in any case.",
    )],
    request: None,
    reply: Reply::nothing(
        "It is revoked. Other nodes refuse it within `auth.cache_ttl` after they have heard of it; what it has begun, a \
         watch say, goes on to its end. It is still listed.",
    ),
    refusals: &[&[P::NotFound], COMMAND],
    run: |api, call| Box::pin(api.revoke_api_key(call)),
};
