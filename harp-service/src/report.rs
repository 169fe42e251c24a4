//! Telling an operator what went wrong.

use std::error::Error;

/// An error with its causes, outermost first, none told twice: many messages have their
/// cause in them already.
#[must_use]
pub fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{message}")]
    struct Told {
        message: &'static str,
        source: std::num::ParseIntError,
    }

    #[test]
    fn each_cause_is_told_once() {
        for (message, expected) in [
            (
                "cannot count",
                "cannot count: invalid digit found in string",
            ),
            (
                "bad: invalid digit found in string",
                "bad: invalid digit found in string",
            ),
        ] {
            let source = "x".parse::<u8>().unwrap_err();
            assert_eq!(with_causes(&Told { message, source }), expected);
        }
    }
}
