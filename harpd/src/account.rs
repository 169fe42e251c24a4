//! Whom a procedure runs as: `user` and `group`, looked up in the system's databases.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::CString;
use std::fmt;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use harp_exec::Ids;
use nix::unistd::{self, Gid, Group, Uid, User};

/// Whom a procedure runs as: as harpd itself, or as somebody else.
pub type Account = Option<Ids>;

/// A user or group cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NoAccount(String);

/// Looks up names or numbers. Blocks for as long as the system's databases take.
///
/// Without `groups`, they are those that the system has for the user. With them, they
/// are exactly those, the first being the primary one. Without `user`, it stays the one
/// that harpd runs as.
///
/// # Errors
///
/// If one of them is not known, or the databases cannot be asked.
pub fn look_up(user: Option<&str>, groups: Option<&[String]>) -> Result<Account, NoAccount> {
    if user.is_none() && groups.is_none() {
        return Ok(None);
    }
    let user = user.map(Found::user).transpose()?;
    let groups = groups
        .map(|groups| groups.iter().map(|name| group(name)).collect())
        .transpose()?;
    let (gid, groups) = match (groups, &user) {
        (Some(groups), _) => {
            let groups: Vec<u32> = groups;
            let primary = groups.first().copied();
            (primary.unwrap_or(unistd::getegid().as_raw()), groups)
        }
        (None, Some(user)) => user.groups()?,
        (None, None) => return Ok(None),
    };
    let uid = user.map_or(unistd::geteuid(), |user| user.uid).as_raw();
    let ids = Ids { uid, gid, groups };
    Ok(if is_own(&ids) { None } else { Some(ids) })
}

/// Environment of a login as the user, as systemd sets it with `User=`:
/// `HOME`, `USER`, `LOGNAME` and `SHELL`. Nothing where the system has no entry for the user;
/// that is told by [`look_up`] where it counts. Blocks as that.
#[must_use]
pub fn login(user: &str) -> BTreeMap<String, String> {
    let Ok(Found {
        entry: Some(entry), ..
    }) = Found::user(user)
    else {
        return BTreeMap::new();
    };
    let home = entry.dir.to_str().map(str::to_owned);
    let shell = entry.shell.to_str().map(str::to_owned);
    let name = Some(entry.name);
    let variables = [
        ("HOME", home),
        ("USER", name.clone()),
        ("LOGNAME", name),
        ("SHELL", shell.filter(|shell| !shell.is_empty())),
    ];
    let variables = variables.into_iter();
    variables
        .filter_map(|(variable, value)| Some((variable.to_owned(), value?)))
        .collect()
}

/// What on the way to a program, or the program itself, the account may not go through
/// or execute, as far as owners and modes tell. Blocks.
///
/// # Errors
///
/// That there is such a file.
pub fn check_may_execute(ids: &Ids, program: &Path) -> Result<(), NoAccount> {
    let Ok(program) = program.canonicalize() else {
        return Ok(());
    };
    let refusing: Option<PathBuf> = program
        .ancestors()
        .filter(|path| std::fs::metadata(path).is_ok_and(|found| !may_execute(ids, &found)))
        .last()
        .map(Path::to_owned);
    match refusing {
        None => Ok(()),
        Some(path) if path == program => Err(NoAccount(format!(
            "user {} may not execute {}",
            ids.uid,
            path.display()
        ))),
        Some(path) => Err(NoAccount(format!(
            "user {} may not execute {}, since it may not enter {}",
            ids.uid,
            program.display(),
            path.display()
        ))),
    }
}

fn may_execute(ids: &Ids, file: &Metadata) -> bool {
    let mode = file.mode();
    let granted = if ids.uid == 0 {
        // A directory can always be entered by root.
        return file.is_dir() || mode & 0o111 != 0;
    } else if file.uid() == ids.uid {
        mode & 0o100
    } else if file.gid() == ids.gid || ids.groups.contains(&file.gid()) {
        mode & 0o010
    } else {
        mode & 0o001
    };
    granted != 0
}

/// A user that was asked for.
struct Found {
    uid: Uid,
    /// Nobody knows more of it if it was given as a number.
    entry: Option<User>,
}

impl Found {
    fn user(name: &str) -> Result<Found, NoAccount> {
        let failed = |error| lookup_failed("user", name, error);
        if let Some(entry) = User::from_name(name).map_err(failed)? {
            return Ok(Found {
                uid: entry.uid,
                entry: Some(entry),
            });
        }
        let uid = number(name).ok_or_else(|| unknown("user", name))?;
        let uid = Uid::from_raw(uid);
        let entry = User::from_uid(uid).map_err(failed)?;
        Ok(Found { uid, entry })
    }

    /// The primary group, and all of them.
    fn groups(&self) -> Result<(u32, Vec<u32>), NoAccount> {
        let Some(entry) = &self.entry else {
            return Err(NoAccount(format!(
                "user {} has no entry in the system's database, so its groups are not \
                 known; name them with group",
                self.uid
            )));
        };
        let failed = |error| lookup_failed("groups of user", &entry.name, error);
        let name = CString::new(entry.name.as_str()).map_err(|_| unknown("user", &entry.name))?;
        let groups = unistd::getgrouplist(&name, entry.gid).map_err(failed)?;
        Ok((
            entry.gid.as_raw(),
            groups.into_iter().map(Gid::as_raw).collect(),
        ))
    }
}

fn group(name: &str) -> Result<u32, NoAccount> {
    match Group::from_name(name) {
        Ok(Some(group)) => Ok(group.gid.as_raw()),
        Ok(None) => number(name).ok_or_else(|| unknown("group", name)),
        Err(error) => Err(lookup_failed("group", name, error)),
    }
}

/// The highest number means "leave it as it is" to the system.
fn number(name: &str) -> Option<u32> {
    name.parse().ok().filter(|number| *number != u32::MAX)
}

/// True if harpd runs as this already, so that nothing has to be changed. Whether the
/// primary group stands among the supplementary ones too makes no difference.
fn is_own(ids: &Ids) -> bool {
    let Ok(own) = unistd::getgroups() else {
        return false;
    };
    let set = |groups: &mut dyn Iterator<Item = u32>| -> BTreeSet<u32> {
        groups.chain([ids.gid]).collect()
    };
    let users = [unistd::getuid(), unistd::geteuid()];
    let groups = [unistd::getgid(), unistd::getegid()];
    users.iter().all(|own| own.as_raw() == ids.uid)
        && groups.iter().all(|own| own.as_raw() == ids.gid)
        && set(&mut own.into_iter().map(Gid::as_raw)) == set(&mut ids.groups.iter().copied())
}

fn unknown(what: &str, name: &str) -> NoAccount {
    NoAccount(format!("unknown {what} {name:?}"))
}

fn lookup_failed(what: &str, name: &str, error: impl fmt::Display) -> NoAccount {
    NoAccount(format!("cannot look up the {what} {name:?}: {error}"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn nothing_asked_for_is_harpd_itself() {
        assert_eq!(look_up(None, None), Ok(None));
    }

    #[test]
    fn names_and_numbers_are_looked_up() {
        let root = look_up(Some("root"), Some(&["0".to_owned(), "7".to_owned()]));
        let expected = Ids {
            uid: 0,
            gid: 0,
            groups: vec![0, 7],
        };
        assert_eq!(root, Ok(Some(expected)));
        let by_number = look_up(Some("0"), Some(&["root".to_owned(), "7".to_owned()]));
        assert_eq!(by_number, root);
        let own = look_up(None, Some(&["12345".to_owned()])).unwrap().unwrap();
        assert_eq!(own.uid, rustix::process::geteuid().as_raw());
        assert_eq!((own.gid, own.groups), (12345, vec![12345]));
    }

    #[test]
    fn who_is_not_known_is_named() {
        for (user, groups, told) in [
            (Some("no-such-user"), None, "unknown user \"no-such-user\""),
            (Some("4294967295"), None, "unknown user \"4294967295\""),
            (
                None,
                Some("no-such-group"),
                "unknown group \"no-such-group\"",
            ),
            (
                Some("3999999999"),
                None,
                "user 3999999999 has no entry in the system's database, so its groups are \
                 not known; name them with group",
            ),
        ] {
            let groups = groups.map(|group| [group.to_owned()]);
            let error = look_up(user, groups.as_ref().map(|groups| &groups[..])).unwrap_err();
            assert_eq!(error.to_string(), told);
        }
    }

    #[test]
    fn what_a_user_may_not_execute_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let program = directory.path().join("program");
        std::fs::write(&program, "").unwrap();
        let mode = |path: &Path, mode| {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        let stranger = Ids {
            uid: 3_999_999_999,
            gid: 3_999_999_999,
            groups: vec![],
        };
        mode(directory.path(), 0o755);
        mode(&program, 0o755);
        check_may_execute(&stranger, &program).unwrap();
        mode(&program, 0o754);
        let told = check_may_execute(&stranger, &program).unwrap_err();
        assert!(told.to_string().ends_with("/program"), "{told}");
        mode(directory.path(), 0o750);
        let told = check_may_execute(&stranger, &program).unwrap_err();
        assert!(told.to_string().contains("may not enter"), "{told}");
        let owner = Ids {
            uid: std::fs::metadata(&program).unwrap().uid(),
            ..stranger
        };
        check_may_execute(&owner, &program).unwrap();
    }
}
