//! A store that is a copy: restored from a backup, moved, imported. What waited in it may
//! have been run by the dispatcher of the original, so it waits for a word of the operator;
//! everything else works. What is no copy runs on by itself.

use std::fs;
use std::path::Path;
use std::process::Command;

use harp_tests::false_clock::FalseClock;
use harp_tests::{Cluster, Feed, until};
use serde_json::{Value, json};

const QUEUE: &str = r#""queue": {"name": {"q": 1}, "concurrency": 1}"#;
const OTHER: &str = r#""queue": {"name": {"q": 2}, "concurrency": 1}"#;

/// Jobs that wait: two behind one that runs, one in another queue.
struct Waiting {
    /// Ends when it is closed.
    gate: Feed,
    running: [String; 2],
    jobs: [String; 3],
}

impl Waiting {
    fn submit(cluster: &Cluster) -> Waiting {
        let caller = cluster.caller();
        let mut gate = cluster.feed("gate");
        let running = caller.call_with("web01", "gate", &gate.arguments(), QUEUE);
        gate.wait_read();
        let silent = caller.call_with("web01", "silent", "[]", OTHER);
        let call = |name: &str, more: &str| {
            let arguments = json!([cluster.path("trace"), name]).to_string();
            caller.call_with("web01", "trace", &arguments, more)
        };
        let jobs = [call("a", QUEUE), call("b", QUEUE), call("c", OTHER)];
        Waiting {
            gate,
            running: [running, silent],
            jobs,
        }
    }
}

/// What has been run, in order.
fn runs(cluster: &Cluster) -> Vec<String> {
    let trace = fs::read_to_string(cluster.path("trace")).unwrap_or_default();
    let starts = trace.lines().filter_map(|line| line.strip_prefix("start "));
    starts.map(str::to_owned).collect()
}

fn copy(from: &str, to: &Path) {
    let copied = Command::new("cp").args(["-a", from]).arg(to).status();
    assert!(copied.unwrap().success());
}

/// The jobs that `list` says are held.
fn held(cluster: &Cluster) -> Vec<String> {
    let lines = cluster.lines(&["list"]);
    let lines = lines.iter().map(|line| serde_json::from_str(line).unwrap());
    let held = lines.filter(|line: &Value| line["held"] == true);
    held.map(|line| line["job"].as_str().unwrap().to_owned())
        .collect()
}

/// All jobs have been run by the original. The copy, as `restore` brings it in the place
/// of the store, runs nothing of it a second time.
fn is_held(restore: impl Fn(&Cluster)) {
    let mut cluster = Cluster::builder()
        .unkept()
        .set("stop_grace", "0")
        .set("slot_grace", "1")
        .start();
    let Waiting {
        gate,
        running,
        jobs,
    } = Waiting::submit(&cluster);
    cluster.stop_dispatcher();
    drop(gate);
    copy(
        cluster.path("jobs").to_str().unwrap(),
        &cluster.path("backup"),
    );
    cluster.start_dispatcher();
    let caller = cluster.caller();
    for job in &jobs {
        assert_eq!(caller.result(job), json!({"result": null}));
    }
    assert_eq!(held(&cluster), [""; 0]);
    let original = runs(&cluster);
    assert_eq!(original.len(), 3, "{original:?}");
    cluster.stop_dispatcher();

    restore(&cluster);
    cluster.start_dispatcher();
    assert_eq!(held(&cluster), jobs);
    let status = cluster.run(&["status"]);
    assert_eq!(status.status.code(), Some(2));
    let status = String::from_utf8_lossy(&status.stdout).into_owned();
    assert!(
        status.starts_with("harpcallerd is running\n3 jobs are held"),
        "{status}"
    );
    assert!(cluster.log().text().contains("held until"));
    for job in &running {
        assert_eq!(caller.result(job)["error"]["type"], "missing_result");
    }
    // Whoever waits for it waits, and it can be cancelled; calls of the same queue go on.
    assert_eq!(caller.result_now(&jobs[0]), json!({"no_result": true}));
    assert!(caller.status(&jobs[0])["time"]["start"].is_null());
    let new = caller.call_with("web01", "echo", "[1]", QUEUE);
    assert_eq!(caller.result(&new), json!({"result": [1]}));
    assert!(caller.cancel(&jobs[0]));
    assert_eq!(caller.result(&jobs[0]), json!({"cancelled": true}));
    let queue = cluster.lines(&["queue-list", r#"{"q": 1}"#]).join("\n");
    assert!(
        queue.contains(&jobs[1]) && queue.contains(r#""held":true"#),
        "{queue}"
    );

    // A start is no word, however the one before ended.
    cluster.restart_dispatcher();
    cluster.kill_dispatcher();
    cluster.start_dispatcher();
    assert_eq!(held(&cluster), jobs[1..]);
    assert_eq!(runs(&cluster), original);

    let told = cluster.lines(&["resume"]);
    assert_eq!(told, ["2 held jobs resumed"]);
    for job in &jobs[1..] {
        assert_eq!(caller.result(job), json!({"result": null}));
    }
    assert_eq!(runs(&cluster).len(), 5);
    assert_eq!(cluster.lines(&["status"]), ["harpcallerd is running"]);
    assert_eq!(cluster.lines(&["resume"]), ["0 held jobs resumed"]);
}

#[test]
fn a_backup_in_the_place_of_the_store() {
    is_held(|cluster| {
        fs::remove_dir_all(cluster.path("jobs")).unwrap();
        copy(
            cluster.path("backup").to_str().unwrap(),
            &cluster.path("jobs"),
        );
    });
}

#[test]
fn a_backup_written_over_the_store() {
    // The files stay the same ones, with their numbers.
    is_held(|cluster| {
        let all = format!("{}/.", cluster.path("backup").display());
        copy(&all, &cluster.path("jobs"));
    });
}

#[test]
fn a_backup_that_was_looked_at_before() {
    is_held(|cluster| {
        fs::remove_dir_all(cluster.path("jobs")).unwrap();
        let backup = cluster.path("backup");
        for command in ["check-store", "export"] {
            let mut looked = cluster.command();
            looked.arg(command).arg("--store").arg(&backup);
            if command == "export" {
                looked.arg(cluster.path("jobs.export"));
            }
            assert!(looked.output().unwrap().status.success());
        }
        fs::rename(backup, cluster.path("jobs")).unwrap();
    });
}

#[test]
fn a_data_file_without_its_note() {
    is_held(|cluster| {
        fs::remove_dir_all(cluster.path("jobs")).unwrap();
        fs::create_dir(cluster.path("jobs")).unwrap();
        let db = cluster.path("backup/db");
        copy(db.to_str().unwrap(), &cluster.path("jobs"));
    });
}

#[test]
fn a_data_file_that_is_put_back_alone_is_refused() {
    let mut cluster = Cluster::builder()
        .unkept()
        .set("stop_grace", "0")
        .set("slot_grace", "1")
        .start();
    let waiting = Waiting::submit(&cluster);
    cluster.stop_dispatcher();
    drop(waiting.gate);
    let backup = cluster.path("backup");
    copy(cluster.path("jobs").to_str().unwrap(), &backup);
    cluster.start_dispatcher();
    let caller = cluster.caller();
    for job in &waiting.jobs {
        assert_eq!(caller.result(job), json!({"result": null}));
    }
    cluster.stop_dispatcher();
    let store = cluster.path("jobs");
    copy(backup.join("db").to_str().unwrap(), &store);
    let refused = cluster.fail_to_start();
    assert!(
        refused.contains("put back the whole directory"),
        "{refused}"
    );

    // Whoever makes do with it has nothing run a second time.
    let salvaged = cluster.path("salvaged");
    let mut salvage = cluster.command();
    salvage.arg("check-store").arg("--store").arg(&store);
    let salvage = salvage.arg("--salvage").arg(&salvaged).output().unwrap();
    assert!(salvage.status.success(), "{salvage:?}");
    cluster.set("stream_directory", &json!(salvaged).to_string());
    cluster.start_dispatcher();
    for job in &waiting.jobs {
        let end = caller.result(job);
        assert_eq!(end["error"]["type"], "storage_error", "{end}");
    }
    assert_eq!(runs(&cluster).len(), 3);
}

#[test]
fn an_import_into_a_new_store() {
    is_held(|cluster| {
        fs::remove_dir_all(cluster.path("jobs")).unwrap();
        let moved = |command: &str, store: &str, more: &[&str]| {
            let mut moved = cluster.command();
            moved.arg(command).arg("--store").arg(cluster.path(store));
            moved.args(more).arg(cluster.path("jobs.export"));
            let moved = moved.output().unwrap();
            assert!(moved.status.success(), "{moved:?}");
            String::from_utf8(moved.stderr).unwrap()
        };
        let _ = moved("export", "backup", &[]);
        let told = moved("import", "jobs", &[]);
        assert!(told.contains("3 jobs that wait are held"), "{told}");
    });
}

/// A way in which a dispatcher comes to its end.
type End<'a> = &'a dyn Fn(&mut Cluster);

#[test]
fn what_is_no_copy_runs_on() {
    let Some(clock) = FalseClock::make() else {
        return;
    };
    let mut cluster = clock
        .cluster()
        .unkept()
        .set("stop_grace", "0")
        .set("slot_grace", "1")
        .set("break_grace", "1")
        .start();
    let cases: [(&str, End<'_>); 5] = [
        ("a restart", &|cluster| cluster.stop_dispatcher()),
        ("a crash", &Cluster::kill_dispatcher),
        ("a boot", &|cluster| {
            cluster.stop_dispatcher();
            clock.boot(2);
        }),
        ("a crash of the machine", &|cluster| {
            cluster.kill_dispatcher();
            clock.boot(3);
        }),
        ("a move within the file system", &|cluster| {
            cluster.stop_dispatcher();
            let to = cluster.path("elsewhere");
            fs::rename(cluster.path("jobs"), &to).unwrap();
            cluster.set("stream_directory", &json!(to).to_string());
        }),
    ];
    for (what, end) in cases {
        let waiting = Waiting::submit(&cluster);
        end(&mut cluster);
        drop(waiting.gate);
        cluster.start_dispatcher();
        assert_eq!(held(&cluster), [""; 0], "{what}");
        // As long as the places of what ran are kept.
        for job in &waiting.jobs {
            let result = cluster.caller().result(job);
            assert_eq!(result, json!({"result": null}), "{what}");
        }
    }
}

#[test]
fn start_by_and_a_cancel_of_the_queue_reach_what_is_held() {
    let mut cluster = Cluster::builder()
        .unkept()
        .set("stop_grace", "0")
        .set("slot_grace", "1")
        .start();
    let caller = cluster.caller();
    let runs = [QUEUE, OTHER].map(|queue| caller.call_with("web01", "silent", "[]", queue));
    let late = caller.call_with("web01", "echo", "[]", &format!(r#"{QUEUE}, "start_by": 5"#));
    let waiting = caller.call_with("web01", "echo", "[]", OTHER);
    cluster.stop_dispatcher();
    let moved = cluster.path("moved");
    copy(cluster.path("jobs").to_str().unwrap(), &moved);
    cluster.set("stream_directory", &json!(moved).to_string());
    cluster.start_dispatcher();
    assert_eq!(caller.result(&runs[0])["error"]["type"], "missing_result");
    let end = caller.result(&late);
    assert_eq!(end["error"]["data"]["limit"], "start_by", "{end}");
    let _ = cluster.lines(&["queue-cancel", r#"{"q": 2}"#]);
    assert_eq!(caller.result(&waiting), json!({"cancelled": true}));
    assert_eq!(held(&cluster), [""; 0]);
    until("the places of what ran are free", || {
        cluster.lines(&["queue-list"]).is_empty().then_some(())
    });
}
