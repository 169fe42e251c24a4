//! A job store that disappears under a running dispatcher: its directory is moved,
//! deleted or covered, another one is put in its place, its files are removed or replaced.
//! What is answered stays true: nothing is accepted that the next start would not know.

use std::cell::RefCell;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use harp_tests::disk::{Mount, run};
use harp_tests::{Cluster, until};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use serde_json::{Value, json};

/// A call that is accepted or refused, and what was answered.
fn call(cluster: &Cluster) -> Value {
    cluster.caller().ask(json!({
        "harpcaller": 1, "host": "web01", "procedure": "echo", "arguments": [1],
    }))
}

/// Calls until one is accepted: its job.
fn accepted(cluster: &Cluster) -> String {
    until("a call is accepted", || {
        call(cluster)["job_id"].as_str().map(str::to_owned)
    })
}

/// The lines of `status` once it says that something needs an operator.
fn needing_an_operator(cluster: &Cluster) -> Vec<String> {
    until("status tells it", || {
        let output = cluster.run(&["status"]);
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        let lines = told.lines().map(str::to_owned).collect();
        (output.status.code() == Some(2)).then_some(lines)
    })
}

/// Waits for the word of `status` on an outage, which must come within a second.
fn noticed(cluster: &Cluster, since: Instant, why: &str) {
    let told = needing_an_operator(cluster);
    // A second to notice it, and the time that a busy machine takes for the commands.
    assert!(
        since.elapsed() < Duration::from_secs(3),
        "{:?}",
        since.elapsed()
    );
    assert_eq!(told[0], "harpcallerd is running");
    assert!(
        told[1].contains("the job store cannot be written"),
        "{told:?}"
    );
    assert!(told[1].contains(why), "{told:?}");
    let message = "writing to the job store failed; calls are refused until it succeeds again";
    let logged = cluster.log().all(message);
    let reasons = logged.iter().filter_map(|entry| entry["reason"].as_str());
    assert!(
        reasons.clone().any(|reason| reason.contains(why)),
        "{logged:?}"
    );
}

/// Everything in a directory, by name and length.
fn content(directory: &Path) -> Vec<(String, u64)> {
    let entries = fs::read_dir(directory).unwrap().map(Result::unwrap);
    let mut content: Vec<_> = entries
        .map(|entry| {
            let name = entry.file_name().into_string().unwrap();
            (name, entry.metadata().unwrap().len())
        })
        .collect();
    content.sort();
    content
}

/// Takes the store away, sees that this is an outage, brings it back, and sees that every
/// accepted job is known, then and after a crash.
fn comes_and_goes(why: &str, take: impl Fn(&Path), bring: impl Fn(&Path)) {
    let mut cluster = Cluster::start();
    let jobs = cluster.path("jobs");
    let mut known = vec![accepted(&cluster)];
    let _ = cluster.caller().result(&known[0]);
    take(&jobs);
    let since = Instant::now();
    // From the first moment on nothing is accepted that would be lost.
    for _ in 0..35 {
        let answer = call(&cluster);
        assert_eq!(answer["error"]["type"], "storage_error", "{answer}");
    }
    noticed(&cluster, since, why);
    let _ = cluster.caller().result_now(&known[0]);
    bring(&jobs);
    known.push(accepted(&cluster));
    let _ = cluster.caller().result(&known[1]);
    let _ = cluster.log().wait_for("the job store can be written again");
    assert_eq!(cluster.lines(&["status"]), ["harpcallerd is running"]);
    cluster.kill_dispatcher();
    cluster.start_dispatcher();
    for job in &known {
        assert_eq!(cluster.caller().result(job), json!({"result": [1]}));
    }
}

#[test]
fn a_store_that_was_moved_away_is_an_outage_until_it_is_back() {
    let away = |jobs: &Path| jobs.with_extension("away");
    comes_and_goes(
        "is gone",
        |jobs| fs::rename(jobs, away(jobs)).unwrap(),
        |jobs| fs::rename(away(jobs), jobs).unwrap(),
    );
}

#[test]
fn a_data_file_that_was_replaced_is_an_outage_until_it_is_back() {
    let away = |jobs: &Path| jobs.join("db.away");
    comes_and_goes(
        "another store has been put in the place of",
        |jobs| {
            fs::rename(jobs.join("db"), away(jobs)).unwrap();
            fs::copy(away(jobs), jobs.join("db")).unwrap();
        },
        |jobs| fs::rename(away(jobs), jobs.join("db")).unwrap(),
    );
}

#[test]
fn a_data_file_that_was_emptied_is_an_outage_until_its_content_is_back() {
    let content = RefCell::new(Vec::new());
    comes_and_goes(
        "cut the file db off",
        |jobs| {
            let db = jobs.join("db");
            content.replace(fs::read(&db).unwrap());
            let file = fs::File::options().write(true).open(db).unwrap();
            file.set_len(0).unwrap();
        },
        |jobs| fs::write(jobs.join("db"), &*content.borrow()).unwrap(),
    );
}

#[test]
fn a_store_is_noticed_to_be_gone_while_nobody_calls() {
    let mut cluster = Cluster::start();
    let job = accepted(&cluster);
    let _ = cluster.caller().result(&job);
    fs::remove_dir_all(cluster.path("jobs")).unwrap();
    noticed(&cluster, Instant::now(), "is gone");
    let answer = call(&cluster);
    assert_eq!(answer["error"]["data"]["outcome"], "none", "{answer}");
    // The stop is in order: there is nothing more to lose.
    cluster.stop_dispatcher();
}

#[test]
fn another_directory_in_its_place_is_not_written_to() {
    let cluster = Cluster::start();
    let jobs = cluster.path("jobs");
    let first = accepted(&cluster);
    let _ = cluster.caller().result(&first);
    let other = Cluster::start();
    let _ = other.caller().result(&accepted(&other));
    drop(other.lines(&["stop"]));
    let away = cluster.path("away");
    for place in ["an empty directory", "another store"] {
        match place {
            "another store" => fs::rename(other.path("jobs"), &away).unwrap(),
            _ => fs::create_dir(&away).unwrap(),
        }
        // In one step, so that there is no moment without any.
        renameat_with(CWD, &jobs, CWD, &away, RenameFlags::EXCHANGE).unwrap();
        let before = content(&jobs);
        let since = Instant::now();
        let why = match place {
            "another store" => "another store has been put in the place of",
            _ => "the file db is gone from the directory",
        };
        noticed(&cluster, since, why);
        let failed = cluster.log().count("job not recorded");
        assert_eq!(call(&cluster)["error"]["type"], "storage_error");
        until("it was refused", || {
            (cluster.log().count("job not recorded") > failed).then_some(())
        });
        assert_eq!(content(&jobs), before, "{place} stays as it was");
        fs::rename(&jobs, cluster.path(place)).unwrap();
        fs::rename(&away, &jobs).unwrap();
        let _ = accepted(&cluster);
    }
    assert_eq!(cluster.caller().result(&first), json!({"result": [1]}));
}

#[test]
fn one_that_is_read_only_and_another_file_system_over_it_are_noticed() {
    let directory = tempfile::tempdir().unwrap();
    let Some(disk) = Mount::tmpfs("48m", &directory.path().join("disk")) else {
        return;
    };
    let jobs = disk.at().join("jobs");
    let cluster = Cluster::builder()
        .set("stream_directory", &json!(jobs).to_string())
        .start();
    let job = accepted(&cluster);
    let _ = cluster.caller().result(&job);
    // The engine can go on writing to the file that it has open.
    let path = jobs.to_str().unwrap();
    run("mount", &["--bind", path], path).unwrap();
    run("mount", &["-o", "remount,bind,ro"], path).unwrap();
    noticed(
        &cluster,
        Instant::now(),
        "files cannot be made in the directory",
    );
    run("umount", &[], path).unwrap();
    let _ = accepted(&cluster);
    let cover = Mount::tmpfs("1m", &jobs).expect("the second one");
    let told = needing_an_operator(&cluster).remove(1);
    assert!(told.contains("the file db is gone"), "{told}");
    assert_eq!(content(cover.at()), []);
    drop(cover);
    let _ = accepted(&cluster);
    assert_eq!(cluster.caller().result(&job), json!({"result": [1]}));
}

#[test]
fn what_is_removed_beside_the_data_file_is_made_anew() {
    let cluster = Cluster::start();
    let job = accepted(&cluster);
    let _ = cluster.caller().result(&job);
    let file = |name: &str| cluster.path("jobs").join(name);
    for (name, told) in [
        (
            "store.json",
            "store.json of the job store was removed and is written anew",
        ),
        (
            "lock",
            "the file lock of the job store was removed and is made anew",
        ),
    ] {
        fs::remove_file(file(name)).unwrap();
        let _ = cluster.log().wait_for(told);
        until("it is there again", || file(name).exists().then_some(()));
        assert_eq!(fs::metadata(file(name)).unwrap().mode() & 0o777, 0o600);
    }
    // Nobody else gets in.
    let checked = cluster.run(&[
        "check-store",
        "--store",
        cluster.path("jobs").to_str().unwrap(),
    ]);
    let told = String::from_utf8_lossy(&checked.stderr);
    assert!(told.contains("is in use by another process"), "{told}");
    assert_eq!(cluster.lines(&["status"]), ["harpcallerd is running"]);
    assert_eq!(cluster.caller().result(&job), json!({"result": [1]}));
}
