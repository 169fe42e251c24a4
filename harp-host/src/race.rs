//! Several addresses of one name, tried side by side (RFC 8305): the first that answers
//! wins.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::time::timeout;

/// How long an address is tried alone before the next is tried beside it (RFC 8305,
/// section 5).
const STAGGER: Duration = Duration::from_millis(250);

/// Names of which the address that answered is remembered.
const REMEMBERED: usize = 10_000;

/// For each name and port, the address that answered last.
#[derive(Debug, Default)]
pub struct Answered(Mutex<HashMap<(String, u16), IpAddr>>);

impl Answered {
    /// Puts addresses into the order in which to try them: the one that answered last, and
    /// then by turns those of each family, the family of the first coming first.
    pub fn order(&self, name: &str, addresses: &mut Vec<SocketAddr>) {
        let Some(first) = addresses.first() else {
            return;
        };
        if addresses.len() == 1 {
            return;
        }
        let key = (name.to_owned(), first.port());
        let last = self.lock().get(&key).copied();
        if let Some(at) = addresses
            .iter()
            .position(|address| Some(address.ip()) == last)
        {
            addresses[..=at].rotate_right(1);
        }
        *addresses = interleaved(addresses);
    }

    /// Takes note that this address of a name has answered.
    pub fn note(&self, name: &str, address: SocketAddr) {
        let mut answered = self.lock();
        if answered.len() >= REMEMBERED {
            answered.clear();
        }
        answered.insert((name.to_owned(), address.port()), address.ip());
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(String, u16), IpAddr>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The families by turns, each in its own order (RFC 8305, section 4).
fn interleaved(addresses: &[SocketAddr]) -> Vec<SocketAddr> {
    let is_six = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (mut first, mut second): (Vec<_>, Vec<_>) = addresses
        .iter()
        .rev()
        .copied()
        .partition(|address: &SocketAddr| address.is_ipv6() == is_six);
    let mut order = Vec::with_capacity(addresses.len());
    while order.len() < addresses.len() {
        order.extend(first.pop());
        order.extend(second.pop());
    }
    order
}

/// Makes an attempt at the first address, and one at the next whenever 250 ms have gone by or
/// an attempt has failed. Returns what the first that succeeds has come to; the others are
/// dropped. Cancel safe: dropping the future drops all attempts.
///
/// # Errors
///
/// All failures, in the order of the addresses; none if there is no address.
pub async fn race<T, E, F>(
    addresses: &[SocketAddr],
    attempt: impl Fn(SocketAddr) -> F,
) -> Result<(SocketAddr, T), Vec<E>>
where
    F: Future<Output = Result<T, E>>,
{
    let attempt = &attempt;
    let mut waiting = addresses.iter().copied().enumerate();
    let mut running = FuturesUnordered::new();
    let mut failures = Vec::new();
    loop {
        if let Some((number, address)) = waiting.next() {
            running.push(async move { (number, address, attempt(address).await) });
        }
        let ended = match waiting.len() {
            0 => running.next().await,
            _ => match timeout(STAGGER, running.next()).await {
                Ok(ended) => ended,
                Err(_) => continue,
            },
        };
        match ended {
            Some((_, address, Ok(done))) => return Ok((address, done)),
            Some((number, _, Err(failure))) => failures.push((number, failure)),
            None => break,
        }
    }
    failures.sort_by_key(|(number, _)| *number);
    Err(failures.into_iter().map(|(_, failure)| failure).collect())
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::time::{Instant, sleep};

    use super::*;

    fn address(text: &str) -> SocketAddr {
        SocketAddr::new(text.parse().unwrap(), 7)
    }

    fn ips(addresses: &[SocketAddr]) -> Vec<String> {
        addresses
            .iter()
            .map(|address| address.ip().to_string())
            .collect()
    }

    #[test]
    fn families_take_turns_and_the_one_that_answered_comes_first() {
        let all = ["::1", "::2", "::3", "1.1.1.1", "2.2.2.2"].map(address);
        let answered = Answered::default();
        let mut addresses = all.to_vec();
        answered.order("host", &mut addresses);
        assert_eq!(ips(&addresses), ["::1", "1.1.1.1", "::2", "2.2.2.2", "::3"]);
        answered.note("host", address("2.2.2.2"));
        let mut addresses = all.to_vec();
        answered.order("host", &mut addresses);
        assert_eq!(ips(&addresses), ["2.2.2.2", "::1", "1.1.1.1", "::2", "::3"]);
        let mut addresses = all.to_vec();
        answered.order("other", &mut addresses);
        assert_eq!(ips(&addresses)[0], "::1");
        // One that the name has no more is not tried.
        let mut addresses = all[..2].to_vec();
        answered.order("host", &mut addresses);
        assert_eq!(ips(&addresses), ["::1", "::2"]);
    }

    #[tokio::test(start_paused = true)]
    async fn the_next_is_tried_beside_one_that_is_silent_and_at_once_after_one_that_fails() {
        let all = ["1.1.1.1", "2.2.2.2", "3.3.3.3", "4.4.4.4"].map(address);
        let begun = Instant::now();
        let won = race(&all, |address| async move {
            match address.ip().to_string().as_str() {
                "1.1.1.1" => pending().await,
                "2.2.2.2" => Err("refused"),
                "3.3.3.3" => {
                    sleep(Duration::from_secs(1)).await;
                    Ok("late")
                }
                _ => {
                    sleep(Duration::from_millis(100)).await;
                    Ok("won")
                }
            }
        });
        assert_eq!(won.await, Ok((all[3], "won")));
        // The second after 250 ms, the third at once, the fourth after another 250.
        assert_eq!(begun.elapsed(), Duration::from_millis(600));
    }

    #[tokio::test(start_paused = true)]
    async fn all_failures_are_told_in_the_order_of_the_addresses() {
        let all = ["1.1.1.1", "2.2.2.2", "3.3.3.3"].map(address);
        let lost = race(&all, |address| async move {
            let first = address == self::address("1.1.1.1");
            sleep(Duration::from_millis(if first { 2000 } else { 10 })).await;
            Err::<(), _>(address.ip().to_string())
        });
        assert_eq!(lost.await.unwrap_err(), ["1.1.1.1", "2.2.2.2", "3.3.3.3"]);
        let nothing = race(&[], |_| async { Err::<(), ()>(()) }).await;
        assert_eq!(nothing, Err(Vec::new()));
    }
}
