//! Which procedures a user may call: the tables `[user.NAME]`.

use std::collections::BTreeMap;

use harp_service::Table;

/// Procedures that each user with a table may call. A user without one may call everything.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Permissions {
    allowed: BTreeMap<String, Vec<Pattern>>,
}

/// A procedure's name, in which `*` stands for any characters, or none.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Pattern(String);

impl Permissions {
    /// Takes every `[user.NAME]` out of the configuration. What is wrong is noted there.
    #[must_use]
    pub fn take(root: &Table<'_>) -> Permissions {
        let tables = root.tables("user").into_iter();
        let allowed = tables.map(|(name, table)| {
            let patterns = table.required("allow", table.strings("allow"));
            let patterns = patterns.unwrap_or_default();
            (name, patterns.into_iter().map(Pattern).collect())
        });
        Permissions {
            allowed: allowed.collect(),
        }
    }

    /// True if the user may call the procedure.
    #[must_use]
    pub fn allow(&self, user: &str, procedure: &str) -> bool {
        self.allowed.get(user).is_none_or(|patterns| {
            let mut patterns = patterns.iter();
            patterns.any(|pattern| pattern.fits(procedure))
        })
    }

    /// The users that have a table.
    pub fn users(&self) -> impl Iterator<Item = &str> {
        self.allowed.keys().map(String::as_str)
    }
}

impl Pattern {
    fn fits(&self, name: &str) -> bool {
        let Some((start, rest)) = self.0.split_once('*') else {
            return self.0 == name;
        };
        let Some(mut left) = name.strip_prefix(start) else {
            return false;
        };
        // Whatever is between two stars is taken where it comes first: that leaves the
        // most for the rest.
        let (between, end) = rest.rsplit_once('*').unwrap_or(("", rest));
        for part in between.split('*') {
            match left.find(part) {
                Some(at) => left = &left[at + part.len()..],
                None => return false,
            }
        }
        left.ends_with(end)
    }
}

#[cfg(test)]
mod tests {
    use harp_service::Settings;

    use super::*;

    #[test]
    fn a_star_stands_for_anything() {
        for (pattern, fitting, others) in [
            (
                "restart",
                &["restart"][..],
                &["", "restarts", "Restart"][..],
            ),
            ("", &[""], &["a"]),
            ("*", &["", "a", "*"], &[]),
            (
                "restart-*",
                &["restart-", "restart-a"],
                &["restart", "a-restart-"],
            ),
            (
                "*-nginx",
                &["-nginx", "stop-nginx"],
                &["nginx", "stop-nginx2"],
            ),
            ("a*a", &["aa", "aba"], &["a", "ab", "ba"]),
            ("a*b*c", &["abc", "a-b-c", "abbcc"], &["ac", "acb", "ab"]),
            ("*b*", &["b", "abc"], &["ac", ""]),
            ("a**b", &["ab", "a-b"], &["a", "b"]),
            ("é*ü", &["éü", "éaü"], &["é", "eü"]),
        ] {
            let pattern = Pattern(pattern.to_owned());
            for name in fitting {
                assert!(pattern.fits(name), "{pattern:?} {name}");
            }
            for name in others {
                assert!(!pattern.fits(name), "{pattern:?} {name}");
            }
        }
    }

    #[test]
    fn who_has_a_table_may_call_what_it_names_and_nothing_else() {
        let text = "[user.ops]\nallow = ['restart-*', 'uptime']\n[user.none]\nallow = []\n";
        let settings = Settings::parse(text, "f").unwrap();
        let permissions = Permissions::take(&settings.table());
        settings.finish().unwrap();
        assert!(permissions.allow("ops", "restart-nginx"));
        assert!(permissions.allow("ops", "uptime"));
        assert!(!permissions.allow("ops", "deploy"));
        assert!(!permissions.allow("none", "uptime"));
        assert!(permissions.allow("other", "deploy"));
        assert_eq!(permissions.users().collect::<Vec<_>>(), ["none", "ops"]);
    }

    #[test]
    fn a_table_must_say_what_is_allowed() {
        let settings = Settings::parse("[user.ops]\n", "f").unwrap();
        // Nothing, as long as nobody has looked at the problem.
        assert!(!Permissions::take(&settings.table()).allow("ops", "x"));
        let told = settings.finish().unwrap_err().to_string();
        assert!(told.contains("user.ops.allow: missing"), "{told}");
    }
}
