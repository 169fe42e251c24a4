//! Configuration files, good and bad (daemon specification, "Configuration").

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use harp_tests::certificates::Authority;
use harp_tests::{Cluster, binary, repository};
use serde_json::json;
use tempfile::TempDir;

/// Runs a command of the dispatcher with a configuration of this text.
fn run(verb: &str, text: &str) -> (Output, String, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("test.toml");
    fs::write(&config, text).unwrap();
    let output = Command::new(binary("harpcallerd"))
        .arg("--socket")
        .arg(directory.path().join("control"))
        .arg(verb)
        .arg("--config")
        .arg(config)
        .output()
        .unwrap();
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    (output, said, directory)
}

/// The least that a configuration needs: three lines.
const LEAST: &str = "stream_directory = '/nonexistent/jobs'\n\
    host_db_script = '/nonexistent/script'\n\
    host_db = '/nonexistent/cache'\n";

#[test]
fn http_that_others_can_listen_to_is_warned_of() {
    for (keys, is_warned) in [
        ("address = '*:3580'", true),
        ("address = '192.0.2.7:3580'", true),
        ("address = '127.0.0.1:3580'", false),
        ("path = '/run/harp.http'", false),
        (
            "address = '*:3580'\ncertificate = '/c'\nprivate_key = '/k'",
            false,
        ),
    ] {
        let http = format!("[[listen_http]]\nrequire_authentication = false\n{keys}\n");
        let (_, said, _directory) = run("check-config", &format!("{LEAST}{http}"));
        assert_eq!(said.contains("reads tokens"), is_warned, "{keys}: {said}");
    }
}

#[test]
fn a_good_file_is_good() {
    let files = tempfile::tempdir().unwrap();
    let authority = files.path().join("ca.pem");
    fs::write(&authority, Authority::shared().pem()).unwrap();
    let everything = format!(
        "{LEAST}
        listen = ['*:3502', '127.0.0.1:3503', '[::1]:3504', 'localhost:3505']
        default_timeout = 60
        max_exec_time = 3600
        max_age = 24
        ca_file = {authority:?}
        known_certs_file = '/etc/harpcaller/known.pem'
        host_db_refresh = 900
        log_handlers = ['harpcaller_stdout_h', 'stderr']
        connect_timeout = 10
        connect_patience = 0
        verify_hostname = false
        resume_queued = true
        max_request_size = '16M'
        max_packet_size = 1048576
        max_connections = 100
        max_live_jobs = 1000
        stop_grace = 0
        slot_grace = 10
        break_grace = 66
        last_words = 5
        host_db_script_timeout = 60
        log_format = 'json'
        log_level = 'debug'
        cache_size = '64M'
        [erlang]
        node_name = 'harpcaller'
        cookie_file = '/etc/harpcaller/cookie'
        "
    );
    for text in [LEAST, &everything] {
        let (output, said, _) = run("check-config", text);
        assert!(output.status.success(), "{said}");
        assert!(!said.contains("unknown key"), "{said}");
    }
    let (_, said, _) = run("check-config", &everything);
    assert!(
        said.contains("erlang"),
        "one notice of what is not looked at: {said}"
    );
}

#[test]
fn a_bad_file_is_refused_with_key_line_and_expectation() {
    for (line, key, expectation) in [
        ("default_timeout = 'long'", "default_timeout", "number"),
        ("default_timeout = 0", "default_timeout", "1"),
        ("max_exec_time = true", "max_exec_time", "number"),
        ("stop_grace = -1", "stop_grace", "0"),
        ("listen = '*:3502'", "listen", "array"),
        ("listen = ['somewhere']", "listen", "ADDR:PORT"),
        ("listen = ['127.0.0.1:99999']", "listen", "ADDR:PORT"),
        ("ca_file = 7", "ca_file", "string"),
        ("verify_hostname = 'no'", "verify_hostname", "true or false"),
        ("max_request_size = 'big'", "max_request_size", "size"),
        ("max_request_size = '16X'", "max_request_size", "size"),
        (
            "max_request_size = 18446744073709551615",
            "max_request_size",
            "size",
        ),
        (
            "max_request_size = '18446744073709551615'",
            "max_request_size",
            "size",
        ),
        (
            "max_packet_size = '17179869184G'",
            "max_packet_size",
            "size",
        ),
        ("max_packet_size = '2G'", "max_packet_size", "1G"),
        ("cache_size = 100", "cache_size", "1M"),
        ("max_live_jobs = 0", "max_live_jobs", "1"),
        ("log_format = 'xml'", "log_format", "json"),
        ("log_level = 'loud'", "log_level", "info"),
        ("log_handlers = ['pigeon']", "log_handlers", "handler"),
        ("resume_queued = 1", "resume_queued", "true or false"),
    ] {
        // Starting tells the same as checking.
        for verb in ["check-config", "start"] {
            let (output, said, _) = run(verb, &format!("{LEAST}{line}\n"));
            assert!(!output.status.success(), "{verb}: {line}: {said}");
            let place = format!("test.toml:4: {key}");
            assert!(said.contains(&place), "{verb}: {line}: {said}");
            assert!(said.contains(expectation), "{verb}: {line}: {said}");
        }
    }
}

#[test]
fn every_problem_of_a_file_is_told_at_once() {
    let (output, said, _) = run(
        "check-config",
        "stop_grace = 'soon'\nlog_format = 7\nslot_grace = true\n",
    );
    assert!(!output.status.success());
    for expected in [
        "test.toml:1: stop_grace",
        "test.toml:2: log_format",
        "test.toml:3: slot_grace",
        "stream_directory",
        "host_db_script",
        "host_db",
    ] {
        assert!(said.contains(expected), "{expected}: {said}");
    }
}

#[test]
fn a_file_that_is_no_toml_is_refused_with_its_line() {
    let (output, said, _) = run("check-config", &format!("{LEAST}listen = [\n= 5\n"));
    assert!(!output.status.success());
    assert!(said.contains("test.toml:5"), "{said}");
}

#[test]
fn a_file_that_is_not_there_is_named() {
    for verb in ["check-config", "start"] {
        let output = Command::new(binary("harpcallerd"))
            .args([verb, "--config", "/nonexistent/harpcaller.toml"])
            .output()
            .unwrap();
        assert!(!output.status.success());
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("/nonexistent/harpcaller.toml"), "{said}");
    }
}

#[test]
fn an_unknown_key_is_a_warning_that_names_the_nearest() {
    let (output, said, _) = run("check-config", &format!("{LEAST}default_timout = 5\n"));
    assert!(output.status.success(), "{said}");
    for expected in [
        "warning",
        "test.toml:4",
        "default_timout",
        "default_timeout",
    ] {
        assert!(said.contains(expected), "{expected}: {said}");
    }
    // The daemon starts with it, and logs it.
    let cluster = Cluster::builder().set("default_timout", "5").start();
    let log = cluster.log().text();
    assert!(
        log.contains("WARN") && log.contains("default_timout"),
        "{log}"
    );
}

#[test]
fn what_cannot_be_used_keeps_the_daemon_from_starting_and_is_named() {
    let cluster = Cluster::start();
    let text = fs::read_to_string(cluster.config()).unwrap();
    let file = cluster.path("a file");
    fs::write(&file, "not a certificate\n").unwrap();
    for (key, value, named) in [
        (
            "ca_file",
            json!("/nonexistent/ca.pem"),
            "/nonexistent/ca.pem".to_owned(),
        ),
        ("ca_file", json!(file), file.display().to_string()),
        (
            "stream_directory",
            json!(file.join("jobs")),
            file.display().to_string(),
        ),
        // An address of nobody's.
        (
            "listen",
            json!(["192.0.2.1:3502"]),
            "192.0.2.1:3502".to_owned(),
        ),
        // One that is in use.
        (
            "listen",
            json!([cluster.address()]),
            cluster.address().to_string(),
        ),
    ] {
        let lines = text.lines().filter(|line| {
            let own_store = line.starts_with("stream_directory") && key != "stream_directory";
            !line.starts_with(key) && !own_store
        });
        let mut other: Vec<String> = lines.map(str::to_owned).collect();
        if key != "stream_directory" {
            other.push(format!(
                "stream_directory = {}",
                json!(cluster.path("other jobs"))
            ));
        }
        if key != "listen" {
            other.retain(|line| !line.starts_with("listen"));
            other.push(r#"listen = ["127.0.0.1:0"]"#.to_owned());
        }
        other.push(format!("{key} = {value}"));
        let (output, said, _) = run("start", &other.join("\n"));
        assert!(!output.status.success(), "{key} = {value}: {said}");
        assert!(said.contains(&named), "{key} = {value}: {said}");
    }
}

#[test]
fn files_with_jobs_or_credentials_are_private() {
    use std::os::unix::fs::PermissionsExt;
    let cluster = Cluster::start();
    let caller = cluster.caller();
    let job = caller.call("web01", "blob", "[3000000]");
    assert_eq!(caller.result(&job), json!({"result": null}));
    let mut folders = vec![cluster.path("jobs")];
    while let Some(folder) = folders.pop() {
        let mode = fs::metadata(&folder).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700, "{}", folder.display());
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let mode = fs::metadata(&path).unwrap().permissions().mode();
                assert_eq!(mode & 0o777, 0o600, "{}", path.display());
            }
        }
    }
}

/// The sample, with a registry script and a log that are there.
fn sample() -> String {
    let sample = fs::read_to_string(repository().join("dist/harpcaller.toml")).unwrap();
    let sample = sample.replace("\"/etc/harpcaller/hosts\"", "\"/bin/sh\"");
    sample.replace("/var/log/harpcaller/harpcallerd.log", "/dev/null")
}

#[test]
fn the_sample_is_good_and_so_are_its_keys_of_log_and_retention() {
    let sample = sample();
    let mut shown = 0;
    let in_force: String = sample
        .lines()
        .map(|line| {
            let key = line.strip_prefix('#').filter(|key| {
                let of_interest = ["log_", "max_age", "max_jobs", "max_store_size"];
                of_interest.iter().any(|start| key.starts_with(start))
            });
            shown += usize::from(key.is_some());
            format!("{}\n", key.unwrap_or(line))
        })
        .collect();
    assert_eq!(shown, 7, "all of them are in the sample");
    for text in [sample, in_force] {
        let (output, said, _) = run("check-config", &text);
        assert!(output.status.success(), "{said}");
        assert!(said.ends_with("test.toml: good\n"), "{said}");
        assert_eq!(said.lines().count(), 1, "no warning: {said}");
    }
}

#[test]
fn files_that_are_named_are_opened_and_nothing_is_made() {
    let files = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = files.path().join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let (one, other) = (
        Authority::shared().issue(&["a"]),
        Authority::shared().issue(&["b"]),
    );
    let certificate = write("certificate", &one.pem);
    let key = write("key", &one.key_pem);
    let key_of_other = write("key of other", &other.key_pem);
    let no_pem = write("no PEM", "nothing");
    let no_token = write("tokens", "operator: no hash\n");
    let no_schema = write("schema", "{");
    let missing = files.path().join("none/file");
    let new = files.path().join("new");
    let tls = |certificate: &Path, key: &Path, more: &str| {
        format!(
            "[[listener]]\naddress = '127.0.0.1:0'\nrequire_authentication = false\n\
             certificate = {certificate:?}\nprivate_key = {key:?}\n{more}"
        )
    };
    let good = [
        tls(&certificate, &key, ""),
        format!("audit_file = {new:?}\nlog_file = {new:?}\n"),
        format!("known_certs_file = {missing:?}\n"),
    ];
    for more in good {
        let (output, said, _) = run("check-config", &format!("{LEAST}{more}"));
        assert!(output.status.success(), "{more}: {said}");
        assert!(!new.exists());
    }
    let bad = [
        (format!("ca_file = {missing:?}\n"), &missing),
        (format!("ca_file = {no_pem:?}\n"), &no_pem),
        (format!("tokens_file = {missing:?}\n"), &missing),
        (format!("tokens_file = {no_token:?}\n"), &no_token),
        (format!("audit_file = {missing:?}\n"), &missing),
        (format!("log_file = {missing:?}\n"), &missing),
        (tls(&certificate, &key_of_other, ""), &key_of_other),
        (tls(&missing, &key, ""), &missing),
        (
            tls(
                &certificate,
                &key,
                &format!("client_ca_file = {no_pem:?}\n"),
            ),
            &no_pem,
        ),
        (
            format!("[[procedure]]\nprocedure = 'p'\narguments_schema = {no_schema:?}\n"),
            &no_schema,
        ),
    ];
    for (more, file) in bad {
        let (output, said, _) = run("check-config", &format!("{LEAST}{more}"));
        assert_eq!(output.status.code(), Some(1), "{more}: {said}");
        assert!(said.contains(&*file.to_string_lossy()), "{more}: {said}");
        assert!(
            !said.contains("can be used") && !said.contains("good"),
            "{said}"
        );
    }
    let (_, said, _) = run("check-config", LEAST);
    assert!(said.contains("/nonexistent/script cannot be run"), "{said}");
}

#[test]
fn what_is_warned_of_is_counted_and_what_opens_a_door_is_refused() {
    let sample = sample();
    let (output, said, _) = run(
        "check-config",
        &format!("default_timout = 5\nzzz = 1\n{sample}"),
    );
    assert!(output.status.success(), "{said}");
    assert!(
        said.ends_with("test.toml: can be used, with 2 warnings\n"),
        "{said}"
    );
    for table in [
        "[[allow]]\nclients = 'token:operator'\n",
        "[[alow]]\nclient = '*'\n",
    ] {
        let (output, said, _) = run("check-config", &format!("{sample}\n{table}"));
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("unknown key"), "{said}");
        assert!(!said.contains("good"), "{said}");
    }
}

#[test]
fn what_others_could_change_is_told_and_refused_to_root() {
    let directory = tempfile::tempdir().unwrap();
    let script = directory.path().join("script");
    fs::write(&script, "#!/bin/sh\n").unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o757)).unwrap();
    let text = LEAST.replace("/nonexistent/script", script.to_str().unwrap());
    let is_root = rustix::process::geteuid().is_root();
    for verb in ["check-config", "start"] {
        if !is_root {
            println!("skipped: root alone is refused");
            break;
        }
        let (output, said, _) = run(verb, &text);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("could be changed by everybody"), "{said}");
        assert!(said.contains("chmod go-w"), "{said}");
    }
    let text = format!("{text}allow_unsafe_permissions = true\n");
    let (output, said, _) = run("check-config", &text);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("could be changed by everybody"), "{said}");
    assert!(said.ends_with("can be used, with 1 warning\n"), "{said}");
}
