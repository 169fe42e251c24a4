//! Clients that have not said who they are, and clients that may not do what they ask for.

use harp_tests::{RawClient, until};

use super::transcript::{Transcript, new_job};
use crate::access::identity::{Files, hello, listeners, with_tokens};
use crate::assertions::NO_JOB;

#[test]
fn strangers_and_those_who_may_not_are_told_what_they_always_were() {
    let files = Files::new();
    let token = files.new_token("shop");
    let cluster = with_tokens(&files)
        .set("max_connections_per_peer", "8")
        .tables(
            "[[listener]]\naddress = '127.0.0.1:0'\n[[allow]]\nclient = 'token:shop'\n\
             host = 'nowhere'\njobs = 'own'\n[[allow]]\nclient = '*'\nhost = 'there'\n\
             operations = 'call'\n[[allow]]\nclient = 'token:*'\nhost = 'x'\n",
        )
        .start();
    let (open, closed) = (cluster.address(), listeners(&cluster)[0]);
    let mut played = Transcript::new(&cluster);
    played.name(&token, "TOKEN");
    let call = |host: &str| {
        format!(r#"{{"harpcaller":1,"host":"{host}","procedure":"p","arguments":[]}}"#)
    };
    let status = |job: &str| format!(r#"{{"harpcaller":1,"get_status":"{job}"}}"#);

    played.about("Strangers.");
    played.ask(closed, &call("there"));
    played.ask(closed, &status(NO_JOB));
    played.ask(closed, r#"{"harpcaller":1,"hello":{}}"#);
    played.ask(closed, r#"{"harpcaller":1,"hello":{"client":"c"}}"#);
    played.ask(closed, &hello("wrong").to_string());
    played.ask(closed, "nonsense");
    let longer = "x".repeat(80_000);
    played.sent(&longer);
    let mut client = RawClient::connect(closed);
    client.try_send_bytes(longer.as_bytes());
    played.came(&client.raw_line());

    played.about("Those who may not.");
    played.ask(open, &call("nowhere"));
    played.ask(open, &status(NO_JOB));
    played.ask(open, &format!(r#"{{"harpcaller":1,"cancel":"{NO_JOB}"}}"#));
    let answer = played.ask(open, &call("there"));
    let foreign = new_job(&answer).unwrap();
    let mut client = RawClient::connect(closed);
    for line in [hello(&token).to_string(), status(NO_JOB)] {
        played.sent(&line);
        client.send(&line);
        played.came(&client.raw_line());
    }
    for operation in ["get_status", "get_result", "follow_stream", "cancel"] {
        let mut client = RawClient::connect(closed);
        let question = format!(r#"{{"harpcaller":1,"{operation}":"{foreign}"}}"#);
        for line in [hello(&token).to_string(), question] {
            played.sent(&line);
            client.send(&line);
            played.came(&client.raw_line());
        }
    }

    played.about("One connection too many.");
    let mut clients: Vec<_> = (0..20).map(|_| RawClient::connect(open)).collect();
    let mut refused = until("one is refused", || {
        let told = clients.iter().position(RawClient::has_answer);
        told.map(|place| clients.remove(place))
    });
    played.came(&refused.raw_line());
    assert!(refused.at_end());
    played.hold_against("strangers.txt");
}
