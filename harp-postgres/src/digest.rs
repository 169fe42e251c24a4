//! Digests by which the database knows queues, keys and calls, whatever their texts are.

use harp_jobs::record::CallRecord;
use harp_values::QueueName;
use ring::digest::{Context, SHA256};

/// A SHA-256 digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Digest([u8; 32]);

impl Digest {
    pub(crate) fn of_queue(name: &QueueName) -> Digest {
        Digest::of([Some(name.as_str())])
    }

    /// Of a client's key; `None` if the call has none.
    pub(crate) fn of_key(call: &CallRecord) -> Option<Digest> {
        let key = call.key.as_deref()?;
        Some(Digest::of([call.client.as_deref(), Some(key)]))
    }

    /// Of what two calls under one key must have in common.
    pub(crate) fn of_call(call: &CallRecord) -> Digest {
        let parts = [&call.host, &call.procedure, call.arguments.as_str()];
        Digest::of(parts.map(Some))
    }

    /// Each part with its length, so that no two rows of parts are the same.
    fn of<const N: usize>(parts: [Option<&str>; N]) -> Digest {
        let mut context = Context::new(&SHA256);
        for part in parts {
            let length = part.map_or(u64::MAX, |part| part.len() as u64);
            context.update(&length.to_be_bytes());
            context.update(part.unwrap_or_default().as_bytes());
        }
        let mut digest = [0; 32];
        digest.copy_from_slice(context.finish().as_ref());
        Digest(digest)
    }

    pub(crate) fn to_vec(self) -> Vec<u8> {
        self.0.to_vec()
    }

    /// What a row says.
    pub(crate) fn read(bytes: &[u8]) -> Option<Digest> {
        Some(Digest(bytes.try_into().ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_rows_of_parts_are_the_same() {
        let rows = [
            [None, Some("a")],
            [Some(""), Some("a")],
            [Some("a"), Some("")],
            [Some("a"), None],
        ];
        for (place, one) in rows.iter().enumerate() {
            for other in &rows[..place] {
                assert_ne!(Digest::of(*one), Digest::of(*other), "{one:?} {other:?}");
            }
        }
        assert_eq!(
            Digest::read(&Digest::of(rows[0]).to_vec()),
            Some(Digest::of(rows[0]))
        );
        assert_eq!(Digest::read(b"short"), None);
    }
}
