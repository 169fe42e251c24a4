//! Files of the configuration that others could change, as a start and `--test` tell them.

use std::path::Path;

use harp_service::exposure::{self, Exposed};

use crate::account::Account;
use crate::config::Config;
use crate::runner::Runner;

/// Files that others could change: first those that keep harpd from starting, then those
/// that it only tells of.
/// Procedures that are refused are neither: [`Care::check`](crate::care::Care::check) is asked at each call. Blocks.
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
    let (refused, mut told) = if config.care.refuses(&None) {
        (own, Vec::new())
    } else {
        (Vec::new(), own)
    };
    let mut look_at = |file: &Path, account: &Account| {
        if config.care.refuses(account) {
            return;
        }
        // The user that it runs as may change it: that is no gain to anybody.
        let uid = account.as_ref().map(|ids| ids.uid);
        told.extend(exposure::check(file, uid).err());
    };
    for procedure in config.procedures.values() {
        if let Runner::Command(command) = &*procedure.runner
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
