//! Requests to a dispatcher's HTTP listener, and their answers.

use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use harp_host::IoCode;
use harp_host::race::Answered;
use harp_proto::{Failure, Password};
use harp_time::within;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue, USER_AGENT};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Map, Value};
use tokio::time::Instant;

use super::url::Url;
use crate::Error;
use crate::dispatcher::{Protection, Socket, Stream, reach};
use crate::error::{Broken, Phase};

/// Longest answer that is read, in bytes: a job with its arguments.
const LONGEST: usize = 64 * 1024 * 1024;

/// Connections that are kept while nothing goes over them.
const IDLE: usize = 2;

/// What the types of problems begin with.
const PROBLEM: &str = "urn:harpcaller:problem:";

/// A dispatcher's HTTP listener. Dropping it closes its connections.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) url: Url,
    pub(super) protection: Protection,
    pub(super) token: Option<Password>,
    pub(super) connect_timeout: Duration,
    pub(super) request_timeout: Duration,
    pub(super) answered: Answered,
    pub(super) idle: Mutex<Vec<Sender>>,
}

type Sender = SendRequest<Full<Bytes>>;

/// An answer that is no problem.
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) body: Bytes,
}

impl Link {
    /// Posts a JSON text to a path of the API, under a key if what is asked for has one. The
    /// answer may take `wait` longer than others. Dropping the future closes the connection; the dispatcher may have got the request.
    ///
    /// # Errors
    ///
    /// If the dispatcher cannot be reached, does not answer in time, refuses the request, or
    /// is none.
    pub(super) async fn post(
        &self,
        path: &str,
        key: Option<&str>,
        body: Bytes,
        wait: Duration,
    ) -> Result<Reply, Error> {
        let deadline = Instant::now() + self.request_timeout + wait;
        loop {
            let (mut sender, is_new) = match self.kept() {
                Some(sender) => (sender, false),
                None => (self.connect().await?, true),
            };
            let request = self.request(path, key, body.clone())?;
            let asked = async {
                // One that was closed meanwhile has not got it.
                sender.ready().await.map_err(|error| (true, error))?;
                let answer = match sender.try_send_request(request).await {
                    Ok(answer) => answer,
                    Err(mut error) => {
                        let is_unsent = error.take_message().is_some();
                        return Err((is_unsent, error.into_error()));
                    }
                };
                let status = answer.status();
                let body = Limited::new(answer.into_body(), LONGEST).collect().await;
                Ok((status, body.map(http_body_util::Collected::to_bytes)))
            };
            let (status, body) = match within(deadline, asked).await {
                Some(Ok(answer)) => answer,
                Some(Err((true, _))) if !is_new => continue,
                Some(Err((is_unsent, error))) => return Err(self.lost(is_unsent, &error)),
                None => {
                    return Err(self.broken(Phase::Reply, IoCode::TimedOut, "no answer in time"));
                }
            };
            let body = match body {
                Ok(body) => body,
                Err(error) => {
                    return Err(self.broken(Phase::Reply, IoCode::Closed, &error.to_string()));
                }
            };
            self.keep(sender);
            return self.reply(status, body);
        }
    }

    fn request(
        &self,
        path: &str,
        key: Option<&str>,
        body: Bytes,
    ) -> Result<Request<Full<Bytes>>, Error> {
        let unsendable = |error: hyper::http::Error| {
            Error::invalid_input(format!("{path}: cannot be asked for: {error}")).with_source(error)
        };
        let mut request = Request::post(format!("{}{path}", self.url.base))
            .header(HOST, &self.url.authority)
            .header(CONTENT_TYPE, "application/json")
            .header(
                USER_AGENT,
                concat!("harp-client/", env!("CARGO_PKG_VERSION")),
            )
            .body(Full::new(body))
            .map_err(unsendable)?;
        if let Some(key) = key.and_then(|key| HeaderValue::try_from(key).ok()) {
            request.headers_mut().insert("idempotency-key", key);
        }
        if let Some(token) = &self.token {
            let value = HeaderValue::try_from(format!("Bearer {}", token.reveal()));
            let mut value = value.map_err(|_| {
                Error::invalid_input("token: has characters that no token of a dispatcher has")
            })?;
            value.set_sensitive(true);
            request.headers_mut().insert(AUTHORIZATION, value);
        }
        Ok(request)
    }

    async fn connect(&self) -> Result<Sender, Error> {
        let deadline = Instant::now() + self.connect_timeout;
        let greet = async |socket: Socket| Ok(socket.into_stream());
        let address = &self.url.address;
        let stream: Box<dyn Stream> =
            reach(address, &self.protection, &self.answered, deadline, greet).await?;
        let (sender, connection) = handshake(TokioIo::new(stream))
            .await
            .map_err(|error| self.lost(true, &error))?;
        // It ends with the sender, or when the dispatcher closes it, which the next request shows.
        tokio::spawn(connection);
        Ok(sender)
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Sender>> {
        // A std mutex: held for a moment.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn kept(&self) -> Option<Sender> {
        let mut idle = self.idle();
        idle.retain(|sender| !sender.is_closed());
        idle.pop()
    }

    fn keep(&self, sender: Sender) {
        let mut idle = self.idle();
        if idle.len() < IDLE {
            idle.push(sender);
        }
    }

    fn reply(&self, status: StatusCode, body: Bytes) -> Result<Reply, Error> {
        if status.is_success() {
            return Ok(Reply { status, body });
        }
        if let Some(failure) = problem(&body) {
            return Err(Error::refused(&self.url.address, failure));
        }
        let told = format!(
            "answered with status {status} and no problem of the API; is it the dispatcher's \
             [[listen_http]], and does whatever stands before it pass all paths on?"
        );
        if matches!(status.as_u16(), 502..=504) {
            return Err(self.broken(Phase::Reply, IoCode::Closed, &told));
        }
        Err(Error::protocol(format!(
            "dispatcher {}: {told}",
            self.url.address
        )))
    }

    fn lost(&self, is_unsent: bool, error: &hyper::Error) -> Error {
        let phase = if is_unsent {
            Phase::Request
        } else {
            Phase::Reply
        };
        let system =
            std::error::Error::source(error).and_then(|source| source.downcast_ref::<io::Error>());
        if error.is_parse() {
            return Error::protocol(format!(
                "dispatcher {}: its answer is no HTTP; is it the dispatcher's [[listen_http]], \
                 and with TLS if that has it?",
                self.url.address
            ));
        }
        match system {
            Some(system) => self.broken(phase, IoCode::of(system), &system.to_string()),
            None => self.broken(
                phase,
                IoCode::Closed,
                "the dispatcher closed the connection before it had answered",
            ),
        }
    }

    fn broken(&self, phase: Phase, code: IoCode, why: &str) -> Error {
        let broken = Broken {
            phase,
            code,
            taciturn: false,
        };
        Error::broken(&self.url.address, broken, why)
    }

    /// An answer that is not what the API gives.
    pub(super) fn malformed(&self, why: &dyn std::fmt::Display) -> Error {
        Error::protocol(format!(
            "dispatcher {}: its answer is not what a worker expects: {why}",
            self.url.address
        ))
    }
}

/// A problem (RFC 9457) as errors of the wire are: its further members are the data.
fn problem(body: &Bytes) -> Option<Failure> {
    let mut members: Map<String, Value> = serde_json::from_slice(body).ok()?;
    let name = members.remove("type")?;
    let name = name.as_str()?.strip_prefix(PROBLEM)?.to_owned();
    let detail = members.remove("detail");
    let title = members.remove("title");
    let words = detail.or(title);
    let message = words
        .as_ref()
        .and_then(Value::as_str)
        .unwrap_or(&name)
        .to_owned();
    members.remove("status");
    members.remove("request_id");
    let failure = Failure::new(name, message);
    Some(if members.is_empty() {
        failure
    } else {
        failure.with_data(&members)
    })
}

impl std::fmt::Debug for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Reply").field(&self.status).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_are_errors_of_the_wire() {
        let text = br#"{"type": "urn:harpcaller:problem:invalid_result", "title": "t",
                        "status": 422, "detail": "not a number", "request_id": "r",
                        "errors": [{"path": "/a"}]}"#;
        let failure = problem(&Bytes::from_static(text)).unwrap();
        assert_eq!(failure.error_type, "invalid_result");
        assert_eq!(failure.message, "not a number");
        assert_eq!(
            failure.data.unwrap().as_str(),
            r#"{"errors":[{"path":"/a"}]}"#
        );
        for text in ["<html>", "{}", r#"{"type": "about:blank"}"#] {
            assert_eq!(problem(&Bytes::from_static(text.as_bytes())), None);
        }
    }
}
