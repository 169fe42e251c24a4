//! The application, running.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use harp_tests::Cluster;

/// Dropping it ends it.
pub(crate) struct App {
    child: Option<Child>,
    address: SocketAddr,
}

impl App {
    pub(crate) fn start(cluster: &Cluster) -> App {
        let mut app = App {
            child: None,
            address: "127.0.0.1:0".parse().unwrap(),
        };
        app.restart(cluster);
        app
    }

    /// Starts it again at the same address.
    pub(crate) fn restart(&mut self, cluster: &Cluster) {
        self.stop();
        let mut child = Command::new(env!("CARGO_BIN_EXE_harp-example-axum"))
            .arg(cluster.address().to_string())
            .arg(self.address.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let output = child.stdout.take().unwrap();
        self.child = Some(child);
        BufReader::new(output).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on http://");
        self.address = address.expect("where it listens").parse().unwrap();
    }

    pub(crate) fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for App {
    fn drop(&mut self) {
        self.stop();
    }
}
