//! Care about files that others could change: a user who can change what root runs
//! is root. Nothing of that kind is run unless `allow_unsafe_permissions` says so.

use std::path::Path;

use harp_service::exposure::{self, Exposed};

use crate::account::Account;

/// How careful harpd is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Care {
    /// What would run as root and could be changed by others is refused.
    #[default]
    Refuse,
    /// It is told at the start, and run.
    Tell,
}

impl Care {
    /// Looks at a file that is about to decide what the account does. Blocks.
    ///
    /// # Errors
    ///
    /// If that is to be refused.
    pub fn check(self, file: &Path, account: &Account) -> Result<(), Exposed> {
        if self.refuses(account) {
            exposure::check(file, None)
        } else {
            Ok(())
        }
    }

    /// True if nothing that others could change may decide what the account does.
    #[must_use]
    pub fn refuses(self, account: &Account) -> bool {
        self == Care::Refuse && is_root(account)
    }
}

fn is_root(account: &Account) -> bool {
    let own = rustix::process::geteuid().as_raw();
    account.as_ref().map_or(own, |ids| ids.uid) == 0
}
