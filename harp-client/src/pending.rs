//! Requests on their way, as futures that own what they need.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::Error;

/// A request, as a future that owns all it needs: it can be kept, moved between threads and
/// spawned. Nothing is sent before it is first polled. What dropping it means is said by the
/// method that made it.
///
/// ```no_run
/// # async fn example(rpc: harp_client::HarpCaller) -> Result<(), Box<dyn std::error::Error>> {
/// let names = ["web01", "web02"];
/// let calls = names.map(|name| tokio::spawn(rpc.host(name).call("uptime", ())));
/// for call in calls {
///     println!("{}", call.await??.id());
/// }
/// # Ok(())
/// # }
/// ```
#[must_use = "a request is sent when its future is polled"]
pub struct Pending<T>(Pin<Box<dyn Future<Output = Result<T, Error>> + Send>>);

impl<T> Pending<T> {
    pub(crate) fn new(
        request: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Pending<T> {
        Pending(Box::pin(request))
    }
}

impl<T> Future for Pending<T> {
    type Output = Result<T, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<T, Error>> {
        self.0.as_mut().poll(context)
    }
}

impl<T> fmt::Debug for Pending<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pending")
    }
}
