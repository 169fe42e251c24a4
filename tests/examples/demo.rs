//! A call's whole way, on this machine: starts a dispatcher and a host with certificates
//! made for the occasion, submits a call, follows it, restarts the dispatcher, and finds
//! everything again. Whatever it starts, it ends; whatever it writes, it deletes.
//!
//! ```sh
//! cargo run -p harp-tests --example demo
//! ```

use std::error::Error;
use std::time::Duration;

use futures_util::TryStreamExt;
use harp_client::Outcome;
use harp_tests::Cluster;
use serde_json::json;

/// What the procedure does: says something every half a second.
const SCRIPT: &str = r#"
echo "rotating the logs of $1"
for number in 1 2 3 4 5; do
    sleep 0.5
    echo "archived $1.log.$number"
done
"#;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    println!("Starting a host daemon (harpd) and a dispatcher (harpcallerd) on loopback.");
    println!("The first time, they are built; that takes a while.");
    let mut cluster = Cluster::builder()
        .procedure(
            "rotate_logs",
            "output = 'lines'\narguments = 'argv'",
            SCRIPT,
        )
        .start();
    println!(
        "  host web01 listens on 127.0.0.1:{}",
        cluster.entry("web01")["port"]
    );
    println!("  dispatcher listens on {}", cluster.address());

    println!("\nCalling rotate_logs(\"nginx\") on web01, in the queue {{\"service\":\"nginx\"}}.");
    let rpc = cluster.client();
    let web01 = rpc
        .host("web01")
        .queue(json!({"service": "nginx"}))
        .max_exec_time(Duration::from_secs(60))
        .info("the demo");
    let job = web01.call("rotate_logs", ["nginx"]).await?;
    println!(
        "  the call is accepted and on disk; its job is {}",
        job.id()
    );

    println!("\nFollowing it while it runs:");
    let mut packets = job.follow().since(0);
    let mut followed = Vec::new();
    while let Some(packet) = packets.next().await {
        let packet = packet?;
        println!("  packet {}: {}", packet.number, packet.data);
        followed.push(packet);
    }
    let outcome = packets
        .outcome()
        .cloned()
        .ok_or("the stream ended without an outcome")?;
    let Outcome::Returned(result) = &outcome else {
        return Err(format!("the call did not return: {outcome:?}").into());
    };
    println!("  it returned {result}");

    println!("\nRestarting the dispatcher.");
    tokio::task::block_in_place(|| cluster.restart_dispatcher());
    println!("  it listens on {} again", cluster.address());

    println!("\nLooking at job {} again:", job.id());
    let job = cluster.client().job(job.id());
    let status = job.status().await?;
    println!(
        "  it was {}{} on {}",
        status.procedure, status.arguments, status.host
    );
    println!("  info: {}", status.info);
    let start = status.start_time.ok_or("the job has no start")?;
    let end = status.end_time.ok_or("the job has no end")?;
    println!(
        "  it ran for about {} s",
        end.duration_since(start)?.as_secs()
    );
    let read: Vec<_> = job.stream().try_collect().await?;
    for packet in &read {
        println!("  packet {}: {}", packet.number, packet.data);
    }
    let found = job.result().await?;
    println!("  result: {result}");

    if read != followed || found.as_ref() != Some(&outcome) {
        return Err("what was found after the restart is not what was there before".into());
    }
    println!("\nThe same as before. Stopping everything.");
    tokio::task::block_in_place(|| cluster.stop_dispatcher());
    drop(cluster);
    println!("Done.");
    Ok(())
}
