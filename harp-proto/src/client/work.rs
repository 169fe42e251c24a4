//! Bodies of workers' HTTP requests: services, and what is said under a claim. Unknown and
//! repeated keys are refused.

use bytes::Bytes;
use serde_json::value::RawValue;

use super::body::object;
use crate::{Fault, Json, Outcome};

/// A service that is to be registered, or what is to be different of one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServiceBody {
    /// Its name.
    pub name: Option<String>,
    /// What it does, for people.
    pub description: Option<String>,
    /// What arguments have to be.
    pub arguments_schema: Option<Json>,
    /// What results have to be.
    pub result_schema: Option<Json>,
    /// Whether it is available.
    pub available: Option<bool>,
    /// Seconds without a word after which its workers count as gone, 1 or more.
    pub timeout: Option<u64>,
}

/// What a worker that claims says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClaimBody {
    /// The name that it gives itself.
    pub worker: Option<String>,
    /// Seconds without a request under the claim after which it is lost, 1 or more.
    pub lease: Option<u64>,
}

/// Packets of a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PacketsBody {
    /// The number of the first of them.
    pub first: u64,
    /// The packets.
    pub packets: Vec<Json>,
}

/// A service to be registered.
///
/// # Errors
///
/// `parse_error` for what is no JSON, `invalid_request` for another shape.
pub fn new_service(text: &Bytes) -> Result<ServiceBody, Fault> {
    let mut fields = object(text)?;
    let name = Some(fields.required_string("name")?);
    let schema = |json: Option<Json>| json.filter(|json| *json != Json::NULL);
    let service = ServiceBody {
        name,
        description: fields.string("description")?,
        arguments_schema: schema(fields.json(text, "arguments_schema")?),
        result_schema: schema(fields.json(text, "result_schema")?),
        available: None,
        timeout: fields.integer("timeout", 1)?,
    };
    fields.none_left()?;
    Ok(service)
}

/// What is to be different of a service.
///
/// # Errors
///
/// As for [`new_service`].
pub fn service_change(text: &Bytes) -> Result<ServiceBody, Fault> {
    let mut fields = object(text)?;
    let change = ServiceBody {
        name: fields.string("name")?,
        description: fields.string("description")?,
        available: fields.boolean("available")?,
        timeout: fields.integer("timeout", 1)?,
        ..ServiceBody::default()
    };
    fields.none_left()?;
    Ok(change)
}

/// A claim.
///
/// # Errors
///
/// As for [`new_service`].
pub fn claim(text: &Bytes) -> Result<ClaimBody, Fault> {
    let mut fields = object(text)?;
    let claim = ClaimBody {
        worker: fields.string("worker")?,
        lease: fields.integer("lease", 1)?,
    };
    fields.none_left()?;
    Ok(claim)
}

/// Packets of a claim.
///
/// # Errors
///
/// As for [`new_service`].
pub fn packets(text: &Bytes) -> Result<PacketsBody, Fault> {
    let mut fields = object(text)?;
    let first = fields.integer("first", 0)?;
    let first = first.ok_or_else(|| fields.error("first", "missing"))?;
    let Some(raw) = fields.raw("packets") else {
        return Err(fields.error("packets", "missing").into());
    };
    let values: Vec<&RawValue> =
        serde_json::from_str(raw.get()).map_err(|_| fields.error("packets", "must be an array"))?;
    let packets = values.into_iter().map(|value| Json::slice(text, value));
    let packets: Result<Vec<Json>, _> = packets.collect();
    let packets = packets.map_err(|error| fields.error("packets", error.to_string()))?;
    fields.none_left()?;
    Ok(PacketsBody { first, packets })
}

/// What a worker's job has come to: a result, or an exception of the procedure.
///
/// # Errors
///
/// As for [`new_service`].
pub fn finish(text: &Bytes) -> Result<Outcome, Fault> {
    let mut fields = object(text)?;
    let outcome = Outcome::take(text, &mut fields)?;
    fields.none_left()?;
    match outcome {
        Some(outcome @ (Outcome::Returned(_) | Outcome::Exception(_))) => Ok(outcome),
        _ => Err(Fault::invalid_request(
            "result",
            "a worker says a result or an exception",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error_type;

    fn bytes(text: &str) -> Bytes {
        Bytes::copy_from_slice(text.as_bytes())
    }

    #[test]
    fn packets_are_copied_as_they_were() {
        let body = packets(&bytes(r#"{"first": 7, "packets": ["a", 1.50, null]}"#)).unwrap();
        let texts: Vec<_> = body.packets.iter().map(Json::as_str).collect();
        assert_eq!((body.first, texts), (7, vec!["\"a\"", "1.50", "null"]));
    }

    #[test]
    fn an_end_is_a_result_or_an_exception() {
        let result = finish(&bytes(r#"{"result": {"a": 1.0}}"#)).unwrap();
        assert_eq!(result, Outcome::Returned(r#"{"a": 1.0}"#.parse().unwrap()));
        let text = r#"{"exception": {"type": "overheated", "message": "too hot"}}"#;
        assert!(matches!(finish(&bytes(text)), Ok(Outcome::Exception(_))));
        for text in [
            "{}",
            r#"{"error": {"type": "timeout", "message": "x"}}"#,
            r#"{"cancelled": true}"#,
            r#"{"result": 1, "x": 2}"#,
        ] {
            let Fault(failure) = finish(&bytes(text)).unwrap_err();
            assert_eq!(failure.error_type, error_type::INVALID_REQUEST, "{text}");
        }
    }

    #[test]
    fn what_is_no_body_is_refused() {
        for text in [
            r#"{"packets": []}"#,
            r#"{"first": 0}"#,
            r#"{"first": 0, "packets": {}}"#,
            r#"{"first": -1, "packets": []}"#,
            "[]",
            "",
        ] {
            assert!(packets(&bytes(text)).is_err(), "{text}");
        }
        for text in ["{}", r#"{"name": 1}"#, r#"{"name": "a", "timeout": 0}"#] {
            assert!(new_service(&bytes(text)).is_err(), "{text}");
        }
        let nulls = r#"{"name": "a", "arguments_schema": null, "timeout": null}"#;
        let service = new_service(&bytes(nulls)).unwrap();
        assert_eq!((service.arguments_schema, service.timeout), (None, None));
        assert!(service_change(&bytes(r#"{"arguments_schema": {}}"#)).is_err());
        assert!(claim(&bytes(r#"{"lease": 0}"#)).is_err());
    }
}
