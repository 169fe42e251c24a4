//! The commands and configurations of README.md and MIGRATION.md, run out of their text.

use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use harp_tests::{Daemon, Log, ask, binary, repository};
use serde_json::Value;
use tempfile::TempDir;

/// A machine on which a guide is followed: its directories are below a temporary one.
struct Machine {
    directory: TempDir,
    /// What stands in the guide, and what takes its place here.
    places: Vec<(String, String)>,
}

impl Machine {
    fn new() -> Machine {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
        let places = [
            ("/etc/harpd", at("harpd")),
            ("/etc/harpcaller", at("harpcaller")),
            ("/var/lib/harpcaller", at("lib")),
            ("/run/harpcaller-new", at("run")),
        ];
        for (_, place) in &places {
            fs::create_dir(place).unwrap();
        }
        let places = places.map(|(there, here)| (there.to_owned(), here));
        Machine {
            directory,
            places: places.to_vec(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// From now on this stands in the place of that.
    fn put(&mut self, there: &str, here: impl ToString) {
        self.places.insert(0, (there.to_owned(), here.to_string()));
    }

    fn here(&self, text: &str) -> String {
        let places = self.places.iter();
        places.fold(text.to_owned(), |text, (there, here)| {
            text.replace(there, here)
        })
    }

    /// Runs what a guide has a shell run.
    fn shell(&self, text: &str) -> Output {
        let programs = binary("harp");
        let programs = programs.parent().unwrap().display();
        let path = std::env::var("PATH").unwrap_or_default();
        Command::new("sh")
            .args(["-e", "-c", &self.here(text)])
            .env("PATH", format!("{programs}:{path}"))
            .env("HOME", self.directory.path())
            .env_remove("XDG_CONFIG_HOME")
            .current_dir(self.directory.path())
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    /// Runs it, and it has to succeed; what it prints.
    fn run(&self, text: &str) -> String {
        let output = self.shell(text);
        assert!(output.status.success(), "{text}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), self.here(text)).unwrap();
    }

    /// Starts a daemon, which logs JSON to its standard error; where it listens.
    fn start(&self, program: &str, words: &[&str]) -> (Daemon, SocketAddr) {
        let log = Log::new(program);
        let mut command = Command::new(binary(program));
        command.args(words);
        let mut daemon = Daemon::start(command, &log);
        let address = daemon.listening();
        (daemon, address)
    }
}

/// The indented blocks of a page, each without its indentation.
fn blocks(page: &str) -> Vec<String> {
    let text = fs::read_to_string(repository().join(page)).unwrap();
    let mut blocks = vec![String::new()];
    for line in text.lines() {
        match line.strip_prefix("    ") {
            Some(line) => *blocks.last_mut().unwrap() += &format!("{line}\n"),
            None if line.is_empty() && blocks.last().is_some_and(|block| !block.is_empty()) => {
                blocks.last_mut().unwrap().push('\n');
            }
            None => blocks.push(String::new()),
        }
    }
    blocks.retain(|block| !block.trim().is_empty());
    blocks
}

fn block<'b>(blocks: &'b [String], beginning: &str) -> &'b str {
    let found = blocks
        .iter()
        .find(|block| block.trim().starts_with(beginning));
    found.unwrap_or_else(|| panic!("no block begins with {beginning}"))
}

fn is_there(program: &str) -> bool {
    let tried = Command::new(program).arg("--version").output();
    if tried.is_err() {
        println!("skipped: {program} is not there");
    }
    tried.is_ok()
}

/// Gives a command a line on its standard input.
fn with_input(mut command: Command, line: &str) -> Output {
    let piped = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = piped.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    writeln!(stdin, "{line}").unwrap();
    drop(stdin);
    child.wait_with_output().unwrap()
}

const LOG: &str = "log_handlers = ['stderr']\nlog_format = 'json'\n";

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

#[test]
fn the_readmes_first_configuration_works_as_it_stands() {
    if !is_there("openssl") || !is_there("uptime") {
        return;
    }
    let readme = blocks("README.md");
    let mut machine = Machine::new();
    machine.run(block(&readme, "mkdir -p /etc/harpd"));
    machine.put("\"*:4306\"", "'127.0.0.1:0'");
    machine.put("/var/log/syslog", machine.path("syslog").display());
    fs::write(machine.path("syslog"), "a line\n").unwrap();
    let configuration = block(&readme, "listen = [\"*:4306\"]");
    let restart = "[procedure.restart]\ncommand = ['echo']\noutput = 'text'\narguments = 'argv'\n";
    machine.write(
        "harpd/harpd.toml",
        &format!("{LOG}{configuration}{restart}"),
    );
    let harpd_toml = text(&machine.path("harpd/harpd.toml"));

    let whole = fs::read_to_string(repository().join("README.md")).unwrap();
    assert!(whole.contains("`harpd add-user rpc`") && whole.contains("`harpd --test`"));
    let mut add_user = Command::new(binary("harpd"));
    add_user.args(["--config", &harpd_toml, "add-user", "rpc"]);
    let added = with_input(add_user, "a password");
    assert!(added.status.success(), "{added:?}");
    machine.run(&format!("harpd --config {harpd_toml} --test"));
    let (_harpd, address) = machine.start("harpd", &["--config", &harpd_toml]);

    // Its own host is the one of all names in the guide.
    let script = block(&readme, "#!/bin/sh\necho '{\"hostname\": \"web01\"");
    machine.put("web01.example.net", "127.0.0.1");
    machine.put("\"port\": 4306", format!("\"port\": {}", address.port()));
    machine.put("\"password\": \"...\"", "\"password\": \"a password\"");
    let of = |name: &str| script.lines().nth(1).unwrap().replace("\"web01\"", name);
    let hosts = [script.to_owned(), of("\"web02\""), of("\"web03\"")].join("\n");
    machine.write("harpcaller/hosts", &hosts);
    let executable = fs::Permissions::from_mode(0o700);
    fs::set_permissions(machine.path("harpcaller/hosts"), executable).unwrap();
    let certificate = machine.path("harpd/harpd.cert.pem");
    fs::copy(certificate, machine.path("harpcaller/known_certs.pem")).unwrap();

    machine.put("127.0.0.1:3502", "127.0.0.1:0");
    machine.put("127.0.0.1:3580", "127.0.0.1:0");
    let configuration = block(&readme, "listen = [\"127.0.0.1:3502\"]");
    let http = block(&readme, "[[listen_http]]");
    machine.write(
        "harpcaller/harpcaller.toml",
        &format!("{LOG}{configuration}{http}"),
    );
    let toml = text(&machine.path("harpcaller/harpcaller.toml"));
    machine.run(&format!("harpcallerd check-config --config {toml}"));
    let socket = text(&machine.path("control"));
    let words = ["--socket", &socket, "start", "--config", &toml];
    let (dispatcher, address) = machine.start("harpcallerd", &words);
    let http = dispatcher.newest("listening for HTTP").unwrap();
    let http = http["address"].as_str().unwrap().to_owned();

    // The commands of the operator, each with the job of the one before.
    machine.put("harp call", format!("harp call --dispatcher {address}"));
    machine.put("harp follow", format!("harp follow --dispatcher {address}"));
    let commands = block(&readme, "$ harp call web01 uptime");
    let commands = commands.lines().filter_map(|line| line.strip_prefix("$ "));
    let mut job = String::new();
    for command in commands {
        let id = command
            .split_whitespace()
            .find(|word| word.starts_with("019aa9c0"));
        let command = id.map_or(command.to_owned(), |id| command.replace(id, &job));
        let said = machine.run(&command);
        if command.contains("--detach") {
            said.trim().clone_into(&mut job);
        }
        assert!(!said.is_empty() || command.contains("follow"), "{command}");
    }

    // What is said to nc(1) there.
    let lines = block(&readme, "$ echo '{\"harpcaller\": 1, \"host\"");
    let lines = lines
        .lines()
        .filter_map(|line| line.strip_prefix("$ echo '"));
    let mut job = Value::Null;
    for line in lines {
        let line = line.split("' | nc").next().unwrap();
        let mut request: Value = serde_json::from_str(line).unwrap();
        if request.get("get_result").is_some() {
            request["get_result"] = job.clone();
            request["wait"] = true.into();
            assert!(ask(address, request)["result"].is_string());
        } else {
            job = ask(address, request)["job_id"].clone();
        }
    }
    assert!(job.is_string());

    if !is_there("curl") {
        return;
    }
    machine.put("http://127.0.0.1:0", format!("http://{http}"));
    let lines = block(
        &readme,
        "curl -s -H 'Content-Type: application/json' http://127.0.0.1:3580/api/v1/jobs",
    );
    let lines = lines.replace("\\\n", " ");
    let mut lines = lines.lines().map(str::trim).filter(|line| !line.is_empty());
    machine.put("127.0.0.1:3580", &http);
    let submitted: Value = serde_json::from_str(&machine.run(lines.next().unwrap())).unwrap();
    let job = submitted["id"].as_str().unwrap().to_owned();
    // It would follow the file for a minute.
    machine.run(&format!("harp cancel --dispatcher {address} {job}"));
    let output = machine.run(&lines.next().unwrap().replace("$JOB", &job));
    assert!(output.contains("a line") || output.is_empty(), "{output}");
    let result = machine.run(&lines.next().unwrap().replace("$JOB", &job));
    assert!(result.contains("cancelled"), "{result}");
    let services = block(
        &readme,
        "curl -s -H 'Content-Type: application/json' http://127.0.0.1:3580/api/v1/services",
    );
    let register = services.replace("\\\n", " ");
    let register = register.lines().next().unwrap();
    assert!(machine.run(register).contains("spectrometer"));
}

#[test]
fn the_migration_guides_commands_lead_to_a_call() {
    let guide = blocks("MIGRATION.md");
    if !is_there("openssl") || !is_there("python3") {
        return;
    }
    let mut machine = Machine::new();
    machine.run(block(&blocks("README.md"), "mkdir -p /etc/harpd"));
    // The original's users, of whom one has this password, and its configuration.
    let users = "rpc:$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5\n";
    machine.write("harpd/users.txt", users);
    let mode = fs::Permissions::from_mode(0o600);
    fs::set_permissions(machine.path("harpd/users.txt"), mode).unwrap();
    machine.write(
        "harpd/harpd.conf",
        "network:\n  address: 127.0.0.1\n  port: 0\n  certfile: /etc/harpd/harpd.cert.pem\n  \
         keyfile: /etc/harpd/harpd.key.pem\nauthentication:\n  module: harpd.auth.passfile\n  \
         file: /etc/harpd/users.txt\n",
    );
    machine.run(block(&guide, "harpd convert"));
    let toml = machine.path("harpd/harpd.toml");
    let converted = fs::read_to_string(&toml).unwrap();
    let module =
        "from harpd.proc import procedure\n@procedure\ndef PROCEDURE():\n    return 'moved'\n";
    machine.write("harpd/harpd.py", module);
    let copy = block(&guide, "cp /etc/harpd/harpd.py")
        .lines()
        .next()
        .unwrap();
    machine.run(copy);
    // Nothing is left of Python 2 in it, so that 2to3(1) is not needed.
    let copied = text(&machine.path("harpd/harpd3.py"));
    let converted = converted.replace("/etc/harpd/harpd.py", &copied);
    fs::write(&toml, format!("{LOG}{converted}")).unwrap();
    let toml = text(&toml);
    machine.put("harpd --test", format!("harpd --config {toml} --test"));
    machine.put("harpd list", format!("harpd --config {toml} list"));
    let listed = machine.run(block(&guide, "harpd --test"));
    assert!(listed.contains("PROCEDURE"), "{listed}");
    let (_harpd, address) = machine.start("harpd", &["--config", &toml]);

    let line = serde_json::json!({
        "hostname": "web01", "address": "127.0.0.1", "port": address.port(),
        "credentials": {"user": "rpc", "password": "Hello world!"},
    });
    machine.write(
        "harpcaller/hosts.new",
        &format!("#!/bin/sh\necho '{line}'\n"),
    );
    let executable = fs::Permissions::from_mode(0o700);
    fs::set_permissions(machine.path("harpcaller/hosts.new"), executable).unwrap();
    machine.write(
        "harpcaller/new.toml",
        &format!(
            "{LOG}listen = ['127.0.0.1:0']\nstream_directory = '/var/lib/harpcaller/jobs'\n\
             host_db = '/var/lib/harpcaller/hosts'\nhost_db_script = '/etc/harpcaller/hosts.new'\n\
             known_certs_file = '/etc/harpd/harpd.cert.pem'\n[erlang]\nnode_name = 'x'\n"
        ),
    );
    let commands = block(&guide, "harpcallerd check-config --hosts");
    let (check, start) = commands.split_once('\n').unwrap();
    let told = machine.run(check);
    assert!(told.contains("1 of 1 hosts"), "{told}");
    let start = machine.here(start.trim());
    let mut words = start.split_whitespace();
    assert_eq!(words.next(), Some("harpcallerd"));
    let words: Vec<&str> = words.collect();
    let (_dispatcher, address) = machine.start("harpcallerd", &words);
    machine.put("127.0.0.1:3503", address);
    let call = machine.run(block(&guide, "harp call --dispatcher"));
    assert_eq!(call.trim(), "moved");
}
