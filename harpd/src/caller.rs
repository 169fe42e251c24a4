//! The connection of one caller, after its request has been read: what is still to be
//! sent, and whether the caller is still there.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::BytesMut;
use harp_proto::host::Message;
use harp_time::Limit;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::answer::{Answer, Packet};
use crate::recipient::{CallerEvent, Recipient};
use crate::stash::Stash;

/// Messages may be added as long as fewer bytes than this wait to be sent.
const ROOM: usize = 64 << 10;
/// At the end, a caller that takes nothing for this long is given up.
const STALL: Duration = Duration::from_secs(60);
/// A caller that waits for packets hears of life so often at most.
const SIGN_EVERY: Duration = Duration::from_millis(250);
/// What is left once harpd stops is sent within this time, or not at all.
const STOP_TIME: Duration = Duration::from_secs(2);
/// How long, and for how many bytes, to listen to a caller that has been told
/// everything: closing on unread bytes would make the system take back what was sent.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES: usize = 32 << 20;

/// One caller.
#[derive(Debug)]
pub struct Caller<S> {
    stream: S,
    unsent: Stash,
    /// Where messages are written before they are put to `unsent`.
    message: BytesMut,
    unflushed: bool,
    /// It has agreed on the protocol by its name.
    names_protocol: bool,
    closed: bool,
    /// Nothing more can be sent.
    is_broken: bool,
    stalled: bool,
    /// How long the caller may take nothing of what is to be sent, and until when.
    stall_timeout: Duration,
    stalls_at: Limit,
    /// Time when something was sent last.
    sent_at: Instant,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Caller<S> {
    /// Takes over a connection on which a request's line, and nothing more, was read. One
    /// that takes nothing for `stall_timeout` of what waits to be sent has stalled.
    pub fn new(stream: S, stall_timeout: Duration) -> Caller<S> {
        Caller {
            stream,
            unsent: Stash::default(),
            message: BytesMut::new(),
            unflushed: false,
            names_protocol: false,
            closed: false,
            is_broken: false,
            stalled: false,
            stall_timeout,
            stalls_at: Limit::after(stall_timeout),
            sent_at: Instant::now(),
        }
    }

    /// Takes over a connection on which these bytes wait to be sent.
    pub fn with_unsent(stream: S, unsent: BytesMut, stall_timeout: Duration) -> Caller<S> {
        let mut caller = Caller::new(stream, stall_timeout);
        caller.put(|all| all.push(&unsent));
        caller
    }

    /// The caller has agreed on the protocol by its name, in TLS.
    pub fn names_protocol(&mut self) {
        self.names_protocol = true;
    }

    /// Puts a message behind those that are still to be sent.
    pub fn send(&mut self, message: &Message) {
        message.encode(&mut self.message);
        let message = std::mem::take(&mut self.message);
        self.put(|unsent| unsent.push(&message));
        if message.capacity() <= ROOM {
            self.message = message;
            self.message.clear();
        }
    }

    /// Puts a packet there.
    pub fn send_packet(&mut self, packet: Packet) {
        match packet {
            Packet::Short(value) => self.send(&Message::Stream(value)),
            Packet::Long(line) => self.put(|unsent| unsent.append(line)),
        }
    }

    /// Puts the last message there.
    pub fn send_answer(&mut self, answer: Answer) {
        match answer {
            Answer::Short(message) => self.send(&message),
            Answer::Long { line, .. } => self.put(|unsent| unsent.append(line)),
        }
    }

    fn put(&mut self, put: impl FnOnce(&mut Stash) -> io::Result<()>) {
        if self.is_broken {
            return;
        }
        if !self.unflushed {
            self.stalls_at = Limit::after(self.stall_timeout);
        }
        self.unflushed = true;
        if let Err(error) = put(&mut self.unsent) {
            // What follows half of a message could not be understood.
            tracing::error!(%error, "no room for what is to be sent; the connection is given up");
            self.is_broken = true;
            self.unsent.clear();
        }
    }

    /// Sends what is left, then closes. Returns when the caller has closed too, or has
    /// been waited for long enough: 60 s without progress, 2 s for its close, and 2 s for
    /// all of it once `stopping` is cancelled.
    pub async fn finish(self, stopping: &CancellationToken) {
        let out_of_time = async {
            stopping.cancelled().await;
            tokio::time::sleep(STOP_TIME).await;
        };
        tokio::select! {
            () = self.finish_patiently() => {}
            () = out_of_time => {}
        }
    }

    async fn finish_patiently(mut self) {
        if self.flush().await.is_err() {
            return;
        }
        let _ = tokio::time::timeout(LINGER, async {
            self.stream.shutdown().await?;
            let mut unwanted = vec![0; 8192];
            let mut count = 0;
            while count < LINGER_BYTES {
                match self.stream.read(&mut unwanted).await? {
                    0 => break,
                    read => count += read,
                }
            }
            io::Result::Ok(())
        })
        .await;
    }

    async fn flush(&mut self) -> io::Result<()> {
        while self.unflushed {
            let progress = poll_fn(|context| self.poll_send(context));
            Limit::after(STALL)
                .keep(progress)
                .await
                .ok_or(io::ErrorKind::TimedOut)??;
        }
        Ok(())
    }

    fn poll_event(&mut self, context: &mut Context<'_>) -> Poll<CallerEvent> {
        if self.unflushed {
            match self.poll_send(context) {
                Poll::Ready(Ok(())) => return Poll::Ready(CallerEvent::Sent),
                Poll::Ready(Err(_)) if !self.closed => return Poll::Ready(self.close()),
                Poll::Ready(Err(_)) | Poll::Pending => {}
            }
        }
        if self.closed {
            return Poll::Pending;
        }
        let mut space = [0; 64];
        let mut space = ReadBuf::new(&mut space);
        match ready!(Pin::new(&mut self.stream).poll_read(context, &mut space)) {
            Ok(()) if !space.filled().is_empty() => Poll::Ready(CallerEvent::SpokeOn),
            Ok(()) | Err(_) => Poll::Ready(self.close()),
        }
    }

    /// One step of sending; an error means that nothing more can be sent.
    fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let step = if self.is_broken {
            Err(io::ErrorKind::StorageFull.into())
        } else if self.unsent.is_empty() {
            let flushed = ready!(Pin::new(&mut self.stream).poll_flush(context));
            self.unflushed = false;
            flushed
        } else {
            let unsent = self.unsent.front()?;
            match ready!(Pin::new(&mut self.stream).poll_write(context, unsent)) {
                Ok(0) => Err(io::ErrorKind::WriteZero.into()),
                Ok(sent) => {
                    self.unsent.advance(sent);
                    Ok(())
                }
                Err(error) => Err(error),
            }
        };
        self.sent_at = Instant::now();
        self.stalls_at = Limit::after(self.stall_timeout);
        if step.is_err() {
            self.unsent.clear();
            self.unflushed = false;
        }
        Poll::Ready(step)
    }

    fn close(&mut self) -> CallerEvent {
        self.closed = true;
        CallerEvent::Closed
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Recipient for Caller<S> {
    fn packets(&mut self, packets: Vec<Packet>) {
        for packet in packets {
            self.send_packet(packet);
        }
    }

    /// By a space between two messages, which JSON passes over. Four times a second at
    /// most, and only where nothing else is being sent.
    fn sign_of_life(&mut self) {
        if self.unflushed || self.sent_at.elapsed() < SIGN_EVERY {
            return;
        }
        self.put(|unsent| unsent.push(b" "));
    }

    fn takes_evidence(&self) -> bool {
        self.names_protocol
    }

    fn has_room(&self) -> bool {
        self.unsent.len() < ROOM
    }

    /// Sends and listens. What has been sent is known, nothing is sent twice.
    async fn event(&mut self) -> CallerEvent {
        if !self.unflushed || self.closed || self.stalled {
            return poll_fn(|context| self.poll_event(context)).await;
        }
        // Here, so that it is put off once and not at each call.
        let _ = self.stalls_at.is_reached();
        let mut limit = self.stalls_at;
        let event = poll_fn(|context| self.poll_event(context));
        if let Some(event) = limit.keep(event).await {
            return event;
        }
        self.stalled = true;
        CallerEvent::Stalled
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::duplex;

    use super::*;

    const STALL_TIMEOUT: Duration = Duration::from_secs(600);

    fn result() -> Message {
        Message::Result("1".parse().unwrap())
    }

    #[tokio::test]
    async fn a_close_is_told_once_and_sending_goes_on() {
        let (mut far, near) = duplex(1000);
        let mut caller = Caller::new(near, STALL_TIMEOUT);
        far.shutdown().await.unwrap();
        assert_eq!(caller.event().await, CallerEvent::Closed);
        caller.send(&result());
        assert_eq!(caller.event().await, CallerEvent::Sent);
        caller.finish(&CancellationToken::new()).await;
        let mut got = String::new();
        far.read_to_string(&mut got).await.unwrap();
        assert_eq!(got, "{\"result\":1}\n");
    }

    #[tokio::test]
    async fn what_follows_the_request_is_noticed() {
        let (mut far, near) = duplex(1000);
        let mut caller = Caller::new(near, STALL_TIMEOUT);
        far.write_all(b"more").await.unwrap();
        assert_eq!(caller.event().await, CallerEvent::SpokeOn);
    }

    #[tokio::test]
    async fn a_line_half_sent_is_finished_before_the_next() {
        let (mut far, near) = duplex(4);
        let mut caller = Caller::new(near, STALL_TIMEOUT);
        caller.send(&result());
        assert_eq!(caller.event().await, CallerEvent::Sent);
        caller.send(&result());
        let reading = tokio::spawn(async move {
            let mut got = String::new();
            far.read_to_string(&mut got).await.unwrap();
            got
        });
        caller.finish(&CancellationToken::new()).await;
        assert_eq!(reading.await.unwrap(), "{\"result\":1}\n{\"result\":1}\n");
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_that_takes_nothing_has_stalled_and_one_that_is_slow_has_not() {
        let (mut far, near) = duplex(4);
        let mut caller = Caller::new(near, STALL_TIMEOUT);
        tokio::time::sleep(2 * STALL_TIMEOUT).await;
        caller.send(&result());
        for _ in 0..3 {
            assert_eq!(caller.event().await, CallerEvent::Sent);
            let early = tokio::time::timeout(STALL_TIMEOUT / 2, caller.event()).await;
            assert!(early.is_err());
            far.read_exact(&mut [0; 4]).await.unwrap();
        }
        assert_eq!(caller.event().await, CallerEvent::Sent);
        while caller.unflushed {
            assert_eq!(caller.event().await, CallerEvent::Sent);
        }
        // With nothing to be sent, nobody stalls.
        let early = tokio::time::timeout(2 * STALL_TIMEOUT, caller.event()).await;
        assert!(early.is_err());

        caller.send(&result());
        let began = Instant::now();
        while caller.event().await != CallerEvent::Stalled {}
        assert_eq!(began.elapsed(), STALL_TIMEOUT);
        // Told once: a call that goes on to listen is not kept busy by it, and learns more.
        let again = tokio::time::timeout(2 * STALL_TIMEOUT, caller.event()).await;
        assert!(again.is_err());
        drop(far);
        assert_eq!(caller.event().await, CallerEvent::Closed);
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_that_takes_nothing_is_given_up_in_the_end() {
        let (_far, near) = duplex(4);
        let mut caller = Caller::new(near, STALL_TIMEOUT);
        caller.send(&result());
        caller.finish(&CancellationToken::new()).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_leaves_a_slow_caller_two_seconds() {
        let stopping = CancellationToken::new();
        let (_far, near) = duplex(4);
        let mut caller = Caller::new(near, STALL_TIMEOUT);
        caller.send(&result());
        let finished = caller.finish(&stopping);
        tokio::pin!(finished);
        let early = tokio::time::timeout(Duration::from_secs(10), &mut finished).await;
        assert!(early.is_err());
        stopping.cancel();
        let began = Instant::now();
        finished.await;
        assert_eq!(began.elapsed(), STOP_TIME);
    }
}
