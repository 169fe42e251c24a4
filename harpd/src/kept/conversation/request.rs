//! A request or an attach on a connection of `harp/2`: the user that makes it, the answer of
//! the book of calls, and the call that the connection has from then on.

use std::io;
use std::sync::Arc;

use bytes::BytesMut;
use harp_budget::Share;
use harp_proto::host::kept::{self, Acknowledgement, Attached, CallId, Message, Request, Uptime};
use harp_proto::{Failure, Password, error_type};
use tokio::time::Instant;
use tracing::warn;

use super::{CHUNK, Conversation, Flow, Holding, ORDER_LIMIT, WAITS_TOLD, invalid_field};
use crate::admission::{accept, is_user, refused_since};
use crate::call::{Call, Workplace, keep_over};
use crate::kept::backlog::{Cursor, Read};
use crate::kept::book::{Answer, Asked};
use crate::kept::call::KeptCall;
use crate::kept::run::run;
use crate::kept::spool;
use crate::state::State;

impl Conversation {
    pub(super) async fn request(&mut self, request: Request, large: Share) -> Flow {
        let Request { call, keep } = request;
        let state = Arc::clone(&self.house.state.borrow());
        if let Err(flow) = self.authenticate(&call.user, &call.password, &state).await {
            return flow;
        }
        drop(large);
        let asked = match self.asked(keep.call, &call.user, keep.epoch, 0, keep.up) {
            Ok(asked) => asked,
            Err(failure) => return self.close_for(failure),
        };
        let boot = keep.boot.as_deref();
        if let Some(answer) = self.house.calls.look(&asked, boot) {
            return self.answer(&asked, answer).await;
        }
        let call = match accept(call, self.peer, &state).await {
            Ok(call) => Call {
                id: Some(keep.call),
                traceparent: keep.traceparent,
                ..call
            },
            Err(failure) => return self.refuse(failure),
        };
        let granted = keep.keep.min(self.house.calls.max_keep());
        let answer = self.house.calls.request(&asked, boot, granted, &call);
        if let Answer::New(kept) = &answer {
            let workplace = Workplace {
                reaper: self.house.reaper.clone(),
                slots: Arc::clone(&self.house.slots),
                stopping: self.house.stopping.clone(),
                kill_grace: state.config.kill_grace,
            };
            let calls = Arc::clone(&self.house.calls);
            let run = run(call, Arc::clone(kept), calls, workplace);
            self.house.runs.spawn(run);
        }
        self.answer(&asked, answer).await
    }

    pub(super) async fn attach(&mut self, attach: kept::Attach) -> Flow {
        let state = Arc::clone(&self.house.state.borrow());
        let (user, password) = (&attach.user, &attach.password);
        if let Err(flow) = self.authenticate(user, password, &state).await {
            return flow;
        }
        let kept::Attach {
            call, since, epoch, ..
        } = attach;
        let asked = match self.asked(call, user, epoch, since, attach.up) {
            Ok(asked) => asked,
            Err(failure) => return self.close_for(failure),
        };
        let answer = self.house.calls.attach(&asked);
        self.answer(&asked, answer).await
    }

    async fn authenticate(
        &mut self,
        user: &str,
        password: &Password,
        state: &State,
    ) -> Result<(), Flow> {
        let began = Instant::now();
        self.had_request = true;
        // Authorities may have changed since the connection was made.
        let shown = self.link.stream().get_ref().1.peer_certificates();
        let shown = shown.unwrap_or_default().to_vec();
        if state.config.client_ca_file.is_some() && !state.tls.is_good(&shown).await {
            warn!(peer = %self.peer, "authentication failed, the certificate is not good any more");
            return Err(self.close_for(Failure::new(
                error_type::AUTH_ERROR,
                "callers must show a certificate of an authority in client_ca_file",
            )));
        }
        if !is_user(user, password, self.peer, &state.users.users().await).await {
            let failure = refused_since(began).await;
            return Err(self.close_for(failure));
        }
        if !self.has_authenticated {
            self.has_authenticated = self.permit.becomes_call();
            if !self.has_authenticated {
                return Err(Flow::Over);
            }
            self.place.release();
        }
        Ok(())
    }

    fn asked(
        &self,
        call: CallId,
        user: &str,
        epoch: u64,
        since: u64,
        up: Option<Uptime>,
    ) -> Result<Asked, Failure> {
        let newest = match up {
            Some(up) if up > self.house.calls.now() => {
                return Err(invalid_field("up", "is not an up that came from here"));
            }
            Some(up) => up,
            None if self.had_call => {
                let problem = "missing, the connection has had a call";
                return Err(invalid_field("up", problem));
            }
            None => self.taken,
        };
        Ok(Asked {
            call,
            user: user.into(),
            connection: self.number,
            newest,
            epoch,
            since,
        })
    }

    async fn answer(&mut self, asked: &Asked, answer: Answer<Arc<KeptCall>>) -> Flow {
        match answer {
            Answer::New(call) => self.hold(call, asked, None).await,
            Answer::Known { call, ended, .. } => {
                let since = asked.since;
                self.hold(call, asked, Some(Attached { since, ended }))
                    .await
            }
            Answer::Refused(refusal) => self.refuse(refusal.to_failure()),
            Answer::TooOld => self.refuse(keep_over()),
            Answer::Stopping => self.refuse(Failure::new(
                error_type::SHUTDOWN,
                "harpd is stopping and takes no calls",
            )),
            Answer::Full => self.refuse(Failure::new(
                error_type::OVERLOADED,
                "this harpd keeps as many calls as it can; fetch the ends of some",
            )),
        }
    }

    /// Has the call from now on, and says so.
    async fn hold(
        &mut self,
        call: Arc<KeptCall>,
        asked: &Asked,
        attached: Option<Attached>,
    ) -> Flow {
        self.had_call = true;
        let changes = call.changes();
        if asked.since > call.packets() {
            self.house.calls.left(&call, self.number);
            let problem = "there have not been so many packets";
            return self.close_for(invalid_field("since", problem));
        }
        let cursor = match seek(&call, asked.since).await {
            Ok(cursor) => cursor,
            Err(error) => {
                self.house.calls.left(&call, self.number);
                warn!(call = %call.id, %error, "cannot read from a file of state_directory");
                return Flow::Over;
            }
        };
        self.link.send(&Message::Acknowledged(Acknowledgement {
            stream_result: call.streams,
            keep: call.keep,
            boot: self.house.calls.boot(),
            up: self.house.calls.now(),
            attached,
        }));
        self.link.set_line_limit(ORDER_LIMIT);
        let waits = call.waits();
        self.holding = Some(Holding {
            signs: call.signs(),
            told_waits: false,
            call,
            cursor,
            changes,
            reading: None,
        });
        let first = self.beat_interval();
        // A call that has to wait for long is known to wait soon.
        let first = if waits { first.min(WAITS_TOLD) } else { first };
        self.beat_at = Instant::now() + first;
        self.unanswered = 0;
        Flow::On
    }
}

/// Where a packet begins.
async fn seek(call: &Arc<KeptCall>, packet: u64) -> io::Result<Cursor> {
    let (mut cursor, mut before) = call.find(packet);
    let mut chunk = BytesMut::new();
    while before > 0 {
        let mut probe = cursor;
        chunk.clear();
        match call.read(&mut probe, &mut chunk, CHUNK) {
            Read::Copied => before = cursor.skip(&chunk, before),
            Read::Nothing => break,
            Read::Spooled {
                file,
                offset,
                length,
                ..
            } => {
                let reading = move || spool::read(&file, offset, length);
                let read = tokio::task::spawn_blocking(reading).await;
                before = cursor.skip(&read.map_err(io::Error::other)??, before);
            }
        }
    }
    Ok(cursor)
}
