//! The face of the client protocol: read a line, ask the desk, write the answer, close or go
//! on (client protocol, sections 1 and 8).

mod large;
mod lists;
pub mod packet_lines;
mod refusals;
mod requests;
mod stream;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use harp_budget::Share;
use harp_jobs::client::Client;
use harp_jobs::refusal::{Full, Refusal};
use harp_proto::client::{Hello, HelloReply, Reply, Request, feature};
use harp_proto::{Fault, LINE_ALLOWANCE};
use tokio::time::Instant;
use tracing::debug;
use zeroize::Zeroize;

use crate::desk::Desk;
use crate::desk::packets::{Next, Packets, Span, Until};
use crate::desk::read::Wait;
use crate::faces::connection::{Connection, Patience, ReadError, Socket};
use crate::limits::{ClientLimits, ClientMemory};
use crate::meters::request_error;
use crate::meters::requests::{Protocol, Status};
use refusals::fault;

/// One conversation under way.
struct Conversation<S> {
    connection: Connection<S>,
    client: Client,
    desk: Arc<Desk>,
    /// What large requests hold.
    memory: Arc<ClientMemory>,
    /// What the next answer holds, if it is large.
    answer: Option<Share>,
    /// Those of its beginning.
    limits: ClientLimits,
    /// After `hello`: further requests may come.
    persistent: bool,
    /// The store is about to be closed, and this request was there before.
    is_last: bool,
    /// The request that is being answered, and since when, until that is counted.
    asked: Option<(&'static str, Instant)>,
}

/// Why a conversation ends before the client has ended it.
enum Closing {
    /// There is nothing more to say, or nobody to say it to.
    Silent,
    /// This is the last line.
    With(Fault),
    /// The connection broke.
    Broken(io::Error),
}

impl From<io::Error> for Closing {
    fn from(error: io::Error) -> Closing {
        Closing::Broken(error)
    }
}

impl From<Fault> for Closing {
    fn from(fault: Fault) -> Closing {
        Closing::With(fault)
    }
}

/// The answer to a call, which the dispatcher may refuse since it stops.
fn told(refusal: Refusal) -> Closing {
    Closing::With(fault(refusal))
}

/// The answer to all but calls. In a stop there is none: a line about the dispatcher's end
/// could be taken for the job's.
impl From<Refusal> for Closing {
    fn from(refusal: Refusal) -> Closing {
        match refusal {
            Refusal::Closing => Closing::Silent,
            refusal => told(refusal),
        }
    }
}

/// Serves one connection to its end.
pub async fn serve<S: Socket>(
    socket: S,
    client: Client,
    desk: Arc<Desk>,
    memory: Arc<ClientMemory>,
) {
    let limits = *desk.limits.borrow();
    let mut connection = Connection::new(socket, 0);
    connection.set_share(memory.share(&client));
    let mut conversation = Conversation {
        connection,
        memory,
        answer: None,
        client,
        desk,
        limits,
        persistent: false,
        is_last: false,
        asked: None,
    };
    let end = conversation.converse().await;
    conversation.connection.release();
    match end {
        Closing::Silent => conversation.connection.finish().await,
        Closing::With(fault) => {
            debug!(peer = %conversation.client.peer, fault = %fault.0, "request refused");
            let mut line = BytesMut::new();
            fault.encode(&mut line);
            if conversation.write(&line).await.is_ok() {
                conversation.connection.close().await;
            }
        }
        Closing::Broken(error) => {
            debug!(peer = %conversation.client.peer, %error, "connection broke")
        }
    }
}

/// Says that there is no place for a connection. Takes as long as the client does, at most
/// twice `patience`.
pub async fn refuse<S: Socket>(socket: S, full: Full, patience: Duration) {
    let mut line = BytesMut::new();
    fault(Refusal::Full(full)).encode(&mut line);
    let mut connection = Connection::new(socket, 0);
    // A client that is gone needs no answer.
    if connection.write(&line, patience).await.is_ok() {
        connection.close().await;
    }
}

impl<S: Socket> Conversation<S> {
    /// Answers requests until the connection is to be closed.
    async fn converse(&mut self) -> Closing {
        loop {
            let answered = match self.request().await {
                Ok(request) => {
                    self.asked = Some((request.operation(), Instant::now()));
                    self.answer(request).await
                }
                Err(end) => {
                    self.asked = matches!(end, Closing::With(_)).then(|| ("-", Instant::now()));
                    Err(end)
                }
            };
            match &answered {
                Err(Closing::With(fault)) => self.count(request_error(&fault.0.error_type)),
                // Nobody was told anything.
                Err(_) => {}
                Ok(()) => self.count("ok"),
            }
            match answered {
                Ok(()) if self.persistent => {}
                Ok(()) => return Closing::Silent,
                Err(end) => return end,
            }
        }
    }

    async fn request(&mut self) -> Result<Request, Closing> {
        let limits = self.limits;
        let patience = Patience {
            begin: if self.persistent {
                limits.idle_timeout
            } else {
                limits.request_timeout
            },
            end: limits.request_timeout,
        };
        self.connection
            .set_longest_line(if self.client.is_stranger() {
                // A `hello` is short, and anonymous clients may send it.
                LINE_ALLOWANCE
            } else {
                limits.desk.max_request_size.saturating_add(LINE_ALLOWANCE)
            });
        let read = tokio::select! {
            biased;
            read = self.connection.next_line(patience) => read,
            () = self.desk.closing.cancelled() => return Err(Closing::Silent),
        };
        match read {
            // The store is about to be closed: one request after the other would keep it
            // open for ever. No line says so, since it could be taken for a job's end.
            Ok(Some(_)) if self.is_last => Err(Closing::Silent),
            Ok(Some(line)) => {
                self.is_last = self.desk.closing.is_cancelled();
                Ok(decode(line)?)
            }
            // An error line could be taken for the answer to a request that is on its way.
            Ok(None) | Err(ReadError::Idle) => Err(Closing::Silent),
            Err(ReadError::TooLong) => Err(self
                .desk
                .refuse_longer(&self.client, limits.desk.max_request_size)
                .into()),
            Err(ReadError::TooSlow) => Err(Fault::parse_error(format_args!(
                "it did not end within {} s (request_timeout)",
                limits.request_timeout.as_secs_f32()
            ))
            .into()),
            Err(ReadError::GaveWay) => Err(Fault::parse_error(
                "it came too slowly while others waited for its memory (client_memory)",
            )
            .into()),
            Err(ReadError::Io(error)) => Err(Closing::Broken(error)),
        }
    }

    async fn answer(&mut self, request: Request) -> Result<(), Closing> {
        let desk = Arc::clone(&self.desk);
        if !matches!(request, Request::Call(_)) {
            // All else is small, however long its line was.
            self.connection.release();
        }
        match request {
            Request::Call(call) => {
                let tells_limits = call.limits;
                // In a place of its own: a follower's task, which may be one of thousands,
                // has no room for what it never does.
                let accepted = Box::pin(desk.submit(&self.client, requests::call(*call))).await;
                let accepted = accepted.map_err(told)?;
                self.reply(&requests::accepted(accepted, tells_limits))
                    .await
            }
            Request::Cancel { job, confirm } => {
                let cancelled = tokio::select! {
                    cancelled = desk.cancel(&self.client, job, confirm) => cancelled?,
                    () = self.connection.broken() => return Err(Closing::Silent),
                };
                self.reply(&requests::cancelled(cancelled)).await
            }
            Request::GetStatus {
                job,
                evidence,
                snapshot: true,
            } => {
                let lengths = desk.lengths(job).await;
                self.make_room(lengths.call + lengths.end).await?;
                let view = Box::pin(desk.view(&self.client, job)).await?;
                self.reply(&requests::snapshot(view, evidence)).await
            }
            Request::GetStatus { job, evidence, .. } => {
                self.make_room(desk.lengths(job).await.call).await?;
                let report = desk.job(&self.client, job).await?;
                let evidence = if evidence && report.ended.is_some() {
                    let end = Box::pin(desk.end(&self.client, job, Wait::Not)).await?;
                    end.and_then(|end| end.remarks.evidence.clone())
                } else {
                    None
                };
                self.reply(&requests::status(report, evidence)).await
            }
            Request::GetResult { job, wait: false } => {
                self.make_room(desk.lengths(job).await.end).await?;
                let end = desk.end(&self.client, job, Wait::Not).await?;
                self.reply(&requests::result(end.as_deref())).await
            }
            Request::GetResult { job, wait: true } => {
                // One that is there already is read when there is room.
                self.make_room(desk.lengths(job).await.end).await?;
                if self.answer.is_some()
                    && let Some(end) = desk.end(&self.client, job, Wait::Not).await?
                {
                    return self.reply(&requests::result(Some(&end))).await;
                }
                self.answer = None;
                let end = tokio::select! {
                    end = desk.end(&self.client, job, Wait::UntilEnd) => end?,
                    () = self.connection.broken() => return Err(Closing::Silent),
                };
                // Without one, nobody may wait any more.
                let mut end = end.ok_or(Closing::Silent)?;
                let length = desk.lengths(job).await.end;
                if Self::is_large(length) {
                    // It is read again when there is room.
                    drop(end);
                    self.make_room(length).await?;
                    end = desk
                        .end(&self.client, job, Wait::Not)
                        .await?
                        .ok_or(Closing::Silent)?;
                }
                self.reply(&requests::result(Some(&end))).await
            }
            Request::FollowStream {
                job,
                start,
                timestamps,
            } => {
                let span = Span {
                    start: requests::start(start),
                    until: Until::End,
                };
                let packets = tokio::select! {
                    biased;
                    packets = desk.packets(&self.client, job, span) => packets,
                    () = self.connection.broken() => return Err(Closing::Silent),
                };
                self.send(&mut packets?, timestamps).await
            }
            Request::ReadStream {
                job,
                start,
                timestamps,
                limit,
            } => {
                let span = Span {
                    start: requests::start(start),
                    until: Until::Now { limit },
                };
                let mut packets = desk.packets(&self.client, job, span).await?;
                self.send(&mut packets, timestamps).await
            }
            Request::List(list) => {
                let line = Box::pin(lists::list(&desk, &self.client, list)).await?;
                Ok(self.write(&line).await?)
            }
            Request::Hello(hello) => {
                let (token, name) = (hello.token.as_ref(), hello.client.as_deref());
                desk.greet(&mut self.client, token, name).await?;
                self.connection.set_share(self.memory.share(&self.client));
                self.persistent = true;
                self.reply(&greeting(&desk)).await
            }
        }
    }

    /// Counts the request, if that has not been done.
    fn count(&mut self, status: &'static str) {
        if let Some((operation, since)) = self.asked.take() {
            let asked = (Protocol::HarpCaller, operation);
            let status = Status::Word(status);
            self.desk.meters.answered(asked, status, since.elapsed());
        }
    }

    async fn reply<R: Reply>(&mut self, reply: &R) -> Result<(), Closing> {
        let mut line = BytesMut::new();
        reply.encode(&mut line);
        self.write_answer(&line).await
    }

    async fn send(&mut self, packets: &mut Packets, timestamps: bool) -> Result<(), Closing> {
        // The rest can take as long as its job.
        self.count("ok");
        loop {
            let next = tokio::select! {
                next = packets.next() => next?,
                () = self.connection.broken() => return Err(Closing::Silent),
            };
            match next {
                Next::Some(piece) => {
                    for lines in stream::lines(&piece, timestamps) {
                        self.write(&lines).await?;
                    }
                }
                Next::End(end) => self.reply(&stream::last_line(end.as_deref())).await?,
                Next::Finished => return Ok(()),
                Next::Closing => return Err(Closing::Silent),
            }
        }
    }

    async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.connection
            .write(bytes, self.limits.write_timeout)
            .await
    }
}

fn greeting(desk: &Desk) -> HelloReply {
    // In force only where there are tokens to be known.
    let token = desk.has_tokens().then_some(feature::TOKEN);
    let features = feature::ALWAYS.into_iter().chain(token);
    HelloReply {
        server: concat!("harpcallerd/", env!("CARGO_PKG_VERSION")).to_owned(),
        features: features.map(str::to_owned).collect(),
    }
}

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
