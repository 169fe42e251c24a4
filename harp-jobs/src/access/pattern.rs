//! Patterns of rules: text in which `*` stands for any text.

/// Some patterns, of which one has to match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patterns(Vec<Pattern>);

/// The parts between the stars, at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Pattern(Vec<String>);

impl Patterns {
    /// Of these texts.
    #[must_use]
    pub fn new(texts: &[String]) -> Patterns {
        Patterns(texts.iter().map(|text| Pattern::new(text)).collect())
    }

    /// One that only this text matches.
    #[must_use]
    pub fn exactly(text: String) -> Patterns {
        Patterns(vec![Pattern(vec![text])])
    }

    /// What every text matches.
    #[must_use]
    pub fn everything() -> Patterns {
        Patterns(vec![Pattern::new("*")])
    }

    /// Whether one of them matches all of a text.
    #[must_use]
    pub fn match_text(&self, text: &str) -> bool {
        self.0.iter().any(|pattern| pattern.matches(text))
    }

    /// The texts among them that have no star.
    pub fn in_full(&self) -> impl Iterator<Item = &str> {
        let whole = self.0.iter().filter(|pattern| pattern.0.len() == 1);
        whole.flat_map(|pattern| pattern.0.iter().map(String::as_str))
    }

    /// True if no text can be found that does not match, as far as is looked.
    pub(super) fn match_everything(&self) -> bool {
        self.0
            .iter()
            .any(|pattern| pattern.0.len() > 1 && pattern.0.iter().all(String::is_empty))
    }
}

impl Pattern {
    fn new(text: &str) -> Pattern {
        Pattern(text.split('*').map(str::to_owned).collect())
    }

    fn matches(&self, text: &str) -> bool {
        let [first, middle @ .., last] = &self.0[..] else {
            return self.0.first().is_some_and(|whole| whole == text);
        };
        let Some(mut rest) = text.strip_prefix(first.as_str()) else {
            return false;
        };
        // The leftmost place of each part leaves most room for those behind it.
        for part in middle {
            match rest.find(part.as_str()) {
                Some(at) => rest = &rest[at + part.len()..],
                None => return false,
            }
        }
        rest.ends_with(last.as_str())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_star_stands_for_any_text() {
        for (pattern, matching, others) in [
            ("", &[""][..], &["a"][..]),
            ("*", &["", "a", "a*b"], &[]),
            ("web", &["web"], &["", "web1", "aweb", "we"]),
            ("web*", &["web", "web01"], &["we", "aweb"]),
            ("*web", &["web", "aweb"], &["web1"]),
            ("a*a", &["aa", "aba", "aaa"], &["a", "ab"]),
            ("a*b*c", &["abc", "axbxbxc"], &["acb", "ac"]),
            ("*b*b*", &["bb", "abab"], &["ab"]),
            ("ä*", &["äh"], &["ah"]),
        ] {
            let compiled = Pattern::new(pattern);
            for text in matching {
                assert!(compiled.matches(text), "{pattern:?} {text:?}");
            }
            for text in others {
                assert!(!compiled.matches(text), "{pattern:?} {text:?}");
            }
        }
    }

    /// The definition, one character at a time.
    fn by_definition(pattern: &[char], text: &[char]) -> bool {
        match pattern {
            [] => text.is_empty(),
            ['*', rest @ ..] => (0..=text.len()).any(|skip| by_definition(rest, &text[skip..])),
            [one, rest @ ..] => text.first() == Some(one) && by_definition(rest, &text[1..]),
        }
    }

    proptest! {
        #[test]
        fn matching_is_what_the_definition_says(pattern in "[ab*]{0,6}", text in "[ab]{0,8}") {
            let chars = |text: &str| text.chars().collect::<Vec<_>>();
            prop_assert_eq!(
                Pattern::new(&pattern).matches(&text),
                by_definition(&chars(&pattern), &chars(&text))
            );
        }
    }
}
