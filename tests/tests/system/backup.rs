//! Backups as the section BACKUP of harpcallerd(8) has them made and restored: its commands, out
//! of its text.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;

use harp_tests::{Cluster, Feed, repository, until};
use serde_json::json;

/// The commands of the page's example that has this word, but for what a machine with systemd and
/// a user of its own for the dispatcher has before them.
fn commands(word: &str) -> Vec<Vec<String>> {
    let page = fs::read_to_string(repository().join("man/harpcallerd.8")).unwrap();
    let section = page
        .split("\n.Sh ")
        .find(|text| text.starts_with("BACKUP\n"));
    let section = section.expect("the section BACKUP");
    let examples = section.split("\n.Bd -literal").skip(1);
    let examples = examples.filter_map(|text| text.split_once('\n')?.1.split_once(".Ed"));
    let example = examples
        .map(|(text, _)| text)
        .find(|text| text.contains(word));
    let lines = example.expect("an example").lines();
    let lines = lines.map(|line| line.split('#').next().unwrap_or_default());
    lines
        .map(|line| line.split_whitespace().map(str::to_owned).collect())
        .map(|words: Vec<String>| match &words[..] {
            [as_user, option, user, dashes, command @ ..]
                if as_user == "runuser" && option == "-u" && dashes == "--" =>
            {
                assert_eq!(user, "harpcaller");
                command.to_vec()
            }
            _ => words,
        })
        .collect()
}

/// Does what a command of the page says to this dispatcher, whose jobs and backup are elsewhere.
fn carry_out(cluster: &mut Cluster, words: &[String]) -> Vec<String> {
    let place = |word: &str| match word {
        "/var/lib/harpcaller/jobs" => path(cluster, "jobs"),
        "/var/lib/harpcaller/jobs.before" => path(cluster, "jobs.before"),
        "/var/backups/harpcaller-jobs.gz" => path(cluster, "backup.gz"),
        word => word.to_owned(),
    };
    let words: Vec<String> = words.iter().map(|word| place(word)).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match &words[..] {
        ["systemctl", "stop", "harpcallerd"] => cluster.stop_dispatcher(),
        ["systemctl", "start", "harpcallerd"] => cluster.start_dispatcher(),
        ["mv", from, to] => fs::rename(from, to).unwrap(),
        ["harpcallerd", "import", file] => {
            let config = path(cluster, "harpcaller.toml");
            return cluster.lines(&["import", "--config", &config, file]);
        }
        ["harpcallerd", command @ ..] => return cluster.lines(command),
        words => panic!("a command that is not known here: {words:?}"),
    }
    Vec::new()
}

/// Copies a directory with what it says of its files' owners and times, as the page has it done.
fn copy(from: &str, to: &str) {
    let copied = Command::new("cp").args(["-a", from, to]).status();
    assert!(copied.unwrap().success());
}

fn path(cluster: &Cluster, name: &str) -> String {
    cluster.path(name).to_str().unwrap().to_owned()
}

/// The queue of what runs and waits when a backup is made.
const QUEUE: &str = r#""queue": {"name": {"q": 1}}"#;

/// What there is when a backup is made.
struct Jobs {
    ended: String,
    running: String,
    /// Has the running one go on.
    feed: Feed,
    /// They wait for the running one.
    queued: [String; 2],
}

impl Jobs {
    fn begin(cluster: &Cluster) -> Jobs {
        let caller = cluster.caller();
        let ended = caller.call("web01", "echo", "[1.50]");
        assert_eq!(caller.result(&ended), json!({"result": [1.50]}));
        let mut feed = cluster.feed("gate");
        let running = caller.call_with("web01", "gate", &feed.arguments(), QUEUE);
        feed.wait_read();
        let queued =
            ["[2]", "[3]"].map(|arguments| caller.call_with("web01", "echo", arguments, QUEUE));
        Jobs {
            ended,
            running,
            feed,
            queued,
        }
    }
}

#[test]
fn a_backup_of_a_running_dispatcher_is_restored_as_the_page_says() {
    let mut cluster = Cluster::start();
    let caller = cluster.caller();
    let Jobs {
        ended,
        running,
        feed,
        queued,
    } = Jobs::begin(&cluster);
    for words in commands("--online") {
        carry_out(&mut cluster, &words);
    }
    // What comes later is not in it.
    let later = caller.call("web01", "echo", "[4]");
    let _ = caller.result(&later);

    for words in commands("import") {
        carry_out(&mut cluster, &words);
    }
    assert!(cluster.path("jobs.before").exists());
    assert_eq!(caller.result(&ended), json!({"result": [1.50]}));
    let answer = caller.result_now(&later);
    assert_eq!(answer["error"]["type"], "invalid_jobid", "{answer}");
    let status = cluster.run(&["status"]);
    assert_eq!(status.status.code(), Some(2), "{status:?}");
    let text = String::from_utf8_lossy(&status.stdout).into_owned();
    assert!(text.contains("2 jobs are held"), "{text}");

    // The last example, in which one of the jobs is cancelled.
    let mut told = Vec::new();
    for mut words in commands("resume") {
        for word in &mut words {
            if word == "JOB" {
                word.clone_from(&queued[0]);
            }
        }
        match words[1].as_str() {
            "status" => {}
            _ => told.extend(carry_out(&mut cluster, &words)),
        }
    }
    assert!(
        told.iter().any(|line| line.contains(&queued[1])),
        "{told:?}"
    );
    assert!(told.contains(&"1 held jobs resumed".to_owned()), "{told:?}");
    assert_eq!(caller.result(&queued[0]), json!({"cancelled": true}));
    // How a call ended that ran then, a backup cannot say.
    let interrupted = caller.result(&running);
    assert_eq!(
        interrupted["error"]["type"], "missing_result",
        "{interrupted}"
    );
    feed.finish();
    assert_eq!(caller.result(&queued[1]), json!({"result": [3]}));
}

#[test]
fn a_snapshot_of_a_running_dispatcher_is_put_back_as_the_page_says() {
    let mut cluster = Cluster::start();
    let caller = cluster.caller();
    let Jobs {
        ended,
        running,
        feed,
        queued,
    } = Jobs::begin(&cluster);

    // Clients make calls all the while. While no thread of the dispatcher runs, a copy is what the
    // file system has in one step.
    let told = Mutex::new(Vec::new());
    let is_taken = AtomicBool::new(false);
    let before = thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..2000 {
                if is_taken.load(Relaxed) {
                    break;
                }
                let job = caller.call("nowhere", "echo", "[]");
                told.lock().unwrap().push(job);
            }
        });
        until("calls come", || {
            (told.lock().unwrap().len() >= 50).then_some(())
        });
        cluster.halt_dispatcher();
        let before = told.lock().unwrap().clone();
        copy(&path(&cluster, "jobs"), &path(&cluster, "snapshot"));
        cluster.thaw_dispatcher();
        is_taken.store(true, Relaxed);
        before
    });
    let later = caller.call("web01", "echo", "[4]");
    let _ = caller.result(&later);

    for words in commands("import") {
        if words.iter().any(|word| word == "import") {
            copy(&path(&cluster, "snapshot"), &path(&cluster, "jobs"));
        } else {
            carry_out(&mut cluster, &words);
        }
    }
    // What clients had been told by then is there.
    assert_eq!(caller.result(&ended), json!({"result": [1.50]}));
    for job in &before {
        assert_eq!(caller.status(job)["call"]["host"], "nowhere");
    }
    let answer = caller.result_now(&later);
    assert_eq!(answer["error"]["type"], "invalid_jobid", "{answer}");
    for job in &queued {
        assert_eq!(caller.result_now(job), json!({"no_result": true}));
    }
    // Its host has kept this call, and has lost nothing of it.
    feed.finish();
    let went_on = caller.result(&running);
    assert!(went_on.get("result").is_some(), "{went_on}");

    let resumed = cluster.lines(&["resume"]);
    assert!(resumed[0].ends_with("held jobs resumed"), "{resumed:?}");
    for job in &before {
        // One of them was about to end.
        let result = caller.result(job);
        let kind = result["error"]["type"].as_str();
        assert!(
            matches!(kind, Some("unknown_host" | "missing_result")),
            "{result}"
        );
    }
    for (job, number) in queued.iter().zip([2, 3]) {
        assert_eq!(caller.result(job), json!({"result": [number]}));
    }
    let new = caller.call_with("web01", "echo", "[5]", QUEUE);
    assert_eq!(caller.result(&new), json!({"result": [5]}));
    assert_eq!(cluster.lines(&["status"]), ["harpcallerd is running"]);
}

#[test]
fn an_export_while_jobs_come_and_end_has_each_that_there_was() {
    const BEFORE: usize = 120;
    let cluster = Cluster::start();
    let caller = cluster.caller();
    let jobs: BTreeSet<String> = (0..BEFORE)
        .map(|_| caller.call("nowhere", "echo", "[]"))
        .collect();
    // More of them come and end all the while.
    let file = path(&cluster, "backup.gz");
    let exported = thread::scope(|scope| {
        let coming = scope.spawn(|| {
            for _ in 0..BEFORE {
                let _ = caller.call("nowhere", "echo", "[]");
            }
        });
        let exported = cluster.run(&["export", "--online", &file]);
        coming.join().unwrap();
        exported
    });
    assert!(exported.status.success(), "{exported:?}");
    let store = path(&cluster, "other");
    let imported = cluster.run(&["import", "--store", &store, &file]);
    assert!(imported.status.success(), "{imported:?}");
    let checked = cluster.run(&["check-store", "--store", &store]);
    assert!(checked.status.success(), "{checked:?}");

    // Of a quiet store the socket gives out each job once.
    until("all have ended", || {
        cluster.lines(&["list"]).is_empty().then_some(())
    });
    let again = path(&cluster, "again.gz");
    let exported = cluster.run(&["export", "--online", &again]);
    let told = String::from_utf8_lossy(&exported.stderr).into_owned();
    assert!(
        told.contains(&format!("{} jobs exported", 2 * BEFORE)),
        "{told}"
    );
    let imported = cluster.run(&["import", "--store", &store, &again]);
    let told = String::from_utf8_lossy(&imported.stderr).into_owned();
    assert!(imported.status.success(), "{imported:?}");
    let numbers: Vec<usize> = told
        .split_whitespace()
        .filter_map(|word| word.parse().ok())
        .collect();
    // Those of before were there, and nothing is there twice.
    assert_eq!(numbers[0] + numbers[1], 2 * BEFORE, "{told}");
    assert!(numbers[1] >= jobs.len(), "{told}");
}
