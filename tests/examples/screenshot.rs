//! Takes the picture of the page that the manual shows: a job that runs.
//!
//! ```sh
//! cargo run -p harp-tests --example screenshot -- dist/harpcaller-page.png
//! ```

use std::path::PathBuf;

use harp_tests::{Chromium, Cluster, HttpRequest};
use serde_json::json;

const SCRIPT: &str = r#"
printf '\033[1mdeploying %s\033[0m to 24 hosts, two at a time\n' "$1"
for step in fetch unpack check; do
    printf '  \033[36m%-8s\033[0m\033[32mok\033[0m\n' "$step"
done
printf '\033[33mwarning:\033[0m web11 answers slowly\n'
for number in 01 02 03 04 05 06 07 08; do
    printf '  web%s \033[2mwas release-6,\033[0m restarted in \033[36m0.%s s\033[0m\n' $number $number
done
printf '\r  [###############     ]  75%%\n'
exec sleep 600
"#;

fn main() {
    let path = std::env::args_os().nth(1).map(PathBuf::from);
    let path = path.expect("the file to write, such as dist/harpcaller-page.png");
    let mut browser = Chromium::start().expect("Chromium");
    let listener = "[[listen_http]]\naddress = '127.0.0.1:0'\nrequire_authentication = false\n";
    let cluster = Cluster::builder()
        .tables(listener)
        .procedure("deploy", "output = 'lines'\narguments = 'argv'", SCRIPT)
        .start();
    let call = json!({
        "host": "web01", "procedure": "deploy", "arguments": ["release-7"],
        "queue": {"name": {"deploy": "web"}, "concurrency": 2}, "info": {"ticket": 4711},
    });
    let made = HttpRequest::post("/api/v1/jobs", call).ask(cluster.http_address());
    let job = made.json()["id"].as_str().expect("a job").to_owned();
    browser.open(&format!("http://{}/", cluster.http_address()));
    browser.show_as(960, 540, "light");
    browser.evaluate(&format!("location.hash = '#/jobs/{job}'"));
    browser.wait_for("document.body.innerText.includes('75%')");
    browser.screenshot(&path);
}
