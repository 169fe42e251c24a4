//! The list of calls that `harpd list --calls` prints: told by the running daemon over a
//! socket of its own, which only its user and root may open.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use harp_service::Acceptor;
use harp_service::unix_socket::{BindError, Permissions, SocketFile};
use serde::{Deserialize, Serialize};
use tokio::io::AsyncWriteExt;
use tokio::net::UnixListener;
use tracing::debug;

use crate::call::Call;
use crate::kept::calls::KeptCalls;
use crate::kept::standing::Stage;

/// The socket's name in `state_directory`.
const NAME: &str = "calls.socket";
/// A program that asks is waited for this long, and asks that long.
const PATIENCE: Duration = Duration::from_secs(5);

/// One call, as it is listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedCall {
    /// The procedure.
    pub procedure: String,
    /// For whom.
    pub user: String,
    /// From where it was called.
    pub peer: String,
    /// Seconds since 1970 when it was accepted.
    pub since: u64,
    /// How far it is: `waits` for a slot, `runs`, `ends`, or `ended` while its end waits to be fetched.
    pub standing: String,
    /// Seconds since 1970 since when nobody is connected to it; `None`: somebody is.
    pub alone_since: Option<u64>,
    /// The call's name on the wire, if it is kept.
    pub call: Option<String>,
}

/// Calls that end with their connections.
#[derive(Debug, Default)]
pub struct PlainCalls {
    next: AtomicU64,
    calls: Mutex<BTreeMap<u64, PlainCall>>,
}

/// One of them, and whether it has its slots.
#[derive(Debug)]
struct PlainCall {
    listed: ListedCall,
    has_slots: Arc<AtomicBool>,
}

/// A call is on the list as long as this is held.
#[derive(Debug)]
pub struct OnList {
    list: Arc<PlainCalls>,
    number: u64,
}

/// The open socket; its file is removed when this is dropped.
#[derive(Debug)]
pub struct CallSocket {
    acceptor: Acceptor<UnixListener>,
    _file: SocketFile,
}

impl PlainCalls {
    /// Puts a call on the list.
    #[must_use]
    pub fn enter(self: &Arc<PlainCalls>, call: &Call) -> OnList {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let listed = ListedCall {
            procedure: call.procedure.name.clone(),
            user: call.user.clone(),
            peer: call.peer.to_string(),
            since: seconds(SystemTime::now()),
            standing: String::new(),
            alone_since: None,
            call: None,
        };
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        let has_slots = Arc::clone(&call.has_slots);
        calls.insert(number, PlainCall { listed, has_slots });
        OnList {
            list: Arc::clone(self),
            number,
        }
    }

    fn list(&self) -> Vec<ListedCall> {
        let calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        let listed = calls.values().map(|call| ListedCall {
            standing: standing(Stage::Running, &call.has_slots).to_owned(),
            ..call.listed.clone()
        });
        listed.collect()
    }
}

impl Drop for OnList {
    fn drop(&mut self) {
        let calls = &self.list.calls;
        let mut calls = calls.lock().unwrap_or_else(PoisonError::into_inner);
        calls.remove(&self.number);
    }
}

impl CallSocket {
    /// Opens the socket. Blocks.
    ///
    /// # Errors
    ///
    /// [`BindError`].
    pub fn open(state_directory: &Path) -> Result<CallSocket, BindError> {
        let private = Permissions {
            mode: 0o600,
            owner: None,
            group: None,
        };
        let (listener, file) = SocketFile::bind(&path(state_directory), private)?;
        listener.set_nonblocking(true)?;
        let listener = UnixListener::from_std(listener)?;
        Ok(CallSocket {
            acceptor: Acceptor::new(listener),
            _file: file,
        })
    }

    /// Tells everybody who asks. Does not return.
    pub async fn serve(mut self, plain: Arc<PlainCalls>, kept: Arc<KeptCalls>) {
        loop {
            let mut asker = self.acceptor.accept().await;
            let mut list = plain.list();
            list.extend(kept.list().into_iter().map(|(call, stage)| ListedCall {
                procedure: call.procedure.clone(),
                user: call.user.to_string(),
                peer: call.peer.to_string(),
                since: seconds(call.since),
                standing: standing(stage, &call.has_slots).to_owned(),
                alone_since: call.alone_since().map(seconds),
                call: Some(call.id.to_string()),
            }));
            list.sort_by_key(|call| call.since);
            let text = serde_json::to_vec(&list).unwrap_or_default();
            let told = tokio::time::timeout(PATIENCE, asker.write_all(&text)).await;
            if !matches!(told, Ok(Ok(()))) {
                debug!("who asked for the calls did not listen");
            }
        }
    }
}

/// Asks the running harpd. Blocks.
///
/// # Errors
///
/// What the system says: `NotFound` or `ConnectionRefused` if no harpd runs with this
/// directory.
pub fn ask(state_directory: &Path) -> io::Result<Vec<ListedCall>> {
    let mut stream = UnixStream::connect(path(state_directory))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut text = Vec::new();
    stream.read_to_end(&mut text)?;
    serde_json::from_slice(&text).map_err(io::Error::other)
}

fn standing(stage: Stage, has_slots: &AtomicBool) -> &'static str {
    match stage {
        Stage::Running if !has_slots.load(Ordering::Relaxed) => "waits",
        Stage::Running => "runs",
        Stage::Ending(_) => "ends",
        Stage::Ended => "ended",
    }
}

fn path(state_directory: &Path) -> PathBuf {
    state_directory.join(NAME)
}

fn seconds(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH);
    since.map(|since| since.as_secs()).unwrap_or_default()
}
