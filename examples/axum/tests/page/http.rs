//! As much HTTP as it takes to ask the application.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};

use harp_tests::PATIENCE;
use serde_json::Value;

pub(crate) fn get(address: SocketAddr, path: &str) -> Value {
    answer(send(address, &format!("GET {path} HTTP/1.1\r\n"), ""))
}

pub(crate) fn post(address: SocketAddr, path: &str, body: &Value) -> Value {
    let head = format!("POST {path} HTTP/1.1\r\nContent-Type: application/json\r\n");
    answer(send(address, &head, &body.to_string()))
}

/// Server-sent events as they come.
pub(crate) struct Events(BufReader<TcpStream>);

impl Events {
    pub(crate) fn open(address: SocketAddr, path: &str, last: Option<u64>) -> Events {
        let last = last.map_or(String::new(), |last| format!("Last-Event-ID: {last}\r\n"));
        let mut stream = send(address, &format!("GET {path} HTTP/1.1\r\n{last}"), "");
        let head = head(&mut stream);
        assert!(head.contains("text/event-stream"), "{head}");
        Events(stream)
    }

    /// The next packet's number and data.
    pub(crate) fn next_packet(&mut self) -> (u64, String) {
        let event = self.next();
        let id = event.iter().find_map(|line| line.strip_prefix("id: "));
        (id.expect("a packet").parse().unwrap(), data(&event))
    }

    /// How the job ended; no packet may come before.
    pub(crate) fn end(&mut self) -> Value {
        self.named("end")
    }

    /// Why there is no end to be had.
    pub(crate) fn failed(&mut self) -> Value {
        self.named("failed")
    }

    fn named(&mut self, name: &str) -> Value {
        let event = self.next();
        assert!(event.contains(&format!("event: {name}")), "{event:?}");
        serde_json::from_str(&data(&event)).unwrap()
    }

    /// The lines of the next event that has data. The sizes of chunks stand on lines of
    /// their own, and no field looks like one.
    fn next(&mut self) -> Vec<String> {
        let mut event = Vec::new();
        loop {
            let mut line = String::new();
            assert!(
                self.0.read_line(&mut line).unwrap() > 0,
                "the end: {event:?}"
            );
            let line = line.trim_end();
            if ["id: ", "event: ", "data: "]
                .iter()
                .any(|name| line.starts_with(name))
            {
                event.push(line.to_owned());
            } else if line.is_empty() && event.iter().any(|line| line.starts_with("data: ")) {
                return event;
            }
        }
    }
}

fn data(event: &[String]) -> String {
    let data = event.iter().find_map(|line| line.strip_prefix("data: "));
    data.expect("data").to_owned()
}

fn send(address: SocketAddr, head: &str, body: &str) -> BufReader<TcpStream> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let length = body.len();
    let request = format!(
        "{head}Host: {address}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).unwrap();
    BufReader::new(stream)
}

fn head(stream: &mut BufReader<TcpStream>) -> String {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert!(stream.read_line(&mut head).unwrap() > 0, "{head}");
    }
    head
}

fn answer(mut stream: BufReader<TcpStream>) -> Value {
    head(&mut stream);
    let mut body = String::new();
    stream.read_to_string(&mut body).unwrap();
    serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error}: {body:?}"))
}
