//! Being a service of systemd: telling it how the daemon is, and taking over listening
//! sockets that it has opened. Without systemd all of it does nothing.
//!
//! How a daemon uses it:
//!
//! ```no_run
//! use harp_service::systemd::{self, Notifier};
//!
//! // In `main`, before there is any other thread.
//! let handed_over = systemd::listening_sockets()?;
//! let notifier = Notifier::from_environment()?;
//! # let runtime = tokio::runtime::Runtime::new()?;
//! # runtime.block_on(async {
//! // Sockets open, recovery done:
//! notifier.ready();
//! tokio::select! {
//!     () = notifier.keep_alive() => {}
//!     () = serve_until_stopped() => {}
//! }
//! notifier.stopping();
//! # });
//! # async fn serve_until_stopped() {}
//! # let _ = handed_over;
//! # std::io::Result::Ok(())
//! ```
//!
//! Units: `Type=notify` or `Type=notify-reload`, `WatchdogSec=`, and a socket unit with
//! `ListenStream=` for each address. Programs that the daemon starts should not inherit
//! [`VARIABLES`].

use std::env;
use std::io;
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use listenfd::ListenFd;
use rustix::time::{ClockId, clock_gettime};
use tracing::warn;

/// Variables of the environment by which systemd speaks to a daemon, and to it alone.
pub const VARIABLES: [&str; 7] = [
    "NOTIFY_SOCKET",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
    "LISTEN_FDS",
    "LISTEN_PID",
    "LISTEN_FDNAMES",
    "LISTEN_PIDFDID",
];

/// Tells the service manager how the daemon is (sd_notify(3)). Cheap to share by
/// reference; each message is one datagram and never blocks.
#[derive(Debug)]
pub struct Notifier {
    manager: Option<(UnixDatagram, SocketAddr)>,
    watchdog: Option<Duration>,
}

impl Notifier {
    /// A notifier for the manager that started this process (`NOTIFY_SOCKET`), or one
    /// that does nothing if none did.
    ///
    /// # Errors
    ///
    /// If the manager's socket has a name that no socket can have, or the system has no
    /// socket to give.
    pub fn from_environment() -> io::Result<Notifier> {
        let manager = match env::var_os("NOTIFY_SOCKET") {
            None => None,
            Some(name) => {
                let address = match name.as_bytes() {
                    [b'@', rest @ ..] => SocketAddr::from_abstract_name(rest)?,
                    _ => SocketAddr::from_pathname(&name)?,
                };
                let socket = UnixDatagram::unbound()?;
                socket.set_nonblocking(true)?;
                Some((socket, address))
            }
        };
        let number = |name| {
            env::var(name)
                .ok()
                .and_then(|text| text.parse::<u64>().ok())
        };
        let is_for_us =
            number("WATCHDOG_PID").is_none_or(|process| process == u64::from(std::process::id()));
        Ok(Notifier {
            manager,
            watchdog: number("WATCHDOG_USEC")
                .filter(|microseconds| is_for_us && *microseconds > 0)
                .map(Duration::from_micros),
        })
    }

    /// A notifier that does nothing.
    #[must_use]
    pub fn silent() -> Notifier {
        Notifier {
            manager: None,
            watchdog: None,
        }
    }

    /// The daemon serves, whether for the first time or again after
    /// [`Notifier::reloading`].
    pub fn ready(&self) {
        self.send("READY=1\nSTATUS=Serving\n");
    }

    /// The configuration is being read again; [`Notifier::ready`] follows, whatever comes
    /// of it.
    pub fn reloading(&self) {
        // The manager tells by the time which of its requests this answers.
        let now = clock_gettime(ClockId::Monotonic);
        let microseconds = now.tv_sec * 1_000_000 + now.tv_nsec / 1000;
        self.send(&format!(
            "RELOADING=1\nMONOTONIC_USEC={microseconds}\nSTATUS=Reloading\n"
        ));
    }

    /// The daemon has begun to stop.
    pub fn stopping(&self) {
        self.send("STOPPING=1\nSTATUS=Stopping\n");
    }

    /// A line for people, shown by `systemctl status`.
    pub fn status(&self, text: &str) {
        self.send(&format!("STATUS={}\n", text.replace('\n', " ")));
    }

    /// The stop will take this much longer from now on; without it the manager kills a
    /// daemon that takes more than its `TimeoutStopSec=`.
    pub fn extend_stop(&self, by: Duration) {
        self.send(&format!("EXTEND_TIMEOUT_USEC={}\n", by.as_micros()));
    }

    /// Shows the watchdog that the daemon lives, twice in each of its intervals, for
    /// ever. Without a watchdog it only never completes. Cancel safe.
    ///
    /// To be polled where a daemon that hangs would not come by.
    pub async fn keep_alive(&self) {
        let Some(interval) = self.watchdog else {
            return std::future::pending().await;
        };
        loop {
            self.send("WATCHDOG=1\n");
            tokio::time::sleep(interval / 2).await;
        }
    }

    fn send(&self, message: &str) {
        if let Some((socket, manager)) = &self.manager
            && let Err(error) = socket.send_to_addr(message.as_bytes(), manager)
        {
            warn!(%error, "cannot tell the service manager how it is");
        }
    }
}

/// The TCP sockets that systemd has opened for this process (`LISTEN_FDS`), ready for
/// tokio's `TcpListener::from_std`; `None` if it has opened none. They are closed in
/// programs that this process starts.
///
/// To be called once, in `main`, before there is any other thread: it takes the variables
/// out of the environment.
///
/// # Errors
///
/// If one of them is not a listening TCP socket.
pub fn listening_sockets() -> io::Result<Option<Vec<TcpListener>>> {
    let mut handed_over = ListenFd::from_env();
    let mut sockets = Vec::with_capacity(handed_over.len());
    for index in 0..handed_over.len() {
        let socket = handed_over.take_tcp_listener(index).map_err(|error| {
            let message = format!(
                "socket {} of those that were handed over (LISTEN_FDS) cannot be used: {error}",
                index + 1
            );
            io::Error::new(error.kind(), message)
        })?;
        if let Some(socket) = socket {
            socket.set_nonblocking(true)?;
            sockets.push(socket);
        }
    }
    Ok((!sockets.is_empty()).then_some(sockets))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notifier(manager: &UnixDatagram) -> Notifier {
        Notifier {
            manager: Some((
                UnixDatagram::unbound().unwrap(),
                manager.local_addr().unwrap(),
            )),
            watchdog: Some(Duration::from_millis(40)),
        }
    }

    fn received(manager: &UnixDatagram) -> String {
        let mut message = [0; 512];
        let length = manager.recv(&mut message).unwrap();
        String::from_utf8(message[..length].to_vec()).unwrap()
    }

    #[test]
    fn messages_have_the_form_of_sd_notify() {
        let name = format!("harp-service-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(name).unwrap();
        let manager = UnixDatagram::bind_addr(&address).unwrap();
        let notifier = notifier(&manager);
        notifier.ready();
        assert!(received(&manager).starts_with("READY=1\n"));
        notifier.reloading();
        let message = received(&manager);
        let time = message
            .strip_prefix("RELOADING=1\nMONOTONIC_USEC=")
            .and_then(|rest| rest.lines().next());
        assert!(time.unwrap().parse::<u64>().unwrap() > 0, "{message}");
        notifier.stopping();
        assert!(received(&manager).starts_with("STOPPING=1\n"));
        notifier.status("two\nlines");
        assert_eq!(received(&manager), "STATUS=two lines\n");
        notifier.extend_stop(Duration::from_secs(3));
        assert_eq!(received(&manager), "EXTEND_TIMEOUT_USEC=3000000\n");
    }

    #[tokio::test]
    async fn the_watchdog_is_fed_again_and_again() {
        let directory = tempfile::tempdir().unwrap();
        let manager = UnixDatagram::bind(directory.path().join("notify")).unwrap();
        let notifier = notifier(&manager);
        let fed = tokio::task::spawn_blocking(move || {
            for _ in 0..3 {
                assert_eq!(received(&manager), "WATCHDOG=1\n");
            }
        });
        tokio::select! {
            () = notifier.keep_alive() => unreachable!(),
            fed = fed => fed.unwrap(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_manager_nothing_happens() {
        let notifier = Notifier::silent();
        notifier.ready();
        let never = tokio::time::timeout(Duration::from_secs(3600), notifier.keep_alive());
        assert!(never.await.is_err());
    }
}
