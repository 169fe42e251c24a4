//! An entry as journald takes it: the fields of systemd's native journal protocol.

use tracing::Level;

use super::entry::{Entry, Fields};
use super::{format, syslog};

/// One datagram. Fields and those of spans are there under their names in capitals behind
/// `HARP_`, so that `journalctl HARP_JOB=...` finds a job; `MESSAGE` has all of them too,
/// for people.
pub(super) fn datagram(entry: &Entry, ident: &str) -> Vec<u8> {
    let mut datagram = Vec::new();
    push(&mut datagram, "MESSAGE", &format::text(entry));
    push(&mut datagram, "PRIORITY", &priority(entry.level));
    push(&mut datagram, "SYSLOG_IDENTIFIER", ident);
    push(&mut datagram, "TARGET", entry.target);
    for span in &entry.spans {
        push_fields(&mut datagram, &span.fields);
    }
    push_fields(&mut datagram, &entry.event);
    datagram
}

fn priority(level: Level) -> String {
    syslog::severity(level).to_string()
}

fn push_fields(datagram: &mut Vec<u8>, fields: &Fields) {
    for field in &fields.others {
        // Names of the journal's fields are capitals, digits and underscores.
        let name: String = field
            .name
            .chars()
            .map(|c| {
                if c.is_ascii_alphanumeric() {
                    c.to_ascii_uppercase()
                } else {
                    '_'
                }
            })
            .collect();
        push(datagram, &format!("HARP_{name}"), field.value.as_str());
    }
}

fn push(datagram: &mut Vec<u8>, name: &str, value: &str) {
    datagram.extend_from_slice(name.as_bytes());
    if value.contains('\n') {
        datagram.push(b'\n');
        datagram.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        datagram.push(b'=')
    }
    datagram.extend_from_slice(value.as_bytes());
    datagram.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::super::entry::{Field, Value};
    use super::*;

    #[test]
    fn a_value_of_several_lines_has_its_length_before_it() {
        let field = |name, value: &str| Field {
            name,
            value: Value::Text(value.to_owned()),
        };
        let fields = vec![field("peer.port", "9"), field("why", "a\nPRIORITY=0")];
        let entry = Entry::own(Level::WARN, "m", fields);
        let expected = b"MESSAGE=m peer.port=9 why=\"a\\nPRIORITY=0\"\nPRIORITY=4\n\
            SYSLOG_IDENTIFIER=i\nTARGET=harp_service::logging::entry\n\
            HARP_PEER_PORT=9\nHARP_WHY\n\x0c\0\0\0\0\0\0\0a\nPRIORITY=0\n";
        let sent = datagram(&entry, "i");
        assert_eq!(
            String::from_utf8_lossy(&sent),
            String::from_utf8_lossy(expected)
        );
    }
}
