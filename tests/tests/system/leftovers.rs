//! What is left on a host of calls that were ended from outside: nothing, `kill_grace`
//! and a second later.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use harp_tests::{Cluster, until};
use serde_json::json;

/// A procedure of four processes that do not care for polite requests: the one that was
/// started, a child, a child that outlives its parent, and a daemon of two forks. Each
/// writes its process id into file $1.
pub(crate) const FAMILY: (&str, &str) = (
    "output = 'json'\narguments = 'argv'",
    r#"trap '' TERM HUP
live='echo $$ >> "$1"; exec sleep 600'
echo $$ >> "$1"
sh -c "$live" child "$1" &
(sh -c "$live" orphan "$1" &)
(cd /; (sh -c "$live" daemon "$1" < /dev/null > /dev/null 2>&1 &) &)
while :; do sleep 600; done"#,
);

/// One run of the procedure, as its members wrote it down.
pub(crate) struct Family {
    members: PathBuf,
}

impl Family {
    pub(crate) fn new(cluster: &Cluster, name: &str) -> Family {
        let members = cluster.path(name);
        Family { members }
    }

    /// The `arguments` of the call, JSON text.
    pub(crate) fn arguments(&self) -> String {
        json!([self.members]).to_string()
    }

    pub(crate) fn wait_complete(&self) {
        until("all processes are there", || {
            (self.alive().len() == 4).then_some(())
        });
    }

    /// The members that live.
    pub(crate) fn alive(&self) -> Vec<u32> {
        let members = fs::read_to_string(&self.members).unwrap_or_default();
        let members = members.lines().filter_map(|member| member.parse().ok());
        members.filter(|member| is_alive(*member)).collect()
    }
}

/// True if the process exists and is more than an entry that waits to be reaped.
fn is_alive(process: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    // The state is behind the name, which is in parentheses.
    let state = stat.rsplit_once(") ").map(|(_, rest)| rest);
    state.is_some_and(|state| !state.starts_with(['Z', 'X']))
}

#[test]
fn no_process_of_a_call_that_was_ended_is_left() {
    // Clusters have a `kill_grace` of one second.
    let latest = Duration::from_secs(1 + 1);
    let mut cluster = Cluster::builder()
        .unkept()
        .procedure("family", FAMILY.0, FAMILY.1)
        .start();
    let caller = cluster.caller();
    let ways = ["cancelled", "silent", "too_long", "abandoned"];
    let families = ways.map(|way| Family::new(&cluster, way));
    let jobs: Vec<String> = ways
        .iter()
        .zip(&families)
        .map(|(way, family)| {
            let limit = match *way {
                "silent" => r#""timeout": 4"#,
                "too_long" => r#""max_exec_time": 4"#,
                _ => "",
            };
            caller.call_with("web01", "family", &family.arguments(), limit)
        })
        .collect();
    for family in &families {
        family.wait_complete();
    }
    let gone = |family: &Family, since: Instant| {
        until("no process is left", || {
            family.alive().is_empty().then_some(())
        });
        let took = since.elapsed();
        assert!(took <= latest, "{took:?}");
    };

    let since = Instant::now();
    assert!(caller.cancel(&jobs[0]));
    gone(&families[0], since);
    for (family, job) in [(&families[1], &jobs[1]), (&families[2], &jobs[2])] {
        assert_eq!(caller.result(job)["error"]["type"], "timeout");
        gone(family, Instant::now());
    }
    assert_eq!(families[3].alive().len(), 4);
    let since = Instant::now();
    cluster.kill_dispatcher();
    gone(&families[3], since);
}

/// Ways for a process to leave the session of its call, as far as they are here. Each runs
/// `sh -c`'s argument, and what it prints is appended to file $1.
fn ways_out() -> Vec<(&'static str, &'static str)> {
    let is_root = runs_as_root();
    let ways = [
        (
            "setsid",
            "setsid sh -c 'echo $$; exec sleep 600; :' >> \"$1\" &",
        ),
        (
            "setsid",
            "(setsid sh -c 'setsid sh -c \"echo \\$\\$; exec sleep 600\" &' >> \"$1\")",
        ),
        (
            "su",
            "su -s /bin/sh nobody -c 'echo $$; sleep 600; echo' >> \"$1\" &",
        ),
        (
            "script",
            "script -qc \"sh -c 'echo \\$\\$ >> $1; exec sleep 600'\" /dev/null < /dev/null > /dev/null &",
        ),
    ];
    ways.into_iter()
        .filter(|(program, _)| {
            let there = *program != "su" || is_root;
            let there = there && is_there(program);
            if !there {
                println!("skipped: {program} is not there, or needs root");
            }
            there
        })
        .collect()
}

fn is_there(program: &str) -> bool {
    let status = Command::new("sh")
        .args(["-c", "command -v \"$0\"", program])
        .stdout(Stdio::null())
        .status();
    status.is_ok_and(|status| status.success())
}

fn runs_as_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0)
}

#[test]
fn who_left_the_session_of_a_call_is_not_left_beside_the_next_one() {
    let ways = ways_out();
    let body: String = ways.iter().map(|(_, way)| format!("{way}\n")).collect();
    let cluster = Cluster::builder()
        .procedure(
            "leave",
            "output = 'json'\narguments = 'argv'",
            &format!("{body}exec sleep 600"),
        )
        .start();
    let caller = cluster.caller();
    let queue = r#""queue": {"name": {"q": 1}}"#;
    let family = Family::new(&cluster, "members");
    let job = caller.call_with("web01", "leave", &family.arguments(), queue);
    until("all are there", || {
        (family.alive().len() == ways.len()).then_some(())
    });
    let next = caller.call_with("web01", "echo", "[]", queue);
    let cancelled = caller.ask(json!({"harpcaller": 1, "cancel": job, "confirm": true}));
    assert_eq!(cancelled, json!({"cancelled": true, "remote": "confirmed"}));
    assert_eq!(family.alive(), Vec::<u32>::new());
    let _ = caller.result(&next);
}
