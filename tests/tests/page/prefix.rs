//! The page below a prefix that a proxy gives it (section 14): its addresses are relative.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;

use harp_tests::Chromium;
use serde_json::Value;

use super::{assert_well_behaved, click_words, fill, open, submit, wait_for_words};

const PREFIX: &str = "/ops/harp";

/// Has a server of its own below the prefix, and nothing anywhere else; where it listens.
fn below_a_prefix(to: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            thread::spawn(move || {
                // Whoever goes away in the middle misses nothing.
                let _ = serve(client, to);
            });
        }
    });
    address
}

/// One request, which ends its connection.
fn serve(mut client: TcpStream, to: SocketAddr) -> io::Result<()> {
    let mut head = Vec::new();
    let mut piece = [0; 4096];
    let end = loop {
        if let Some(end) = head.windows(4).position(|four| four == b"\r\n\r\n") {
            break end;
        }
        match client.read(&mut piece)? {
            0 => return Ok(()),
            length => head.extend(&piece[..length]),
        }
    };
    let body = head.split_off(end + 4);
    let text = String::from_utf8_lossy(&head[..end]).into_owned();
    let asked = text.split_once(&format!(" {PREFIX}/"));
    let Some((method, rest)) = asked.filter(|(method, _)| !method.contains(' ')) else {
        return client.write_all(
            b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        );
    };
    let mut server = TcpStream::connect(to)?;
    server.write_all(format!("{method} /{rest}\r\nConnection: close\r\n\r\n").as_bytes())?;
    server.write_all(&body)?;
    let (mut from, mut into) = (client.try_clone()?, server.try_clone()?);
    thread::spawn(move || {
        let _ = io::copy(&mut from, &mut into);
        // The browser has gone, and what it waited for with it.
        let _ = into.shutdown(Shutdown::Both);
    });
    let _ = io::copy(&mut server, &mut client);
    client.shutdown(Shutdown::Both)
}

#[test]
fn any_prefix_will_do() {
    let Some(mut browser) = Chromium::start() else {
        return;
    };
    let cluster = open().start();
    let mut feed = cluster.feed("feed");
    let arguments: Value = serde_json::from_str(&feed.arguments()).unwrap();
    let job = submit(&cluster, "feed", arguments);
    let origin = format!("http://{}{PREFIX}/", below_a_prefix(cluster.http_address()));
    browser.open(&format!("{origin}#/jobs/{job}"));
    feed.send("\"a line\"");
    wait_for_words(&mut browser, "a line");
    let link = "document.querySelector('.title a[download]').href";
    let text = browser.evaluate(&format!("fetch({link}).then(answer => answer.text())"));
    assert_eq!(text, "a line\n");
    browser.evaluate("location.hash = '#/call?host=web01&procedure=say'");
    fill(&mut browser, "#arguments", "[\"said below\"]");
    wait_for_words(&mut browser, "This would be accepted.");
    click_words(&mut browser, "Call");
    browser.wait_for("document.body.dataset.screen === 'job'");
    wait_for_words(&mut browser, "The procedure returned.");
    browser.evaluate("location.hash = '#/hosts/web01'");
    browser.wait_for("document.querySelectorAll('[data-job]').length === 2");
    // All of it, and no way out of it.
    assert_well_behaved(&mut browser, &origin);
}
