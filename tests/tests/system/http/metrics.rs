//! Metrics and the summary (section 13; acceptance 15).

use std::collections::{BTreeMap, BTreeSet};

use harp_tests::{Cluster, HttpRequest, ask, repository, until};
use serde_json::{Value, json};

use super::{OPEN, address, api, call, get, open, post, result, submit};

/// The samples of an answer in the older format, each by its name with its labels.
pub(super) fn samples(cluster: &Cluster) -> BTreeMap<String, f64> {
    let answer = HttpRequest::get("/metrics").ask(address(cluster));
    assert_eq!(answer.status(), 200, "{}", answer.text());
    assert!(
        answer
            .header("content-type")
            .starts_with("text/plain; version=0.0.4")
    );
    let text = answer.text();
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    let samples = samples.map(|line| {
        let (name, value) = line.rsplit_once(' ').unwrap();
        (
            name.to_owned(),
            value.parse().unwrap_or_else(|_| panic!("{line}")),
        )
    });
    samples.collect()
}

#[test]
fn metrics_grow_as_jobs_do() {
    let cluster = open().start();
    let before = samples(&cluster);
    assert_eq!(before["harpcaller_jobs_submitted_total"], 0.0);
    assert_eq!(
        before["harpcaller_jobs_ended_total{outcome=\"returned\"}"],
        0.0
    );
    assert_eq!(before["harpcaller_store_up"], 1.0);
    assert_eq!(before["harpcaller_hosts"], 1.0);
    assert!(before["process_resident_memory_bytes"] > 1_000_000.0);
    for number in 0..3 {
        let id = submit(&cluster, call("echo", json!([number])));
        result(&cluster, &id);
    }
    let failed = submit(&cluster, call("fail", json!(["1", "x"])));
    result(&cluster, &failed);
    submit(&cluster, call("silent", json!([])));
    let after = until("the ends are counted", || {
        let after = samples(&cluster);
        let ended = after["harpcaller_jobs{state=\"ended\"}"];
        (ended == 4.0).then_some(after)
    });
    assert_eq!(after["harpcaller_jobs_submitted_total"], 5.0);
    assert_eq!(
        after["harpcaller_jobs_ended_total{outcome=\"returned\"}"],
        3.0
    );
    assert_eq!(
        after["harpcaller_jobs_ended_total{outcome=\"exception\"}"],
        1.0
    );
    assert_eq!(after["harpcaller_jobs{state=\"running\"}"], 1.0);
    let posts = "harpcaller_requests_total{protocol=\"http\",operation=\"/jobs\",status=\"201\"}";
    assert_eq!(after[posts], 5.0);

    let summary = get(&cluster, "/summary").json();
    assert_eq!(
        (&summary["running"], &summary["ended"]),
        (&json!(1), &json!(4))
    );
    assert_eq!(
        (&summary["hour"]["returned"], &summary["day"]["submitted"]),
        (&json!(3), &json!(5))
    );
    assert_eq!(
        (&summary["store"], &summary["draining"]),
        (&json!("ok"), &json!(false))
    );
}

#[test]
fn openmetrics_is_for_who_takes_it() {
    let cluster = open().hosts(0).start();
    let answer = HttpRequest::get("/metrics")
        .header(
            "Accept",
            "application/openmetrics-text;version=1.0.0,text/plain;q=0.5",
        )
        .ask(address(&cluster));
    assert!(
        answer
            .header("content-type")
            .starts_with("application/openmetrics-text")
    );
    let text = answer.text();
    assert!(text.ends_with("# EOF\n"));
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let families: BTreeMap<&str, &str> = types.filter_map(|line| line.split_once(' ')).collect();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let name = line.split(['{', ' ']).next().unwrap();
        let is_of = |suffix: &str, kind: &str| {
            name.strip_suffix(suffix)
                .is_some_and(|family| families.get(family) == Some(&kind))
        };
        let is_known = is_of("", "gauge")
            || is_of("_total", "counter")
            || ["_bucket", "_sum", "_count"]
                .iter()
                .any(|suffix| is_of(suffix, "histogram"));
        assert!(is_known, "{line}");
    }
}

#[test]
fn the_dashboard_asks_for_metrics_that_there_are() {
    let cluster = open().start();
    let id = submit(&cluster, call("echo", json!([])));
    result(&cluster, &id);
    let there: BTreeSet<String> = samples(&cluster)
        .into_keys()
        .map(|name| name.split('{').next().unwrap().to_owned())
        .collect();
    let file = repository().join("dist/grafana-dashboard.json");
    let dashboard: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    let mut asked = 0;
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().unwrap() {
            let query = target["expr"].as_str().unwrap();
            let words =
                query.split(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_'));
            for word in words {
                if word.starts_with("harpcaller_") || word.starts_with("process_") {
                    assert!(there.contains(word), "{word} of {query}");
                    asked += 1;
                }
            }
        }
    }
    assert!(asked > 20, "{asked}");
}

#[test]
fn what_clients_and_hosts_do_is_counted() {
    let cluster = open().start();
    let job = submit(&cluster, call("say", json!(["a", "b"])));
    result(&cluster, &job);
    let mut away = call("echo", json!([]));
    away["host"] = json!("nowhere");
    let away = submit(&cluster, &away);
    result(&cluster, &away);
    let silent = submit(&cluster, call("silent", json!([])));
    let follow = HttpRequest::get(&api(&format!("/jobs/{silent}/events")));
    let follower = follow.stream(address(&cluster));
    assert_eq!(follower.head.status, 200);
    let wire = ask(
        cluster.address(),
        json!({"harpcaller": 1, "get_status": "019aa9c0-0000-7000-8000-000000000000"}),
    );
    assert_eq!(wire["error"]["type"], "invalid_jobid");
    let end = ask(
        cluster.address(),
        json!({"harpcaller": 1, "get_result": job}),
    );
    assert!(end.get("result").is_some(), "{end}");
    let now = until("all is counted", || {
        let now = samples(&cluster);
        (now["harpcaller_job_errors_total{type=\"unknown_host\"}"] == 1.0).then_some(now)
    });
    for (name, wanted) in [
        ("harpcaller_packets_total", 2.0),
        ("harpcaller_followers", 1.0),
        // A call to a host that nobody knows has started, too.
        ("harpcaller_job_wait_seconds_count", 2.0),
        (
            "harpcaller_job_execution_seconds_count{outcome=\"returned\"}",
            1.0,
        ),
        (
            "harpcaller_requests_total{protocol=\"harpcaller\",operation=\"get_status\",status=\"invalid_jobid\"}",
            1.0,
        ),
        (
            "harpcaller_requests_total{protocol=\"harpcaller\",operation=\"get_result\",status=\"ok\"}",
            1.0,
        ),
        ("harpcaller_hosts_refresh_failures_total", 0.0),
        ("harpcaller_store_pending_bytes", 0.0),
        ("harpcaller_store_outages_total", 0.0),
        ("harpcaller_audit_lines_lost_total", 0.0),
        ("harpcaller_log_lines_lost_total", 0.0),
    ] {
        assert_eq!(now[name], wanted, "{name}");
    }
    for name in [
        "harpcaller_host_connects_total{result=\"ok\"}",
        "harpcaller_host_connect_seconds_count",
        "harpcaller_store_sync_seconds_count",
        "harpcaller_packet_bytes_total",
        "harpcaller_connections{protocol=\"http\"}",
        "harpcaller_hosts_refresh_timestamp_seconds",
    ] {
        assert!(now[name] > 0.0, "{name}");
    }
    let hosts = get(&cluster, "/hosts").json();
    let host = &hosts["hosts"][0];
    assert_eq!(
        (&host["running"], &host["queued"]),
        (&json!(1), &json!(0)),
        "{host}"
    );
    assert!(
        host["last_contact"]
            .as_u64()
            .is_some_and(|time| time > 1_600_000_000_000),
        "{host}"
    );
    assert_eq!(host["last_failure"], json!(null));
    drop(follower);
    until("nobody follows", || {
        (samples(&cluster)["harpcaller_followers"] == 0.0).then_some(())
    });
}

#[test]
fn what_was_not_allowed_and_hosts_that_are_away_are_counted() {
    let cluster = Cluster::builder()
        .tables(
            "[[listen_http]]\naddress = '127.0.0.1:0'\nrequire_authentication = false\n\
             [[allow]]\nclient = '*'\nprocedure = 'echo'\n\
             [[allow]]\nclient = '*'\noperations = 'observe'\n",
        )
        .start();
    let mut entry = cluster.entry("web01");
    // Nobody listens at port 1 of this machine, as a rule; if somebody does, it is no harpd.
    entry["port"] = json!(1);
    cluster.set_registry(&[entry]);
    assert!(cluster.run(&["hosts-refresh"]).status.success());
    assert_eq!(
        post(&cluster, "/jobs", call("fail", json!([]))).status(),
        403
    );
    let job = submit(&cluster, call("echo", json!([])));
    assert_eq!(result(&cluster, &job)["error"]["type"], "network_error");
    let now = samples(&cluster);
    assert_eq!(
        now["harpcaller_unauthorized_total{reason=\"forbidden\"}"],
        1.0
    );
    let failed: f64 = now
        .iter()
        .filter(|(name, _)| {
            name.starts_with("harpcaller_host_connects_total") && !name.contains("\"ok\"")
        })
        .map(|(_, count)| count)
        .sum();
    assert!(failed >= 1.0, "{now:?}");
    let host = get(&cluster, "/hosts/web01").json();
    assert_eq!(host["last_failure"]["type"], "network_error", "{host}");
    assert!(host["last_failure"]["code"].is_string(), "{host}");
}

#[test]
fn there_are_few_series_whatever_clients_choose() {
    let cluster = open().start();
    for number in 0..300 {
        let mut call = call(&format!("procedure-{number}"), json!([]));
        call["host"] = json!(format!("host-{number}"));
        call["key"] = json!(format!("key-{number}"));
        call["queue"] = json!({"name": {"q": number}, "concurrency": 1});
        submit(&cluster, &call);
        get(&cluster, &format!("/hosts/host-{number}"));
        get(&cluster, &format!("/x{number}"));
    }
    let series = samples(&cluster);
    assert!(series.len() < 500, "{}", series.len());
    assert!(
        !series
            .keys()
            .any(|name| name.contains("host-7") || name.contains("procedure-7"))
    );
}

#[test]
fn ends_are_told_apart_by_what_the_configuration_says() {
    let mut cluster = Cluster::builder()
        .tables(OPEN)
        .set("metrics_labels", "['procedure']")
        .start();
    // Its addresses are those of the configuration then, as a reload wants it.
    cluster.restart_dispatcher();
    for (procedure, arguments) in [("echo", json!([])), ("fail", json!(["1", "x"]))] {
        let job = submit(&cluster, call(procedure, arguments));
        result(&cluster, &job);
    }
    let returned = "harpcaller_jobs_ended_total{outcome=\"returned\",procedure=\"echo\"}";
    let raised = "harpcaller_job_execution_seconds_count{outcome=\"exception\",procedure=\"fail\"}";
    until("the ends are counted", || {
        let now = samples(&cluster);
        (now.get(returned) == Some(&1.0) && now.get(raised) == Some(&1.0)).then_some(())
    });
    assert!(!samples(&cluster).contains_key("harpcaller_jobs_ended_total{outcome=\"returned\"}"));
    cluster.set("metrics_labels", "['host', 'procedure']");
    assert!(cluster.reload().status.success());
    let job = submit(&cluster, call("echo", json!([])));
    result(&cluster, &job);
    let both =
        "harpcaller_jobs_ended_total{outcome=\"returned\",host=\"web01\",procedure=\"echo\"}";
    until("the host is told too", || {
        (samples(&cluster).get(both) == Some(&1.0)).then_some(())
    });
}
