//! Care about files that others could change: a user who can change what root runs
//! is root. Nothing of that kind is run unless `allow_unsafe_permissions` says so.

use std::path::Path;

use harp_service::exposure::{self, Exposed};

use crate::account::Account;
use crate::config::Config;
use crate::runner::Runner;

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
        match self {
            Care::Refuse if is_root(account) => exposure::check(file, None),
            Care::Refuse | Care::Tell => Ok(()),
        }
    }
}

/// Files that others could change: first those that keep harpd from starting, then those
/// that it only tells of.
/// Procedures that are refused are neither: [`Care::check`] is asked at each call. Blocks.
#[must_use]
pub fn look(file: &Path, config: &Config) -> (Vec<Exposed>, Vec<Exposed>) {
    // They say who may run what as whom.
    let mut own = vec![
        file,
        &config.certificate,
        &config.private_key,
        &config.users_file,
    ];
    own.extend(config.client_ca_file.as_deref());
    let own = own.into_iter();
    let own: Vec<_> = own
        .filter_map(|file| exposure::check(file, None).err())
        .collect();
    let (refused, mut told) = match config.care {
        Care::Refuse if is_root(&None) => (own, Vec::new()),
        Care::Refuse | Care::Tell => (Vec::new(), own),
    };
    let mut look_at = |file: &Path, account: &Account| {
        if config.care == Care::Refuse && is_root(account) {
            return;
        }
        // The user that it runs as may change it: that is no gain to anybody.
        let uid = account.as_ref().map(|ids| ids.uid);
        told.extend(exposure::check(file, uid).err());
    };
    for procedure in config.procedures.values() {
        if let Runner::Command(command) = &procedure.runner
            && let (Ok(account), Ok(program)) = (&command.account, command.program())
        {
            look_at(&program, account);
        }
    }
    if let Some(python) = &config.python
        && let Ok(account) = &python.account
    {
        look_at(&python.module, account);
    }
    if let Some(choria) = &config.choria
        && let Ok(account) = &choria.account
    {
        look_at(&choria.agents, account);
    }
    (refused, told)
}

fn is_root(account: &Account) -> bool {
    let own = rustix::process::geteuid().as_raw();
    account.as_ref().map_or(own, |ids| ids.uid) == 0
}
