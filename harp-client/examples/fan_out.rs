//! A fan-out: one procedure on many hosts at once, one line for each host as it is done.
//!
//!     cargo run --example fan_out -- DISPATCHER PROCEDURE HOST...
//!
//! No more than 20 of the calls run at a time: they wait in a queue that the dispatcher
//! keeps, so that they go on whatever becomes of this program. Exit code 1 tells that not
//! all hosts returned.

use std::process::ExitCode;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use harp_client::{Error, HarpCaller, Json};

#[tokio::main]
async fn main() -> Result<ExitCode, Error> {
    let mut words = std::env::args().skip(1);
    let (Some(dispatcher), Some(procedure)) = (words.next(), words.next()) else {
        eprintln!("usage: fan_out DISPATCHER PROCEDURE HOST...");
        return Ok(ExitCode::from(2));
    };
    let rpc = HarpCaller::new(&dispatcher)?;
    let mut calls: FuturesUnordered<_> = words
        .map(|host| {
            let server = rpc
                .host(&*host)
                .queue(serde_json::json!({"fan_out": procedure}))
                .concurrency(20)
                .max_exec_time(Duration::from_secs(60));
            let procedure = &procedure;
            async move {
                let result = async { server.call(procedure, ()).await?.get::<Json>().await };
                (host, result.await)
            }
        })
        .collect();
    let mut failed = 0;
    while let Some((host, result)) = calls.next().await {
        match result {
            Ok(value) => println!("{host}: {value}"),
            Err(error) => {
                failed += 1;
                println!("{host}: {error}");
            }
        }
    }
    Ok(match failed {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}
