//! The lives of harpd: what this one is called, and which came before.

use ring::rand::{SecureRandom, SystemRandom};
use std::io;

/// A name for a life that no other ever has.
///
/// # Errors
///
/// If the system has no random numbers.
pub fn new_name() -> io::Result<String> {
    let mut bytes = [0; 16];
    let filled = SystemRandom::new().fill(&mut bytes);
    filled.map_err(|_| io::Error::other("the system gives no random numbers"))?;
    Ok(format!("{:032x}", u128::from_be_bytes(bytes)))
}
