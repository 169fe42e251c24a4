use std::fs::{File, Permissions};
use std::os::unix::fs::PermissionsExt;

use super::*;

fn shell(script: &str) -> Program {
    Program {
        file: "/bin/sh".into(),
        words: ["sh", "-c", script].map(OsString::from).to_vec(),
        environment: vec![("PATH".into(), "/usr/bin:/bin".into())],
        directory: "/".into(),
        ids: None,
        keeps_capabilities: false,
        limits: Vec::new(),
        stdin: Stream::Pipe,
        stdout: Stream::Pipe,
        keeps_orphans: true,
    }
}

fn output(program: &Program) -> String {
    let output = program
        .spawn(&[])
        .unwrap()
        .child
        .wait_with_output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn may_become_others() -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        println!("skipped: only root may become other users");
    }
    is_root
}

#[test]
fn it_leads_a_session_and_a_group_in_its_directory() {
    let told = output(&Program {
        directory: "/usr".into(),
        ..shell("pwd; echo $$; cat /proc/$$/stat")
    });
    let lines: Vec<_> = told.lines().collect();
    assert_eq!(lines[0], "/usr");
    let pid = lines[1];
    let (_, stat) = lines[2].rsplit_once(") ").unwrap();
    let fields: Vec<_> = stat.split(' ').collect();
    assert_eq!([fields[2], fields[3]], [pid, pid], "group and session");
}

#[test]
fn no_descriptor_is_inherited_whatever_its_flags() {
    let open = File::open("/dev/null").unwrap();
    // Without the flag that closes it by itself.
    rustix::io::fcntl_setfd(&open, rustix::io::FdFlags::empty()).unwrap();
    let high = rustix::io::dup(&open).unwrap();
    rustix::io::fcntl_setfd(&high, rustix::io::FdFlags::empty()).unwrap();
    // The listing's own descriptor is the only one above the standard streams.
    let told = output(&shell("ls /proc/self/fd | sort -n | tr '\\n' ' '"));
    assert_eq!(told, "0 1 2 3 ");
}

#[test]
fn users_and_groups_are_exactly_those_given() {
    if !may_become_others() {
        return;
    }
    let ids = Ids {
        uid: 12345,
        gid: 23456,
        groups: vec![23456, 34567],
    };
    let script = "grep -E '^(Uid|Gid|Groups|CapEff):' /proc/self/status | tr -s '\\t ' ' '";
    let program = Program {
        ids: Some(ids),
        ..shell(script)
    };
    assert_eq!(
        output(&program),
        "Uid: 12345 12345 12345 12345\nGid: 23456 23456 23456 23456\n\
         Groups: 23456 34567 \nCapEff: 0000000000000000\n"
    );
}

/// What a program tells that was started by a thread with capabilities of every kind, and
/// with securebits that keep them over a change of the user; `None`, and a word about it,
/// where they cannot be had.
fn started_with_capabilities(program: Program) -> Option<String> {
    // Capabilities are a thread's. Without the steps for them the change from root alone
    // would take them away, which it does not where the starter is not root.
    let told = std::thread::spawn(move || {
        use rustix::thread as t;
        let kept = t::CapabilitySet::CHOWN;
        t::set_capabilities_secure_bits(t::CapabilitiesSecureBits::NO_SETUID_FIXUP)?;
        let mut sets = t::capabilities(None)?;
        sets.inheritable |= kept;
        t::set_capabilities(None, sets)?;
        t::configure_capability_in_ambient_set(kept, true)?;
        io::Result::Ok(output(&program))
    });
    match told.join().unwrap() {
        Ok(told) => Some(told),
        Err(error) => {
            println!("skipped: cannot set capabilities: {error}");
            None
        }
    }
}

#[test]
fn capabilities_are_not_kept() {
    if !may_become_others() {
        return;
    }
    let script = "grep -E '^Cap(Inh|Prm|Eff|Amb):' /proc/self/status | tr -d '\\t'";
    let stranger = Program {
        ids: Some(Ids {
            uid: 12345,
            gid: 12345,
            groups: vec![],
        }),
        ..shell(script)
    };
    let none = ["CapInh:", "CapPrm:", "CapEff:", "CapAmb:"];
    let none: String = none.map(|set| format!("{set}0000000000000000\n")).concat();
    if let Some(told) = started_with_capabilities(stranger) {
        assert_eq!(told, none);
    }
    // As whoever starts it, root here, it has what root has, and hands none on.
    if let Some(told) = started_with_capabilities(shell(script)) {
        assert!(told.starts_with("CapInh:0000000000000000\n"), "{told}");
        assert!(told.ends_with("CapAmb:0000000000000000\n"), "{told}");
    }
    let keeps = Program {
        keeps_capabilities: true,
        ..shell(script)
    };
    if let Some(told) = started_with_capabilities(keeps) {
        assert!(told.ends_with("CapAmb:0000000000000001\n"), "{told}");
    }
}

#[test]
fn limits_are_those_given() {
    let program = Program {
        limits: vec![
            Limit::memory(256 << 20),
            Limit::cpu(7),
            Limit::open_files(33),
            Limit::processes(4000),
        ],
        ..shell(
            "ulimit -v; ulimit -t; ulimit -n; awk '/Max processes/ { print $3 }' /proc/self/limits",
        )
    };
    assert_eq!(output(&program), "262144\n7\n33\n4000\n");
}

#[test]
fn its_standard_streams_can_be_opened_by_their_names() {
    if !may_become_others() {
        return;
    }
    let program = Program {
        ids: Some(Ids {
            uid: 12345,
            gid: 12345,
            groups: vec![],
        }),
        ..shell("echo out > /dev/stdout; echo err > /dev/stderr; cat /dev/stdin")
    };
    let mut child = program.spawn(&[]).unwrap().child;
    drop(child.stdin.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.stdout, b"out\n");
    assert_eq!(output.stderr, b"err\n");
}

#[test]
fn the_umask_is_not_that_of_the_starter() {
    rustix::process::umask(Mode::from_raw_mode(0o077));
    assert_eq!(output(&shell("umask")), "0022\n");
}

#[test]
fn words_and_environment_are_exactly_those_given() {
    let program = Program {
        words: [
            "odd name",
            "-c",
            "echo \"$0\"; env | grep -v ^_=",
            "a b",
            "c",
        ]
        .map(OsString::from)
        .to_vec(),
        environment: vec![("A".into(), "1=2\n".into())],
        ..shell("")
    };
    let told = output(&program);
    assert!(told.starts_with("a b\n"), "{told}");
    assert!(told.contains("A=1=2\n"), "{told}");
    assert!(!told.contains("HOME="), "{told}");
}

#[test]
fn the_step_that_fails_is_told() {
    let step = |program: &Program| {
        let error = program.spawn(&[]).unwrap_err();
        (error.step, error.source.kind())
    };
    let nowhere = Program {
        directory: "/nonexistent".into(),
        ..shell("true")
    };
    assert_eq!(step(&nowhere), (Step::Directory, io::ErrorKind::NotFound));
    let absent = Program {
        file: "/nonexistent".into(),
        ..shell("true")
    };
    assert_eq!(step(&absent), (Step::Execute, io::ErrorKind::NotFound));
    let zero = shell("true\0");
    assert_eq!(step(&zero), (Step::Execute, io::ErrorKind::InvalidInput));
    if may_become_others() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::set_permissions(directory.path(), Permissions::from_mode(0o700)).unwrap();
        // The new user may not enter, though root may.
        let stranger = Program {
            directory: directory.path().to_owned(),
            ids: Some(Ids {
                uid: 12345,
                gid: 12345,
                groups: vec![],
            }),
            ..shell("true")
        };
        assert_eq!(
            step(&stranger),
            (Step::Directory, io::ErrorKind::PermissionDenied)
        );
    }
}

#[test]
fn a_file_that_is_no_program_is_not_given_to_a_shell() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("odd");
    // Written by another process: here, the children that other tests start meanwhile
    // would hold it open for writing, and it could not be executed (ETXTBSY).
    let script = "echo 'echo run by a shell' > \"$0\" && chmod 755 \"$0\"";
    let writer = std::process::Command::new("/bin/sh")
        .args(["-c".as_ref(), script.as_ref(), file.as_os_str()])
        .status()
        .unwrap();
    assert!(writer.success());
    let error = Program { file, ..shell("") }.spawn(&[]).unwrap_err();
    assert_eq!(error.source.raw_os_error(), Some(libc::ENOEXEC));
}

#[test]
fn steps_survive_the_way_back() {
    for step in STEPS {
        let error = decode(io::Error::from_raw_os_error(encode(step, Errno::PERM)));
        assert_eq!(error.step, step);
        assert_eq!(error.source.kind(), io::ErrorKind::PermissionDenied);
    }
}

#[test]
fn streams_are_those_given() {
    let (own, given) = std::os::unix::net::UnixStream::pair().unwrap();
    let program = Program {
        stdin: Stream::Null,
        stdout: Stream::Given(Arc::new(given.into())),
        ..shell("readlink /proc/self/fd/0; test -S /proc/self/fd/1 && echo socket")
    };
    let mut child = program.spawn(&[]).unwrap().child;
    // The other end is the child's alone.
    drop(program);
    let mut told = String::new();
    std::io::Read::read_to_string(&mut &own, &mut told).unwrap();
    assert_eq!(told, "/dev/null\nsocket\n");
    assert!(child.wait().unwrap().success());
}
