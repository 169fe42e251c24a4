//! A script: calls a procedure, prints its packets as they come, and what it returned.
//!
//!     cargo run --example script --features blocking -- DISPATCHER HOST PROCEDURE [ARGUMENT...]

fn main() -> Result<(), harp_client::Error> {
    let mut words = std::env::args().skip(1);
    let mut word = |name: &str| words.next().unwrap_or_else(|| panic!("{name} is missing"));
    let (dispatcher, host, procedure) = (word("DISPATCHER"), word("HOST"), word("PROCEDURE"));
    let rpc = harp_client::blocking::HarpCaller::new(&dispatcher)?;
    let job = rpc.host(host).call(&procedure, Vec::from_iter(words))?;
    for packet in job.follow().since(0) {
        println!("{}", packet?.data);
    }
    println!("{}", job.get::<harp_client::Json>()?);
    Ok(())
}
