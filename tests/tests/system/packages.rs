//! Units and Debian packages, as an administrator would have them.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use harp_tests::{Daemon, Log, binary, repository};

/// A user whose processes are nobody's in particular.
const NOBODY: u32 = 65534;

/// True if a program can be run; else the test says that it is skipped.
fn have(program: &str) -> bool {
    let found = Command::new(program).arg("--version").output().is_ok();
    if !found {
        eprintln!("skipped: {program} is not installed");
    }
    found
}

fn run(command: &mut Command) -> Output {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?} ended with {}:\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

/// The units, with a program that is on every machine in the place of ours.
fn units(directory: &Path) -> Vec<PathBuf> {
    let mut units = Vec::new();
    for name in [
        "harpcallerd.service",
        "harpcallerd.socket",
        "harpcallerd-http.socket",
        "harpd.service",
    ] {
        let text = fs::read_to_string(repository().join("dist/systemd").join(name))
            .expect("a unit of this repository");
        let text = text
            .replace("/usr/sbin/harpcallerd", "/bin/true")
            .replace("/usr/sbin/harpd", "/bin/true");
        let unit = directory.join(name);
        fs::write(&unit, text).expect("a writable directory");
        units.push(unit);
    }
    units
}

#[test]
fn systemd_takes_the_units_and_finds_the_dispatcher_confined() {
    if !have("systemd-analyze") {
        return;
    }
    let directory = tempfile::tempdir().expect("a temporary directory");
    let units = units(directory.path());
    let verified = run(Command::new("systemd-analyze")
        .args(["verify", "--man=no"])
        .args(&units));
    assert_eq!(String::from_utf8_lossy(&verified.stderr), "");

    let security = run(Command::new("systemd-analyze")
        .args(["security", "--offline=true", "--threshold=29"])
        .arg(&units[0]));
    let text = String::from_utf8_lossy(&security.stdout);
    let exposure = text
        .lines()
        .find_map(|line| line.split_once("Overall exposure level for harpcallerd.service: "))
        .and_then(|(_, rest)| rest.split_whitespace().next()?.parse::<f64>().ok());
    assert!(exposure.is_some_and(|exposure| exposure < 3.0), "{text}");
}

/// A root directory with nothing in it but dpkg's own records and two files of accounts.
struct Root(tempfile::TempDir);

impl Root {
    fn new() -> Root {
        let root = Root(tempfile::tempdir().expect("a temporary directory"));
        for directory in ["var/lib/dpkg/info", "var/lib/dpkg/updates", "etc"] {
            fs::create_dir_all(root.path(directory)).expect("a writable directory");
        }
        for (file, text) in [
            ("var/lib/dpkg/status", ""),
            ("var/lib/dpkg/available", ""),
            ("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n"),
            ("etc/group", "root:x:0:\n"),
        ] {
            fs::write(root.path(file), text).expect("a writable directory");
        }
        root
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Runs dpkg on it. Its scripts find it in `DPKG_ROOT`; what the packages depend on
    /// is on this machine, not in there.
    fn dpkg(&self, arguments: &[&str], packages: &[PathBuf]) {
        run(Command::new("dpkg")
            .arg(format!("--root={}", self.0.path().display()))
            .args([
                "--force-script-chrootless",
                "--force-depends",
                "--force-confold",
            ])
            .args(arguments)
            .args(packages));
    }

    fn mode(&self, name: &str) -> u32 {
        let found = fs::metadata(self.path(name));
        let found = found.unwrap_or_else(|error| panic!("{name}: {error}"));
        found.permissions().mode() & 0o7777
    }

    /// Everything of ours that is left, but for dpkg's own records.
    fn left(&self) -> Vec<String> {
        let found = run(Command::new("find")
            .arg(self.0.path())
            .args(["-name", "*harp*"]));
        let text = String::from_utf8_lossy(&found.stdout).into_owned();
        let ours = text.lines().filter(|line| !line.contains("/var/lib/dpkg/"));
        ours.map(str::to_owned).collect()
    }
}

fn build(binaries: &Path, version: &str, output: &Path) -> Vec<PathBuf> {
    run(Command::new("bash")
        .arg(repository().join("dist/debian/build-packages"))
        .arg("--binaries")
        .arg(binaries)
        .args(["--version", version, "--uncompressed"])
        .arg(output));
    let packages = fs::read_dir(output).expect("the packages' directory");
    packages
        .map(|entry| entry.expect("an entry of a directory").path())
        .filter(|path| path.to_string_lossy().contains(&format!("_{version}_")))
        .collect()
}

#[test]
fn packages_install_upgrade_and_remove_cleanly() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can install into a root directory of its own");
        return;
    }
    if !(have("dpkg-deb") && have("dpkg") && have("systemd-sysusers") && have("gzip")) {
        return;
    }
    let binary = binary("harpcallerd");
    let binaries = binary.parent().expect("the binaries' directory");
    let output = tempfile::tempdir().expect("a temporary directory");
    let first = build(binaries, "0.0.1", output.path());
    let (symbols, first): (Vec<_>, Vec<_>) = first
        .into_iter()
        .partition(|path| path.to_string_lossy().contains("-dbgsym_"));
    assert_eq!(first.len(), 3, "{first:?}");
    // Binaries without symbols, which are in packages of their own.
    assert_eq!(symbols.len(), if have("objcopy") { 3 } else { 0 });
    if have("lintian") {
        let told = Command::new("lintian")
            .args([
                "--allow-root",
                "--fail-on",
                "error,warning",
                "--suppress-tags",
            ])
            // They are uncompressed for this test alone.
            .arg("uses-no-compression-for-data-tarball,uses-no-compression-for-control-tarball")
            .args(&first)
            .output()
            .expect("lintian runs");
        let text = String::from_utf8_lossy(&told.stdout);
        assert!(told.status.success(), "{text}");
    }
    let root = Root::new();
    root.dpkg(&["--install"], &first);

    // What holds secrets or jobs is for the dispatcher alone.
    assert_eq!(root.mode("var/lib/harpcaller"), 0o700);
    assert_eq!(root.mode("etc/harpcaller"), 0o750);
    assert_eq!(root.mode("etc/harpcaller/harpcaller.toml"), 0o640);
    assert_eq!(root.mode("etc/harpd/harpd.toml"), 0o600);
    let accounts = fs::read_to_string(root.path("etc/passwd")).expect("accounts");
    let user = accounts
        .lines()
        .find_map(|line| line.strip_prefix("harpcaller:x:")?.split(':').next())
        .expect("a user for the dispatcher");
    let owner = fs::metadata(root.path("var/lib/harpcaller")).expect("a directory");
    assert_eq!(owner.uid().to_string(), user);
    for page in [
        "man8/harpcallerd.8.gz",
        "man5/harpd.toml.5.gz",
        "man1/harp.1.gz",
    ] {
        assert!(root.path("usr/share/man").join(page).is_file(), "{page}");
    }

    // The installed binaries run and take the installed configuration.
    for program in ["usr/sbin/harpcallerd", "usr/sbin/harpd", "usr/bin/harp"] {
        run(Command::new(root.path(program)).arg("--version"));
    }
    run(Command::new(root.path("usr/sbin/harpcallerd"))
        .arg("check-config")
        .arg("--config")
        .arg(root.path("etc/harpcaller/harpcaller.toml")));

    // An upgrade keeps what the administrator wrote and the jobs.
    let config = root.path("etc/harpcaller/harpcaller.toml");
    let mut text = fs::read_to_string(&config).expect("the configuration");
    text += "# mine\n";
    fs::write(&config, &text).expect("a writable file");
    let job = root.path("var/lib/harpcaller/jobs/job");
    fs::write(&job, "kept").expect("a writable directory");
    let second = build(binaries, "0.0.2", output.path());
    let second: Vec<_> = second
        .into_iter()
        .filter(|path| !path.to_string_lossy().contains("-dbgsym_"))
        .collect();
    root.dpkg(&["--install"], &second);
    assert_eq!(
        fs::read_to_string(&config).expect("the configuration"),
        text
    );
    assert!(job.exists());

    // As the unit's StateDirectory, and what a harpd has left there.
    fs::create_dir_all(root.path("var/lib/harpd")).expect("a writable directory");
    let life = root.path("var/lib/harpd/life");
    fs::write(&life, "a life").expect("a writable directory");

    let names = ["harpcallerd", "harpd", "harp"];
    root.dpkg(&[&["--remove"], &names[..]].concat(), &[]);
    assert!(!root.path("usr/sbin/harpcallerd").exists());
    assert!(
        config.exists() && job.exists() && life.exists(),
        "only a purge takes these"
    );
    // A store that is not ours, and logs of somebody else's, are not taken along.
    let logs = root.path("var/log/harpcaller");
    fs::create_dir_all(&logs).expect("a writable directory");
    for log in ["erlang.log", "audit.jsonl", "audit.jsonl.1.gz"] {
        fs::write(logs.join(log), "").expect("a writable directory");
    }
    root.dpkg(&[&["--purge"], &names[..]].concat(), &[]);
    assert!(job.exists() && logs.join("erlang.log").exists());
    assert!(!logs.join("audit.jsonl").exists() && !logs.join("audit.jsonl.1.gz").exists());
    for directory in ["var/lib/harpcaller", "var/log/harpcaller"] {
        fs::remove_dir_all(root.path(directory)).expect("what stays");
    }
    assert_eq!(root.left(), [""; 0]);
}

/// The sample's listener for a group, no comment any more, with its socket here.
fn sample_listener(socket: &Path) -> String {
    let sample = fs::read_to_string(repository().join("dist/harpcaller.toml")).expect("a sample");
    let listeners = sample.split("#[[listener]]").skip(1);
    let listener = listeners.map(|text| text.split("\n\n").next().unwrap_or_default());
    let lines = listener.map(|text| text.replace("# ", "# # ").replace("\n#", "\n"));
    let mut with_group = lines.filter(|text| text.contains("group = "));
    let text = with_group.next().expect("a listener with a group");
    let socket = socket.to_str().expect("a path");
    format!(
        "[[listener]]\n{}\n",
        text.replace("/run/harpcaller/clients", socket)
    )
}

#[test]
fn the_samples_socket_goes_to_a_group_that_the_dispatchers_user_is_in() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can be the dispatcher's user");
        return;
    }
    let groups = fs::read_to_string("/etc/group").unwrap_or_default();
    let group = groups
        .lines()
        .find_map(|line| line.strip_prefix("www-data:")?.split(':').nth(1));
    let Some(group) = group else {
        eprintln!("skipped: there is no group www-data");
        return;
    };
    if !have("setpriv") {
        return;
    }
    let directory = tempfile::tempdir().expect("a temporary directory");
    let at = |name: &str| directory.path().join(name);
    let program = at("harpcallerd");
    let ours = binary("harpcallerd");
    fs::hard_link(&ours, &program)
        .or_else(|_| fs::copy(&ours, &program).map(drop))
        .expect("room for a program");
    fs::create_dir(at("jobs")).expect("a writable directory");
    let config = format!(
        "listen = ['127.0.0.1:0']\nlog_handlers = ['stderr']\nlog_format = 'json'\n\
         stream_directory = {:?}\nhost_db = {:?}\nhost_db_script = '/bin/true'\n\
         host_db_allow_empty = true\n{}",
        at("jobs"),
        at("hosts"),
        sample_listener(&at("clients")),
    );
    fs::write(at("config"), config).expect("a writable directory");
    for path in [directory.path(), &at("jobs"), &at("config")] {
        chown(path, Some(NOBODY), Some(NOBODY)).expect("root gives files away");
    }
    let as_user = |groups: &[&str], words: &[&OsStr]| {
        let mut command = Command::new("setpriv");
        command
            .arg(format!("--reuid={NOBODY}"))
            .arg(format!("--regid={NOBODY}"))
            .args(groups)
            .args(words);
        command
    };
    let reached = as_user(
        &["--clear-groups"],
        &["test".as_ref(), "-x".as_ref(), program.as_ref()],
    );
    if !{ reached }.status().is_ok_and(|status| status.success()) {
        eprintln!("skipped: another user does not reach the directory for temporary files");
        return;
    }
    let control = at("control");
    let start = [
        program.as_os_str(),
        "--socket".as_ref(),
        control.as_ref(),
        "start".as_ref(),
        "--config".as_ref(),
    ];
    let config = at("config");
    let start = [&start[..], &[config.as_os_str()]].concat();

    let refused = as_user(&["--clear-groups"], &start).output();
    let refused = refused.expect("setpriv runs");
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1), "{told}");
    assert!(told.contains("SupplementaryGroups=www-data"), "{told}");

    // With what it says.
    let log = Log::new("harpcallerd");
    let groups = format!("--groups={group}");
    let _dispatcher = Daemon::start(as_user(&[&groups], &start), &log);
    let _ = log.wait_for("ready");
    let socket = fs::metadata(at("clients")).expect("a socket");
    assert_eq!(socket.gid().to_string(), group);
    assert_eq!(socket.mode() & 0o777, 0o660);
}

/// A machine with systemd, as far as the packages' scripts ask it: programs that tell what
/// they were asked, and answer what they were told to.
struct Machine(Root);

impl Machine {
    fn new() -> Machine {
        let machine = Machine(Root::new());
        fs::create_dir_all(machine.0.path("run/systemd/system")).expect("a writable directory");
        fs::create_dir_all(machine.0.path("bin")).expect("a writable directory");
        for program in [
            "systemctl",
            "systemd-sysusers",
            "systemd-tmpfiles",
            "harpcallerd",
            "harpd",
        ] {
            machine.answers(program, "");
        }
        machine
    }

    fn answers(&self, program: &str, script: &str) {
        let file = self.0.path("bin").join(program);
        let text = format!(
            "#!/bin/sh\necho \"{program} $*\" >> {}\n{script}\n",
            self.0.path("asked").display()
        );
        fs::write(&file, text).expect("a writable directory");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect("our file");
    }

    /// Runs a script, and returns what it has asked and said. It always succeeds.
    fn run(&self, script: &str, arguments: &[&str]) -> (String, String) {
        let _ = fs::remove_file(self.0.path("asked"));
        let path = std::env::var("PATH").unwrap_or_default();
        let done = run(Command::new("sh")
            .arg(repository().join("dist/debian").join(script))
            .args(arguments)
            .env("DPKG_ROOT", self.0.0.path())
            .env("PATH", format!("{}:{path}", self.0.path("bin").display())));
        let asked = fs::read_to_string(self.0.path("asked")).unwrap_or_default();
        (asked, String::from_utf8_lossy(&done.stderr).into_owned())
    }
}

#[test]
fn an_upgrade_restarts_what_can_be_restarted_and_never_fails() {
    let machine = Machine::new();
    let restart = |package: &str| format!("systemctl restart {package}.service");
    for package in ["harpcallerd", "harpd"] {
        let script = format!("{package}.postinst");
        let upgrade = || machine.run(&script, &["configure", "0.0.1"]);
        // For the first time nothing is started.
        machine.answers("systemctl", "");
        let (asked, said) = machine.run(&script, &["configure", ""]);
        assert!(!asked.contains(&restart(package)), "{asked}");
        assert!(said.contains("systemctl enable --now"), "{said}");

        let (asked, said) = upgrade();
        assert!(asked.contains(&restart(package)), "{asked}");
        assert_eq!(said, "");
        // It does not start: told, and dpkg goes on.
        machine.answers("systemctl", "[ \"$1\" != restart ]");
        let (_, said) = upgrade();
        assert!(said.contains("does not start"), "{said}");
        // It does not run, or there is nobody to ask.
        machine.answers("systemctl", "exit 1");
        let (asked, said) = upgrade();
        assert!(!asked.contains(&restart(package)), "{asked}");
        assert!(said.contains("daemon-reload"), "{said}");
        let (_, said) = machine.run(&format!("{package}.prerm"), &["remove"]);
        assert!(said.contains("could not be stopped"), "{said}");
        machine.run(&format!("{package}.postrm"), &["remove"]);

        // A configuration that the new version does not take stays with the old one.
        machine.answers("systemctl", "");
        machine.answers(
            package,
            "case \"$*\" in *list*) exit 0;; esac; echo line 7; exit 1",
        );
        let (asked, said) = upgrade();
        assert!(!asked.contains(&restart(package)), "{asked}");
        assert!(
            said.contains("line 7") && said.contains("runs on"),
            "{said}"
        );
        machine.answers(package, "");
    }
    // Calls of a host would end.
    machine.answers("harpd", "case \"$*\" in *list*) echo backup rpc;; esac");
    let (asked, said) = machine.run("harpd.postinst", &["configure", "0.0.1"]);
    assert!(!asked.contains(&restart("harpd")), "{asked}");
    assert!(said.contains("backup rpc"), "{said}");
    // No users, no /proc for the scripts that make them.
    machine.answers("systemd-sysusers", "exit 1");
    machine.answers("systemd-tmpfiles", "exit 1");
    let (_, said) = machine.run("harpcallerd.postinst", &["configure", "0.0.1"]);
    assert!(
        said.contains("systemd-sysusers") && said.contains("systemd-tmpfiles"),
        "{said}"
    );
}
