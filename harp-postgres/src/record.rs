//! The bytes of calls and outcomes in the database: JSON, with the user's text as it came.

use bytes::Bytes;
use harp_jobs::record::{CallRecord, Remarks};
use harp_values::{Json, Outcome};

/// The bytes of a call.
pub(crate) fn encode_call(call: &CallRecord) -> Result<Vec<u8>, serde_json::Error> {
    serde_json::to_vec(call)
}

/// The call of these bytes, with the concurrency that was in force in its queue; `None` if they
/// are of something else.
pub(crate) fn decode_call(bytes: &[u8], concurrency: Option<u64>) -> Option<CallRecord> {
    let mut call: CallRecord = serde_json::from_slice(bytes).ok()?;
    if let (Some(queue), Some(concurrency)) = (&mut call.queue, concurrency) {
        queue.concurrency = concurrency;
    }
    Some(call)
}

/// The bytes of an outcome.
pub(crate) fn encode_outcome(outcome: &Outcome) -> Vec<u8> {
    outcome.to_json().as_bytes().to_vec()
}

/// The bytes of remarks; `None` if there are none.
pub(crate) fn encode_remarks(remarks: &Remarks) -> Option<Vec<u8>> {
    // Texts and numbers, of which nothing can fail to be written.
    let bytes = || serde_json::to_vec(remarks).unwrap_or_default();
    (!remarks.is_empty()).then(bytes)
}

/// The remarks of these bytes; none if there are none.
pub(crate) fn decode_remarks(bytes: &[u8]) -> Remarks {
    serde_json::from_slice(bytes).unwrap_or_default()
}

/// The outcome of these bytes; `None` if they are of something else.
pub(crate) fn decode_outcome(bytes: &[u8]) -> Option<Outcome> {
    let text = Json::parse(&Bytes::copy_from_slice(bytes)).ok()?;
    Outcome::from_json(&text)
}

#[cfg(test)]
mod tests {
    use harp_jobs::record::QueueRecord;
    use harp_values::Failure;

    use super::*;

    #[test]
    fn calls_and_outcomes_come_back_as_they_were() {
        let call = CallRecord {
            info: r#""\u0041\u0000""#.parse().unwrap(),
            timeout: Some(5),
            queue: Some(QueueRecord {
                name: r#"{"a":1.0}"#.parse().unwrap(),
                concurrency: 2,
            }),
            client: Some("ci".into()),
            key: Some("k\"1\0".into()),
            ..CallRecord::new(
                "web01",
                "p\"q",
                r#"[1.0,{"a":1,"a":2}]"#.parse().unwrap(),
                7,
            )
        };
        let bytes = encode_call(&call).unwrap();
        assert_eq!(decode_call(&bytes, None).as_ref(), Some(&call));
        let queue = decode_call(&bytes, Some(9)).unwrap().queue.unwrap();
        assert_eq!(queue.concurrency, 9);
        let failure = Failure::new("t", "m").with_data(&[1]);
        for outcome in [
            Outcome::Cancelled,
            Outcome::Returned("1.0".parse().unwrap()),
            Outcome::Error(failure),
        ] {
            assert_eq!(decode_outcome(&encode_outcome(&outcome)), Some(outcome));
        }
        let remarks = Remarks {
            worker: Some("w".into()),
            violations: 2,
            evidence: None,
        };
        let bytes = encode_remarks(&remarks).unwrap();
        assert_eq!(decode_remarks(&bytes), remarks);
        assert_eq!(encode_remarks(&Remarks::default()), None);
        assert_eq!(decode_remarks(b""), Remarks::default());
        assert_eq!(decode_call(b"{}", None), None);
        assert_eq!(decode_outcome(b"{}"), None);
    }
}
