//! What an agent's description says of an action's inputs, as a JSON Schema.

use serde_json::{Map, Value, json};

use super::ddl::{Action, Form, InputKind};
use super::pattern;

impl Action {
    /// The inputs as a JSON Schema, as far as one can say it.
    #[must_use]
    pub fn schema(&self) -> Value {
        let inputs = self.inputs.iter();
        let properties = inputs.map(|(name, input)| (name.clone(), input.kind.schema()));
        let properties: Map<String, Value> = properties.collect();
        let required = self.inputs.iter().filter(|(_, input)| input.is_required);
        let required: Vec<_> = required.map(|(name, _)| name).collect();
        json!({ "type": "object", "properties": properties, "required": required })
    }
}

impl InputKind {
    fn schema(&self) -> Value {
        match self {
            InputKind::Integer => json!({ "type": "integer" }),
            InputKind::Number => json!({ "type": "number" }),
            InputKind::Boolean => json!({ "type": "boolean" }),
            InputKind::String { max_length, form } => match max_length {
                Some(length) => form.schema(*length),
                None => json!({ "type": "string" }),
            },
            InputKind::List(words) => json!({ "enum": words }),
            InputKind::Hash => json!({ "type": "object" }),
            InputKind::Array => json!({ "type": "array" }),
            InputKind::Unsupported(_) => json!({}),
        }
    }
}

impl Form {
    /// As far as a schema can say it and means the same by it. A length is in bytes there, in
    /// characters here, of which there are not more.
    fn schema(&self, length: usize) -> Value {
        let (keyword, value) = match self {
            Form::Any | Form::Unusable(_) => {
                return json!({ "type": "string", "maxLength": length });
            }
            // Those of `UNSAFE`.
            Form::ShellSafe => ("not", json!({ "pattern": "[`$;|><]|&&" })),
            Form::Ipv4 => ("format", json!("ipv4")),
            Form::Ipv6 => ("format", json!("ipv6")),
            Form::Ip => ("anyOf", json!([{ "format": "ipv4" }, { "format": "ipv6" }])),
            Form::Matching(regex) if pattern::is_common(regex.as_str()) => {
                ("pattern", json!(regex.as_str()))
            }
            Form::Matching(_) => return json!({ "type": "string", "maxLength": length }),
        };
        json!({ "type": "string", "maxLength": length, keyword: value })
    }
}

#[cfg(test)]
mod tests {
    use harp_proto::Json;
    use harp_schema::{Dialect, Schema};

    use super::super::ddl::UNSAFE;
    use super::super::ddl::tests::action;
    use super::*;

    #[test]
    fn what_a_schema_can_say_of_a_string_it_says() {
        let schema = |input: &str| {
            let action = action(&format!(r#"{{"in": {input}}}"#), "{}");
            action.schema()["properties"]["in"].clone()
        };
        let string = |validation: &str| {
            schema(&json!({"type": "string", "maxlength": 9, "validation": validation}).to_string())
        };
        for (validation, expected) in [
            ("", json!({"type": "string", "maxLength": 9})),
            (
                "^web\\d+$",
                json!({"type": "string", "maxLength": 9, "pattern": "^web\\d+$"}),
            ),
            // What schemas read in another way.
            ("(?:a)", json!({"type": "string", "maxLength": 9})),
            (
                "ipv4address",
                json!({"type": "string", "maxLength": 9, "format": "ipv4"}),
            ),
        ] {
            assert_eq!(string(validation), expected, "{validation}");
        }
        let text = Json::encode(&string("shellsafe")).unwrap();
        let schema_of_safe = Schema::new(&text, Dialect::AsSaid).unwrap();
        let is_safe = |text: &str| {
            let value = Json::encode(&text).unwrap();
            schema_of_safe.violations(&value).is_empty()
        };
        assert!(is_safe("a&b (c)") && UNSAFE.iter().all(|part| !is_safe(&format!("a{part}b"))));
        // Nothing else is looked at.
        let unbounded = schema(r#"{"type": "string", "validation": "^a$"}"#);
        assert_eq!(unbounded, json!({"type": "string"}));
    }
}
