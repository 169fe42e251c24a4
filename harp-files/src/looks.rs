//! Looking at files for tasks, which must not block: a file system that hangs holds one
//! thread for each value, and nobody but those who ask for that value.

use std::fmt;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Mutex;
use tokio::task::spawn_blocking;

/// A value that is found out by looking at files.
///
/// Each [`Looks::look`] gives what a look has found that began after it was called. One look
/// is under way at a time, on a thread that may block; all that ask meanwhile share the next.
pub struct Looks<T>(Arc<Inner<T>>);

struct Inner<T> {
    look: Box<dyn Fn() -> T + Send + Sync>,
    /// How many looks have been begun.
    begun: AtomicU64,
    newest: Arc<Mutex<Newest<T>>>,
}

struct Newest<T> {
    /// The look that it comes from, from 1 on.
    number: u64,
    found: Option<T>,
}

impl<T: Clone + Send + 'static> Looks<T> {
    /// What `look` returns, which may block for as long as a file system does.
    pub fn new(look: impl Fn() -> T + Send + Sync + 'static) -> Looks<T> {
        Looks(Arc::new(Inner {
            look: Box::new(look),
            begun: AtomicU64::new(0),
            newest: Arc::new(Mutex::new(Newest {
                number: 0,
                found: None,
            })),
        }))
    }

    /// Looks now. Waits for as long as the file system does: to be bounded in time. Dropping
    /// the future leaves a look that has begun to end on its thread.
    ///
    /// # Panics
    ///
    /// If the look does.
    pub async fn look(&self) -> T {
        let asked = self.0.begun.load(Ordering::SeqCst);
        let mut newest = Arc::clone(&self.0.newest).lock_owned().await;
        if newest.number > asked
            && let Some(found) = &newest.found
        {
            return found.clone();
        }
        let inner = Arc::clone(&self.0);
        // The lock goes along: a caller that gives up leaves it to the thread.
        let looking = spawn_blocking(move || {
            let number = inner.begun.fetch_add(1, Ordering::SeqCst) + 1;
            let found = (inner.look)();
            newest.number = number;
            newest.found = Some(found.clone());
            found
        });
        match looking.await {
            Ok(found) => found,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => resume_unwind(panic),
                // The runtime is being shut down, and this task with it.
                Err(_) => std::future::pending().await,
            },
        }
    }
}

impl<T> Clone for Looks<T> {
    fn clone(&self) -> Looks<T> {
        Looks(Arc::clone(&self.0))
    }
}

impl<T> fmt::Debug for Looks<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let looks = self.0.begun.load(Ordering::Relaxed);
        f.debug_struct("Looks").field("begun", &looks).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    const SHORT: Duration = Duration::from_millis(50);
    const LONG: Duration = Duration::from_secs(60);

    /// Looks that count themselves, each of which waits for a word.
    fn waiting() -> (mpsc::Sender<()>, Arc<AtomicU64>, Looks<u64>) {
        let (word, words) = mpsc::channel::<()>();
        let words = std::sync::Mutex::new(words);
        let count = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&count);
        let looks = Looks::new(move || {
            let number = counted.fetch_add(1, Ordering::SeqCst) + 1;
            let _ = words.lock().unwrap().recv();
            number
        });
        (word, count, looks)
    }

    #[tokio::test]
    async fn a_look_that_hangs_holds_one_thread_and_no_worker() {
        let (word, count, looks) = waiting();
        // This runtime has one worker, which goes on.
        for _ in 0..20 {
            assert!(timeout(SHORT / 10, looks.look()).await.is_err());
        }
        assert_eq!(count.load(Ordering::SeqCst), 1);
        word.send(()).unwrap();
        word.send(()).unwrap();
        let found = timeout(LONG, looks.look()).await.unwrap();
        assert_eq!(found, 2, "what began before may be out of date");
        // A look that still waits ends with the test.
        drop(word);
    }

    #[tokio::test]
    async fn who_asks_during_a_look_shares_the_next() {
        let (word, count, looks) = waiting();
        let ask = || {
            tokio::spawn({
                let looks = looks.clone();
                async move { looks.look().await }
            })
        };
        let first = ask();
        while count.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        let others: Vec<_> = (0..10).map(|_| ask()).collect();
        tokio::task::yield_now().await;
        word.send(()).unwrap();
        word.send(()).unwrap();
        assert_eq!(first.await.unwrap(), 1);
        for other in others {
            assert_eq!(timeout(LONG, other).await.unwrap().unwrap(), 2);
        }
        drop(word);
    }
}
