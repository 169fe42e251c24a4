//! A web application that calls procedures on remote machines: a page that starts them,
//! shows their packets live, and lists the jobs it has started, finished ones too.
//!
//!     cargo run -p harp-example-axum -- DISPATCHER [LISTEN]
//!
//! It listens on `127.0.0.1:8080` unless told otherwise, and keeps nothing: which jobs are its
//! own stands in their info. It may be restarted at any time, and a page that was open goes on
//! where it was. There is no login: whoever reaches it may call what the dispatcher lets it
//! call.

mod web;

use std::process::ExitCode;

use harp_client::HarpCaller;

#[tokio::main]
async fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let Some(dispatcher) = words.next() else {
        eprintln!("usage: harp-example-axum DISPATCHER [LISTEN]");
        return ExitCode::from(2);
    };
    let listen = words.next().unwrap_or_else(|| "127.0.0.1:8080".to_owned());
    match run(&dispatcher, &listen).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("harp-example-axum: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(dispatcher: &str, listen: &str) -> Result<(), Box<dyn std::error::Error>> {
    let rpc = HarpCaller::builder(dispatcher)
        .client_name(web::NAME)
        .build()?;
    let listener = tokio::net::TcpListener::bind(listen)
        .await
        .map_err(|error| format!("cannot listen on {listen}: {error}"))?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, web::routes(rpc)).await?;
    Ok(())
}
