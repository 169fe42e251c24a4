//! What a device publishes: heartbeats, events, results of commands.

use bytes::{BufMut, Bytes, BytesMut};
use harp_values::Json;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::object::object;
use crate::reply::Answer;

const HEARTBEAT: u32 = 1001;
const EMERGENCY: u32 = 2001;
const EVENT: u32 = 4001;
const COMMAND_RESULT: u32 = 6001;

/// Kinds of events that are published as emergencies and as events.
const EMERGENCIES: [i64; 2] = [101, 102];

/// The kind of event with which a device says that it was launched.
const LAUNCHED: i64 = 201;

/// A message of a device.
#[derive(Debug)]
pub(crate) enum Published {
    /// It is alive.
    Heartbeat(Heartbeat),
    /// Something has happened.
    Event(Event),
    /// A command that was pending has ended.
    Result(Answer),
    /// Something of a topic that is nobody's.
    Other,
}

/// A sign of life.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct Heartbeat {
    /// The device's name for itself.
    pub(crate) identifier: String,
    /// The version of its library.
    pub(crate) version: String,
    /// Its time, in seconds since 1970.
    #[serde(default)]
    pub(crate) timestamp: f64,
}

/// Under which topic an event came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Topic {
    /// Among all events.
    Event,
    /// Among emergencies.
    Emergency,
}

impl Topic {
    /// The name in packets and arguments.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Topic::Event => "event",
            Topic::Emergency => "emergency",
        }
    }
}

/// Something that has happened at a device.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    pub(crate) topic: Topic,
    /// Its kind; `None` if that is no whole number.
    pub(crate) kind: Option<i64>,
    /// Its place among the device's events since its start; `None` likewise.
    pub(crate) index: Option<i128>,
    /// As it is handed to whoever streams it.
    pub(crate) packet: Bytes,
}

impl Event {
    /// Whether the device says that it was launched.
    pub(crate) fn is_launch(&self) -> bool {
        self.kind == Some(LAUNCHED)
    }

    /// Whether it is published under both topics.
    pub(crate) fn is_twin(&self) -> bool {
        self.kind.is_some_and(|kind| EMERGENCIES.contains(&kind))
    }
}

/// The keys of an event.
#[derive(Deserialize)]
struct Wire<'a> {
    #[serde(borrow)]
    kind: &'a RawValue,
    #[serde(borrow, default)]
    when: Option<&'a RawValue>,
    #[serde(borrow, default)]
    index: Option<&'a RawValue>,
    #[serde(borrow, default)]
    context: Option<&'a RawValue>,
}

/// Reads a message of a device; `None` if it is none.
pub(crate) fn read(parts: &[Bytes]) -> Option<Published> {
    let [topic, body] = parts else {
        return None;
    };
    let topic = u32::from_le_bytes(topic[..].try_into().ok()?);
    if ![HEARTBEAT, EMERGENCY, EVENT, COMMAND_RESULT].contains(&topic) {
        return Some(Published::Other);
    }
    let body = object(body)?;
    Some(match topic {
        HEARTBEAT => Published::Heartbeat(serde_json::from_slice(&body).ok()?),
        COMMAND_RESULT => Published::Result(Answer::read(&body)?),
        topic => {
            let topic = if topic == EMERGENCY {
                Topic::Emergency
            } else {
                Topic::Event
            };
            Published::Event(event(topic, &body)?)
        }
    })
}

fn event(topic: Topic, body: &Bytes) -> Option<Event> {
    let wire: Wire<'_> = serde_json::from_slice(body).ok()?;
    let mut packet = BytesMut::with_capacity(body.len() + 64);
    packet.put_slice(b"{\"topic\":\"");
    packet.put_slice(topic.as_str().as_bytes());
    for (key, value) in [
        ("\",\"kind\":", Some(wire.kind)),
        (",\"when\":", wire.when),
        (",\"index\":", wire.index),
        (",\"context\":", wire.context),
    ] {
        packet.put_slice(key.as_bytes());
        match value {
            Some(value) => Json::slice(body, value).ok()?.write(&mut packet),
            None => packet.put_slice(b"null"),
        }
    }
    packet.put_u8(b'}');
    Some(Event {
        topic,
        kind: wire.kind.get().parse().ok(),
        index: wire.index.and_then(|index| index.get().parse().ok()),
        packet: packet.freeze(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(topic: u32, body: &str) -> Option<Published> {
        let topic = Bytes::copy_from_slice(&topic.to_le_bytes());
        read(&[topic, Bytes::copy_from_slice(body.as_bytes())])
    }

    fn packet(topic: u32, body: &str) -> String {
        match message(topic, body) {
            Some(Published::Event(event)) => String::from_utf8(event.packet.to_vec()).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn events_are_handed_on_as_they_came() {
        let body = r#"{"kind":1101,"when":1795285355.62,"index":18446744073709551616,"context":{"b":1.0,"a":[ "x" ]},"repeat":2}"#;
        assert_eq!(
            packet(4001, body),
            r#"{"topic":"event","kind":1101,"when":1795285355.62,"index":18446744073709551616,"context":{"b":1.0,"a":["x"]}}"#
        );
        // As the first versions have it: a string with the object in it.
        let twice = serde_json::to_string(body).unwrap();
        assert_eq!(packet(4001, &twice), packet(4001, body));
        assert_eq!(
            packet(
                2001,
                "{\"kind\":101,\n\"when\":1,\"index\":5,\"context\":null}"
            ),
            r#"{"topic":"emergency","kind":101,"when":1,"index":5,"context":null}"#
        );
        assert_eq!(
            packet(4001, r#"{"kind":1e99}"#),
            r#"{"topic":"event","kind":1e99,"when":null,"index":null,"context":null}"#
        );
    }

    #[test]
    fn heartbeats_and_results_are_read_and_the_rest_is_not() {
        let body = r#"{"identifier":"dev-1","version":"0.12.0","timestamp":1795285355.62}"#;
        let Some(Published::Heartbeat(heartbeat)) = message(1001, body) else {
            panic!("a heartbeat");
        };
        assert_eq!(
            (&*heartbeat.identifier, &*heartbeat.version),
            ("dev-1", "0.12.0")
        );
        let body =
            r#"{"result":100,"data":7,"errorCode":0,"errorMessage":null,"command":50,"nonce":9}"#;
        assert!(matches!(message(6001, body), Some(Published::Result(_))));
        assert!(matches!(message(5001, "whatever"), Some(Published::Other)));
        for (topic, body) in [
            (1001, "{}"),
            (1001, "[]"),
            (4001, "{"),
            (4001, "7"),
            (4001, "\"7\""),
            (4001, "{}"),
            (6001, "{}"),
        ] {
            assert!(message(topic, body).is_none(), "{topic} {body}");
        }
        assert!(read(&["abc".into(), "{}".into()]).is_none());
        assert!(read(&["abcd".into()]).is_none());
    }
}
