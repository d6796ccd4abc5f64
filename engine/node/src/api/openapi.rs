//! The OpenAPI 3.1 document, written from the route table.
//!
//! Schemas are written by hand beside the types that they describe (`wire/*.json`), in the subset of JSON Schema
//! 2020-12 that the tests check every answer against. Deriving them would cost each build a macro crate, and would
//! describe what serde does, not what the interface promises.

use super::table::{Caching, Content, Effect, Kind, Operation, Parameter, Path, Place, Service};
use crate::http::ProblemKind;
use holdfast_links::report::Format;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// The version of the specification that the document keeps to.
const OPENAPI: &str = "3.1.1";

const ABOUT: &str = "Holdfast's REST interface.\n\n\
    Every refusal is a problem document (RFC 9457), whose `type` names its kind. Parameters and members that are not \
    known are refused. HEAD is taken wherever GET is, `/v1/kv/watch` apart. Where the node is told to authenticate \
    nobody, no operation asks for a key.";

/// The document that describes these services.
///
/// # Panics
/// When a service's schemas are not a JSON object, or two services have one of the same name: they are part of the
/// program.
pub(super) fn document(services: &[&Service]) -> Value {
    let mut schemas = Map::new();
    schemas.insert("Problem".to_owned(), problem_schema());
    let mut paths = Map::new();
    for service in services {
        let brought: Map<String, Value> = serde_json::from_str(service.schemas)
            .unwrap_or_else(|error| panic!("the schemas of {}: {error}", service.name));
        for (name, schema) in brought {
            let before = schemas.insert(name.clone(), schema);
            assert!(before.is_none(), "two schemas are called {name}");
        }
        for path in service.paths {
            let template = path.template.replace("{+", "{");
            paths.insert(template, path_item(service, path));
        }
    }
    let tags = services
        .iter()
        .map(|service| json!({"name": service.name, "description": service.about}));
    json!({
        "openapi": OPENAPI,
        "info": {
            "title": "Holdfast",
            "version": env!("CARGO_PKG_VERSION"),
            "description": ABOUT,
            "license": {"name": "Apache License 2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": tags.collect::<Vec<_>>(),
        "paths": paths,
        "components": {
            "schemas": schemas,
            "responses": {
                "Problem": {
                    "description": "It was refused.",
                    "content": {"application/problem+json": {"schema": reference("Problem")}},
                },
            },
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "An API key (RFC 6750).",
                },
                "apiKey": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "X-Api-Key",
                    "description": "An API key.",
                },
            },
        },
    })
}

fn path_item(service: &Service, path: &Path) -> Value {
    let mut item = Map::new();
    if !path.parameters.is_empty() {
        item.insert("parameters".to_owned(), parameters(path.parameters));
    }
    for described in path.operations {
        let method = described.method.as_str().to_ascii_lowercase();
        item.insert(method, operation(service, described));
    }
    item.into()
}

fn operation(service: &Service, operation: &Operation) -> Value {
    let mut item = json!({
        "operationId": operation.id,
        "summary": operation.summary,
        "tags": [service.name],
        "responses": responses(operation),
        "security": security(operation),
    });
    if operation.effect == Effect::Change {
        item["x-audited"] = true.into();
    }
    if !operation.parameters.is_empty() {
        item["parameters"] = parameters(operation.parameters);
    }
    if let Some(body) = &operation.request {
        let limit = body.limit.key();
        item["requestBody"] = json!({
            "description": format!("{} At most as many bytes as `{limit}` says.", body.about),
            // A value may be empty, and then there need be no body.
            "required": body.content != Content::Bytes,
            "content": content(body.content),
        });
    }
    item
}

fn security(operation: &Operation) -> Value {
    match operation.scope() {
        Some(scope) => json!([{"bearer": [scope.as_str()]}, {"apiKey": [scope.as_str()]}]),
        None => json!([]),
    }
}

fn parameters(parameters: &[Parameter]) -> Value {
    let described = parameters.iter().map(|parameter| {
        let place = match parameter.place {
            Place::Path => "path",
            Place::Query => "query",
            Place::Header => "header",
        };
        let schema = match parameter.kind {
            Kind::Text => json!({"type": "string"}),
            Kind::Number => json!({"type": "integer", "minimum": 0}),
            Kind::Switch => json!({"type": "boolean", "default": false}),
            Kind::Choice(choices) => json!({"enum": choices}),
        };
        json!({
            "name": parameter.name,
            "in": place,
            "required": parameter.place == Place::Path,
            "description": parameter.about,
            "schema": schema,
        })
    });
    described.collect()
}

fn responses(operation: &Operation) -> Value {
    let reply = &operation.reply;
    let mut success = json!({"description": reply.about});
    if reply.content != Content::Nothing {
        success["content"] = content(reply.content);
    }
    for (name, about) in reply.headers {
        success["headers"][name] = json!({"description": about, "schema": {"type": "string"}});
    }
    let mut responses = Map::new();
    responses.insert(reply.status.to_string(), success);
    if reply.caching == Caching::ByTag {
        let described = json!({"description": "The client has it: its `ETag` is among those of `If-None-Match`."});
        responses.insert("304".to_owned(), described);
    }
    let mut refusals = BTreeMap::<u16, Vec<ProblemKind>>::new();
    for kind in operation.refusals() {
        let kinds = refusals.entry(kind.status().as_u16()).or_default();
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
    }
    for (status, kinds) in refusals {
        let told = kinds
            .iter()
            .map(|kind| format!("`{}`: {}.", kind.slug(), kind.title()));
        let refused = json!({
            "description": told.collect::<Vec<_>>().join("\n\n"),
            "content": {"application/problem+json": {"schema": reference("Problem")}},
        });
        responses.insert(status.to_string(), refused);
    }
    responses.insert(
        "default".to_owned(),
        json!({"$ref": "#/components/responses/Problem"}),
    );
    responses.into()
}

fn content(content: Content) -> Value {
    match content {
        Content::Json(schema) => json!({"application/json": {"schema": reference(schema)}}),
        Content::Stream(schema) => json!({
            "application/x-ndjson": {"schema": reference(schema)},
            "text/event-stream": {"schema": reference(schema)},
        }),
        Content::Events(schema) => json!({"text/event-stream": {"schema": reference(schema)}}),
        Content::Report(schema) => {
            let text = |format: Format| {
                let essence = format.media_type().split(';').next().unwrap_or_default();
                (essence.to_owned(), json!({"schema": {"type": "string"}}))
            };
            let mut formats: Map<String, Value> = Format::ALL.into_iter().map(text).collect();
            formats["application/json"]["schema"] = reference(schema);
            formats.into()
        }
        Content::Nothing => json!({}),
        Content::Text(media_type) => json!({media_type: {"schema": {"type": "string"}}}),
        Content::Bytes => json!({"*/*": {}}),
    }
}

fn reference(schema: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{schema}")})
}

fn problem_schema() -> Value {
    let kinds = ProblemKind::ALL.map(ProblemKind::urn).to_vec();
    json!({
        "type": "object",
        "description": "Why a request was refused (RFC 9457). Further members depend on the kind.",
        "properties": {
            "type": {"enum": kinds, "description": "What kind of refusal it is."},
            "title": {"type": "string", "description": "What the kind means."},
            "status": {"type": "integer", "minimum": 400, "maximum": 599, "description": "The HTTP status."},
            "detail": {"type": "string", "description": "What happened here."},
        },
        "required": ["type", "title", "status", "detail"],
    })
}

#[cfg(test)]
mod tests {
    use super::{
        super::table::{Head, SERVICES},
        *,
    };

    #[test]
    fn every_operation_of_the_table_is_described_once() {
        let document = document(SERVICES);
        let mut described = 0;
        for item in document["paths"].as_object().expect("paths").values() {
            let methods = item.as_object().expect("an item").keys();
            described += methods.filter(|key| *key != "parameters").count();
        }
        let paths = SERVICES.iter().flat_map(|service| service.paths);
        let operations: usize = paths.map(|path| path.operations.len()).sum();
        assert_eq!(described, operations);
    }

    #[test]
    fn only_reads_take_head_and_probes_read() {
        let paths = SERVICES.iter().flat_map(|service| service.paths);
        for operation in paths.flat_map(|path| path.operations) {
            let is_get = operation.method == http::Method::GET;
            let is_read = operation.effect == Effect::Read;
            assert_eq!(is_get, is_read, "{}", operation.id);
            assert!(is_get || operation.head == Head::No, "{}", operation.id);
            // Some of what operators read is for nobody else.
            let scope = operation.scope().map_or("", |scope| scope.as_str());
            let is_right = match scope {
                "admin" => true,
                "" => is_read,
                scope => scope.ends_with(":read") == is_read,
            };
            assert!(is_right, "{}", operation.id);
        }
    }
}
