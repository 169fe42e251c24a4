//! Takes pictures of the page's screens and states, in both themes and at three widths, to be
//! looked at.
//!
//! ```sh
//! cargo run -p harp-tests --example screens -- DIRECTORY
//! ```

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use harp_tests::disk::limit_files;
use harp_tests::{Chromium, Cluster, FakeDevice, HttpRequest, refusing_address};
use serde_json::{Value, json};

const COLOURS: &str = r#"
printf '\033[1mdeploying %s\033[0m to 24 hosts, two at a time\n' "$1"
for step in fetch unpack check; do
    printf '  \033[36m%-8s\033[0m\033[32mok\033[0m\n' "$step"
done
printf '\033[33mwarning:\033[0m a line that is to be wrapped unless a window is wide: %s\n' "$(seq -s ' ' 60)"
printf '\033[97;41m failed \033[0m \033[38;5;208morange\033[0m \033[7minverse\033[0m \033[3mitalic\033[0m \033[4munderlined\033[0m \033[2mdim\033[0m\n'
printf '\r  [###############     ]  75%%\n'
"#;

/// Has the API answer a list of queues so, and shows that.
const FORBIDDEN: &str = "window.fetch = async () => new Response(JSON.stringify({ \
     type: 'urn:harpcaller:problem:forbidden', title: 'Forbidden', status: 403, \
     detail: 'no rule lets anonymous observe' }), { status: 403, \
     headers: { 'Content-Type': 'application/problem+json' } }); location.hash = '#/queues'";
const FAILED: &str = "window.fetch = async () => new Response(JSON.stringify({ \
     type: 'urn:harpcaller:problem:os_error', title: 'Internal error', status: 500, \
     detail: 'the record of the job cannot be read: Input/output error (os error 5)', \
     request_id: '0a1b2c-42' }), { status: 500, \
     headers: { 'Content-Type': 'application/problem+json' } }); location.hash = '#/queues'";
const LOADING: &str = "window.fetch = () => new Promise(() => {}); location.hash = '#/queues'";
const SLOW: &str = "window.fetch = () => new Promise(() => {}); \
     document.querySelector('form.call').requestSubmit()";
/// Searches the output, and goes to the second match.
const SEARCH: &str = "const field = document.querySelector('.finder .search'); \
     field.value = 'ok'; field.form.requestSubmit(); \
     const again = () => { \
     if (!document.querySelector('.count').textContent.includes('1 of')) setTimeout(again, 50); \
     else field.form.requestSubmit(); }; again()";

/// One picture.
struct Shot {
    name: &'static str,
    hash: String,
    /// Words that have to be there, as they are read.
    words: &'static str,
    /// What is done then, in JavaScript, and the words that follow.
    then: Option<(&'static str, &'static str)>,
}

fn main() {
    let directory = std::env::args_os().nth(1).map(PathBuf::from);
    let directory = directory.expect("a directory for the pictures");
    fs::create_dir_all(&directory).expect("a directory");
    let Some(mut browser) = Chromium::start() else {
        return;
    };
    let device = FakeDevice::start();
    let schema = directory.join("schema.json");
    fs::write(&schema, schema_of_deploy().to_string()).expect("a file");
    let lines = "output = 'lines'\narguments = 'argv'";
    let open = "[[listen_http]]\naddress = '127.0.0.1:0'\nrequire_authentication = false\n\
                serve = ['api', 'page', 'topchef']\n";
    let declared = format!("[[procedure]]\nprocedure = 'release'\narguments_schema = {schema:?}\n");
    let cluster = Cluster::builder()
        .tables(open)
        .tables(&declared)
        .procedure("colours", lines, COLOURS)
        .procedure("deploy", lines, &format!("{COLOURS}\nexec sleep 600"))
        .entry(device.entry("rig1"))
        .entry(away())
        .start();
    device.wait_for_subscribers(1);
    device.beat("0.12.0", 1.0);
    device.beat("0.12.0", 6.0);
    let shots = shots(&cluster);
    browser.open(&url(&cluster, "#/nothing"));
    let views = ["light", "dark"]
        .into_iter()
        .flat_map(|scheme| [320, 768, 1440].map(|width| (scheme, width)));
    for (scheme, width) in views.clone() {
        browser.show_as(width, 720, scheme);
        for shot in &shots {
            take(&mut browser, &cluster, shot, &directory, (scheme, width));
        }
    }
    in_trouble(&mut browser, &cluster, &directory, views.clone().collect());
    login(&mut browser, &directory, views.collect());
}

/// A host at whose address nobody listens.
fn away() -> Value {
    let address = refusing_address();
    json!({
        "hostname": AWAY, "address": address.ip(), "port": address.port(),
        "credentials": {"user": "u", "password": "p"},
    })
}

const AWAY: &str = "db-replica-17.eu-central-1.compute.internal.example.net";

fn url(cluster: &Cluster, hash: &str) -> String {
    format!("http://{}/{hash}", cluster.http_address())
}

fn wait_for_words(browser: &mut Chromium, words: &str) {
    browser.wait_for(&format!(
        "document.body.innerText.includes({})",
        json!(words)
    ));
}

fn take(
    browser: &mut Chromium,
    cluster: &Cluster,
    shot: &Shot,
    directory: &Path,
    (scheme, width): (&str, u32),
) {
    browser.go("about:blank#");
    browser.go(&url(cluster, &shot.hash));
    println!("{}, {scheme}, {width}", shot.name);
    wait_for_words(browser, shot.words);
    if let Some((script, words)) = shot.then {
        browser.evaluate(script);
        wait_for_words(browser, words);
    }
    // All of the output that is seen has come.
    browser.wait_for("document.querySelector('.row.missing') === null");
    let name = format!("{}-{scheme}-{width}.png", shot.name);
    browser.screenshot(&directory.join(name));
}

fn submit(cluster: &Cluster, call: &Value) -> String {
    let answer = HttpRequest::post("/api/v1/jobs", call).ask(cluster.http_address());
    answer.json()["id"].as_str().expect("a job").to_owned()
}

fn schema_of_deploy() -> Value {
    json!({
        "type": "object",
        "required": ["release"],
        "properties": {
            "release": {"type": "integer", "minimum": 1, "description": "Which one"},
            "force": {"type": "boolean", "description": "Even where it is there"},
            "where": {"enum": ["here", "there"]},
            "tags": {"type": "array", "items": {"type": "string"}},
            "login": {"type": "object", "required": ["user"], "properties": {
                "user": {"type": "string"}, "password": {"type": "string", "format": "password"},
            }},
        },
    })
}

/// Has jobs of all kinds there; the pictures of an untroubled dispatcher.
fn shots(cluster: &Cluster) -> Vec<Shot> {
    let call = |procedure: &str, arguments: Value| json!({"host": "web01", "procedure": procedure, "arguments": arguments});
    let finished = |call: &Value| {
        let job = submit(cluster, call);
        let path = format!("/api/v1/jobs/{job}/result?wait=30");
        while HttpRequest::get(&path).ask(cluster.http_address()).status() != 200 {}
        job
    };
    let service = json!({
        "name": "fitting", "description": "Fits curves to what was measured",
        "job_registration_schema": {"type": "object", "required": ["points"]},
        "job_result_schema": {"type": "object"},
    });
    let _ = HttpRequest::post("/topchef/v1/services", service).ask(cluster.http_address());
    let million = finished(&call("count", json!(["100000"])));
    let failed = finished(&call(
        "fail_streaming",
        json!(["3", "no space left on device"]),
    ));
    let long = finished(&json!({
        "host": AWAY, "procedure": "reconcile_inventory_with_the_warehouse_of_the_eastern_region",
        "arguments": {"warehouse": "the-eastern-region-and-all-that-belongs-to-it", "since": 1_795_285_355},
        "queue": {"name": {"inventory": "the-eastern-region", "shard": 17, "of": "the-whole-country"}},
        "info": {"asked_by": "somebody.with.a.rather.long.name@example.net"},
    }));
    finished(&json!({"host": "nobody", "procedure": "deploy", "arguments": ["release-6"]}));
    let cancelled = submit(cluster, &call("silent_stream", json!([])));
    let path = format!("/api/v1/jobs/{cancelled}/cancel");
    let _ = HttpRequest::post(&path, "{}").ask(cluster.http_address());
    let documents = finished(&call(
        "packets",
        json!([
            "{\"step\":1,\"hosts\":[\"web01\",\"web02\"],\"of\":12345678901234567890}",
            "\"a text\\nof two lines\"",
            "null"
        ]),
    ));
    let colours = finished(&call("colours", json!(["release-7"])));
    let returned = finished(&call(
        "echo",
        json!([{"deep": {"er": [1, 2.50, null]}}, "text"]),
    ));
    let queue = json!({"name": {"deploy": "web"}, "concurrency": 1});
    let deploy = |ticket: u64| {
        let mut call = call("deploy", json!(["release-7"]));
        call["queue"] = queue.clone();
        call["info"] = json!({"ticket": ticket, "user": "ann"});
        submit(cluster, &call)
    };
    let (running, _, waiting) = (deploy(4711), deploy(4712), deploy(4713));
    submit(
        cluster,
        &json!({"host": "rig1", "procedure": "events", "arguments": []}),
    );
    let shot = |name, hash: &str, words, then| Shot {
        name,
        hash: hash.to_owned(),
        words,
        then,
    };
    let job = |id: &str| format!("#/jobs/{id}");
    vec![
        shot("jobs", "#/jobs", "silent_stream", None),
        shot("jobs-failed", "#/jobs?failed=true", "exit_status", None),
        shot(
            "jobs-none",
            "#/jobs?host=nobody-at-all",
            "No job fits.",
            None,
        ),
        shot("job-running", &job(&running), "75%", None),
        shot("job-waiting", &job(&waiting), "must end first", None),
        shot("job-failed", &job(&failed), "exit_status", None),
        shot("job-cancelled", &job(&cancelled), "It was cancelled.", None),
        shot("job-colours", &job(&colours), "75%", None),
        shot("job-documents", &job(&documents), "a text", None),
        shot(
            "job-returned",
            &job(&returned),
            "The procedure returned.",
            None,
        ),
        shot("job-long", &job(&million), "The procedure returned.", None),
        shot("job-names", &job(&long), "network_error", None),
        shot(
            "job-missing",
            &job("00000000-0000-7000-8000-000000000000"),
            "No such job",
            None,
        ),
        shot(
            "cancel",
            &job(&running),
            "75%",
            Some((
                "document.querySelector('.title .danger').click()",
                "Cancel the job",
            )),
        ),
        shot(
            "search",
            &job(&colours),
            "75%",
            Some((SEARCH, "2 of 3 packets")),
        ),
        shot(
            "job-facts",
            &job(&long),
            "network_error",
            Some((
                "document.querySelector('.facts').open = true",
                "Same procedure",
            )),
        ),
        shot(
            "job-menu",
            &job(&running),
            "75%",
            Some((
                "document.querySelector('.menu summary').click()",
                "Copy the id",
            )),
        ),
        shot("queues", "#/queues", "deploy=web", None),
        shot(
            "queue",
            "#/queues/%7B%22deploy%22%3A%22web%22%7D",
            "deploy",
            None,
        ),
        shot("hosts", "#/hosts", "rig1", None),
        shot("host", "#/hosts/web01", "colours", None),
        shot("device", "#/hosts/rig1", "0.12.0", None),
        shot("services", "#/services", "fitting", None),
        shot("service", "#/services/fitting", "fitting", None),
        shot("call", "#/call", "Arguments", None),
        shot(
            "call-schema",
            "#/call?host=web01&procedure=release",
            "Which one",
            Some((
                "document.querySelector('form.call').requestSubmit()",
                "is needed",
            )),
        ),
        shot(
            "call-slow",
            "#/call?host=web01&procedure=echo",
            "Arguments",
            Some((SLOW, "has not answered yet")),
        ),
        shot(
            "help",
            "#/jobs",
            "silent_stream",
            Some((
                "document.querySelector('.choices button').click()",
                "Keys without Ctrl",
            )),
        ),
        shot("nothing", "#/nothing", "no such screen", None),
        shot(
            "forbidden",
            "#/nothing",
            "no such screen",
            Some((FORBIDDEN, "You may not")),
        ),
        shot(
            "failed",
            "#/nothing",
            "no such screen",
            Some((FAILED, "has failed")),
        ),
        shot(
            "loading",
            "#/nothing",
            "no such screen",
            Some((LOADING, "Loading queues")),
        ),
    ]
}

type Views<'a> = Vec<(&'a str, u32)>;

/// A store that cannot be written, and a dispatcher that is gone.
fn in_trouble(browser: &mut Chromium, cluster: &Cluster, directory: &Path, views: Views<'_>) {
    limit_files(cluster.dispatcher_id(), Some(1));
    let call = Shot {
        name: "outage-call",
        hash: "#/call?host=web01&procedure=echo".to_owned(),
        words: "Arguments",
        then: Some((
            "document.querySelector('form.call').requestSubmit()",
            "The job store cannot be written",
        )),
    };
    let jobs = Shot {
        name: "outage-jobs",
        hash: "#/jobs".to_owned(),
        words: "The job store cannot be written",
        then: None,
    };
    for view in &views {
        browser.show_as(view.1, 720, view.0);
        take(browser, cluster, &call, directory, *view);
        take(browser, cluster, &jobs, directory, *view);
    }
    limit_files(cluster.dispatcher_id(), None);
    browser.go(&url(cluster, "#/jobs"));
    wait_for_words(browser, "silent_stream");
    cluster.freeze_dispatcher();
    browser.wait_for("document.body.dataset.connection === 'stale'");
    for (scheme, width) in views {
        browser.show_as(width, 720, scheme);
        browser.screenshot(&directory.join(format!("gone-{scheme}-{width}.png")));
    }
    cluster.thaw_dispatcher();
}

fn login(browser: &mut Chromium, directory: &Path, views: Views<'_>) {
    let tokens = directory.join("tokens");
    fs::write(&tokens, "").expect("a file");
    let private = fs::Permissions::from_mode(0o600);
    fs::set_permissions(&tokens, private).expect("a file of our own");
    let cluster = Cluster::builder()
        .hosts(0)
        .set("tokens_file", &json!(tokens).to_string())
        .tables("[[listen_http]]\naddress = '127.0.0.1:0'\n")
        .start();
    let shot = Shot {
        name: "login",
        hash: "#/jobs".to_owned(),
        words: "new-token",
        then: Some((
            "document.querySelector('#token').value = 'wrong'; \
                     document.querySelector('form').requestSubmit()",
            "is not known here",
        )),
    };
    for view in views {
        browser.show_as(view.1, 720, view.0);
        take(browser, &cluster, &shot, directory, view);
    }
}
