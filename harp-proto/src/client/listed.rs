//! Lists of what there is: the names that say what is wanted (client protocol, section 15 of
//! the HTTP contract).

use bytes::BytesMut;
use harp_values::fields::{Fields, ShapeError};
use harp_values::write;

/// A list that is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct List {
    /// Of what.
    pub what: Listed,
    /// Filters, `limit` and `cursor`, as HTTP has them in a query: several values of one name
    /// stand one behind the other. What was no string is its JSON text.
    pub names: Vec<(String, String)>,
}

/// What can be listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listed {
    /// Jobs.
    Jobs,
    /// Queues.
    Queues,
    /// Hosts.
    Hosts,
    /// Procedures that the client may call.
    Procedures,
}

impl Listed {
    /// All of them.
    pub(super) const ALL: [Listed; 4] = [
        Listed::Jobs,
        Listed::Queues,
        Listed::Hosts,
        Listed::Procedures,
    ];

    /// The key of a request.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Listed::Jobs => "list_jobs",
            Listed::Queues => "list_queues",
            Listed::Hosts => "list_hosts",
            Listed::Procedures => "list_procedures",
        }
    }
}

impl List {
    pub(super) fn take(what: Listed, fields: &mut Fields<'_>) -> Result<List, ShapeError> {
        let missing = fields.error(what.key(), "must be an object");
        let names = fields.object(what.key())?.ok_or(missing)?;
        names.none_repeated()?;
        Ok(List {
            what,
            names: names.texts()?,
        })
    }

    pub(super) fn write(&self, out: &mut BytesMut) {
        write::key(out, self.what.key());
        out.extend_from_slice(b"{");
        let mut rest = &self.names[..];
        while let Some(((name, _), _)) = rest.split_first() {
            let count = rest.iter().take_while(|(other, _)| other == name).count();
            let (values, behind) = rest.split_at(count);
            if rest.len() < self.names.len() {
                out.extend_from_slice(b",");
            }
            write::string(out, name);
            out.extend_from_slice(b":[");
            for (index, (_, value)) in values.iter().enumerate() {
                if index > 0 {
                    out.extend_from_slice(b",");
                }
                write::string(out, value);
            }
            out.extend_from_slice(b"]");
            rest = behind;
        }
        out.extend_from_slice(b"}");
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::client::Request;

    #[test]
    fn values_are_texts_or_json() {
        let line = r#"{"harpcaller":1,"list_jobs":{"state":["queued","running"],"limit":5,"queue":{"q":1},"info.a":"x"}}"#;
        let request = Request::decode(&Bytes::from_static(line.as_bytes())).unwrap();
        let Request::List(list) = &request else {
            panic!("{request:?}");
        };
        let names: Vec<_> = list
            .names
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        assert_eq!(
            names,
            [
                ("state", "queued"),
                ("state", "running"),
                ("limit", "5"),
                ("queue", r#"{"q":1}"#),
                ("info.a", "x")
            ]
        );
        let mut out = BytesMut::new();
        request.encode(&mut out);
        assert_eq!(Request::decode(&out.freeze()).unwrap(), request);
        for wrong in ["[]", "1", "null", "{\"a\":1,\"a\":2}"] {
            let line = format!("{{\"harpcaller\":1,\"list_hosts\":{wrong}}}");
            assert!(Request::decode(&line.into()).is_err(), "{wrong}");
        }
    }
}
