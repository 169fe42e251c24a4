//! A played host that is away before anything of a call has gone out.

use harp_jobs::ledger::Token;
use harp_jobs::transport::{Heard, How};

use super::super::UNRUN;
use super::{Scripted, ended};

impl Scripted {
    /// Waits until a host is there that has got nothing of the call.
    pub(super) async fn wait_for_host(&mut self) -> Heard {
        if !std::mem::replace(&mut self.has_said_unrun, true) {
            return Heard::Unrun(Token(UNRUN.into()));
        }
        self.sleep(1 + self.hosts.world.draw(3) as u64 * 1000).await;
        while self.hosts.once_in(3) {
            self.sleep(1000).await;
        }
        (self.waits, self.has_said_unrun) = (false, false);
        if self.hosts.once_in(4) {
            self.is_let_go = true;
            return ended("network_error", false);
        }
        self.is_connected = true;
        self.how = How::New;
        Heard::NeverRan(Token("anew".into()))
    }
}
