//! A worker: fetches the jobs of a service, says each of their arguments as a packet, and
//! answers how many there were.
//!
//!     cargo run --example worker --features worker -- URL SERVICE

use harp_client::Json;
use harp_client::worker::Worker;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), harp_client::Error> {
    let mut words = std::env::args().skip(1);
    let mut word = |name: &str| words.next().unwrap_or_else(|| panic!("{name} is missing"));
    let (url, service) = (word("URL"), word("SERVICE"));
    let worker = Worker::builder(url, service).build()?;
    loop {
        let mut job = worker.next().await?;
        println!("{}: {}", job.id(), job.arguments());
        let arguments: Vec<Json> = job.arguments().decode().unwrap_or_default();
        for argument in &arguments {
            job.packet(argument).await?;
        }
        job.finish(&arguments.len()).await?;
    }
}
