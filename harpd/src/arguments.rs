//! The arguments of a call as a command gets them.

use std::ffi::OsString;
use std::fmt;

use harp_proto::{Failure, Json, error_type};
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;

/// What all words of a command line may come to in bytes, each counted with the [`WORD`]
/// bytes that it takes beside its own: as much as the system takes with its usual limits.
const MOST: usize = 2 << 20;
const WORD: usize = 9;
/// Members that are taken of an object: many more than anybody has named, and few enough to
/// be held.
const MOST_MEMBERS: usize = 100_000;

/// The `arguments` key of a procedure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArgumentMode {
    /// The JSON text and a newline on standard input.
    Stdin,
    /// On the command line.
    Argv,
}

impl ArgumentMode {
    /// The value of the `arguments` key.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            ArgumentMode::Stdin => "stdin",
            ArgumentMode::Argv => "argv",
        }
    }
}

/// The arguments for a command line: positional ones as they are if they are strings,
/// else as JSON; named ones as `--name=value`, in the order in which they came.
///
/// # Errors
///
/// `invalid_argument_list` if one of them cannot stand on a command line.
pub fn command_line(arguments: &Json) -> Result<Vec<OsString>, Failure> {
    if arguments.as_bytes().len() > MOST {
        return Err(unfit(&TOO_LONG));
    }
    if arguments.as_str().starts_with('[') {
        let Elements(values) =
            serde_json::from_str(arguments.as_str()).map_err(|error| unfit(&error))?;
        (1..)
            .zip(values)
            .map(|(number, value)| one_value(value, format_args!("argument {number}")))
            .collect()
    } else {
        let Members(pairs) =
            serde_json::from_str(arguments.as_str()).map_err(|error| unfit(&error))?;
        pairs
            .into_iter()
            .map(|(name, value)| {
                if name.is_empty() || name.contains(['=', '\0']) {
                    return Err(unfit(&format_args!(
                        "the name {name:?} cannot stand on a command line"
                    )));
                }
                let mut option = OsString::from(format!("--{name}="));
                option.push(one_value(value, format_args!("argument {name:?}"))?);
                Ok(option)
            })
            .collect()
    }
}

fn one_value(value: &RawValue, which: fmt::Arguments<'_>) -> Result<OsString, Failure> {
    if !value.get().starts_with('"') {
        return Ok(OsString::from(value.get()));
    }
    let text: String = serde_json::from_str(value.get())
        .map_err(|_| unfit(&format_args!("{which} is not Unicode text")))?;
    if text.contains('\0') {
        return Err(unfit(&format_args!(
            "{which} has a zero byte in it and cannot stand on a command line"
        )));
    }
    Ok(OsString::from(text))
}

fn unfit(why: &dyn fmt::Display) -> Failure {
    Failure::new(error_type::INVALID_ARGUMENT_LIST, why.to_string())
}

/// That a command line would be longer than the system takes.
const TOO_LONG: &str = "the arguments are too long for a command line; a procedure with \
                        arguments = \"stdin\" has no such limit";

/// The elements of a JSON array, no more than a command line may have.
struct Elements<'a>(Vec<&'a RawValue>);

impl<'de> Deserialize<'de> for Elements<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Elements<'de>, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Elements<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Elements<'de>, A::Error> {
                let (mut elements, mut room) = (Vec::new(), MOST);
                while let Some(element) = seq.next_element::<&RawValue>()? {
                    room = room
                        .checked_sub(element.get().len() + WORD)
                        .ok_or_else(|| A::Error::custom(TOO_LONG))?;
                    elements.push(element);
                }
                Ok(Elements(elements))
            }
        }
        deserializer.deserialize_seq(InOrder)
    }
}

/// The members of a JSON object, none lost, in their order.
#[derive(Debug)]
pub struct Members<'a>(pub Vec<(String, &'a RawValue)>);

impl Serialize for Members<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Members<'de>, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    if members.len() == MOST_MEMBERS {
                        let why = format_args!("an object has more than {MOST_MEMBERS} members");
                        return Err(A::Error::custom(why));
                    }
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(arguments: &str) -> Result<Vec<OsString>, Failure> {
        command_line(&arguments.parse().unwrap())
    }

    #[test]
    fn positional_and_named_arguments_become_words() {
        for (arguments, words) in [
            ("[]", &[][..]),
            ("{}", &[]),
            (
                r#"["a b", "", "é\n", 1.0, true, null, [1, "x"], {"k": 1}]"#,
                &[
                    "a b",
                    "",
                    "é\n",
                    "1.0",
                    "true",
                    "null",
                    r#"[1,"x"]"#,
                    r#"{"k":1}"#,
                ],
            ),
            (
                r#"{"name": "web 01", "n": 5, "list": [1], "name": "again"}"#,
                &["--name=web 01", "--n=5", "--list=[1]", "--name=again"],
            ),
        ] {
            assert_eq!(line(arguments).unwrap(), words, "{arguments}");
        }
    }

    #[test]
    fn what_no_command_line_can_hold_takes_no_memory() {
        let many = format!("[{}1]", "1,".repeat(1_000_000));
        let long = json_string(MOST);
        let named = format!("{{{}\"a\":1}}", "\"a\":1,".repeat(200_000));
        for arguments in [many, long, named] {
            let failure = line(&arguments).unwrap_err();
            assert_eq!(failure.error_type, "invalid_argument_list");
        }
    }

    fn json_string(length: usize) -> String {
        format!("[\"{}\"]", "x".repeat(length))
    }

    #[test]
    fn what_cannot_stand_there_is_refused_by_name() {
        for (arguments, told) in [
            (r#"["a", "b\u0000"]"#, "argument 2"),
            (r#"["\ud800"]"#, "argument 1"),
            (r#"{"x": "\u0000"}"#, "\"x\""),
            (r#"{"a=b": 1}"#, "\"a=b\""),
            (r#"{"": 1}"#, "\"\""),
        ] {
            let failure = line(arguments).unwrap_err();
            assert_eq!(failure.error_type, "invalid_argument_list");
            assert!(failure.message.contains(told), "{}", failure.message);
        }
    }
}
