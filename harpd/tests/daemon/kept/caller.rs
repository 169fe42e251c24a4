//! A caller of `harp/2`, line by line.

use std::sync::Arc;

use rustls::ClientConfig;
use serde_json::{Value, json};

use crate::host::{Caller, Harpd, client_config, connect};

/// The name of a call; each number has its own.
pub(crate) fn call_id(number: u32) -> String {
    format!("8ec71d6b-28d1-4ce2-aa23-{number:012x}")
}

pub(crate) fn auth() -> Value {
    json!({ "user": "rpc", "password": "secret" })
}

/// Offers what a caller that can keep calls does.
pub(crate) fn keeping() -> Arc<ClientConfig> {
    let mut config = ClientConfig::clone(&client_config());
    config.alpn_protocols = vec![b"harp/2".to_vec(), b"harp/1".to_vec()];
    Arc::new(config)
}

/// A connection of `harp/2`.
pub(crate) struct Kept {
    pub(crate) caller: Caller,
    /// The newest `up` that has come.
    pub(crate) up: Value,
    /// Beats that have come.
    pub(crate) beats: u32,
    /// What the acknowledgements of beats say.
    pub(crate) durable: u64,
    /// Whether beats are answered.
    pub(crate) answers: bool,
}

impl Kept {
    pub(crate) async fn connect(harpd: &Harpd) -> Kept {
        Kept::over(connect(harpd.address, keeping()).await)
    }

    pub(crate) fn over(caller: Caller) -> Kept {
        let agreed = caller.stream.get_ref().get_ref().1.alpn_protocol();
        assert_eq!(agreed, Some(&b"harp/2"[..]));
        Kept {
            caller,
            up: Value::Null,
            beats: 0,
            durable: 0,
            answers: true,
        }
    }

    pub(crate) async fn send(&mut self, message: &Value) {
        self.caller.send_line(&message.to_string()).await;
    }

    /// The next line that is no beat; beats are answered.
    pub(crate) async fn next(&mut self) -> Option<Value> {
        loop {
            let line = self.caller.next().await?;
            if let Some(up) = line.get("up") {
                self.up = up.clone();
                let has_more = line.as_object().unwrap().len() > 1;
                if has_more {
                    return Some(line);
                }
                self.beats += 1;
                if self.answers {
                    self.ack(self.durable).await;
                }
                continue;
            }
            return Some(line);
        }
    }

    pub(crate) async fn ack(&mut self, packets: u64) {
        self.durable = packets;
        let up = self.up.clone();
        self.send(&json!({ "ack": packets, "up": up })).await;
    }

    /// Acknowledges the end, after which the connection can have another call.
    pub(crate) async fn ack_end(&mut self, packets: u64) {
        let up = self.up.clone();
        self.send(&json!({ "ack": packets, "up": up, "end": true }))
            .await;
    }

    pub(crate) async fn cancel(&mut self) {
        self.send(&json!({ "cancel": true })).await;
    }

    /// A request's keys, for this life of harpd.
    pub(crate) fn request(boot: &Value, id: &str, epoch: u64, procedure: &str) -> Value {
        json!({
            "harp": 1, "procedure": procedure, "arguments": [], "auth": auth(),
            "call": id, "keep": 300, "epoch": epoch, "boot": boot,
        })
    }

    pub(crate) fn attach(id: &str, epoch: u64, since: u64) -> Value {
        json!({ "harp": 1, "attach": id, "since": since, "epoch": epoch, "auth": auth() })
    }

    /// The name of the life, which a request without one tells.
    pub(crate) async fn boot(&mut self) -> Value {
        let request = Kept::request(&Value::Null, &call_id(0), 1, "nothing");
        self.send(&request).await;
        let refused = self.next().await.unwrap();
        assert_eq!(refused["error"]["type"], "wrong_boot", "{refused}");
        refused["error"]["data"]["boot"].clone()
    }

    /// Sends a request or an attach, and returns its acknowledgement.
    pub(crate) async fn asks(&mut self, request: &Value) -> Value {
        self.send(request).await;
        let answer = self.next().await.expect("an acknowledgement");
        assert!(answer.get("stream_result").is_some(), "{answer}");
        answer
    }

    /// Sends a request or an attach, and returns the error in its place.
    pub(crate) async fn refused(&mut self, request: &Value) -> Value {
        self.send(request).await;
        let answer = self.next().await.expect("an answer");
        answer
            .get("error")
            .unwrap_or_else(|| panic!("{answer}"))
            .clone()
    }

    /// The next line, a packet.
    pub(crate) async fn packet(&mut self) -> Value {
        let message = self.next().await.expect("a packet");
        message
            .get("stream")
            .unwrap_or_else(|| panic!("{message}"))
            .clone()
    }

    /// Packets up to the end, and that.
    pub(crate) async fn rest(&mut self) -> (Vec<Value>, Value) {
        let mut packets = Vec::new();
        loop {
            let message = self.next().await.expect("an end");
            match message.get("stream") {
                Some(packet) => packets.push(packet.clone()),
                None => return (packets, message),
            }
        }
    }
}

/// A connection, and the life that it has come to.
pub(crate) async fn connected(harpd: &Harpd) -> (Kept, Value) {
    let mut kept = Kept::connect(harpd).await;
    let boot = kept.boot().await;
    (kept, boot)
}
