//! Another tokens file by a reload.

use harp_tests::{RawClient, until};
use serde_json::json;

use super::identity::{Files, hello, listeners, with_tokens};

#[test]
fn a_token_of_the_file_before_is_refused_after_a_reload() {
    let (old, new) = (Files::new(), Files::new());
    let (old_token, new_token) = (old.new_token("shop"), new.new_token("shop"));
    let mut cluster = with_tokens(&old)
        .tables("[[listener]]\naddress = '127.0.0.1:0'")
        .start();
    cluster.restart_dispatcher();
    let address = until("the second start listens", || {
        listeners(&cluster).get(2).copied()
    });
    let greet = |token: &str| {
        let mut client = RawClient::connect(address);
        client.send(hello(token));
        client.line()
    };
    assert!(greet(&old_token)["server"].is_string());
    assert_eq!(greet(&new_token)["error"]["type"], "unauthorized");
    cluster.set("tokens_file", &json!(new.path("tokens")).to_string());
    let output = cluster.reload();
    assert!(output.status.success(), "{output:?}");
    assert!(greet(&new_token)["server"].is_string());
    assert_eq!(greet(&old_token)["error"]["type"], "unauthorized");
    // A file that cannot be read leaves this one in force.
    cluster.set("tokens_file", "'/nonexistent/tokens'");
    assert_eq!(cluster.reload().status.code(), Some(1));
    assert!(greet(&new_token)["server"].is_string());
}
