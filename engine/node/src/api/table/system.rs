//! What a node tells of itself, and takes from its operators.

use super::{
    Access, BodyLimit, Caching, Content, Effect, Head, Kind, Operation, Parameter, Path, Reply,
    RequestBody, Service,
};
use crate::{auth::Scope, http::ProblemKind as P};
use http::Method;

pub(super) static SERVICE: Service = Service {
    name: "system",
    about: "The node and its cluster.",
    schemas: include_str!("../../wire/system.json"),
    paths: &[
        Path {
            template: "/v1/status",
            label: "status",
            parameters: &[],
            operations: &[STATUS],
        },
        Path {
            template: "/v1/cluster/transfer",
            label: "transfer",
            parameters: &[],
            operations: &[TRANSFER],
        },
        Path {
            template: "/healthz",
            label: "healthz",
            parameters: &[],
            operations: &[HEALTH],
        },
        Path {
            template: "/readyz",
            label: "readyz",
            parameters: &[],
            operations: &[READY],
        },
        Path {
            template: "/metrics",
            label: "metrics",
            parameters: &[],
            operations: &[METRICS],
        },
        Path {
            template: "/openapi.json",
            label: "openapi",
            parameters: &[],
            operations: &[OPENAPI],
        },
    ],
};

/// Why the replica may say nothing.
const MUTE: &[P] = &[
    P::NoLeader,
    P::Overloaded,
    P::Unavailable,
    P::ReadTimeout,
    P::OutcomeUnknown,
    P::TooLarge,
];

const STATUS: Operation = Operation {
    method: Method::GET,
    head: Head::AsGet,
    id: "status",
    summary: "How the node and its replica are",
    access: Access::Scope(Scope::STATUS_READ),
    effect: Effect::Read,
    parameters: &[Parameter::query(
        "digest",
        Kind::Switch,
        "Include a hash over the replicated state: replicas that applied the same entries have the same.",
    )],
    request: None,
    reply: Reply::json("StatusReply", "What the node says of itself."),
    refusals: &[MUTE],
    run: |api, call| Box::pin(api.status(call)),
};

const TRANSFER: Operation = Operation {
    method: Method::POST,
    head: Head::No,
    id: "transferLeadership",
    summary: "Ask the leader to hand its office over",
    access: Access::Scope(Scope::ADMIN),
    effect: Effect::Change,
    parameters: &[],
    request: Some(RequestBody {
        content: Content::Json("TransferRequest"),
        limit: BodyLimit::Body,
        about: "To whom.",
    }),
    reply: Reply {
        status: 202,
        about: "It was asked for; the status tells whether it happened.",
        content: Content::Json("TransferRequest"),
        headers: &[],
        caching: Caching::No,
    },
    refusals: &[MUTE],
    run: |api, call| Box::pin(api.transfer(call)),
};

const HEALTH: Operation = Operation {
    method: Method::GET,
    head: Head::AsGet,
    id: "health",
    summary: "Whether the process lives and its storage works",
    access: Access::Probe,
    effect: Effect::Read,
    parameters: &[],
    request: None,
    reply: Reply::text("text/plain", "It does."),
    refusals: &[&[P::Unavailable]],
    run: |api, _| Box::pin(std::future::ready(api.health())),
};

const READY: Operation = Operation {
    method: Method::GET,
    head: Head::AsGet,
    id: "ready",
    summary: "Whether a linearizable read is served now",
    access: Access::Probe,
    effect: Effect::Read,
    parameters: &[],
    request: None,
    reply: Reply::text("text/plain", "It is."),
    refusals: &[MUTE],
    run: |api, _| Box::pin(api.ready()),
};

const METRICS: Operation = Operation {
    method: Method::GET,
    head: Head::AsGet,
    id: "metrics",
    summary: "Counters, gauges and histograms in Prometheus' text format",
    access: Access::Scope(Scope::STATUS_READ),
    effect: Effect::Read,
    parameters: &[],
    request: None,
    reply: Reply::text("text/plain", "The metrics."),
    refusals: &[],
    run: |api, _| Box::pin(api.metrics_page()),
};

const OPENAPI: Operation = Operation {
    method: Method::GET,
    head: Head::AsGet,
    id: "openapi",
    summary: "This document",
    access: Access::Open,
    effect: Effect::Read,
    parameters: &[],
    request: None,
    reply: Reply::json("OpenApi", "An OpenAPI 3.1 document."),
    refusals: &[],
    run: |api, _| Box::pin(std::future::ready(Ok(api.openapi_document()))),
};
