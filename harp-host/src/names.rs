//! Looking names up, on threads of their own: equal names together, each zone its share of the
//! threads, and a failure remembered for some seconds. For the whole process, as the name
//! service is.

mod turns;

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use dns_lookup::{AddrInfoHints, LookupError, LookupErrorKind, getaddrinfo};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::{IoCode, is_own_fault};
use turns::Turns;

/// Names of this process.
static NAMES: LazyLock<Arc<Names>> = LazyLock::new(|| Names::new(lookup));

/// Asks the name service; blocks for as long as that takes.
type Lookup = dyn Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync;
type Answer = Result<Arc<[SocketAddr]>, LookUpFailure>;

/// Looks names up.
struct Names {
    lookup: Box<Lookup>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    turns: Turns<LookUpFailure>,
    /// Those who wait for a name's look-up.
    asked: HashMap<String, watch::Sender<Option<Answer>>>,
}

/// Why a name was not found, for all that wait for it.
#[derive(Debug, Clone)]
enum LookUpFailure {
    Unresolved(Unresolved),
    System(i32),
    Other(io::ErrorKind),
}

/// Answer of the name service in place of an address.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Unresolved {
    /// The wire's `code`.
    pub(crate) code: IoCode,
    message: String,
}

/// The addresses of a name, at no port, in the order of the name service; at least one. As long as that
/// takes: to be bounded in time. Dropping the future leaves the look-up to end on its thread.
///
/// # Errors
///
/// [`Unresolved`] as the source for what the name service reports, also a few seconds ago; what
/// our own system lacks as its error.
pub(crate) async fn find(name: &str) -> io::Result<Arc<[SocketAddr]>> {
    NAMES.find(name).await
}

impl Names {
    fn new(
        lookup: impl Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static,
    ) -> Arc<Names> {
        Arc::new(Names {
            lookup: Box::new(lookup),
            state: Mutex::default(),
        })
    }

    async fn find(self: &Arc<Names>, name: &str) -> io::Result<Arc<[SocketAddr]>> {
        let mut answer = {
            let mut state = self.state();
            if let Some(failure) = state.turns.failure(name, Instant::now()) {
                return Err(failure.into());
            }
            match state.asked.get(name) {
                Some(asked) => asked.subscribe(),
                None => {
                    let (sender, receiver) = watch::channel(None);
                    state.asked.insert(name.to_owned(), sender);
                    state.turns.wants(name);
                    self.begin(&mut state);
                    receiver
                }
            }
        };
        match answer.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(answer)) => answer.clone().map_err(io::Error::from),
            // A look-up that met a fault of this program.
            _ => Err(io::ErrorKind::Other.into()),
        }
    }

    /// Has those looked up whose turn it is.
    fn begin(self: &Arc<Names>, state: &mut State) {
        while let Some(name) = state.turns.next(Instant::now()) {
            let names = Arc::clone(self);
            let looked_up = name.clone();
            let thread = std::thread::Builder::new().name("name".to_owned());
            let started = thread.spawn(move || names.look_up(looked_up));
            if started.is_err() {
                // The system has no thread for it, which says nothing of the name.
                let own = Err(LookUpFailure::Other(io::ErrorKind::OutOfMemory));
                state.ended(&name, own);
            }
        }
    }

    /// What a thread does: it looks a name up, and the next one.
    fn look_up(self: Arc<Names>, mut name: String) {
        loop {
            let found = (self.lookup)(&name);
            let answer = found.map(Arc::from).map_err(LookUpFailure::from);
            let mut state = self.state();
            state.ended(&name, answer);
            match state.turns.next(Instant::now()) {
                Some(next) => name = next,
                None => return,
            }
            // One that has ended may let several begin.
            self.begin(&mut state);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn ended(&mut self, name: &str, answer: Answer) {
        let of_name = match &answer {
            Err(failure) if !failure.is_own() => Some(failure.clone()),
            _ => None,
        };
        self.turns
            .ended(name, of_name, answer.is_ok(), Instant::now());
        if let Some(asked) = self.asked.remove(name) {
            asked.send_replace(Some(answer));
        }
    }
}

impl LookUpFailure {
    /// True if our own system could not ask.
    fn is_own(&self) -> bool {
        is_own_fault(&io::Error::from(self.clone()))
    }
}

impl From<io::Error> for LookUpFailure {
    fn from(error: io::Error) -> LookUpFailure {
        if let Some(errno) = error.raw_os_error() {
            return LookUpFailure::System(errno);
        }
        let inner = error.get_ref();
        match inner.and_then(|inner| inner.downcast_ref::<Unresolved>()) {
            Some(unresolved) => LookUpFailure::Unresolved(unresolved.clone()),
            None => LookUpFailure::Other(error.kind()),
        }
    }
}

impl From<LookUpFailure> for io::Error {
    fn from(failure: LookUpFailure) -> io::Error {
        match failure {
            LookUpFailure::Unresolved(unresolved) => io::Error::other(unresolved),
            LookUpFailure::System(errno) => io::Error::from_raw_os_error(errno),
            LookUpFailure::Other(kind) => kind.into(),
        }
    }
}

/// Asks the name service; blocks for as long as that takes.
fn lookup(name: &str) -> io::Result<Vec<SocketAddr>> {
    let hints = AddrInfoHints {
        socktype: libc::SOCK_STREAM,
        ..AddrInfoHints::default()
    };
    let found = match getaddrinfo(Some(name), None, Some(hints)) {
        Ok(found) => found,
        Err(error) => return Err(lacking().unwrap_or_else(|| unresolved(error))),
    };
    let addresses = found.map(|found| Ok(found?.sockaddr));
    let addresses: Vec<SocketAddr> = addresses.collect::<io::Result<_>>()?;
    if addresses.is_empty() {
        Err(io::Error::other(Unresolved {
            code: IoCode::NoAddress,
            message: "the name has no address".to_owned(),
        }))
    } else {
        Ok(addresses)
    }
}

/// What our own system lacks for asking, if it does: the resolver says of a name service that
/// it could not open a socket to that it does not answer, or does not know the name.
fn lacking() -> Option<io::Error> {
    File::open("/dev/null").err().filter(is_own_fault)
}

fn unresolved(error: LookupError) -> io::Error {
    let code = match error.kind() {
        LookupErrorKind::NoName => IoCode::NoSuchName,
        LookupErrorKind::NoData => IoCode::NoAddress,
        LookupErrorKind::Again => IoCode::NameServiceBusy,
        LookupErrorKind::Memory => return io::ErrorKind::OutOfMemory.into(),
        // The system's own error; or a name with a NUL, which no name service is asked for.
        LookupErrorKind::System => return error.into(),
        LookupErrorKind::IO => IoCode::NoSuchName,
        _ => IoCode::NameServiceFails,
    };
    let message = error.to_string();
    io::Error::other(Unresolved { code, message })
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);
    const LOCAL: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

    #[test]
    fn only_a_name_that_does_not_exist_is_nxdomain() {
        for (error, code) in [
            (libc::EAI_NONAME, "nxdomain"),
            (libc::EAI_NODATA, "nodata"),
            (libc::EAI_AGAIN, "eai_again"),
            (libc::EAI_FAIL, "eai_fail"),
            (libc::EAI_FAMILY, "eai_fail"),
            (libc::EAI_MEMORY, "enomem"),
        ] {
            let error = unresolved(LookupError::new(error));
            assert_eq!(IoCode::of(&error).as_str(), code, "{error}");
            // Told to all that wait for the name.
            let shared = io::Error::from(LookUpFailure::from(error));
            assert_eq!(IoCode::of(&shared).as_str(), code, "{shared}");
        }
        let error = lookup("no\0name").unwrap_err();
        assert_eq!(IoCode::of(&error).as_str(), "nxdomain");
    }

    #[test]
    fn names_of_this_machine_are_found() {
        // A form that the resolver alone knows, whatever is in /etc/hosts.
        let found = lookup("127.1").unwrap();
        assert!(found.iter().any(|found| found.ip().is_loopback()));
    }

    /// A name service that does not answer for a dead zone until told to.
    fn half_dead() -> (mpsc::Sender<()>, Arc<AtomicUsize>, Arc<Names>) {
        let (word, words) = mpsc::channel::<()>();
        let words = Mutex::new(words);
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&asked);
        let names = Names::new(move |name| {
            counted.fetch_add(1, Ordering::SeqCst);
            if name.ends_with("dead.test") {
                let _ = words.lock().unwrap_or_else(PoisonError::into_inner).recv();
                return Err(unresolved(LookupError::new(libc::EAI_AGAIN)));
            }
            Ok(vec![LOCAL])
        });
        (word, asked, names)
    }

    #[tokio::test]
    async fn names_of_a_dead_zone_keep_no_other_from_being_found() {
        let (word, _, names) = half_dead();
        let asking: Vec<_> = (0..150)
            .map(|number| {
                let names = Arc::clone(&names);
                tokio::spawn(async move { names.find(&format!("h{number}.dead.test")).await })
            })
            .collect();
        tokio::task::yield_now().await;
        for number in 0..100 {
            let name = format!("h{number}.live.test");
            let found = timeout(LONG, names.find(&name)).await.unwrap();
            assert_eq!(&*found.unwrap(), [LOCAL]);
        }
        assert!(asking.iter().all(|asking| !asking.is_finished()));
        // All the others have their turn.
        drop(word);
        for asking in asking {
            let error = timeout(LONG, asking).await.unwrap().unwrap().unwrap_err();
            assert_eq!(IoCode::of(&error).as_str(), "eai_again");
        }
    }

    #[tokio::test]
    async fn equal_names_are_looked_up_together_and_a_failure_is_remembered() {
        let (word, asked, names) = half_dead();
        let asking: Vec<_> = (0..50)
            .map(|_| {
                let names = Arc::clone(&names);
                tokio::spawn(async move { names.find("host.dead.test").await })
            })
            .collect();
        while asked.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        tokio::task::yield_now().await;
        word.send(()).unwrap();
        for asking in asking {
            assert!(timeout(LONG, asking).await.unwrap().unwrap().is_err());
        }
        let again = timeout(LONG, names.find("host.dead.test")).await.unwrap();
        assert!(again.is_err());
        assert_eq!(asked.load(Ordering::SeqCst), 1);
        drop(word);
    }

    #[tokio::test]
    async fn what_our_own_system_lacks_is_not_remembered_of_the_name() {
        let is_short = Arc::new(AtomicUsize::new(1));
        let short = Arc::clone(&is_short);
        let names = Names::new(move |_| match short.load(Ordering::SeqCst) {
            1 => Err(io::Error::from_raw_os_error(libc::EMFILE)),
            _ => Ok(vec![LOCAL]),
        });
        let error = names.find("web").await.unwrap_err();
        assert!(is_own_fault(&error));
        is_short.store(0, Ordering::SeqCst);
        assert!(names.find("web").await.is_ok());
    }
}
