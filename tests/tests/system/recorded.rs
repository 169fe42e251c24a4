//! Conversations with the dispatcher, byte for byte: what it has ever said to clients and
//! administrators, it goes on saying.
//!
//! A conversation is played, written down with `> ` before what is sent and `< ` before what
//! comes, and held against the file of its name in `recorded/`. What differs from one run to
//! the next has a name there: `JOB1`, `TIME`, `COUNT`, `PORT`, `PID`, `DIR`, `VERSION`.

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader, Write as _};
use std::os::unix::net::UnixStream;

use harp_tests::{Cluster, RawClient, until};

use super::access::identity::{Files, hello, listeners, with_tokens};
use crate::assertions::NO_JOB;

/// Lines longer than this are shown by their beginning.
const SHOWN: usize = 1000;

/// What has been said so far.
struct Transcript {
    text: String,
    /// What differs between runs, with its name.
    names: Vec<(String, String)>,
}

impl Transcript {
    fn new(cluster: &Cluster) -> Transcript {
        let directory = cluster.path("").display().to_string();
        let directory = directory.trim_end_matches('/').to_owned();
        let mut names = vec![(directory, "DIR".to_owned())];
        let pid = cluster.dispatcher_id();
        names.push((format!("\"pid\":\"{pid}\""), "\"pid\":\"PID\"".to_owned()));
        let server = |version: &str| format!("harpcallerd/{version}");
        names.push((server(env!("CARGO_PKG_VERSION")), server("VERSION")));
        Transcript {
            text: String::new(),
            names,
        }
    }

    fn about(&mut self, what: &str) {
        let _ = writeln!(self.text, "\n# {what}");
    }

    /// Gives a job a name.
    fn job(&mut self, id: &str) {
        let jobs = self
            .names
            .iter()
            .filter(|(_, name)| name.starts_with("JOB"));
        let name = format!("JOB{}", jobs.count() + 1);
        self.names.push((id.to_owned(), name));
    }

    fn sent(&mut self, line: &str) {
        self.line('>', line);
    }

    fn came(&mut self, line: &str) {
        self.line('<', line);
    }

    fn line(&mut self, direction: char, line: &str) {
        let mut line = line.to_owned();
        for (text, name) in &self.names {
            line = line.replace(text, name);
        }
        let line = without_times(&line);
        let _ = if line.len() > SHOWN {
            writeln!(
                self.text,
                "{direction} {}... {} bytes",
                &line[..40],
                line.len()
            )
        } else {
            writeln!(self.text, "{direction} {line}")
        };
    }

    /// Sends a line on a connection of its own and writes down all that comes; the first
    /// line that comes.
    fn ask(&mut self, address: std::net::SocketAddr, line: &str) -> String {
        let mut client = RawClient::connect(address);
        self.sent(line);
        client.send(line);
        let lines = client.rest();
        if let Some(id) = lines.first().and_then(|line| new_job(line)) {
            self.job(&id);
        }
        for line in &lines {
            self.came(line);
        }
        lines.into_iter().next().unwrap_or_default()
    }

    /// Asks for a call and returns its job.
    fn call(&mut self, address: std::net::SocketAddr, rest: &str) -> String {
        let answer = self.ask(address, &format!("{{\"harpcaller\":1,{rest}}}"));
        new_job(&answer).unwrap_or_else(|| panic!("refused: {answer}"))
    }

    /// Sends a line to the administrative socket and writes down so many lines that come.
    fn administer(&mut self, socket: &mut BufReader<UnixStream>, line: &str, replies: usize) {
        self.sent(line);
        writeln!(socket.get_mut(), "{line}").unwrap();
        for _ in 0..replies {
            let mut reply = String::new();
            socket.read_line(&mut reply).unwrap();
            assert!(reply.ends_with('\n'), "{line}: {reply:?}");
            self.came(reply.trim_end_matches('\n'));
        }
    }

    /// Compares with what is recorded.
    fn hold_against(&self, name: &str) {
        let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/system/recorded");
        let recorded = fs::read_to_string(format!("{directory}/{name}")).unwrap_or_default();
        if recorded == self.text {
            return;
        }
        let played = std::env::temp_dir().join(format!("played-{name}"));
        fs::write(&played, &self.text).unwrap();
        let mut lines = self.text.lines().zip(1..);
        let mut known = recorded.lines();
        let first = lines.find(|(line, _)| known.next() != Some(line));
        panic!(
            "not as recorded in {directory}/{name}, first at {first:?}; all of it is in {}",
            played.display()
        );
    }
}

/// The id in the answer to a call that has made a job.
fn new_job(answer: &str) -> Option<String> {
    let rest = answer.strip_prefix("{\"harpcaller\":1,\"job_id\":\"")?;
    let id = rest.get(..36)?;
    (rest.get(36..) == Some("\"}")).then(|| id.to_owned())
}

/// Numbers of ten digits and more are times, those behind `"port":` ports; how many jobs were
/// pruned depends on time.
fn without_times(line: &str) -> String {
    let mut text = String::new();
    let mut rest = line;
    while let Some(begin) = rest.find(|character: char| character.is_ascii_digit()) {
        let (before, number) = rest.split_at(begin);
        let end = number.find(|character: char| !character.is_ascii_digit());
        let (number, behind) = number.split_at(end.unwrap_or(number.len()));
        text.push_str(before);
        text.push_str(match number.len() {
            10.. => "TIME",
            _ if before.ends_with("\"port\":") => "PORT",
            // A job whose host is not done with it stays.
            _ if before.ends_with("\"jobs_pruned\":") => "COUNT",
            _ => number,
        });
        rest = behind;
    }
    text + rest
}

#[test]
fn clients_are_told_what_they_always_were() {
    let cluster = Cluster::builder()
        .set("max_request_size", "\"1K\"")
        .set("max_queue_length", "1")
        .set("max_live_jobs", "3")
        .start();
    let address = cluster.address();
    let caller = cluster.caller();
    let mut played = Transcript::new(&cluster);

    played.about("What is no request.");
    for line in [
        "",
        "nonsense",
        "[]",
        "{}",
        r#"{"harpcaller":2,"get_status":"x"}"#,
        r#"{"harpcaller":1}"#,
        r#"{"harpcaller":1,"cancel":"x","get_status":"x"}"#,
        r#"{"harpcaller":1,"get_status":7}"#,
        r#"{"harpcaller":1,"host":"web01","procedure":"echo"}"#,
        r#"{"harpcaller":1,"host":"web01","procedure":"echo","arguments":[],"timeout":0}"#,
        r#"{"harpcaller":1,"host":"web01","procedure":"echo","arguments":[],"extra":0}"#,
        r#"{"harpcaller":1,"read_stream":"x","limit":0}"#,
    ] {
        played.ask(address, line);
    }

    played.about("What is too large.");
    let long = "x".repeat(2000);
    let call =
        format!(r#"{{"harpcaller":1,"host":"web01","procedure":"echo","arguments":["{long}"]}}"#);
    played.ask(address, &call);
    let longer = "x".repeat(80_000);
    played.sent(&longer);
    let mut client = RawClient::connect(address);
    client.try_send_bytes(longer.as_bytes());
    played.came(&client.raw_line());

    played.about("A call, and what is asked about it.");
    let echo = r#""host":"web01","procedure":"echo","arguments":["a",1.50]"#;
    let job = played.call(address, &format!(r#"{echo},"info":{{"b":[1.0]}}"#));
    let about = |operation: &str, job: &str, rest: &str| {
        format!(r#"{{"harpcaller":1,"{operation}":"{job}"{rest}}}"#)
    };
    played.ask(address, &about("get_result", &job, ""));
    for operation in ["get_status", "read_stream", "follow_stream", "cancel"] {
        played.ask(address, &about(operation, &job, ""));
    }
    played.ask(address, &about("get_result", &job, r#","wait":false"#));
    played.ask(address, &about("cancel", &job, r#","confirm":true"#));

    played.about("Packets.");
    let packets =
        r#""host":"web01","procedure":"packets","arguments":["1.50","{\"a\":[]}","null","\"x\""]"#;
    let job = played.call(address, packets);
    played.ask(address, &about("follow_stream", &job, r#","since":0"#));
    played.ask(address, &about("get_result", &job, ""));
    for rest in [
        "",
        r#","limit":2"#,
        r#","limit":4"#,
        r#","limit":5"#,
        r#","since":3"#,
        r#","since":4"#,
        r#","since":9,"limit":1"#,
        r#","recent":1"#,
        r#","recent":9,"timestamps":true"#,
        r#","since":1,"timestamps":true,"limit":1"#,
    ] {
        played.ask(address, &about("read_stream", &job, rest));
    }
    for rest in [
        "",
        r#","recent":2"#,
        r#","since":3,"timestamps":true"#,
        r#","since":7"#,
    ] {
        played.ask(address, &about("follow_stream", &job, rest));
    }

    played.about("How calls fail.");
    for rest in [
        r#""host":"nowhere","procedure":"echo","arguments":[]"#,
        r#""host":"web01","procedure":"nothing","arguments":[]"#,
        r#""host":"web01","procedure":"fail","arguments":["3","why"]"#,
        r#""host":"web01","procedure":"silent","arguments":[],"timeout":1"#,
    ] {
        let job = played.call(address, rest);
        played.ask(address, &about("get_result", &job, ""));
        played.ask(address, &about("follow_stream", &job, ""));
    }

    played.about("No job.");
    for job in [NO_JOB, "nonsense"] {
        for operation in [
            "get_result",
            "get_status",
            "read_stream",
            "follow_stream",
            "cancel",
        ] {
            played.ask(address, &about(operation, job, ""));
        }
        played.ask(address, &about("get_result", job, r#","wait":false"#));
        played.ask(address, &about("cancel", job, r#","confirm":true"#));
    }

    played.about("A key.");
    let keyed = format!(r#"{echo},"key":"k""#);
    let job = played.call(address, &keyed);
    played.ask(address, &about("get_result", &job, ""));
    played.ask(address, &format!(r#"{{"harpcaller":1,{keyed}}}"#));
    let other = keyed.replace("1.50", "1.5");
    played.ask(address, &format!(r#"{{"harpcaller":1,{other}}}"#));

    played.about("A queue, its limit and that of all jobs.");
    let queued = r#""host":"web01","procedure":"silent","arguments":[],"queue":{"name":{"q":1.0}}"#;
    let running = played.call(address, queued);
    until("it runs", || caller.has_started(&running).then_some(()));
    let waiting = played.call(address, &format!(r#"{queued},"start_by":600"#));
    played.ask(address, &format!(r#"{{"harpcaller":1,{queued}}}"#));
    let free = played.call(address, &queued.replace("1.0", "2"));
    played.ask(address, &format!(r#"{{"harpcaller":1,{echo}}}"#));
    for job in [&running, &waiting] {
        played.ask(address, &about("get_status", job, ""));
        played.ask(address, &about("get_result", job, r#","wait":false"#));
        played.ask(address, &about("read_stream", job, ""));
    }
    played.ask(address, &about("cancel", &waiting, r#","confirm":true"#));
    played.ask(address, &about("cancel", &running, r#","confirm":true"#));
    played.ask(address, &about("cancel", &free, ""));
    for job in [&running, &waiting, &free] {
        played.ask(address, &about("get_result", job, ""));
        played.ask(address, &about("follow_stream", job, ""));
    }

    played.about("One connection for all, until an error.");
    let mut client = RawClient::connect(address);
    for line in [
        r#"{"harpcaller":1,"hello":{"client":"recorded"}}"#.to_owned(),
        about("get_status", NO_JOB, "").replace("get_status", "cancel"),
        about("get_result", &running, ""),
        r#"{"harpcaller":1,"hello":{"token":"x"}}"#.to_owned(),
        about("get_result", NO_JOB, ""),
    ] {
        played.sent(&line);
        client.send(&line);
        played.came(&client.raw_line());
    }
    assert!(client.at_end());

    played.about("Draining.");
    let last = played.call(address, queued);
    until("it runs", || caller.has_started(&last).then_some(()));
    let mut drain = cluster.command().arg("drain").spawn().unwrap();
    until("no calls are taken", || {
        let answer = caller.ask(format!(r#"{{"harpcaller":1,{echo}}}"#));
        (answer["error"]["type"] == "shutdown").then_some(())
    });
    played.ask(address, &format!(r#"{{"harpcaller":1,{echo}}}"#));
    played.ask(address, &about("get_result", &last, r#","wait":false"#));
    played.ask(address, &about("cancel", &last, ""));
    assert!(drain.wait().unwrap().success());
    played.hold_against("clients.txt");
}

#[test]
fn strangers_and_those_who_may_not_are_told_what_they_always_were() {
    let files = Files::new();
    let token = files.new_token("shop");
    let cluster = with_tokens(&files)
        .set("max_connections_per_peer", "8")
        .tables(
            "[[listener]]\naddress = '127.0.0.1:0'\n[[allow]]\nclient = 'token:shop'\n\
             host = 'nowhere'\njobs = 'own'\n[[allow]]\nclient = '*'\nhost = 'there'\n\
             operations = 'call'\n[[allow]]\nclient = 'token:*'\nhost = 'x'\n",
        )
        .start();
    let (open, closed) = (cluster.address(), listeners(&cluster)[0]);
    let mut played = Transcript::new(&cluster);
    played.names.push((token.clone(), "TOKEN".to_owned()));
    let call = |host: &str| {
        format!(r#"{{"harpcaller":1,"host":"{host}","procedure":"p","arguments":[]}}"#)
    };
    let status = |job: &str| format!(r#"{{"harpcaller":1,"get_status":"{job}"}}"#);

    played.about("Strangers.");
    played.ask(closed, &call("there"));
    played.ask(closed, &status(NO_JOB));
    played.ask(closed, r#"{"harpcaller":1,"hello":{}}"#);
    played.ask(closed, r#"{"harpcaller":1,"hello":{"client":"c"}}"#);
    played.ask(closed, &hello("wrong").to_string());
    played.ask(closed, "nonsense");
    let longer = "x".repeat(80_000);
    played.sent(&longer);
    let mut client = RawClient::connect(closed);
    client.try_send_bytes(longer.as_bytes());
    played.came(&client.raw_line());

    played.about("Those who may not.");
    played.ask(open, &call("nowhere"));
    played.ask(open, &status(NO_JOB));
    played.ask(open, &format!(r#"{{"harpcaller":1,"cancel":"{NO_JOB}"}}"#));
    let answer = played.ask(open, &call("there"));
    let foreign = new_job(&answer).unwrap();
    let mut client = RawClient::connect(closed);
    for line in [hello(&token).to_string(), status(NO_JOB)] {
        played.sent(&line);
        client.send(&line);
        played.came(&client.raw_line());
    }
    for operation in ["get_status", "get_result", "follow_stream", "cancel"] {
        let mut client = RawClient::connect(closed);
        let question = format!(r#"{{"harpcaller":1,"{operation}":"{foreign}"}}"#);
        for line in [hello(&token).to_string(), question] {
            played.sent(&line);
            client.send(&line);
            played.came(&client.raw_line());
        }
    }

    played.about("One connection too many.");
    let mut clients: Vec<_> = (0..20).map(|_| RawClient::connect(open)).collect();
    let mut refused = until("one is refused", || {
        let told = clients.iter().position(RawClient::has_answer);
        told.map(|place| clients.remove(place))
    });
    played.came(&refused.raw_line());
    assert!(refused.at_end());
    played.hold_against("strangers.txt");
}

#[test]
fn administrators_are_told_what_they_always_were() {
    let mut cluster = Cluster::start();
    let address = cluster.address();
    let caller = cluster.caller();
    let mut played = Transcript::new(&cluster);
    let connect =
        |cluster: &Cluster| BufReader::new(UnixStream::connect(cluster.socket()).unwrap());
    let mut socket = connect(&cluster);

    played.about("Without jobs.");
    for line in [
        r#"{"command":"status"}"#,
        r#"{"command":"status","wait":true}"#,
        r#"{"command":"list_jobs"}"#,
        r#"{"command":"list_jobs","stream":true}"#,
        r#"{"command":"list_queues"}"#,
        r#"{"command":"list_queue","queue":{"q":1}}"#,
        r#"{"command":"cancel_queue","queue":{"q":1}}"#,
        r#"{"command":"list_hosts"}"#,
        r#"{"command":"refresh_hosts"}"#,
        r#"{"command":"prune_jobs","max_age":3600}"#,
        r#"{"command":"reopen_logs"}"#,
    ] {
        played.administer(&mut socket, line, 1);
    }

    played.about("What is no request.");
    for line in [
        "",
        "nonsense",
        "[]",
        r#"{"command":"dance"}"#,
        r#"{"command":"job_info"}"#,
        r#"{"command":"list_queue"}"#,
        r#"{"command":"list_queue","queue":"x"}"#,
        r#"{"command":"prune_jobs"}"#,
        r#"{"command":"prune_jobs","max_age":-1}"#,
    ] {
        played.administer(&mut socket, line, 1);
    }
    let mut other = connect(&cluster);
    played.administer(&mut other, &"x".repeat(70_000), 1);

    played.about("Jobs.");
    let job = played.call(
        address,
        r#""host":"web01","procedure":"echo","arguments":["a",1.50],"info":{"b":1}"#,
    );
    played.ask(
        address,
        &format!(r#"{{"harpcaller":1,"get_result":"{job}"}}"#),
    );
    let queued = r#""host":"web01","procedure":"silent","arguments":[],"queue":{"name":{"q":1.0}}"#;
    let running = played.call(address, queued);
    until("it runs", || caller.has_started(&running).then_some(()));
    let waiting = played.call(address, queued);
    played.call(address, queued);
    for (line, replies) in [
        (r#"{"command":"list_jobs"}"#.to_owned(), 1),
        (r#"{"command":"list_jobs","list_all":true}"#.to_owned(), 1),
        (r#"{"command":"list_jobs","stream":true}"#.to_owned(), 4),
        (
            r#"{"command":"list_jobs","list_all":true,"stream":true}"#.to_owned(),
            5,
        ),
        (r#"{"command":"list_queues"}"#.to_owned(), 1),
        (
            r#"{"command":"list_queue","queue":{"q":1.0}}"#.to_owned(),
            1,
        ),
        (format!(r#"{{"command":"job_info","job":"{job}"}}"#), 1),
        (format!(r#"{{"command":"job_info","job":"{waiting}"}}"#), 1),
        (
            format!(r#"{{"command":"cancel_job","job":"{waiting}"}}"#),
            1,
        ),
        (format!(r#"{{"command":"job_info","job":"{waiting}"}}"#), 1),
        (
            format!(r#"{{"command":"cancel_job","job":"{running}"}}"#),
            1,
        ),
        (
            format!(r#"{{"command":"cancel_job","job":"{running}"}}"#),
            1,
        ),
        (
            r#"{"command":"cancel_queue","queue":{"q":1.0}}"#.to_owned(),
            1,
        ),
        (r#"{"command":"list_jobs"}"#.to_owned(), 1),
        (format!(r#"{{"command":"job_info","job":"{NO_JOB}"}}"#), 1),
        (r#"{"command":"job_info","job":"x"}"#.to_owned(), 1),
        (format!(r#"{{"command":"cancel_job","job":"{NO_JOB}"}}"#), 1),
        (r#"{"command":"cancel_job","job":"x"}"#.to_owned(), 1),
        (r#"{"command":"prune_jobs","max_age":0}"#.to_owned(), 1),
    ] {
        played.administer(&mut socket, &line, replies);
    }

    played.about("Another configuration.");
    let reload = r#"{"command":"reload_config"}"#;
    let (config, good) = (
        cluster.config(),
        fs::read_to_string(cluster.config()).unwrap(),
    );
    played.administer(&mut socket, reload, 1);
    for (more, name) in [
        ("cache_size = \"9M\"\n", "cache_size"),
        ("audit_file = \"/x\"\n", "audit_file"),
        ("max_live_jobs = \"many\"\nslot_grace = -1\n", "wrong keys"),
        ("tokens_file = \"/nowhere/tokens\"\n", "no tokens file"),
    ] {
        played.about(name);
        fs::write(&config, format!("{more}{good}")).unwrap();
        played.administer(&mut socket, reload, 1);
    }
    played.about("A registry that cannot be had.");
    cluster.set_registry_script("echo out of order >&2; exit 3");
    played.administer(&mut socket, r#"{"command":"refresh_hosts"}"#, 1);

    played.about("The end.");
    played.administer(&mut socket, r#"{"command":"stop"}"#, 1);
    assert!(cluster.wait_dispatcher_ended().success());
    played.hold_against("administrators.txt");
}
