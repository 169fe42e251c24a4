//! JSON text of users, and queues' names, which are such text.

use bytes::Bytes;
use harp_proto::{Json, MAX_DEPTH, QueueName};

/// A text that may be JSON, and may name a queue.
pub(crate) fn json(data: &[u8]) {
    let text = Bytes::copy_from_slice(data);
    let Ok(json) = Json::parse(&text) else {
        return;
    };
    assert!(json.as_bytes().len() <= data.len());
    assert_eq!(json.as_str().as_bytes(), json.as_bytes());
    let again = Json::parse(&Bytes::copy_from_slice(json.as_bytes()));
    assert_eq!(again.expect("JSON stays JSON"), json);
    assert!(deepest(json.as_bytes()) <= MAX_DEPTH);
    // Its value is that of the text it was made from.
    if let Ok(value) = serde_json::from_slice::<serde_json::Value>(data) {
        assert_eq!(json.decode::<serde_json::Value>().unwrap(), value);
    }
    let through_serde = serde_json::to_vec(&json).expect("JSON can be written");
    assert_eq!(through_serde, json.as_bytes());
    queue_name(&json);
}

fn queue_name(json: &Json) {
    let name = match QueueName::from_json(json) {
        Ok(name) => name,
        Err(error) => {
            assert!(error.to_string().len() <= 6 * json.as_bytes().len() + 256);
            return;
        }
    };
    assert!(name.as_str().len() <= harp_proto::MAX_QUEUE_NAME);
    let again: QueueName = name.as_str().parse().expect("a canonical name is a name");
    assert_eq!(again, name);
    assert_eq!(again.as_str(), name.as_str());
    let canonical: Json = name.as_str().parse().expect("a name is JSON");
    assert_eq!(canonical.as_str(), name.as_str(), "no white space in it");
}

/// How deep brackets nest in a valid text.
fn deepest(text: &[u8]) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let mut bytes = text.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => {
                while let Some(byte) = bytes.next() {
                    match byte {
                        b'\\' => drop(bytes.next()),
                        b'"' => break,
                        _ => {}
                    }
                }
            }
            b'[' | b'{' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' => depth -= 1,
            _ => {}
        }
    }
    deepest
}
