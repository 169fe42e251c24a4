//! The command line of the programs under `examples`: options that take a whole number.

/// The options of this process by name and number, in their order.
///
/// # Errors
///
/// A message to the operator if a name has no number behind it.
pub fn number_options() -> Result<Vec<(String, u64)>, String> {
    let mut options = Vec::new();
    let mut words = std::env::args().skip(1);
    while let Some(name) = words.next() {
        match words.next().and_then(|number| number.parse().ok()) {
            Some(number) => options.push((name, number)),
            None => return Err(format!("{name} wants a whole number")),
        }
    }
    Ok(options)
}
