//! The bytes of a job's records.
//!
//! A record is a row of sections, each its length (a [`varint`]) and its bytes. The
//! first is a JSON object with the small fields; the others are text of the user's,
//! which is so neither escaped nor looked at. A call has arguments and info, an end has
//! the outcome and, if there is any, what the call had printed (JSON, too), where a live job stands the token of its transport, unless that is empty.
//! Sections that a newer release adds behind these are passed over.

use std::borrow::Cow;

use bytes::Bytes;
use harp_jobs::hold::Token;
use harp_jobs::record::{CallRecord, EndRecord, LiveRecord, QueueRecord, Remarks};
use harp_values::{Json, Outcome};
use serde::{Deserialize, Serialize};

use super::varint;

/// A record that is not what this release or an earlier one writes.
#[derive(Debug, thiserror::Error)]
pub enum Malformed {
    /// A section is missing, or shorter than it says.
    #[error("a section is missing or cut short")]
    Section,
    /// The small fields are not JSON, or not those of this record.
    #[error("its fields are not readable: {0}")]
    Fields(#[from] serde_json::Error),
    /// The outcome is none.
    #[error("its outcome is not readable")]
    Outcome,
}

/// The small fields of a call.
#[derive(Serialize, Deserialize)]
struct CallFields<'a> {
    #[serde(borrow)]
    host: Cow<'a, str>,
    #[serde(borrow)]
    procedure: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    timeout: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max_exec_time: Option<u64>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    endless: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    queue: Option<Cow<'a, QueueRecord>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    client: Option<Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    key: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    start_by: Option<u64>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    trace: Option<Cow<'a, str>>,
    submitted: u64,
}

/// The small fields of an end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndFields {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    /// Time of its start, in milliseconds since 1970; `None` if it never started.
    pub started: Option<u64>,
    /// Time of its end, in milliseconds since 1970.
    pub ended: u64,
    /// How many packets it has.
    pub packets: u64,
    /// What else is known of it.
    #[serde(default, skip_serializing_if = "Remarks::is_empty")]
    pub remarks: Remarks,
}

/// The bytes of a call.
///
/// # Errors
///
/// None as a rule: the small fields are strings and numbers.
pub fn encode_call(call: &CallRecord) -> Result<Vec<u8>, serde_json::Error> {
    let fields = serde_json::to_vec(&CallFields {
        host: Cow::Borrowed(&call.host),
        procedure: Cow::Borrowed(&call.procedure),
        timeout: call.timeout,
        max_exec_time: call.max_exec_time,
        endless: call.endless,
        queue: call.queue.as_ref().map(Cow::Borrowed),
        client: call.client.as_deref().map(Cow::Borrowed),
        key: call.key.as_deref().map(Cow::Borrowed),
        start_by: call.start_by,
        trace: call.trace.as_deref().map(Cow::Borrowed),
        submitted: call.submitted,
    })?;
    Ok(join([
        &fields,
        call.arguments.as_bytes(),
        call.info.as_bytes(),
    ]))
}

/// The call of these bytes. Its arguments and info are taken as they are.
///
/// # Errors
///
/// [`Malformed`].
pub fn decode_call(record: &Bytes) -> Result<CallRecord, Malformed> {
    let mut sections = Sections(record.clone());
    let fields = sections.take()?;
    let fields: CallFields<'_> = serde_json::from_slice(&fields)?;
    Ok(CallRecord {
        host: fields.host.into_owned(),
        procedure: fields.procedure.into_owned(),
        arguments: Json::from_trusted(sections.take()?),
        info: Json::from_trusted(sections.take()?),
        timeout: fields.timeout,
        max_exec_time: fields.max_exec_time,
        endless: fields.endless,
        queue: fields.queue.map(Cow::into_owned),
        client: fields.client.map(Cow::into_owned),
        key: fields.key.map(Cow::into_owned),
        start_by: fields.start_by,
        trace: fields.trace.map(Cow::into_owned),
        submitted: fields.submitted,
    })
}

/// Reads the client and the key of a call, if it has a key. At least the call's first section
/// has to be here.
///
/// # Errors
///
/// [`Malformed`].
pub fn key_of_call(beginning: &Bytes) -> Result<Option<(Option<String>, String)>, Malformed> {
    let fields = Sections(beginning.clone()).take()?;
    let fields: CallFields<'_> = serde_json::from_slice(&fields)?;
    let client = fields.client.map(Cow::into_owned);
    Ok(fields.key.map(|key| (client, key.into_owned())))
}

/// The bytes of an end.
///
/// # Errors
///
/// None as a rule, as for [`encode_call`].
pub fn encode_end(end: &EndRecord) -> Result<Vec<u8>, serde_json::Error> {
    let fields = EndFields {
        started: end.started,
        ended: end.ended,
        packets: end.packets,
        remarks: end.remarks.clone(),
    };
    encode_end_of(&fields, &end.outcome.to_json())
}

/// The bytes of an end whose outcome is text already.
///
/// # Errors
///
/// As for [`encode_end`].
pub fn encode_end_of(fields: &EndFields, outcome: &Json) -> Result<Vec<u8>, serde_json::Error> {
    let Some(evidence) = &fields.remarks.evidence else {
        return Ok(join([&serde_json::to_vec(fields)?, outcome.as_bytes()]));
    };
    // It is not small, and the fields are read by themselves.
    let mut fields = fields.clone();
    fields.remarks.evidence = None;
    Ok(join([
        &serde_json::to_vec(&fields)?,
        outcome.as_bytes(),
        &serde_json::to_vec(evidence)?,
    ]))
}

/// The end of these bytes.
///
/// # Errors
///
/// [`Malformed`].
pub fn decode_end(record: &Bytes) -> Result<EndRecord, Malformed> {
    let mut sections = Sections(record.clone());
    let fields: EndFields = serde_json::from_slice(&sections.take()?)?;
    let outcome = Json::from_trusted(sections.take()?);
    let evidence = sections.take().ok();
    let evidence = evidence.and_then(|evidence| serde_json::from_slice(&evidence).ok());
    Ok(EndRecord {
        started: fields.started,
        ended: fields.ended,
        outcome: Outcome::from_json(&outcome).ok_or(Malformed::Outcome)?,
        packets: fields.packets,
        remarks: Remarks {
            evidence,
            ..fields.remarks
        },
    })
}

/// The small fields of an end of which at least the first piece is here; what the call had
/// printed is none of them.
///
/// # Errors
///
/// [`Malformed`].
pub fn end_fields(beginning: &Bytes) -> Result<EndFields, Malformed> {
    let fields = Sections(beginning.clone()).take()?;
    Ok(serde_json::from_slice(&fields)?)
}

/// The bytes of a live job's record: its fields, and the transport's token if it has one.
///
/// # Errors
///
/// None as a rule, as for [`encode_call`].
pub fn encode_live(live: &LiveRecord) -> Result<Vec<u8>, serde_json::Error> {
    let fields = serde_json::to_vec(live)?;
    Ok(if live.token.0.is_empty() {
        join([&fields])
    } else {
        join([&fields, &live.token.0])
    })
}

/// The live job's record of these bytes.
///
/// # Errors
///
/// [`Malformed`].
pub fn decode_live(record: &[u8]) -> Result<LiveRecord, Malformed> {
    let mut sections = Sections(Bytes::copy_from_slice(record));
    let mut live: LiveRecord = serde_json::from_slice(&sections.take()?)?;
    if !sections.0.is_empty() {
        live.token = Token(sections.take()?);
    }
    Ok(live)
}

fn join<const N: usize>(sections: [&[u8]; N]) -> Vec<u8> {
    let length: usize = sections.iter().map(|section| section.len()).sum();
    let mut record = Vec::with_capacity(length + 5 * N);
    for section in sections {
        varint::put(&mut record, section.len() as u64);
        record.extend_from_slice(section);
    }
    record
}

/// Takes sections off the front.
struct Sections(Bytes);

impl Sections {
    fn take(&mut self) -> Result<Bytes, Malformed> {
        let mut rest = &self.0[..];
        let len = varint::take(&mut rest).and_then(|len| usize::try_from(len).ok());
        let len = len
            .filter(|len| *len <= rest.len())
            .ok_or(Malformed::Section)?;
        let start = self.0.len() - rest.len();
        let section = self.0.slice(start..start + len);
        self.0 = self.0.slice(start + len..);
        Ok(section)
    }
}

#[cfg(test)]
mod tests {
    use harp_jobs::lineup::pool::PoolId;
    use harp_values::{Evidence, Failure};
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_bytes_of_a_call_are_these() {
        let call = CallRecord {
            host: "web01".into(),
            procedure: "p\"q".into(),
            arguments: r#"[1.0,{"a":1,"a":2}]"#.parse().unwrap(),
            info: r#""\u0041""#.parse().unwrap(),
            timeout: Some(5),
            max_exec_time: None,
            endless: false,
            queue: Some(QueueRecord {
                name: "{}".parse().unwrap(),
                concurrency: 2,
            }),
            client: Some("ci".into()),
            key: Some("k\"1".into()),
            start_by: None,
            trace: None,
            submitted: 1_700_000_000_123,
        };
        let record = Bytes::from(encode_call(&call).unwrap());
        let fields = concat!(
            r#"{"host":"web01","procedure":"p\"q","timeout":5,"#,
            r#""queue":{"name":{},"concurrency":2},"client":"ci","key":"k\"1","submitted":1700000000123}"#,
        );
        let expected = [
            &[0x80 | (fields.len() & 0x7f) as u8, 1],
            fields.as_bytes(),
            b"\x13",
            br#"[1.0,{"a":1,"a":2}]"#,
            b"\x08",
            br#""\u0041""#,
        ]
        .concat();
        assert_eq!(record, expected);
        assert_eq!(decode_call(&record).unwrap(), call);
    }

    #[test]
    fn the_bytes_of_a_state_and_an_end_are_these() {
        let live = LiveRecord {
            sequence: 7,
            started: Some(6),
            start_by: Some(9),
            submitted: 5,
            ..LiveRecord::UNKNOWN
        };
        let record = encode_live(&live).unwrap();
        assert_eq!(
            record,
            b"\x35{\"sequence\":7,\"started\":6,\"start_by\":9,\"submitted\":5}"
        );
        let end = EndRecord {
            started: Some(6),
            ended: 8,
            outcome: Outcome::Cancelled,
            packets: 2,
            remarks: Remarks::default(),
        };
        let record = encode_end(&end).unwrap();
        assert_eq!(
            record,
            b"\x23{\"started\":6,\"ended\":8,\"packets\":2}\x12{\"cancelled\":true}"
        );
        let remarks = Remarks {
            worker: Some("w".into()),
            violations: 3,
            evidence: Some(Evidence {
                stdout: "x".into(),
                stderr: String::new(),
            }),
        };
        let record = encode_end(&EndRecord { remarks, ..end }).unwrap();
        let expected = concat!(
            "\x4b{\"started\":6,\"ended\":8,\"packets\":2,",
            "\"remarks\":{\"worker\":\"w\",\"violations\":3}}\x12{\"cancelled\":true}",
            "\x0e{\"stdout\":\"x\"}"
        );
        assert_eq!(record, expected.as_bytes());
    }

    #[test]
    fn what_a_newer_release_adds_is_passed_over() {
        let record = join([
            br#"{"ended":9,"packets":3,"priority":[1],"remarks":{"mood":"good"}}"#,
            br#"{"cancelled":true}"#,
            b"more",
        ]);
        let end = decode_end(&Bytes::from(record)).unwrap();
        assert_eq!(
            end,
            EndRecord {
                started: None,
                ended: 9,
                outcome: Outcome::Cancelled,
                packets: 3,
                remarks: Remarks::default(),
            }
        );
    }

    proptest! {
        #[test]
        fn calls_come_back(
            (host, procedure, text) in any::<(String, String, String)>(),
            (timeout, max_exec_time) in any::<(Option<u64>, Option<u64>)>(),
            endless in any::<bool>(),
            concurrency in any::<Option<u64>>(),
            (client, key) in any::<(Option<String>, Option<String>)>(),
            (start_by, trace) in any::<(Option<u64>, Option<String>)>(),
            submitted in any::<u64>(),
        ) {
            let call = CallRecord {
                host,
                procedure,
                arguments: Json::encode(&[&text]).unwrap(),
                info: Json::encode(&text).unwrap(),
                timeout,
                max_exec_time,
                endless,
                queue: concurrency.map(|concurrency| QueueRecord {
                    name: r#"{"q":1.0}"#.parse().unwrap(),
                    concurrency,
                }),
                client,
                key,
                start_by,
                trace,
                submitted,
            };
            let record = Bytes::from(encode_call(&call).unwrap());
            prop_assert_eq!(decode_call(&record).unwrap(), call);
        }

        #[test]
        fn ends_come_back(
            (started, ended, packets) in any::<(Option<u64>, u64, u64)>(),
            (which, text) in (0..4, any::<String>()),
            (worker, violations) in any::<(Option<String>, u64)>(),
            printed in any::<Option<(String, String)>>(),
        ) {
            let failure = Failure::new(text.clone(), text.clone()).with_data(&text);
            let outcome = match which {
                0 => Outcome::Returned(Json::encode(&text).unwrap()),
                1 => Outcome::Exception(failure),
                2 => Outcome::Cancelled,
                _ => Outcome::Error(failure),
            };
            let evidence = printed.map(|(stdout, stderr)| Evidence { stdout, stderr });
            let remarks = Remarks { worker, violations, evidence };
            let fields = EndFields { started, ended, packets, remarks: remarks.clone() };
            let end = EndRecord { started, ended, outcome, packets, remarks };
            let record = Bytes::from(encode_end(&end).unwrap());
            let mut small = fields;
            small.remarks.evidence = None;
            prop_assert_eq!(end_fields(&record).unwrap(), small);
            prop_assert_eq!(decode_end(&record).unwrap(), end);
        }

        #[test]
        fn live_records_come_back(
            (sequence, submitted) in any::<(u64, u64)>(),
            (started, start_by) in any::<(Option<u64>, Option<u64>)>(),
            concurrency in any::<Option<u64>>(),
            (attempt, not_before) in any::<(u32, Option<u64>)>(),
            (pool, token) in any::<(Option<String>, Vec<u8>)>(),
        ) {
            let queue = concurrency.map(|concurrency| QueueRecord {
                name: r#"{"b":[],"a":"x y"}"#.parse().unwrap(),
                concurrency,
            });
            let live = LiveRecord {
                sequence,
                queue,
                started,
                start_by,
                submitted,
                attempt,
                not_before,
                pool: pool.map(PoolId::from),
                token: Token(token.into()),
            };
            prop_assert_eq!(decode_live(&encode_live(&live).unwrap()).unwrap(), live);
        }

        #[test]
        fn no_input_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = decode_live(&bytes);
            let bytes = Bytes::from(bytes);
            let _ = decode_call(&bytes);
            let _ = decode_end(&bytes);
            let _ = end_fields(&bytes);
        }
    }
}
