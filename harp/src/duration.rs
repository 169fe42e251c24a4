//! Lengths of time as people write them.

use std::time::Duration;

/// `30` (seconds), `90s`, `5m`, `2h`, `1h30m`, at least a second.
///
/// # Errors
///
/// How it is to be written.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    const FORM: &str = "write seconds, as in 30, or a number with a unit: 90s, 5m, 2h, 1h30m";
    let time = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            humantime::parse_duration(text).map_err(|_| format!("not a length of time; {FORM}"))?
        }
    };
    if time < Duration::from_secs(1) {
        return Err(format!("must be at least one second; {FORM}"));
    }
    Ok(time)
}

/// For people: as short as it can be said.
pub(crate) fn short(time: Duration) -> String {
    match time.as_secs() {
        0..60 => format!("{:.1} s", time.as_secs_f64()),
        seconds => humantime::format_duration(Duration::from_secs(seconds)).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_and_units() {
        for (text, seconds) in [("30", 30), ("90s", 90), ("5m", 300), ("1h30m", 5400)] {
            assert_eq!(parse(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in [
            "",
            "soon",
            "-1",
            "0",
            "10ms",
            "5 parsecs",
            "99999999999999999999",
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains("90s, 5m"), "{error}");
        }
    }
}
