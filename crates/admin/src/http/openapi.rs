//! The OpenAPI 3.1 document of all routes. [`super::described`] adds each route with what the types
//! of its handler say.

use std::sync::LazyLock;

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use schemars::generate::{SchemaGenerator, SchemaSettings};
use serde_json::{Map, Value, json};

use super::described::{Routes, Told};
use super::problem::Problem;

/// Which token a route wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// None, and it is always answered: a probe.
    Probe,
    /// None.
    Open,
    /// For reading either token, for changing something the admin token.
    Token,
    /// A tenant's own status token.
    Tenant,
    /// The admin token, or a link.
    Link,
}

/// The document, while routes are added.
pub(super) struct Document {
    paths: Map<String, Value>,
    /// Schemas of what is answered; those of named types are collected.
    answers: SchemaGenerator,
    /// Schemas of what is asked and sent, each complete in itself.
    requests: SchemaGenerator,
}

/// One route, while it is described.
pub(super) struct Operation<'a> {
    document: &'a mut Document,
    parameters: Vec<Value>,
    body: Option<Value>,
    answers: Map<String, Value>,
}

/// The problems that any route may answer with, and what they mean.
const PROBLEMS: [(u16, &str); 11] = [
    (400, "Something in the address or the body cannot be used; `detail` says what."),
    (401, "The request has no token, or a wrong one."),
    (403, "The token does not allow this, or the page's origin is not this server."),
    (404, "There is no such thing."),
    (408, "The body did not come in time."),
    (409, "Not as things are now; `detail` says why."),
    (413, "The body is larger than 16 KiB."),
    (415, "The body is not `application/json`."),
    (421, "Without configured tokens, only requests for a loopback name are answered."),
    (429, "Too many requests, or too many wrong tokens."),
    (503, "The source did not answer, or the daemon is starting or stopping."),
];

const DESCRIPTION: &str = "Reads and changes what a running daemon of Offtake does. Sequence ids and \
counts that may be large are strings of digits. Every error is a problem object (RFC 9457). Without \
any configured token the daemon listens on loopback only, and no request needs one.";

/// The document as JSON, of all routes.
pub fn document() -> Value {
    let mut document = Document::new();
    drop(super::routes(&mut document));
    document.finished()
}

static TEXT: LazyLock<String> = LazyLock::new(|| document().to_string());

/// `GET /api/v1/openapi.json`.
pub(super) async fn serve() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], TEXT.as_str()).into_response()
}

impl Document {
    pub(super) fn new() -> Self {
        let settings = || {
            SchemaSettings::draft2020_12().with(|settings| {
                settings.definitions_path = "/components/schemas".into();
                settings.meta_schema = None;
            })
        };
        let requests = settings().with(|settings| settings.inline_subschemas = true);
        Self {
            paths: Map::new(),
            answers: settings().for_serialize().into_generator(),
            requests: requests.for_deserialize().into_generator(),
        }
    }

    pub(super) fn add(
        &mut self,
        path: &str,
        method: &'static str,
        access: Access,
        told: &Told,
        describe: fn(&mut Operation<'_>),
    ) {
        let path = path.replace("{*", "{");
        let named = path.split('{').skip(1).filter_map(|rest| Some(rest.split_once('}')?.0));
        let parameters: Vec<Value> = named.map(|name| path_parameter(&path, name)).collect();
        let in_path = !parameters.is_empty();
        let mut operation =
            Operation { document: self, parameters, body: None, answers: Map::new() };
        describe(&mut operation);
        let Operation { parameters, body, mut answers, .. } = operation;
        let shared = |code: u16| json!({ "$ref": format!("#/components/responses/{code}") });
        for code in problems(access, in_path, body.is_some()) {
            answers.entry(code.to_string()).or_insert_with(|| shared(code));
        }
        for (code, when) in told.problems {
            answers.insert(code.to_string(), problem(*code, when));
        }
        answers.sort_keys();
        let mut described = json!({
            "operationId": told.id, "summary": told.summary, "tags": [tag(&path)],
            "security": security(access, method, told.rows), "responses": answers,
        });
        if !parameters.is_empty() {
            described["parameters"] = parameters.into();
        }
        if let Some(body) = body {
            described["requestBody"] = body;
        }
        let methods = self.paths.entry(path).or_insert_with(|| json!({}));
        methods[method] = described;
    }

    fn finished(mut self) -> Value {
        self.answers.subschema_for::<Problem>();
        let mut schemas: Map<String, Value> = self.answers.take_definitions(true);
        schemas.values_mut().for_each(tidy);
        schemas.sort_keys();
        self.paths.sort_keys();
        let responses: Map<String, Value> = PROBLEMS
            .into_iter()
            .map(|(code, when)| (code.to_string(), problem(code, when)))
            .collect();
        json!({
            "openapi": "3.1.0",
            "info": {
                "title": "Offtake", "version": env!("CARGO_PKG_VERSION"), "description": DESCRIPTION,
                "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
            },
            "servers": [{ "url": "/" }],
            "paths": self.paths,
            "components": {
                "schemas": schemas,
                "responses": responses,
                "securitySchemes": {
                    "read": bearer("`http.read_token`: it may read, and change nothing."),
                    "admin": bearer("`http.admin_token`: it may read and change everything."),
                    "status": bearer("A tenant's status token, which `offtake status-token` prints."),
                    "link": {
                        "type": "apiKey", "in": "query", "name": "signature",
                        "description": "Of a link that the admin token has made.",
                    },
                },
            },
        })
    }
}

impl Operation<'_> {
    /// Every field of `T` is a parameter.
    pub(super) fn query<T: JsonSchema>(&mut self) {
        let mut schema = self.document.request::<T>();
        let required = schema["required"].take();
        let Value::Object(fields) = schema["properties"].take() else { return };
        for (name, mut schema) in fields {
            without_null(&mut schema);
            let is_required = required.as_array().is_some_and(|all| all.contains(&json!(name)));
            let mut parameter = json!({ "name": name, "in": "query", "required": is_required });
            if let Some(description) = schema.as_object_mut().and_then(|s| s.remove("description"))
            {
                parameter["description"] = description;
            }
            parameter["schema"] = schema;
            self.parameters.push(parameter);
        }
    }

    /// A header of the request that may be absent.
    pub(super) fn header(&mut self, name: &str, description: &str, pattern: &str) {
        self.parameters.push(json!({
            "name": name, "in": "header", "required": false, "description": description,
            "schema": { "type": "string", "pattern": pattern },
        }));
    }

    /// `T` is the JSON of the body, which may be absent unless a field is required.
    pub(super) fn body<T: JsonSchema>(&mut self) {
        let mut schema = self.document.request::<T>();
        if let Some(schema) = schema.as_object_mut() {
            schema.remove("title");
            schema.remove("description");
        }
        let required = schema["required"].is_array() || schema["oneOf"].is_array();
        let content = json!({ "application/json": { "schema": schema } });
        self.body = Some(json!({ "required": required, "content": content }));
    }

    pub(super) fn answer<T: JsonSchema>(&mut self, code: StatusCode, when: &str) {
        let schema = self.document.answers.subschema_for::<T>();
        self.answers.insert(
            code.as_str().to_owned(),
            json!({ "description": when, "content": { "application/json": { "schema": schema } } }),
        );
    }

    /// An answer that is no JSON.
    pub(super) fn text(&mut self, code: StatusCode, kind: &str, when: &str) {
        let content = json!({ kind: { "schema": { "type": "string" } } });
        let answer = json!({ "description": when, "content": content });
        self.answers.insert(code.as_str().to_owned(), answer);
    }
}

impl Document {
    fn request<T: JsonSchema>(&mut self) -> Value {
        let mut schema = T::json_schema(&mut self.requests).to_value();
        tidy(&mut schema);
        without_nul(&mut schema);
        schema
    }
}

const PROBLEM: &str = "#/components/schemas/Problem";

fn problem(code: u16, when: &str) -> Value {
    let content = json!({ "application/problem+json": { "schema": { "$ref": PROBLEM } } });
    let mut answer = json!({ "description": when, "content": content });
    if code == 429 {
        let seconds = json!({ "type": "integer", "minimum": 1 });
        let told =
            json!({ "description": "Seconds until the next one is answered.", "schema": seconds });
        answer["headers"] = json!({ "Retry-After": told });
    }
    answer
}

/// The problems that every such route may have.
fn problems(access: Access, in_path: bool, has_body: bool) -> Vec<u16> {
    let mut codes = vec![400];
    match access {
        Access::Probe => {}
        Access::Open => codes.extend([421, 429]),
        Access::Token | Access::Link => codes.extend([401, 403, 421, 429, 503]),
        Access::Tenant => codes.extend([401, 403, 404, 421, 429, 503]),
    }
    if in_path {
        codes.push(404);
    }
    if has_body {
        codes.extend([408, 413, 415]);
    }
    codes
}

fn security(access: Access, method: &str, rows: bool) -> Value {
    match (access, method) {
        (Access::Probe | Access::Open, _) => json!([]),
        (Access::Token, "get") if !rows => json!([{ "read": [] }, { "admin": [] }]),
        (Access::Token, _) => json!([{ "admin": [] }]),
        (Access::Tenant, _) => json!([{ "status": [] }]),
        (Access::Link, _) => json!([{ "admin": [] }, { "link": [] }]),
    }
}

fn bearer(description: &str) -> Value {
    json!({ "type": "http", "scheme": "bearer", "description": description })
}

/// What the routes of one thing have in common.
fn tag(path: &str) -> &str {
    let below = path.strip_prefix("/api/v1/").unwrap_or_else(|| path.trim_start_matches('/'));
    let first = below.split(['/', '.']).next().unwrap_or_default();
    if first.is_empty() { "dashboard" } else { first }
}

fn path_parameter(path: &str, name: &str) -> Value {
    let webhook = path.contains("/webhooks/");
    let described = match name {
        "tenant" => "The tenant, as the configuration spells it.",
        "file" => "The name of one of the export's files.",
        "id" => "The export's id.",
        _ if path.contains("/fuses/") => {
            "`sequencer`, `poller`, `sync`, `webhooks`, `tenant:TENANT`, `destination:TENANT/NAME`, \
             `webhook:TENANT/NAME` or `mapping:NAME`. A slash may be sent as it is, or as `%2F`."
        }
        _ if webhook => "The webhook's name.",
        _ => "The destination's name.",
    };
    json!({
        "name": name, "in": "path", "required": true, "description": described,
        "schema": { "type": "string", "minLength": 1, "maxLength": NAME_CHARS_MAX, "pattern": NO_NUL },
    })
}

/// No registry has a longer id or name; more than this is answered with 404.
const NAME_CHARS_MAX: usize = 1000;

/// A text without a NUL, which Postgres does not have.
const NO_NUL: &str = "^[^\\u0000]*$";

/// A description is one paragraph, and a field that may be absent has no default of null.
fn tidy(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            if let Some(Value::String(description)) = fields.get_mut("description") {
                *description = description.split_whitespace().collect::<Vec<_>>().join(" ");
            }
            if fields.get("default").is_some_and(Value::is_null) {
                fields.remove("default");
            }
            fields.values_mut().for_each(tidy);
        }
        Value::Array(items) => items.iter_mut().for_each(tidy),
        _ => {}
    }
}

/// Says of every text without a form of its own that it has no NUL.
fn without_nul(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            let kind = fields.get("type");
            let texts = json!(["string", "null"]);
            let is_text = kind.is_some_and(|kind| *kind == "string" || *kind == texts);
            let formed = ["pattern", "enum", "const", "format"]
                .iter()
                .any(|form| fields.contains_key(*form));
            if is_text && !formed {
                fields.insert("pattern".to_owned(), NO_NUL.into());
            }
            fields.values_mut().for_each(without_nul);
        }
        Value::Array(items) => items.iter_mut().for_each(without_nul),
        _ => {}
    }
}

/// A parameter is given or absent, and never null.
fn without_null(schema: &mut Value) {
    let Some(fields) = schema.as_object_mut() else { return };
    if let Some(Value::Array(kinds)) = fields.get("type") {
        let kinds: Vec<Value> = kinds.iter().filter(|kind| **kind != "null").cloned().collect();
        if let [kind] = kinds.as_slice() {
            let kind = kind.clone();
            fields.insert("type".to_owned(), kind);
        }
    }
    if let Some(Value::Array(values)) = fields.get_mut("enum") {
        values.retain(|value| !value.is_null());
    }
    if let Some(Value::Array(mut kinds)) = fields.remove("anyOf") {
        kinds.retain(|kind| kind["type"] != "null");
        if let [Value::Object(kind)] = kinds.as_slice() {
            for (name, value) in kind {
                fields.entry(name).or_insert_with(|| value.clone());
            }
        }
    }
}

/// The route of the document itself.
pub(super) fn route(routes: Routes<'_>) -> Routes<'_> {
    let told = Told::new("openapi", "This document");
    routes.get_other("/openapi.json", serve, told, |operation| {
        operation.answer::<Map<String, Value>>(StatusCode::OK, "OpenAPI 3.1.");
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The committed document is what the daemon serves, so that a change of the API is seen in
    /// review. `OFFTAKE_WRITE_DOCS=1` writes it.
    #[test]
    fn the_committed_document_is_what_the_daemon_serves() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/openapi.json");
        let served = format!("{:#}\n", document());
        if std::env::var_os("OFFTAKE_WRITE_DOCS").is_some() {
            std::fs::write(file, &served).unwrap();
        }
        let committed = std::fs::read_to_string(file).unwrap_or_default();
        assert!(
            committed == served,
            "docs/openapi.json is of other routes or types; write it: \
             OFFTAKE_WRITE_DOCS=1 cargo test -p offtake-admin --lib committed_document"
        );
    }

    #[test]
    fn every_route_has_a_name_and_every_reference_leads_somewhere() {
        let document = document();
        let mut ids = std::collections::BTreeSet::new();
        for methods in document["paths"].as_object().unwrap().values() {
            for operation in methods.as_object().unwrap().values() {
                let id = operation["operationId"].as_str().unwrap();
                assert!(ids.insert(id.to_owned()), "two routes are called {id}");
                assert!(operation["responses"].as_object().unwrap().len() > 1, "{id}");
            }
        }
        assert!(ids.len() > 30, "{ids:?}");
        let text = document.to_string();
        for reference in text.split("\"$ref\":\"#").skip(1) {
            let (target, _) = reference.split_once('"').unwrap();
            assert!(document.pointer(target).is_some(), "{target}");
        }
    }
}
