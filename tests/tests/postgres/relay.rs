//! The way to the database, which can be cut or held up, and can lose answers.

use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use harp_tests::postgres::{Database, SOCKET};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;

/// A way to a database. Dropping it cuts it for good.
pub(crate) struct Relay {
    directory: TempDir,
    control: Arc<Control>,
}

/// What can be done to a relay.
pub(crate) struct Control {
    is_down: watch::Sender<bool>,
    is_frozen: watch::Sender<bool>,
    losing: Arc<Losing>,
}

/// Which answers are lost.
#[derive(Default)]
struct Losing {
    /// One in so many pieces of answers; 0 is none.
    one_in: AtomicU64,
    pieces: AtomicU64,
    lost: AtomicU64,
}

impl Relay {
    /// Has to be called within a runtime.
    pub(crate) fn new(database: &Database) -> Relay {
        let directory = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(directory.path().join(SOCKET)).unwrap();
        let (is_down, goes_down) = watch::channel(false);
        let (is_frozen, frozen) = watch::channel(false);
        let losing = Arc::new(Losing::default());
        tokio::spawn(serve(
            listener,
            database.socket(),
            goes_down,
            frozen,
            Arc::clone(&losing),
        ));
        let control = Arc::new(Control {
            is_down,
            is_frozen,
            losing,
        });
        Relay { directory, control }
    }

    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn control(&self) -> &Arc<Control> {
        &self.control
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.control.set_down(true);
    }
}

impl Deref for Relay {
    type Target = Control;

    fn deref(&self) -> &Control {
        &self.control
    }
}

impl Control {
    /// Cuts every connection, and lets none through; or lets them through again.
    pub(crate) fn set_down(&self, is_down: bool) {
        self.is_down.send_replace(is_down);
    }

    /// Holds up whatever is on its way, or lets it go on.
    pub(crate) fn set_frozen(&self, is_frozen: bool) {
        self.is_frozen.send_replace(is_frozen);
    }

    /// From now on one in so many pieces of answers is lost, with its connection.
    pub(crate) fn lose(&self, one_in: u64) {
        self.losing.one_in.store(one_in, Ordering::Relaxed);
    }

    /// How many were lost.
    pub(crate) fn lost(&self) -> u64 {
        self.losing.lost.load(Ordering::Relaxed)
    }
}

async fn serve(
    listener: UnixListener,
    server: PathBuf,
    mut is_down: watch::Receiver<bool>,
    frozen: watch::Receiver<bool>,
    losing: Arc<Losing>,
) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            closed = is_down.wait_for(|_| false) => {
                assert!(closed.is_err());
                return;
            }
        };
        let (client, _) = accepted.unwrap();
        if *is_down.borrow() {
            continue;
        }
        let (server, losing) = (server.clone(), Arc::clone(&losing));
        let mut goes_down = is_down.clone();
        let frozen = (frozen.clone(), frozen.clone());
        tokio::spawn(async move {
            let Ok(server) = UnixStream::connect(server).await else {
                return;
            };
            let (from_client, to_client) = client.into_split();
            let (from_server, to_server) = server.into_split();
            tokio::select! {
                () = pass(from_client, to_server, frozen.0, || false) => {}
                () = pass(from_server, to_client, frozen.1, || losing.loses()) => {}
                // Gone, too, when the relay is.
                _ = goes_down.wait_for(|is_down| *is_down) => {}
            }
        });
    }
}

async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut frozen: watch::Receiver<bool>,
    loses: impl Fn() -> bool,
) {
    let mut piece = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = from.read(&mut piece).await {
        if frozen.wait_for(|frozen| !frozen).await.is_err() {
            return;
        }
        if loses() || to.write_all(&piece[..length]).await.is_err() {
            return;
        }
    }
}

impl Losing {
    fn loses(&self) -> bool {
        let one_in = self.one_in.load(Ordering::Relaxed);
        let piece = self.pieces.fetch_add(1, Ordering::Relaxed);
        let is_lost = one_in > 0 && piece % one_in == one_in - 1;
        if is_lost {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
        is_lost
    }
}
