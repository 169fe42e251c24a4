//! One limit of time over all of a request, on a clock that stands still while anything
//! happens. Where the system is late with what happens on loopback, that clock may go on: what
//! a limit ends is told by its time alone.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use harp_client::{Error, ErrorKind, HarpCaller, HarpCallerBuilder, Pending, Repeat};
use socket2::{Domain, Socket, Type};
use tokio::net::TcpListener;
use tokio::time::Instant;

const SECOND: Duration = Duration::from_secs(1);

/// A port that nobody listens at, and nobody else can have.
pub fn nobody() -> (Socket, String) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    socket.bind(&anywhere.into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    (socket, address.to_string())
}

/// A dispatcher that is connected to and says nothing.
async fn frozen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (listener, address)
}

fn client(builder: HarpCallerBuilder) -> HarpCaller {
    builder.build().unwrap()
}

/// The error of a request, and how long it took.
async fn failed<T: std::fmt::Debug>(request: Pending<T>) -> (Error, Duration) {
    let begun = Instant::now();
    let error = request.await.unwrap_err();
    (error, begun.elapsed())
}

#[tokio::test(start_paused = true)]
async fn a_call_with_a_key_is_repeated_within_its_limit_and_not_beyond() {
    let (_socket, address) = nobody();
    for limit in [2 * SECOND, 10 * SECOND, 60 * SECOND] {
        let rpc = client(HarpCaller::builder(&address).request_timeout(limit));
        let (error, took) = failed(rpc.host("h").key("k").call("p", ())).await;
        assert_eq!(error.phase(), Some("connect"), "{error}");
        assert!(error.is_retryable());
        assert!(
            took <= limit && took > limit * 9 / 10,
            "{took:?} of {limit:?}"
        );
        // One without a key is the program's to repeat.
        let before = rpc.stats().repetitions;
        failed(rpc.host("h").call("p", ())).await;
        assert_eq!(rpc.stats().repetitions, before);
    }
}

#[tokio::test(start_paused = true)]
async fn connecting_is_part_of_the_limit() {
    let (_listener, address) = frozen().await;
    let builder = HarpCaller::builder(&address).connect_timeout(10 * SECOND);
    let rpc = client(builder.request_timeout(2 * SECOND));
    let host = rpc.host("h");
    for request in [host.call("p", ()), host.key("k").call("p", ())] {
        let (error, took) = failed(request).await;
        assert_eq!(error.kind(), ErrorKind::Communication, "{error}");
        assert_eq!(took.as_secs(), 2, "{took:?}");
    }
    // It is the lesser of the two that counts.
    let builder = HarpCaller::builder(&address).connect_timeout(SECOND);
    let (_, took) = failed(client(builder).host("h").call("p", ())).await;
    assert_eq!(took.as_secs(), 1, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn each_request_may_have_a_limit_of_its_own() {
    let (_listener, address) = frozen().await;
    let rpc = client(HarpCaller::builder(&address));
    let id = "8ec71d6b-28d1-4ce2-aa23-f3ea7887beda".parse().unwrap();
    let hasty = rpc.clone().request_timeout(SECOND);
    let of_host = rpc.host("h").request_timeout(2 * SECOND);
    let of_job = rpc.job(id).request_timeout(3 * SECOND);
    for (took, limit) in [
        (failed(hasty.host("h").call("p", ())).await.1, 1),
        (failed(hasty.job(id).status()).await.1, 1),
        (failed(of_host.call("p", ())).await.1, 2),
        (failed(of_host.procedure("p").call(())).await.1, 2),
        (failed(of_job.result()).await.1, 3),
        (failed(of_job.cancel()).await.1, 3),
        (failed(of_job.cancel_confirmed()).await.1, 3),
        // Connecting has its own limit besides.
        (failed(rpc.job(id).status()).await.1, 10),
    ] {
        assert_eq!(took.as_secs(), limit, "{took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn waiting_for_ones_turn_is_part_of_the_limit() {
    let (_listener, address) = frozen().await;
    let rpc = client(HarpCaller::builder(&address).pool_size(1));
    let first = rpc.host("h").call("p", ());
    let second = rpc.host("h").request_timeout(SECOND).call("p", ());
    let (_, (error, took)) = tokio::join!(failed(first), failed(second));
    assert_eq!(error.phase(), Some("turn"), "{error}");
    assert_eq!(error.kind(), ErrorKind::Communication);
    assert!(error.to_string().contains("pool_size") && error.is_retryable());
    assert_eq!(took.as_secs(), 1, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn how_often_a_call_is_repeated_can_be_set() {
    let (_socket, address) = nobody();
    let repeated = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&repeated);
    let builder = HarpCaller::builder(&address)
        .repeat(Repeat::times(3).pauses(SECOND, SECOND))
        .on_lost(move |_, _| {
            count.fetch_add(1, Ordering::Relaxed);
        });
    let host = client(builder).host("h").key("k");
    let (_, took) = failed(host.call("p", ())).await;
    assert_eq!(repeated.swap(0, Ordering::Relaxed), 3);
    assert!(took >= SECOND, "{took:?}");
    failed(host.repeat(Repeat::never()).call("p", ())).await;
    assert_eq!(repeated.load(Ordering::Relaxed), 0);
}

#[tokio::test(start_paused = true)]
async fn the_addresses_of_one_dispatcher_share_the_time_for_connecting() {
    let ((_a, one), (_b, two), (_socket, gone)) = (frozen().await, frozen().await, nobody());
    let rpc = client(HarpCaller::builder(format!("{gone},{one},{two}")));
    let (error, took) = failed(rpc.host("h").call("p", ())).await;
    assert_eq!(took.as_secs(), 10, "{took:?}");
    for address in [gone, one, two] {
        assert!(error.to_string().contains(&address), "{error}");
    }
}
