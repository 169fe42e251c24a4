//! Submitting calls (section 2).

use harp_tests::Cluster;
use serde_json::json;

use crate::assertions::{assert_ended, assert_job_id, keys};

#[test]
fn arguments_reach_the_procedure_as_they_were_given() {
    let cluster = Cluster::start();
    let caller = cluster.caller();
    for arguments in ["[]", "{}", r#"[1,"a",null]"#, r#"{"k":1,"l":[true]}"#] {
        let job = caller.call("web01", "echo", arguments);
        assert_eq!(
            caller.raw_result(&job),
            format!(r#"{{"result":{arguments}}}"#)
        );
    }
}

#[test]
fn a_call_is_answered_with_a_job_id_of_its_own() {
    let cluster = Cluster::start();
    let caller = cluster.caller();
    let request = json!({"harpcaller": 1, "host": "web01", "procedure": "echo", "arguments": []});
    let answers = [caller.ask(&request), caller.ask(&request)];
    for answer in &answers {
        assert_eq!(keys(answer), ["harpcaller", "job_id"]);
        assert_eq!(answer["harpcaller"], 1);
        assert_job_id(answer["job_id"].as_str().unwrap());
    }
    assert_ne!(answers[0]["job_id"], answers[1]["job_id"]);
}

#[test]
fn null_means_the_same_as_leaving_out() {
    let cluster = Cluster::start();
    let caller = cluster.caller();
    let job = caller.call_with(
        "web01",
        "packets",
        r#"["1","2"]"#,
        r#""timeout": null, "max_exec_time": null, "queue": null, "info": null"#,
    );
    assert_eq!(caller.result(&job), json!({"result": null}));
    assert_eq!(caller.status(&job)["info"], json!(null));
    let answer = caller.ask(json!({"harpcaller": 1, "get_result": job, "wait": null}));
    assert_eq!(answer, json!({"result": null}));
    let page = caller.read(&job, r#""since": null, "recent": null"#);
    assert_eq!(page.packets, ["1", "2"]);
    let queued = caller.call_with(
        "web01",
        "echo",
        "[]",
        r#""queue": {"name": {}, "concurrency": null}"#,
    );
    assert_eq!(caller.result(&queued), json!({"result": []}));
}

#[test]
fn a_job_that_need_not_wait_has_started_when_its_id_is_known() {
    let cluster = Cluster::start();
    let caller = cluster.caller();
    let feed = cluster.feed("feed");
    for more in ["", r#""queue": {"name": {"free": true}}"#] {
        let job = caller.call_with("web01", "gate", &feed.arguments(), more);
        assert!(caller.has_started(&job), "{more}");
    }
}

#[test]
fn an_unknown_host_is_found_out_by_the_job() {
    let cluster = Cluster::start();
    let caller = cluster.caller();
    for host in ["web99", "", "päckage \"quoted\""] {
        let job = caller.call(host, "echo", "[]");
        assert_ended(&caller.result(&job), "unknown_host", &json!({"host": host}));
        let status = caller.status(&job);
        assert_eq!(status["call"]["host"], host);
        assert!(
            status["time"]["start"].is_u64() && status["time"]["end"].is_u64(),
            "{status}"
        );
    }
}

#[test]
fn each_host_of_the_registry_is_called_at_its_own_address() {
    let cluster = Cluster::builder().hosts(2).start();
    let caller = cluster.caller();
    let mut feeds = [cluster.feed("one"), cluster.feed("two")];
    let jobs = ["web01", "web02"].map(|host| {
        let feed = if host == "web01" {
            &feeds[0]
        } else {
            &feeds[1]
        };
        caller.call(host, "gate", &feed.arguments())
    });
    for (number, feed) in feeds.iter_mut().enumerate() {
        feed.send(&number.to_string());
    }
    drop(feeds);
    for (number, job) in jobs.iter().enumerate() {
        assert_eq!(caller.result(job), json!({"result": number}));
    }
}
