//! Schemas of services and of procedures (section 11; acceptance 20).

use harp_tests::false_clock::FalseClock;
use serde_json::{Value, json};

use super::services::{ask, claim, job, register, under};
use super::{assert_problem, get, open, post, result, submit};

#[test]
fn arguments_and_results_are_held_against_the_schemas() {
    let cluster = open().hosts(0).start();
    let service = register(
        &cluster,
        json!({
            "name": "s",
            "arguments_schema": {"type": "object", "required": ["sample"],
                "properties": {"sample": {"type": "integer", "minimum": 1}}},
            "result_schema": {"type": "array"},
        }),
    );
    let wrong = post(&cluster, "/jobs", ask("s", json!({"sample": 0})));
    assert_problem(&wrong, 422, "invalid_arguments");
    let errors = &wrong.json()["errors"];
    assert_eq!(
        (&errors[0]["path"], &errors[0]["keyword"]),
        (&json!("/sample"), &json!("minimum"))
    );
    let checked = post(&cluster, "/jobs/check", ask("s", json!({"sample": 0})));
    assert_problem(&checked, 422, "invalid_arguments");
    let line = cluster.caller().ask(json!({
        "harpcaller": 1, "host": "topchef", "procedure": "s", "arguments": {"sample": 0}
    }));
    assert_eq!(line["error"]["type"], "invalid_arguments", "{line}");
    assert_eq!(line["error"]["data"]["errors"][0]["path"], "/sample");
    let checked = post(&cluster, "/jobs/check", ask("s", json!({"sample": 1}))).json();
    assert_eq!(
        checked,
        json!({"ok": true, "host_known": true, "schema": "declared"})
    );
    assert_eq!(
        get(&cluster, "/jobs").json()["jobs"],
        json!([]),
        "nothing is recorded"
    );

    let id = submit(&cluster, ask("s", json!({"sample": 1})));
    let claimed = claim(&cluster, &service, json!({})).unwrap();
    let wrong = under(&cluster, &claimed, "finish", json!({"result": {}}));
    assert_problem(&wrong, 422, "invalid_result");
    assert_eq!(
        job(&cluster, &id)["state"],
        "running",
        "nothing has changed"
    );
    assert_eq!(
        under(&cluster, &claimed, "finish", json!({"result": []})).status(),
        200
    );
    assert_eq!(result(&cluster, &id), json!({"result": []}));
}

#[test]
fn declared_schemas_hold_on_every_wire_and_are_reloaded() {
    let mut cluster = open().start();
    // From here on its configuration names the port that it has.
    cluster.restart_dispatcher();
    let schema = cluster.path("say.json");
    std::fs::write(&schema, r#"{"type": "array", "maxItems": 1}"#).unwrap();
    let declared = format!(
        "{}[[procedure]]\nhost = 'web*'\nprocedure = 'say'\narguments_schema = '{}'\n",
        super::OPEN,
        schema.display()
    );
    cluster.set_tables(&declared);
    assert!(cluster.reload().status.success());
    let call =
        |arguments: Value| json!({"host": "web01", "procedure": "say", "arguments": arguments});
    let wrong = post(&cluster, "/jobs", call(json!(["a", "b"])));
    assert_problem(&wrong, 422, "invalid_arguments");
    assert_eq!(wrong.json()["errors"][0]["keyword"], "maxItems");
    let line = cluster.caller().ask(json!({
        "harpcaller": 1, "host": "web01", "procedure": "say", "arguments": ["a", "b"]
    }));
    assert_eq!(line["error"]["type"], "invalid_arguments", "{line}");
    let checked = post(&cluster, "/jobs/check", call(json!(["a"]))).json();
    assert_eq!(checked["schema"], "declared");
    submit(&cluster, call(json!(["a"])));
    // One that cannot be used changes nothing.
    std::fs::write(&schema, r#"{"$ref": "file:///nowhere"}"#).unwrap();
    assert!(!cluster.reload().status.success());
    let wrong = post(&cluster, "/jobs", call(json!(["a", "b"])));
    assert_problem(&wrong, 422, "invalid_arguments");
}

/// What is refused on every face before it is accepted.
fn assert_refused(cluster: &harp_tests::Cluster, procedure: &str, arguments: &Value) {
    let call = json!({"host": "web01", "procedure": procedure, "arguments": arguments});
    let wrong = post(cluster, "/jobs", &call);
    assert_problem(&wrong, 422, "invalid_arguments");
    assert_eq!(wrong.json()["errors"][0]["keyword"], "type", "{wrong:?}");
    let mut line = call.clone();
    line["harpcaller"] = json!(1);
    let line = cluster.caller().ask(line);
    assert_eq!(line["error"]["type"], "invalid_arguments", "{line}");
    assert_eq!(line["error"]["data"]["errors"][0]["keyword"], "type");
}

#[test]
fn schemas_of_the_registry_are_held_against_calls() {
    let cluster = open().start();
    let mut entry = cluster.entry("web01");
    entry["procedures"] = json!({
        "say": {"arguments_schema": {"items": {"type": "string"}}},
        "echo": {"arguments_schema": {"type": "bogus"}},
    });
    cluster.set_registry(&[entry]);
    assert!(cluster.run(&["hosts-refresh"]).status.success());
    assert_refused(&cluster, "say", &json!([7]));
    submit(&cluster, super::call("say", json!(["a"])));
    // One that cannot be used is none, which is told once.
    for _ in 0..2 {
        submit(&cluster, super::call("echo", json!([7])));
    }
    let told = cluster
        .log()
        .count("a schema cannot be used; there is none then");
    assert_eq!(told, 1);
    let samples = super::metrics::samples(&cluster);
    assert_eq!(
        samples["harpcaller_schema_violations_total{where=\"arguments\"}"],
        2.0
    );
}

/// A procedure of harpd that has a schema.
fn typed(directory: &tempfile::TempDir) -> harp_tests::ClusterBuilder {
    with_type(open(), directory)
}

fn with_type(
    builder: harp_tests::ClusterBuilder,
    directory: &tempfile::TempDir,
) -> harp_tests::ClusterBuilder {
    let schema = directory.path().join("schema.json");
    std::fs::write(&schema, r#"{"items": {"type": "integer"}}"#).unwrap();
    let settings = format!(
        "description = 'Adds.'\narguments_schema = '{}'\noutput = 'text'",
        schema.display()
    );
    builder.procedure("add", &settings, "echo sum")
}

#[test]
fn what_hosts_say_of_their_procedures_is_learned_and_held_against_calls() {
    let directory = tempfile::tempdir().unwrap();
    let cluster = typed(&directory).start();
    let call = |arguments: Value| super::call("add", arguments);
    // Nothing is known here, and harpd refuses by itself before it starts anything.
    let checked = post(&cluster, "/jobs/check", call(json!(["a"]))).json();
    assert_eq!(checked["schema"], "none");
    let id = submit(&cluster, call(json!(["a"])));
    let end = result(&cluster, &id);
    assert_eq!(end["error"]["type"], "invalid_argument_list", "{end}");
    assert_eq!(end["error"]["data"]["errors"][0]["path"], "/0");

    let listed = get(&cluster, "/hosts/web01/procedures?refresh=true").json();
    let procedures = listed["procedures"].as_array().unwrap();
    let add = procedures.iter().find(|one| one["name"] == "add").unwrap();
    assert_eq!(
        (
            &add["description"],
            &add["source"],
            &add["arguments_schema"]
        ),
        (
            &json!("Adds."),
            &json!("host"),
            &json!({"items": {"type": "integer"}})
        )
    );
    assert!(add["learned"].is_u64(), "{add}");
    assert_refused(&cluster, "add", &json!(["a"]));
    let checked = post(&cluster, "/jobs/check", call(json!([1]))).json();
    assert_eq!(checked["schema"], "learned");
    let id = submit(&cluster, call(json!([1])));
    assert_eq!(result(&cluster, &id), json!({"result": "sum\n"}));
    // It is no procedure like others, and everybody may call it.
    let id = submit(&cluster, super::call("harpd.describe", json!([])));
    let told = result(&cluster, &id);
    assert_eq!(told["result"]["procedures"]["add"]["description"], "Adds.");
}

#[test]
fn hosts_are_asked_after_a_refresh_if_that_is_wanted() {
    let directory = tempfile::tempdir().unwrap();
    let cluster = typed(&directory).set("describe_hosts", "true").start();
    harp_tests::until("the host has been asked", || {
        let listed = get(&cluster, "/procedures?q=add").json();
        (listed["procedures"][0]["source"] == "host").then_some(())
    });
    assert_refused(&cluster, "add", &json!(["a"]));
}

#[test]
fn a_result_that_violates_its_schema_stays_the_result_and_is_counted() {
    let mut cluster = open().start();
    cluster.restart_dispatcher();
    let schema = cluster.path("result.json");
    std::fs::write(&schema, r#"{"type": "object"}"#).unwrap();
    cluster.set_tables(&format!(
        "{}[[procedure]]\nprocedure = 'echo'\ndescription = 'Says it.'\nresult_schema = '{}'\n",
        super::OPEN,
        schema.display()
    ));
    assert!(cluster.reload().status.success());
    let listed = get(&cluster, "/procedures?host=web01&q=says").json();
    assert_eq!(listed["procedures"][0]["source"], "dispatcher", "{listed}");
    let id = submit(&cluster, super::call("echo", json!([7])));
    assert_eq!(result(&cluster, &id)["result"], json!([7]));
    harp_tests::until("the violation is counted", || {
        let samples = super::metrics::samples(&cluster);
        let count = samples["harpcaller_schema_violations_total{where=\"result\"}"];
        (count == 1.0).then_some(())
    });
    let fits = submit(&cluster, super::call("echo", json!({"a": 7})));
    result(&cluster, &fits);
    cluster.kill_dispatcher();
    cluster.start_dispatcher();
    let violations = |job: &str| super::services::job(&cluster, job)["result_violations"].clone();
    assert_eq!((violations(&id), violations(&fits)), (json!(1), json!(0)));
    let listed = get(&cluster, "/jobs?order=oldest").json();
    assert_eq!(listed["jobs"][0]["result_violations"], 1, "{listed}");
}

#[test]
fn what_hosts_have_said_outlives_the_dispatcher_and_is_confirmed_before_it_counts() {
    let directory = tempfile::tempdir().unwrap();
    let mut cluster = typed(&directory).start();
    let call = |item: Value| super::call("add", json!([item]));
    let add = |cluster: &harp_tests::Cluster| {
        let listed = get(cluster, "/hosts/web01/procedures?q=add").json();
        listed["procedures"][0].clone()
    };
    assert_eq!(add(&cluster), Value::Null);
    get(&cluster, "/hosts/web01/procedures?refresh=true");
    let learned = add(&cluster);
    assert_eq!(learned["source"], "host", "{learned}");
    assert_refused(&cluster, "add", &json!(["a"]));
    cluster.stop_dispatcher();
    // The host wants something else from now on.
    let schema = directory.path().join("schema.json");
    std::fs::write(schema, r#"{"items": {"type": "string"}}"#).unwrap();
    cluster.stop_host("web01");
    cluster.start_host("web01");
    cluster.start_dispatcher();
    assert_eq!(add(&cluster), learned, "with the time when it was said");
    // What was said before this start has not been confirmed, so the host is asked again.
    submit(&cluster, call(json!("a")));
    assert_refused(&cluster, "add", &json!([1]));
    assert_eq!(add(&cluster)["arguments_schema"]["items"]["type"], "string");
    cluster.kill_dispatcher();
    cluster.stop_host("web01");
    cluster.start_dispatcher();
    // One that cannot be asked gets the call.
    submit(&cluster, call(json!(1)));
    // One that has left the registry is forgotten.
    cluster.set_registry(&[]);
    let mut other = cluster.entry("web01");
    other["hostname"] = json!("web02");
    cluster.set_registry(&[other]);
    assert!(cluster.run(&["hosts-refresh"]).status.success());
    cluster.restart_dispatcher();
    assert_eq!(
        get(&cluster, "/procedures?q=add").json()["procedures"],
        json!([])
    );
}

#[test]
fn a_host_is_asked_again_once_what_it_has_said_is_older_than_a_minute() {
    let Some(clock) = FalseClock::make() else {
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let mut cluster = with_type(clock.cluster_that_runs().tables(super::OPEN), &directory).start();
    let call = |item: Value| super::call("add", json!([item]));
    get(&cluster, "/hosts/web01/procedures?refresh=true");
    assert_refused(&cluster, "add", &json!(["a"]));
    // The host wants something else from now on, and is not asked for a minute.
    let schema = directory.path().join("schema.json");
    std::fs::write(schema, r#"{"items": {"type": "string"}}"#).unwrap();
    cluster.stop_host("web01");
    cluster.start_host("web01");
    assert_refused(&cluster, "add", &json!(["a"]));
    submit(&cluster, call(json!(1)));
    clock.let_run(61);
    submit(&cluster, call(json!("a")));
    assert_refused(&cluster, "add", &json!([1]));
    // One that cannot be asked gets the call, and not before it has to be asked.
    cluster.stop_host("web01");
    assert_refused(&cluster, "add", &json!([1]));
    clock.let_run(122);
    submit(&cluster, call(json!(1)));
}

#[test]
fn services_are_listed_among_the_procedures() {
    let cluster = open().hosts(0).start();
    let schema = json!({"type": "object"});
    let service = register(
        &cluster,
        json!({"name": "s", "description": "Measures.", "arguments_schema": schema}),
    );
    let listed = get(&cluster, "/procedures?host=topchef").json();
    assert_eq!(
        listed["procedures"],
        json!([{
            "host": "topchef", "name": service, "description": "Measures.",
            "arguments_schema": schema, "result_schema": null, "source": "service",
            "learned": null,
        }])
    );
}

#[test]
fn a_lease_that_runs_out_is_counted() {
    let cluster = open().hosts(0).start();
    let service = register(&cluster, json!({"name": "s", "timeout": 1}));
    let id = submit(&cluster, ask("s", json!([])));
    claim(&cluster, &service, json!({"lease": 1})).unwrap();
    assert_eq!(result(&cluster, &id)["error"]["data"]["limit"], "lease");
    let samples = super::metrics::samples(&cluster);
    assert_eq!(samples["harpcaller_leases_expired_total"], 1.0);
}
