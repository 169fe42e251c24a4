//! Regular expressions that mean the same to agents and to JSON Schema.

/// Whether an expression has nothing but what both read alike: letters and signs, classes of
/// them, groups, alternatives, repetitions and the two ends of the text.
pub(super) fn is_common(expression: &str) -> bool {
    let mut rest = expression.chars().peekable();
    // How a class began, so that what stands there has its own meaning.
    let mut in_class = false;
    while let Some(sign) = rest.next() {
        let next = rest.peek().copied();
        let is_fine = match sign {
            '\\' => {
                rest.next();
                next.is_some_and(|escaped| {
                    matches!(escaped, 'd' | 'D' | 'w' | 'W') || escaped.is_ascii_punctuation()
                })
            }
            // Classes within classes, and sums and differences of them, are not known to both.
            '[' if in_class => false,
            '&' | '-' | '~' if in_class => next != Some(sign),
            '[' => {
                in_class = true;
                if next == Some('^') {
                    rest.next();
                }
                // A bracket that stands first is read in two ways.
                rest.peek().is_some_and(|first| *first != ']')
            }
            ']' => std::mem::take(&mut in_class),
            // Flags and names of groups.
            '(' if !in_class => next != Some('?'),
            // What a dot leaves out is not the same.
            '.' => in_class,
            sign => sign.is_ascii_graphic() || sign == ' ',
        };
        if !is_fine {
            return false;
        }
    }
    !in_class
}

#[cfg(test)]
mod tests {
    use harp_proto::Json;
    use harp_schema::{Dialect, Schema};
    use regex_lite::Regex;

    use super::is_common;

    #[test]
    fn what_is_common_is_judged_alike() {
        let texts = [
            "",
            "a",
            "ab",
            "web01",
            "web-01",
            "A b",
            "5",
            "5\n",
            "x]y",
            "caf\u{e9}",
            "\u{663}",
            "&&",
            "a.b",
        ];
        for expression in [
            "^[a-z]+$",
            "^web\\d+$",
            "\\W",
            "(a|b){1,2}$",
            "^[^ ]*$",
            "a\\.b",
            "[&a]",
            "^\\d$",
            "\\]",
        ] {
            assert!(is_common(expression), "{expression}");
            let regex = Regex::new(expression).unwrap();
            let schema = Json::encode(&serde_json::json!({ "pattern": expression })).unwrap();
            let schema = Schema::new(&schema, Dialect::AsSaid).unwrap();
            for text in texts {
                let value = Json::encode(&text).unwrap();
                let fits = schema.violations(&value).is_empty();
                assert_eq!(fits, regex.is_match(text), "{expression} {text:?}");
            }
        }
    }

    #[test]
    fn what_could_be_read_otherwise_is_left_out() {
        for expression in [
            "\\Aweb\\z",
            "(?i)web",
            "[[:alpha:]]",
            "[a&&b]",
            "[a--b]",
            "\\s",
            "\\p{L}",
            "a.b",
            "[]a]",
            "[a",
            "a]",
            "caf\u{e9}",
            "\\b",
            "x\\",
        ] {
            assert!(!is_common(expression), "{expression}");
        }
    }
}
