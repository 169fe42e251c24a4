//! Reaching a host again that has a call: by a new connection, after a new look at the
//! registry and at its address.

use std::sync::Arc;

use harp_host::HostError;
use harp_host::Limits;
use harp_host::kept::{self, Opened};
use harp_jobs::failures;
use harp_jobs::world::{BoxFuture, World};
use harp_proto::Failure;
use harp_time::Limit;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep_until};
use tracing::debug;

use super::Shared;
use super::gate::{Gate, Pass};
use super::idle::{Line, made_by};
use crate::hosts::Harpd;

/// A call whose host is not connected.
pub(super) struct Apart {
    /// The attempt that is under way.
    trying: Option<BoxFuture<'static, Tried>>,
    /// The next attempt begins no earlier.
    not_before: Instant,
    /// Whether many are attached to at the same time, since the dispatcher has started.
    is_at_start: bool,
}

/// What has come of an attempt to reach a host.
pub(super) enum Tried {
    /// It is there.
    There(Box<There>),
    /// It keeps no calls any more.
    Plain,
    /// It could not be reached.
    Failed(Failure),
}

/// A host that is there.
pub(super) struct There {
    pub(super) line: Line,
    pub(super) host: Arc<Harpd>,
    /// Until when it has to answer.
    pub(super) by: Instant,
    pub(super) leave: Leave,
}

/// The leave to attach, held until the host has answered.
pub(super) struct Leave {
    _pass: Pass,
    _place: Option<OwnedSemaphorePermit>,
}

impl Apart {
    /// A call whose connection broke. The next attempt begins at `not_before`.
    pub(super) fn since_break(not_before: Instant) -> Apart {
        Apart {
            trying: None,
            not_before,
            is_at_start: false,
        }
    }

    /// A call that ran when this process began.
    pub(super) fn at_start() -> Apart {
        Apart {
            trying: None,
            not_before: Instant::now(),
            is_at_start: true,
        }
    }

    /// What comes of the next attempt. Cancel safe: it goes on when it is asked for again.
    pub(super) async fn tried(&mut self, shared: &Arc<Shared>, name: &str) -> Tried {
        let (not_before, is_at_start) = (self.not_before, self.is_at_start);
        let trying = self.trying.get_or_insert_with(|| {
            let (shared, name) = (Arc::clone(shared), name.to_owned());
            let gate = shared.gates.of(&name);
            if is_at_start {
                // Nobody knows yet whether it is there.
                gate.broke();
            }
            Box::pin(async move {
                sleep_until(not_before).await;
                reach(&shared, &gate, &name, is_at_start).await
            })
        });
        let tried = trying.await;
        self.trying = None;
        self.is_at_start = false;
        tried
    }
}

async fn reach(shared: &Arc<Shared>, gate: &Gate, name: &str, is_at_start: bool) -> Tried {
    let pass = gate.pass().await;
    let place = if is_at_start {
        // Never closed.
        Arc::clone(&shared.attaching).acquire_owned().await.ok()
    } else {
        None
    };
    let rules = Arc::clone(&shared.rules.borrow());
    let Some(host) = shared.hosts.harpd(name) else {
        gate.failed(shared.world.chance());
        return Tried::Failed(failures::unknown_host(name));
    };
    let limits = Limits {
        max_packet_size: rules.limits.max_packet_size,
    };
    let mut limit = Limit::after(rules.limits.connect_timeout);
    let opened = async {
        let made_by = made_by(&rules, &host, &mut limit).await?;
        let opening = kept::open(&host.endpoint, &rules.trust, limits, limit);
        let opened = shared.told.opened(name, opening).await?;
        Ok((opened, made_by))
    };
    match opened.await {
        Ok((Opened::Kept(mut connection), made_by)) => {
            connection.set_share(rules.memory.share(&name));
            let leave = Leave {
                _pass: pass,
                _place: place,
            };
            Tried::There(Box::new(There {
                line: Line::new(connection, made_by),
                host,
                by: limit.end(),
                leave,
            }))
        }
        Ok((Opened::Plain(_), _)) => {
            gate.answered();
            Tried::Plain
        }
        Err::<_, HostError>(error) => {
            debug!(host = name, %error, "the host cannot be attached to");
            gate.failed(shared.world.chance());
            Tried::Failed(error.to_failure())
        }
    }
}
