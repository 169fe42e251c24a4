//! Names and values, as the query of an address or an object of the wire has them: none that
//! nobody knows, none twice where one is expected.

use std::str::FromStr;

/// What is left of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names(Vec<(String, String)>);

/// Something is wrong with the value of a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name}: {problem}")]
pub struct NameFault {
    /// The name.
    pub name: String,
    /// The problem, for people.
    pub problem: String,
}

impl NameFault {
    /// Something is wrong with this name.
    pub fn new(name: &str, problem: impl ToString) -> NameFault {
        NameFault {
            name: name.to_owned(),
            problem: problem.to_string(),
        }
    }
}

impl Names {
    /// These names.
    #[must_use]
    pub fn new(names: Vec<(String, String)>) -> Names {
        Names(names)
    }

    /// All of them, in their order.
    #[must_use]
    pub fn as_slice(&self) -> &[(String, String)] {
        &self.0
    }

    /// Takes out the value of a name.
    ///
    /// # Errors
    ///
    /// If the name is there twice.
    pub fn text(&mut self, name: &str) -> Result<Option<String>, NameFault> {
        let mut values = self.all(name);
        match values.len() {
            0 | 1 => Ok(values.pop()),
            _ => Err(NameFault::new(name, "stands here more than once")),
        }
    }

    /// Takes out all values of a name, in their order.
    pub fn all(&mut self, name: &str) -> Vec<String> {
        let taken = self.0.extract_if(.., |(there, _)| there == name);
        taken.map(|(_, value)| value).collect()
    }

    /// Takes out all names that begin so, with their values; the names without that.
    pub fn beginning(&mut self, prefix: &str) -> Vec<(String, String)> {
        let taken = self
            .0
            .extract_if(.., |(there, _)| there.starts_with(prefix));
        let taken = taken.map(|(name, value)| (name[prefix.len()..].to_owned(), value));
        taken.collect()
    }

    /// Takes out a whole number of at least `least` and at most `most`.
    ///
    /// # Errors
    ///
    /// If it is something else.
    pub fn number(&mut self, name: &str, least: u64, most: u64) -> Result<Option<u64>, NameFault> {
        let Some(text) = self.text(name)? else {
            return Ok(None);
        };
        let is_number = !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit());
        // What is too large for the type is as good as endless.
        let number = is_number.then(|| text.parse().unwrap_or(u64::MAX));
        match number {
            Some(number) if (least..=most).contains(&number) => Ok(Some(number)),
            _ if most == u64::MAX => {
                let problem = format!("must be a whole number, {least} or more");
                Err(NameFault::new(name, problem))
            }
            _ => {
                let problem = format!("must be a whole number from {least} to {most}");
                Err(NameFault::new(name, problem))
            }
        }
    }

    /// Takes out what is true or false; false without it.
    ///
    /// # Errors
    ///
    /// If it is something else.
    pub fn boolean(&mut self, name: &str) -> Result<bool, NameFault> {
        match self.text(name)?.as_deref() {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(NameFault::new(name, "must be true or false")),
        }
    }

    /// Takes out one of some words.
    ///
    /// # Errors
    ///
    /// If it is another one.
    pub fn word<'w>(
        &mut self,
        name: &str,
        words: &[&'w str],
    ) -> Result<Option<&'w str>, NameFault> {
        let Some(text) = self.text(name)? else {
            return Ok(None);
        };
        let word = words.iter().copied().find(|word| *word == text);
        let word = word.ok_or_else(|| {
            let words = words.join(", ");
            NameFault::new(name, format!("must be one of {words}"))
        })?;
        Ok(Some(word))
    }

    /// Takes out a value of a type that says what is wrong with a text.
    ///
    /// # Errors
    ///
    /// What is wrong.
    pub fn parsed<T: FromStr<Err: std::fmt::Display>>(
        &mut self,
        name: &str,
    ) -> Result<Option<T>, NameFault> {
        let text = self.text(name)?;
        let parsed = text.map(|text| text.parse::<T>());
        parsed
            .transpose()
            .map_err(|error| NameFault::new(name, error))
    }

    /// Refuses what is left.
    ///
    /// # Errors
    ///
    /// With the first name that is left.
    pub fn done(self) -> Result<(), NameFault> {
        match self.0.first() {
            None => Ok(()),
            Some((name, _)) => Err(NameFault::new(name, "this name means nothing here")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(pairs: &[(&str, &str)]) -> Names {
        let pairs = pairs.iter();
        Names::new(
            pairs
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
        )
    }

    #[test]
    fn what_nobody_takes_is_refused() {
        let mut some = names(&[("a", "1"), ("b", "x"), ("info.k", "2")]);
        assert_eq!(some.number("a", 0, 9).unwrap(), Some(1));
        assert_eq!(some.text("b").unwrap().as_deref(), Some("x"));
        assert_eq!(some.beginning("info."), [("k".to_owned(), "2".to_owned())]);
        some.done().unwrap();
        let mut some = names(&[("a", "1"), ("a", "2"), ("c", "")]);
        assert!(some.text("a").is_err());
        assert!(some.done().is_err());
    }

    #[test]
    fn numbers_have_bounds() {
        for (text, is_good) in [
            ("9", true),
            ("10", false),
            ("-1", false),
            ("x", false),
            ("", false),
        ] {
            let number = names(&[("n", text)]).number("n", 0, 9);
            assert_eq!(number.is_ok(), is_good, "{text}");
        }
        let mut huge = names(&[("n", &"9".repeat(40))]);
        assert_eq!(huge.number("n", 0, u64::MAX).unwrap(), Some(u64::MAX));
    }
}
