//! `procedures_dir`: a procedure for each program in a directory, and what else lies there.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::Access;

/// Content of a directory.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Programs by their file names, in order.
    pub(crate) programs: Vec<(String, PathBuf)>,
    /// Files that are no procedures, in order.
    pub(crate) passed_over: Vec<PassedOver>,
}

/// Something in the directory that is no procedure. Shown as a sentence that names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PassedOver {
    file: PathBuf,
    why: Why,
}

/// Why a file is no procedure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    /// A link is not followed, so none leads out of the directory.
    Link,
    NoRegularFile,
    NotExecutable,
    NoText,
    /// An editor, a package manager or a copying tool has left it.
    LeftOver,
}

/// Ends of names that tools give to what was, or is not yet, the file itself.
const LEFT_OVER_ENDS: [&str; 31] = [
    "~",
    "#",
    ",v",
    ".bak",
    ".backup",
    ".old",
    ".orig",
    ".rej",
    ".save",
    ".swp",
    ".swo",
    ".swx",
    ".swn",
    ".tmp",
    ".temp",
    ".part",
    ".partial",
    ".filepart",
    ".disabled",
    ".rpmnew",
    ".rpmsave",
    ".rpmorig",
    ".pacnew",
    ".pacsave",
    ".pacorig",
    ".apk-new",
    ".dpkg-new",
    ".dpkg-old",
    ".dpkg-dist",
    ".dpkg-tmp",
    ".dpkg-bak",
];

/// Parts of names that only such tools give: `.ucf-dist`, `x.sync-conflict-2026...`, `x (copy)`.
const LEFT_OVER_PARTS: [&str; 9] = [
    ".dpkg-",
    ".ucf-",
    ".sync-conflict-",
    " (copy",
    " - copy",
    " copy)",
    "conflicted copy",
    ".~",
    ".cfsaved",
];

/// Looks at everything directly in the directory. Executable regular files with a name that
/// is nobody's left-over are programs.
///
/// # Errors
///
/// If the directory cannot be read.
pub(crate) fn read(directory: &Path) -> io::Result<Found> {
    let directory = std::path::absolute(directory)?;
    let mut found = Found::default();
    for entry in std::fs::read_dir(&directory)? {
        let entry = entry?;
        let file = entry.path();
        let kind = entry.file_type()?;
        let name = entry.file_name().into_string();
        let why = match &name {
            Err(_) => Some(Why::NoText),
            Ok(name) if is_left_over(name) => Some(Why::LeftOver),
            Ok(_) if kind.is_symlink() => Some(Why::Link),
            Ok(_) if !kind.is_file() => Some(Why::NoRegularFile),
            Ok(_) if rustix::fs::access(&file, Access::EXEC_OK).is_err() => {
                Some(Why::NotExecutable)
            }
            Ok(_) => None,
        };
        match (why, name) {
            (None, Ok(name)) => found.programs.push((name, file)),
            (why, _) => found.passed_over.push(PassedOver {
                file,
                why: why.unwrap_or(Why::NoText),
            }),
        }
    }
    found.programs.sort_unstable();
    found
        .passed_over
        .sort_unstable_by(|one, other| one.file.cmp(&other.file));
    Ok(found)
}

/// True for names that editors, package managers and copying tools make up.
fn is_left_over(name: &str) -> bool {
    let lower = name.to_lowercase();
    let has_end = LEFT_OVER_ENDS.iter().any(|end| lower.ends_with(end));
    let has_part = LEFT_OVER_PARTS.iter().any(|part| lower.contains(part));
    // Hidden files are nobody's procedures: copying tools build theirs under such a name.
    name.starts_with(['.', '#']) || has_end || has_part
}

impl fmt::Display for PassedOver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = match self.why {
            Why::Link => "a symbolic link, which is not followed",
            Why::NoRegularFile => "no regular file",
            Why::NotExecutable => "not executable",
            Why::NoText => "a name that is no UTF-8",
            Why::LeftOver => {
                "a hidden file, or one that an editor, a package manager or a copying tool leaves behind"
            }
        };
        write!(f, "{:?} is no procedure: {why}", self.file)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn only_programs_are_procedures_and_the_rest_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str, mode: u32| {
            let path = directory.path().join(name);
            std::fs::write(&path, "#!/bin/sh\n").unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        for name in ["yes", "restart.sh", "a b", "backup", "old", "2024", "é"] {
            file(name, 0o755);
        }
        file("no", 0o644);
        let left = [
            ".yes.swp",
            "yes~",
            "#yes#",
            ".#yes",
            "yes.bak",
            "yes.dpkg-old",
            "yes.dpkg-new",
            "yes.ucf-dist",
            "yes.rpmsave",
            "yes.rpmnew",
            "yes.orig",
            "yes.rej",
            ".yes.x8Tq2c",
            "yes.tmp",
            "yes.part",
            "yes (copy)",
            "yes.pacnew",
            "yes,v",
            ".nfs000001",
            "yes.OLD",
            "yes.sync-conflict-20260101-1-AB",
            "yes.123.2026-01-01@10:00:00~",
            "yes.save",
        ];
        for name in left {
            file(name, 0o755);
        }
        symlink("/bin/sh", directory.path().join("link")).unwrap();
        std::fs::create_dir(directory.path().join("inner")).unwrap();
        let found = read(directory.path()).unwrap();
        let names: Vec<_> = found
            .programs
            .iter()
            .map(|(name, _)| name.as_str())
            .collect();
        assert_eq!(
            names,
            ["2024", "a b", "backup", "old", "restart.sh", "yes", "é"]
        );
        let told: Vec<_> = found.passed_over.iter().map(ToString::to_string).collect();
        assert_eq!(told.len(), left.len() + 3, "{told:#?}");
        for (name, why) in [
            ("no", "not executable"),
            ("link", "symbolic link"),
            ("inner", "no regular file"),
            ("yes~", "leaves behind"),
        ] {
            let is_told =
                |line: &&String| line.contains(&format!("/{name}\"")) && line.contains(why);
            assert!(told.iter().any(|line| is_told(&line)), "{name}: {told:#?}");
        }
    }
}
