//! The part of the table for what the tables remember beside the services' own.

use super::{Access, Effect, Head, Kind, Operation, Parameter, Path, Place, Reply, Service};
use crate::{
    api::tables::{COMMAND, READ},
    auth::Scope,
    http::ProblemKind as P,
};
use http::Method;

pub(super) static SERVICE: Service = Service {
    name: "records",
    about: "What services that keep tables have in common: who changed what, and what could not be done outside.",
    schemas: include_str!("../../wire/records.json"),
    paths: &[
        Path {
            template: "/v1/audit",
            label: "audit",
            parameters: &[],
            operations: &[AUDIT],
        },
        Path {
            template: "/v1/outbox/dead-letters",
            label: "dead-letters",
            parameters: &[],
            operations: &[DEAD_LETTERS],
        },
        Path {
            template: "/v1/outbox/dead-letters/{id}/revive",
            label: "revive",
            parameters: &[Parameter {
                name: "id",
                place: Place::Path,
                kind: Kind::Number,
                about: "The dead letter's id.",
            }],
            operations: &[REVIVE],
        },
    ],
};

const AUDIT: Operation = Operation {
    method: Method::GET,
    head: Head::AsGet,
    id: "listAudit",
    summary: "List who changed what in the tables, the newest first",
    access: Access::Scope(Scope::ADMIN),
    effect: Effect::Read,
    parameters: &[Parameter::LIMIT, Parameter::CURSOR, Parameter::CONSISTENCY],
    request: None,
    reply: Reply::json("AuditReply", "A page of the audit log."),
    refusals: &[&[P::InvalidCursor], READ],
    run: |api, call| Box::pin(api.list_audit(call)),
};

const DEAD_LETTERS: Operation = Operation {
    method: Method::GET,
    head: Head::AsGet,
    id: "listDeadLetters",
    summary: "List what was to be done outside and was given up, the newest first",
    access: Access::Scope(Scope::ADMIN),
    effect: Effect::Read,
    parameters: &[Parameter::LIMIT, Parameter::CURSOR, Parameter::CONSISTENCY],
    request: None,
    reply: Reply::json("DeadLettersReply", "A page of dead letters."),
    refusals: &[&[P::InvalidCursor], READ],
    run: |api, call| Box::pin(api.list_dead_letters(call)),
};

const REVIVE: Operation = Operation {
    method: Method::POST,
    head: Head::No,
    id: "reviveDeadLetter",
    summary: "Try again what was given up",
    access: Access::Scope(Scope::ADMIN),
    effect: Effect::Change,
    parameters: &[],
    request: None,
    reply: Reply::nothing("It is tried again, under another id."),
    refusals: &[&[P::NotFound], COMMAND],
    run: |api, call| Box::pin(api.revive_dead_letter(call)),
};
