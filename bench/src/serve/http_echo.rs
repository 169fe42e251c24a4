//! Answers every request by HTTP/1.1 with the same JSON, by axum's routes over hyper.

use std::convert::Infallible;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tower_service::Service as _;

const ANSWER: &str = "{\"result\":null}";

pub(super) async fn serve(listener: TcpListener) -> anyhow::Result<()> {
    let router: Router = Router::new()
        .fallback(async || ([(CONTENT_TYPE, "application/json")], ANSWER).into_response());
    loop {
        let (socket, _) = listener.accept().await?;
        socket.set_nodelay(true)?;
        let router = router.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request: Request<Incoming>| {
                let mut router = router.clone();
                async move {
                    Ok::<_, Infallible>(match router.call(request.map(Body::new)).await {
                        Ok(answer) => answer,
                        Err(never) => match never {},
                    })
                }
            });
            // A client that is gone needs nothing.
            let _ = http1::Builder::new()
                .serve_connection(TokioIo::new(socket), service)
                .await;
        });
    }
}
