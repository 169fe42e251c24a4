//! Schemas of services and of procedures (section 11; acceptance 20).

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
