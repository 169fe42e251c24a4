//! One client's connection: read a request, answer it, close or go on (client protocol,
//! sections 1 and 8).
//!
//! The requests themselves are in the files below: functions of the dispatcher and typed
//! values that know nothing of sockets.

pub mod cancel;
mod connection;
pub mod query;
pub mod stream;
pub mod submit;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use harp_proto::client::{Call, CallReply, Hello, HelloReply, Reply, Request, feature};
use harp_proto::{Fault, LINE_ALLOWANCE};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};
use zeroize::Zeroize;

pub use connection::{Connection, Patience, ReadError, Socket};

use crate::access::{AccessRules, Operation, Verdict};
use crate::audit::Audit;
use crate::client::Client;
use crate::dispatcher::Dispatcher;
use crate::identity::tokens::TokensFile;
use crate::limits::ClientLimits;
use stream::{Lines, PacketStream};

/// How long the answer to a wrong token takes, beside all else: who guesses is not fast.
const WRONG_TOKEN_DELAY: Duration = Duration::from_secs(1);

/// What every session is given.
#[derive(Debug)]
pub struct Desk {
    /// Whom to ask.
    pub dispatcher: Arc<Dispatcher>,
    /// The limits of clients; those of its beginning hold for a session.
    pub limits: watch::Receiver<ClientLimits>,
    /// The tokens that clients may authenticate with, those of the moment.
    pub tokens: watch::Receiver<Option<Arc<TokensFile>>>,
    /// What clients may do; asked anew for each request.
    pub access: watch::Receiver<Arc<AccessRules>>,
    /// Where it is written down what they did.
    pub audit: Audit,
    /// Cancelled when waiting sessions have to close.
    pub closing: CancellationToken,
}

/// What a session does after a reply.
enum Next {
    /// Waits for another request.
    Request,
    /// Closes: the reply has been written, or its reader is gone.
    Close,
}

/// One session under way.
struct Session<S> {
    connection: Connection<S>,
    client: Client,
    desk: Arc<Desk>,
    limits: ClientLimits,
    /// After `hello`: further requests may come.
    persistent: bool,
    /// The store is about to be closed, and this request was there before.
    is_last: bool,
}

/// Serves one connection to its end.
pub async fn serve<S: Socket>(socket: S, client: Client, desk: Arc<Desk>) {
    let limits = *desk.limits.borrow();
    let mut session = Session {
        connection: Connection::new(socket, 0),
        client,
        desk,
        limits,
        persistent: false,
        is_last: false,
    };
    match session.converse().await {
        Ok(Ok(())) => session.connection.finish().await,
        Ok(Err(fault)) => {
            debug!(peer = %session.client.peer, fault = %fault.0, "request refused");
            let mut line = BytesMut::new();
            fault.encode(&mut line);
            if session.write(&line).await.is_ok() {
                session.connection.close().await;
            }
        }
        Err(error) => debug!(peer = %session.client.peer, %error, "connection broke"),
    }
}

impl<S: Socket> Session<S> {
    /// Answers requests until the connection is to be closed, in the inner `Err` with a
    /// fault as the last line.
    async fn converse(&mut self) -> io::Result<Result<(), Fault>> {
        loop {
            let request = match self.request().await? {
                Ok(Some(request)) => request,
                Ok(None) => return Ok(Ok(())),
                Err(fault) => return Ok(Err(fault)),
            };
            match self.answer(request).await? {
                Err(fault) => return Ok(Err(fault)),
                Ok(Next::Request) if self.persistent => {}
                Ok(Next::Request | Next::Close) => return Ok(Ok(())),
            }
        }
    }

    /// The next request; `None` if there is none any more.
    async fn request(&mut self) -> io::Result<Result<Option<Request>, Fault>> {
        let limits = self.limits;
        let patience = Patience {
            begin: match self.persistent {
                true => limits.idle_timeout,
                false => limits.request_timeout,
            },
            end: limits.request_timeout,
        };
        self.connection
            .set_longest_line(match self.client.is_stranger() {
                // A `hello` is short, and nobody has to be somebody to send it.
                true => LINE_ALLOWANCE,
                false => limits.max_request_size.saturating_add(LINE_ALLOWANCE),
            });
        let read = tokio::select! {
            biased;
            read = self.connection.next_line(patience) => read,
            () = self.desk.closing.cancelled() => return Ok(Ok(None)),
        };
        let fault = match read {
            // The store is about to be closed: one request after the other would keep it
            // open for ever. No line says so, since it could be taken for a job's end.
            Ok(Some(_)) if self.is_last => return Ok(Ok(None)),
            Ok(Some(line)) => {
                self.is_last = self.desk.closing.is_cancelled();
                return Ok(decode(line).map(Some));
            }
            // An error line could be taken for the answer to a request that is on its way.
            Ok(None) | Err(ReadError::Idle) => return Ok(Ok(None)),
            Err(ReadError::TooLong) if self.client.is_stranger() => {
                Fault::unauthorized(AUTHENTICATE)
            }
            Err(ReadError::TooLong) => Fault::request_too_large(limits.max_request_size),
            Err(ReadError::TooSlow) => Fault::parse_error(format_args!(
                "it did not end within {} s (request_timeout)",
                limits.request_timeout.as_secs_f32()
            )),
            Err(ReadError::Io(error)) => return Err(error),
        };
        Ok(Err(fault))
    }

    async fn answer(&mut self, request: Request) -> io::Result<Result<Next, Fault>> {
        if let Err(fault) = self.authorize(&request).await {
            return Ok(Err(fault));
        }
        let desk = Arc::clone(&self.desk);
        let dispatcher = &desk.dispatcher;
        match request {
            Request::Call(call) => {
                let submitted = self.submit(*call).await;
                self.reply(submitted).await
            }
            Request::Cancel { job, confirm } => {
                let cancelled = tokio::select! {
                    cancelled = cancel::cancel(dispatcher, job, confirm) => cancelled,
                    () = self.connection.broken() => return Ok(Ok(Next::Close)),
                };
                if cancelled.as_ref().is_ok_and(|reply| reply.cancelled) {
                    desk.audit.cancelled(&self.client, job);
                }
                self.reply(cancelled).await
            }
            Request::GetStatus { job } => self.reply(query::status(dispatcher, job).await).await,
            Request::GetResult { job, wait: false } => {
                self.reply(query::result(dispatcher, job).await).await
            }
            Request::GetResult { job, wait: true } => {
                let waited = tokio::select! {
                    waited = query::end_result(dispatcher, job, &desk.closing) => waited,
                    () = self.connection.broken() => return Ok(Ok(Next::Close)),
                };
                match waited.transpose() {
                    Some(result) => self.reply(result).await,
                    None => Ok(Ok(Next::Close)),
                }
            }
            Request::FollowStream {
                job,
                start,
                timestamps,
            } => {
                let following =
                    PacketStream::follow(dispatcher, job, start, timestamps, &desk.closing);
                let packets = tokio::select! {
                    biased;
                    packets = following => packets,
                    () = self.connection.broken() => return Ok(Ok(Next::Close)),
                };
                self.send_stream(packets).await
            }
            Request::ReadStream {
                job,
                start,
                timestamps,
                limit,
            } => {
                let packets = PacketStream::read(dispatcher, job, start, timestamps, limit).await;
                self.send_stream(packets).await
            }
            Request::Hello(hello) => {
                let greeting = self.greet(&hello).await;
                self.reply(greeting).await
            }
        }
    }

    /// Lets nothing through that the client may not do: the one place where that is asked.
    async fn authorize(&self, request: &Request) -> Result<(), Fault> {
        let judged = match request {
            Request::Hello(_) => Ok(()),
            _ if self.client.is_stranger() => Err(Fault::unauthorized(AUTHENTICATE)),
            Request::Call(call) => match self.desk.access.borrow().allow_call(&self.client, call) {
                true => Ok(()),
                false => Err(Fault::forbidden()),
            },
            _ => self.may_act_on_job(request).await,
        };
        let Err(fault) = judged else {
            return Ok(());
        };
        let about_job = Operation::about_job(request);
        match request {
            Request::Call(call) => {
                let Call {
                    host, procedure, ..
                } = &**call;
                let queue = call.queue.as_ref().map(|queue| queue.name.as_str());
                info!(
                    peer = %self.client.peer, client = self.client.name(), operation = "call",
                    host, procedure, queue, refusal = fault.0.error_type, "request refused"
                );
                let asked = self.desk.audit.asked(&self.client, call);
                self.desk.audit.call_refused(asked, &fault.0.error_type);
            }
            _ => {
                let operation = about_job.map_or("hello", |(operation, _)| operation.name());
                let job = about_job.map(|(_, job)| job);
                info!(
                    peer = %self.client.peer, client = self.client.name(), operation,
                    job = job.map(tracing::field::display), refusal = fault.0.error_type,
                    "request refused"
                );
                let error_type = &fault.0.error_type;
                self.desk
                    .audit
                    .refused(&self.client, operation, job, error_type);
            }
        }
        Err(fault)
    }

    /// Judges a request about a job. A job that does not exist may be asked for by whoever
    /// may ask for any: that there is none is no secret, since ids cannot be guessed.
    async fn may_act_on_job(&self, request: &Request) -> Result<(), Fault> {
        let Some((operation, job)) = Operation::about_job(request) else {
            return Ok(());
        };
        let access = Arc::clone(&self.desk.access.borrow());
        match access.judge(&self.client, operation) {
            Verdict::Allowed => return Ok(()),
            Verdict::Forbidden => return Err(Fault::forbidden()),
            Verdict::DependsOnJob => {}
        }
        let store = self.desk.dispatcher.store();
        match store.job(job).await.map_err(Fault::unreadable)? {
            Some(record) if !access.allow_job(&self.client, operation, &record.call) => {
                Err(Fault::forbidden())
            }
            _ => Ok(()),
        }
    }

    async fn submit(&self, call: Call) -> Result<CallReply, Fault> {
        let desk = &self.desk;
        let asked = desk.audit.asked(&self.client, &call);
        let identity = self.client.identity.as_ref();
        let limit = self.limits.max_request_size;
        let submitted = submit::submit(&desk.dispatcher, call, identity, limit).await;
        match &submitted {
            Ok(reply) => desk.audit.accepted(asked, reply.job_id),
            Err(fault) => desk.audit.call_refused(asked, &fault.0.error_type),
        }
        submitted
    }

    async fn reply<R: Reply>(
        &mut self,
        reply: Result<R, Fault>,
    ) -> io::Result<Result<Next, Fault>> {
        match reply {
            Ok(reply) => {
                let mut line = BytesMut::new();
                reply.encode(&mut line);
                self.write(&line).await?;
                Ok(Ok(Next::Request))
            }
            Err(fault) => Ok(Err(fault)),
        }
    }

    async fn send_stream(
        &mut self,
        packets: Result<PacketStream, Fault>,
    ) -> io::Result<Result<Next, Fault>> {
        let mut packets = match packets {
            Ok(packets) => packets,
            Err(fault) => return Ok(Err(fault)),
        };
        loop {
            let lines = tokio::select! {
                lines = packets.next_lines(&self.desk.closing) => lines,
                () = self.connection.broken() => return Ok(Ok(Next::Close)),
            };
            match lines {
                Ok(Lines::Some(lines)) => self.write(&lines).await?,
                Ok(Lines::Finished) => return Ok(Ok(Next::Request)),
                Ok(Lines::Closing) => return Ok(Ok(Next::Close)),
                Err(fault) => return Ok(Err(fault)),
            }
        }
    }

    async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.connection
            .write(bytes, self.limits.write_timeout)
            .await
    }

    async fn greet(&mut self, hello: &Hello) -> Result<HelloReply, Fault> {
        // Without a tokens file there is nothing that a token could prove.
        let tokens = self.desk.tokens.borrow().clone();
        if let (Some(token), Some(tokens)) = (&hello.token, tokens) {
            let Some(identity) = tokens.identify(token) else {
                warn!(peer = %self.client.peer, client = hello.client, "wrong token");
                let fault = Fault::unauthorized("the token is not known");
                let error_type = &fault.0.error_type;
                self.desk
                    .audit
                    .refused(&self.client, "hello", None, error_type);
                tokio::time::sleep(WRONG_TOKEN_DELAY).await;
                return Err(fault);
            };
            self.client.identity = Some(identity);
        }
        if self.client.is_stranger() {
            return Err(Fault::unauthorized(AUTHENTICATE));
        }
        self.persistent = true;
        debug!(
            peer = %self.client.peer, identity = self.client.name(), client = hello.client,
            "hello"
        );
        // In force only where there are tokens to be known.
        let token = self
            .desk
            .tokens
            .borrow()
            .is_some()
            .then_some(feature::TOKEN);
        let features = feature::ALWAYS.into_iter().chain(token);
        Ok(HelloReply {
            server: concat!("harpcallerd/", env!("CARGO_PKG_VERSION")).to_owned(),
            features: features.map(str::to_owned).collect(),
        })
    }
}

/// What a client is told that has to authenticate first.
const AUTHENTICATE: &str = "this listener wants clients to authenticate: send hello with a token that is known, \
     or connect with a client certificate";

/// Reads a request; it has its own copies of what it needs of a long line.
fn decode(line: Bytes) -> Result<Request, Fault> {
    let request = Request::decode(&line)?;
    if let Request::Hello(Hello { token: Some(_), .. }) = request
        && let Ok(mut line) = line.try_into_mut()
    {
        line.zeroize();
    }
    Ok(request)
}
