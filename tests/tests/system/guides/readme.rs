//! README.md, from its first configuration to what it has a machine do that nobody can reach.

use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::process::{Command, Output, Stdio};

use harp_tests::{ask, binary, repository};
use serde_json::Value;

use super::{LOG, Machine, block, blocks, is_there, text};

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
    machine.write_program("harpcaller/hosts", &hosts);
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
    for command in ["call", "follow", "result", "stream"] {
        let command = format!("harp {command}");
        machine.put(&command, format!("{command} --dispatcher {address}"));
    }
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

    runs_it(&machine, &readme, &toml, &socket);
    if is_there("curl") {
        machine.put("http://127.0.0.1:0", format!("http://{http}"));
        machine.put("127.0.0.1:3580", &http);
        speaks_http(&machine, &readme, address);
        lets_machines_fetch(&mut machine, &readme, &http);
    }
}

/// What an administrator does every day.
fn runs_it(machine: &Machine, readme: &[String], toml: &str, socket: &str) {
    let commands = block(readme, "harpcallerd status -v");
    for line in commands.lines().filter(|line| !line.is_empty()) {
        let command = line.split('#').next().unwrap().trim();
        let words = command.strip_prefix("harpcallerd ").unwrap();
        let said = machine.run(&match words {
            "check-config --hosts" => format!("{command} --config {toml}"),
            _ => format!("harpcallerd --socket {socket} {words}"),
        });
        match words {
            "status -v" => assert!(said.contains("harpcallerd is running"), "{said}"),
            "check-config --hosts" => assert!(said.contains("3 of 3 hosts"), "{said}"),
            _ => {}
        }
    }
    assert!(machine.path("jobs.gz").is_file(), "the backup");
}

/// The lines of curl(1), of which the second follows a job while it runs.
fn speaks_http(machine: &Machine, readme: &[String], address: SocketAddr) {
    let lines = block(
        readme,
        "curl -s -H 'Content-Type: application/json' http://127.0.0.1:3580/api/v1/jobs",
    );
    let lines = lines.replace("\\\n", " ");
    let mut lines = lines.lines().map(str::trim).filter(|line| !line.is_empty());
    let mut next = || lines.next().unwrap();
    let submitted: Value = serde_json::from_str(&machine.run(next())).unwrap();
    let job = submitted["id"].as_str().unwrap();
    let mut live = machine.watch(&next().replace("$JOB", job));
    live.wait_for("a line");
    let mut syslog = fs::File::options()
        .append(true)
        .open(machine.path("syslog"))
        .unwrap();
    syslog.write_all(b"another one\n").unwrap();
    live.wait_for("another one");
    // It would go on for a minute.
    machine.run(&format!("harp cancel --dispatcher {address} {job}"));
    live.finish();
    let result = machine.run(&next().replace("$JOB", job));
    assert!(result.contains("cancelled"), "{result}");
    let metrics = machine.run("curl -s http://127.0.0.1:3580/metrics");
    assert!(metrics.contains("harpcaller_"), "{metrics}");
    let scraped = block(readme, "scrape_configs:");
    assert!(scraped.contains("\"127.0.0.1:3580\""), "{scraped}");
}

/// A job that is claimed by curl(1), and one by `harp serve`.
fn lets_machines_fetch(machine: &mut Machine, readme: &[String], http: &str) {
    let lines = block(
        readme,
        "curl -s -H 'Content-Type: application/json' http://127.0.0.1:3580/api/v1/services",
    );
    let lines = lines.replace("\\\n", " ");
    let mut lines = lines.lines().map(str::trim).filter(|line| !line.is_empty());
    let mut next = || lines.next().unwrap();
    assert!(machine.run(next()).contains("spectrometer"));
    let submit = "harp call --detach topchef spectrometer sample=7";
    let job = machine.run(submit);
    let claimed: Value = serde_json::from_str(&machine.run(next())).unwrap();
    assert_eq!(claimed["job"]["id"], job.trim());
    let claim = claimed["claim"].as_str().unwrap();
    machine.run(&next().replace("$CLAIM", claim));
    let ended = machine.run(&format!("harp result --wait {}", job.trim()));
    assert_eq!(ended.trim(), r#"{"peaks":3}"#);

    let serve = block(readme, "harp serve spectrometer").trim().to_owned();
    machine.put(
        "harp serve",
        format!("harp serve --jobs 1 --url http://{http}"),
    );
    machine.write_program(
        "measure.sh",
        "#!/bin/sh\nread arguments\necho \"measured $arguments\"\n",
    );
    let job = machine.run(submit);
    machine.run(&serve);
    let ended = machine.run(&format!("harp stream {}", job.trim()));
    assert!(ended.contains(r#"measured {"sample":7}"#), "{ended}");
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
