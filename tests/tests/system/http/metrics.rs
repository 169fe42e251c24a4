//! Metrics and the summary (section 13; acceptance 15).

use std::collections::{BTreeMap, BTreeSet};

use harp_tests::{Cluster, HttpRequest, repository, until};
use serde_json::{Value, json};

use super::{address, call, get, open, result, submit};

/// The samples of an answer in the older format, each by its name with its labels.
fn samples(cluster: &Cluster) -> BTreeMap<String, f64> {
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
    assert!(asked > 8, "{asked}");
}
