//! The schemas that answers of the second generation carry along in `meta`: what bodies have
//! to be, in the form in which such servers have always written them.

use serde_json::{Map, Value, json};

const UUID: &str = "uuid";
const DATE: &str = "date";
const STATUS: &str = "status";

fn field(title: &str, kind: &str) -> Value {
    match kind {
        UUID => json!({"title": title, "type": "string", "format": "uuid"}),
        DATE => json!({"title": title, "type": "string", "format": "date-time"}),
        STATUS => json!({
            "title": title, "type": "string",
            "enum": ["REGISTERED", "WORKING", "COMPLETED", "ERROR"],
        }),
        kind => json!({"title": title, "type": kind}),
    }
}

/// A schema with these fields, of which some have to be there.
fn schema(title: &str, fields: &[(&str, &str, bool)]) -> Value {
    let properties: Map<String, Value> = fields
        .iter()
        .map(|(name, kind, _)| ((*name).to_owned(), field(name, kind)))
        .collect();
    let required = fields.iter().filter(|(_, _, is_required)| *is_required);
    let mut required: Vec<&str> = required.map(|(name, _, _)| *name).collect();
    required.sort_unstable();
    json!({
        "$schema": "http://json-schema.org/draft-04/schema#",
        "title": title,
        "type": "object",
        "properties": properties,
        "required": required,
    })
}

pub(super) fn api() -> Value {
    let texts = [
        "documentation_url",
        "maintainer_email",
        "maintainer_name",
        "source_code_repository_url",
        "version",
    ];
    schema("API metadata", &texts.map(|name| (name, "string", true)))
}

pub(super) fn service() -> Value {
    schema(
        "Service",
        &[
            ("id", UUID, true),
            ("name", "string", true),
            ("description", "string", true),
            ("job_registration_schema", "object", true),
            ("job_result_schema", "object", true),
            ("is_service_available", "boolean", false),
            ("has_timed_out", "boolean", false),
            // Such servers say so.
            ("timeout", "string", false),
            ("jobs", "array", false),
        ],
    )
}

pub(super) fn new_service() -> Value {
    schema(
        "New service",
        &[
            ("name", "string", true),
            ("description", "string", true),
            ("job_registration_schema", "object", true),
            ("job_result_schema", "object", true),
        ],
    )
}

pub(super) fn new_job() -> Value {
    schema("New job", &[("parameters", "object", true)])
}

pub(super) fn job() -> Value {
    schema(
        "Job",
        &[
            ("id", UUID, true),
            ("status", STATUS, true),
            ("parameters", "object", true),
            ("results", "object", false),
            ("date_submitted", DATE, true),
        ],
    )
}

pub(super) fn job_head() -> Value {
    schema(
        "Job overview",
        &[
            ("id", UUID, true),
            ("status", STATUS, true),
            ("date_submitted", DATE, true),
        ],
    )
}

pub(super) fn job_change() -> Value {
    schema(
        "Job change",
        &[("status", STATUS, false), ("results", "object", false)],
    )
}

pub(super) fn validator() -> Value {
    schema(
        "Validator",
        &[("object", "object", true), ("schema", "object", true)],
    )
}
