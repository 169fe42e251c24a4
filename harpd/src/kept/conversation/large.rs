//! What a large request holds in memory while it is read, before its password has been judged.

use std::net::IpAddr;

use harp_budget::{Budget, GaveWay, Share};
use harp_service::accept::neighbourhood;
use harp_time::Limit;
use tokio::time::Instant;

/// Only so many bytes are read of a request before it must wait for memory.
const LARGE_REQUEST: usize = 64 << 10;
/// In such steps, the bytes of one read among them.
const STEP: usize = 64 << 10;

/// The memory of the line that is being read.
pub(super) struct Large {
    memory: Budget,
    peer: IpAddr,
    share: Share,
    /// Since when the line waits for memory.
    waits_since: Option<Instant>,
    /// How much of the line has been read.
    read: usize,
}

impl Large {
    /// Lines of a peer, whose neighbours count as the same.
    pub(super) fn new(memory: &Budget, peer: IpAddr) -> Large {
        let peer = neighbourhood(peer);
        Large {
            share: memory.share(&peer),
            memory: memory.clone(),
            peer,
            waits_since: None,
            read: 0,
        }
    }

    /// How many bytes have to be held before more is read of a line of which so many have been;
    /// `None` if enough are. From the first time on it is counted how long that is waited for.
    pub(super) fn wanted(&mut self, read: usize) -> Option<usize> {
        // Asked for before it is read.
        let needed = read + STEP;
        if read <= LARGE_REQUEST || needed <= self.share.held() {
            return None;
        }
        self.waits_since.get_or_insert_with(Instant::now);
        Some(needed.next_multiple_of(STEP))
    }

    /// Waits until so many bytes are held; if none are wanted, until the line has to give way.
    /// Cancel safe.
    pub(super) async fn room(&mut self, wanted: Option<usize>) -> Result<(), GaveWay> {
        match wanted {
            Some(bytes) => self.share.hold(bytes).await,
            None => {
                self.share.gave_way().await;
                Err(GaveWay)
            }
        }
    }

    /// The memory is there: the caller's time goes on.
    pub(super) fn has_waited(&mut self, deadline: &mut Limit) {
        if let Some(since) = self.waits_since.take() {
            deadline.move_to(deadline.end() + since.elapsed());
        }
    }

    /// So many bytes of the line have been read.
    pub(super) fn has_read(&mut self, read: usize) {
        self.share.moved(read.saturating_sub(self.read));
        self.read = read;
    }

    /// The line is whole: what it holds, which nobody takes from it any more. The next one
    /// begins with nothing.
    pub(super) fn whole(&mut self) -> Share {
        self.read = 0;
        self.share.settle();
        std::mem::replace(&mut self.share, self.memory.share(&self.peer))
    }
}
