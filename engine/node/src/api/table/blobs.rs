//! The table's part for blobs.

use super::{
    Access, BodyLimit, Caching, Content, Effect, Head, Kind, Operation, Parameter, Path, Place,
    Reply, RequestBody, Service,
};
use crate::{auth::Scope, http::ProblemKind as P};
use http::Method;

pub(super) static SERVICE: Service = Service {
    name: "blobs",
    about: "Content-addressed blobs of this node, where `[blobs]` of its configuration says so: a blob's name is the \
            SHA-256 of its bytes. The node announces them in the DHT, under the first 20 bytes of their names, and gives \
            them to whoever knows a name.",
    schemas: include_str!("../../wire/blobs.json"),
    paths: &[
        Path {
            template: "/v1/blobs",
            label: "blobs",
            parameters: &[],
            operations: &[LIST, PUT],
        },
        Path {
            template: "/v1/blobs/{id}",
            label: "blob",
            parameters: &[Parameter {
                name: "id",
                place: Place::Path,
                kind: Kind::Text,
                about: "The blob's name: 64 hexadecimal digits in lower case.",
            }],
            operations: &[GET, DELETE],
        },
    ],
};

const LIST: Operation = Operation {
    method: Method::GET,
    head: Head::AsGet,
    id: "blobsList",
    summary: "List the node's blobs, by name",
    access: Access::Scope(Scope::DHT_READ),
    effect: Effect::Read,
    parameters: &[Parameter::LIMIT, Parameter::CURSOR],
    request: None,
    reply: Reply::json("BlobsReply", "A page of blobs."),
    refusals: &[&[P::NotFound, P::InvalidCursor]],
    run: |api, call| Box::pin(api.list_blobs(call)),
};

const PUT: Operation = Operation {
    method: Method::PUT,
    head: Head::No,
    id: "blobsPut",
    summary: "Store a blob, and announce it in the DHT",
    access: Access::Scope(Scope::DHT_WRITE),
    effect: Effect::Change,
    parameters: &[],
    request: Some(RequestBody {
        content: Content::Bytes,
        limit: BodyLimit::Blob,
        about: "The blob.",
    }),
    reply: Reply::json("BlobReply", "The blob is stored, or was before."),
    refusals: &[&[P::NotFound, P::QuotaReached, P::Overloaded, P::Internal]],
    run: |api, call| Box::pin(api.put_blob(call)),
};

const GET: Operation = Operation {
    method: Method::GET,
    head: Head::AsGet,
    id: "blobsGet",
    summary: "Read a blob, or with `Range` a part of it (206)",
    // It was announced to everybody.
    access: Access::Open,
    effect: Effect::Read,
    parameters: &[
        Parameter::header("Range", "One range of bytes, such as `bytes=0-99`."),
        Parameter::header("If-Range", "The part only of the blob with this `ETag`."),
    ],
    request: None,
    reply: Reply {
        status: 200,
        about: "The blob.",
        content: Content::Text("application/octet-stream"),
        headers: &[("ETag", "The blob's name in quotes.")],
        caching: Caching::ByTag,
    },
    refusals: &[&[
        P::NotFound,
        P::PreconditionFailed,
        P::RangeNotSatisfiable,
        P::Overloaded,
        P::Unavailable,
        P::Internal,
    ]],
    run: |api, call| Box::pin(api.get_blob(call)),
};

const DELETE: Operation = Operation {
    method: Method::DELETE,
    head: Head::No,
    id: "blobsDelete",
    summary: "Delete a blob, and announce it no more",
    access: Access::Scope(Scope::DHT_WRITE),
    effect: Effect::Change,
    parameters: &[],
    request: None,
    reply: Reply::nothing("It is gone; others remember for half an hour that it was here."),
    refusals: &[&[P::NotFound, P::Internal]],
    run: |api, call| Box::pin(api.delete_blob(call)),
};
