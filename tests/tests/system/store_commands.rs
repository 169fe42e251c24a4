//! `check-store`, `export` and `import`: what they do to a store, and what they print.

use std::path::Path;
use std::process::{Command, Output};

use harp_tests::{Cluster, binary};
use serde_json::json;

fn run(cluster: &Cluster, arguments: &[&str]) -> Output {
    Command::new(binary("harpcallerd"))
        .args(arguments)
        .arg("--config")
        .arg(cluster.config())
        .output()
        .expect("a program that was built")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn path(path: &Path) -> &str {
    path.to_str().expect("a path of UTF-8")
}

#[test]
fn an_export_imported_into_a_new_store_is_that_store() {
    let mut cluster = Cluster::builder().unkept().start();
    let caller = cluster.caller();
    let ended = caller.call("web01", "count", "[2000]");
    assert_eq!(caller.result(&ended), json!({"result": null}));
    let mut first = cluster.feed("first");
    let queue = r#""queue": {"name": {"q": 1}}"#;
    let running = caller.call_with("web01", "gate", &first.arguments(), queue);
    first.wait_read();
    let waiting = caller.call_with("web01", "echo", "[1.0]", queue);
    let file = cluster.path("jobs.export");

    // Not while a dispatcher has it.
    let refused = run(&cluster, &["export", path(&file)]);
    assert!(!refused.status.success());
    assert!(
        text(&refused.stderr).contains("stop it first"),
        "{refused:?}"
    );
    cluster.kill_dispatcher();

    let checked = run(&cluster, &["check-store"]);
    assert!(checked.status.success(), "{checked:?}");
    let told = text(&checked.stdout);
    assert!(
        told.contains("3 jobs, 2 of them live, 2000 packets, 0 problems"),
        "{told}"
    );
    let exported = run(&cluster, &["export", path(&file)]);
    assert!(exported.status.success(), "{exported:?}");
    assert_eq!(text(&exported.stderr), "3 jobs exported\n");

    let fresh = cluster.path("fresh");
    cluster.set("stream_directory", &json!(fresh).to_string());
    let none = Command::new(binary("harpcallerd"))
        .args(["check-store", "--store", path(&fresh)])
        .output()
        .expect("a program that was built");
    assert!(!none.status.success() && !fresh.exists(), "{none:?}");
    for told in [
        "3 jobs imported, 0 were there already\n",
        "0 jobs imported, 3 were there already\n",
    ] {
        let imported = Command::new(binary("harpcallerd"))
            .args(["import", "--resume", "--store", path(&fresh), path(&file)])
            .output()
            .expect("a program that was built");
        assert!(imported.status.success(), "{imported:?}");
        assert_eq!(text(&imported.stderr), told);
    }
    cluster.start_dispatcher();
    assert_eq!(caller.result_now(&ended), json!({"result": null}));
    assert_eq!(caller.read(&ended, "").packets.len(), 2000);
    // As after a crash: what ran has no result, what waited runs.
    assert_eq!(caller.result(&running)["error"]["type"], "missing_result");
    assert_eq!(caller.result(&waiting), json!({"result": [1.0]}));
}

#[test]
fn what_would_be_spoilt_is_refused() {
    let mut cluster = Cluster::builder().unkept().start();
    cluster.kill_dispatcher();
    let link = cluster.path("link");
    std::os::unix::fs::symlink("nowhere", &link).unwrap();
    let refused = run(&cluster, &["export", path(&link)]);
    assert!(
        text(&refused.stderr).contains("no regular file"),
        "{refused:?}"
    );
    assert!(link.is_symlink());

    let home = cluster.path("home");
    std::fs::create_dir(&home).unwrap();
    let stores = [cluster.path("jobs"), home.join("jobs")];
    for owned in [&stores[0], &home] {
        if let Err(error) = std::os::unix::fs::chown(owned, Some(65533), None) {
            println!("skipped: only root can give a store to another user: {error}");
            return;
        }
    }
    let file = cluster.path("file");
    for (store, arguments) in [
        (&stores[0], vec!["check-store"]),
        (&stores[0], vec!["export", path(&file)]),
        (&stores[1], vec!["import", "/dev/null"]),
    ] {
        let refused = Command::new(binary("harpcallerd"))
            .args(&arguments)
            .args(["--store", path(store)])
            .output()
            .expect("a program that was built");
        assert!(!refused.status.success(), "{refused:?}");
        let told = text(&refused.stderr);
        let advice = format!("runuser -u 65533 -- harpcallerd {}", arguments[0]);
        assert!(told.contains(&advice), "{told}");
    }
    assert!(!file.exists() && !stores[1].exists());
}

#[test]
fn the_loss_of_a_store_s_tail_is_told_and_can_be_accepted() {
    let mut cluster = Cluster::builder().unkept().start();
    let caller = cluster.caller();
    let kept = caller.call("web01", "count", "[10]");
    assert_eq!(caller.result(&kept), json!({"result": null}));
    cluster.kill_dispatcher();
    // As if the last writes were gone.
    let about = cluster.path("jobs/store.json");
    std::fs::write(&about, r#"{"layout":1,"mark":1000000}"#).unwrap();
    let refused = cluster.fail_to_start();
    assert!(refused.contains("check-store --repair"), "{refused}");
    let checked = run(&cluster, &["check-store"]);
    assert!(!checked.status.success());
    assert!(text(&checked.stdout).contains("what was written last is gone"));
    // Whoever reads the report may leave before its end.
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let repaired = Command::new(binary("harpcallerd"))
        .args(["check-store", "--repair", "--config"])
        .arg(cluster.config())
        .stdout(writer)
        .output()
        .expect("a program that was built");
    assert!(repaired.status.success(), "{repaired:?}");
    assert_eq!(text(&repaired.stderr), "");
    let checked = run(&cluster, &["check-store"]);
    assert!(checked.status.success(), "{checked:?}");
    cluster.start_dispatcher();
    assert_eq!(caller.read(&kept, "").packets.len(), 10);
}

/// Names and contents of the files in a directory.
fn files(directory: &Path) -> Vec<(std::ffi::OsString, Vec<u8>)> {
    let entries = std::fs::read_dir(directory).unwrap().map(Result::unwrap);
    let files = entries.filter(|entry| entry.file_type().unwrap().is_file());
    let mut files: Vec<_> = files
        .map(|entry| (entry.file_name(), std::fs::read(entry.path()).unwrap()))
        .collect();
    files.sort();
    files
}

#[test]
fn a_damaged_store_is_refused_unchanged_and_salvaged() {
    let mut cluster = Cluster::builder().unkept().start();
    let caller = cluster.caller();
    let jobs: Vec<_> = (0..20)
        .map(|number| caller.call("web01", "echo", &format!("[\"job {number}\"]")))
        .collect();
    for (number, job) in jobs.iter().enumerate() {
        assert_eq!(
            caller.result(job),
            json!({"result": [format!("job {number}")]})
        );
    }
    cluster.stop_dispatcher();
    let store = cluster.path("jobs");
    let db = store.join("db");
    let mut bytes = std::fs::read(&db).unwrap();
    // A bit of what one of the jobs has returned, wherever it stands.
    let sought = b"\"job 7\"";
    let at = bytes
        .windows(sought.len())
        .position(|window| window == sought);
    bytes[at.unwrap() + 5] ^= 1;
    std::fs::write(&db, &bytes).unwrap();

    let before = files(&store);
    let refused = cluster.fail_to_start();
    assert!(refused.contains("--salvage NEW-DIRECTORY"), "{refused}");
    let export = cluster.path("jobs.export");
    for arguments in [
        &["check-store"][..],
        &["check-store", "--repair"],
        &["export", path(&export)],
    ] {
        let done = run(&cluster, arguments);
        assert!(!done.status.success(), "{done:?}");
        let told = text(&done.stderr);
        assert!(told.contains("--salvage NEW-DIRECTORY"), "{told}");
    }
    let new = cluster.path("new");
    let salvaged = run(&cluster, &["check-store", "--salvage", path(&new)]);
    assert!(salvaged.status.success(), "{salvaged:?}");
    let _ = run(&cluster, &["export", "--salvage", path(&export)]);
    assert_eq!(files(&store), before, "nobody has changed the damaged one");
    let again = run(&cluster, &["check-store", "--salvage", path(&new)]);
    assert!(text(&again.stderr).contains("is not empty"), "{again:?}");
    let imported = cluster.path("imported");
    let import = Command::new(binary("harpcallerd"))
        .args(["import", "--store", path(&imported), path(&export)])
        .output()
        .expect("a program that was built");
    assert!(import.status.success(), "{import:?}");

    let told = text(&salvaged.stdout);
    for directory in [&new, &imported] {
        cluster.set("stream_directory", &json!(directory).to_string());
        cluster.start_dispatcher();
        for (number, job) in jobs.iter().enumerate() {
            let result = caller.result_now(job);
            let is_whole = result == json!({"result": [format!("job {number}")]});
            assert!(
                is_whole || number == 7 && told.contains(job),
                "{result} {told}"
            );
        }
        cluster.stop_dispatcher();
    }
}
