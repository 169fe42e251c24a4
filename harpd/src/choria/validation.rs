//! A call's arguments against what the agent's description says of them (Choria external
//! agents, section 5).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use harp_proto::{Failure, Json, error_type};

use super::ddl::{Action, Form, Input, InputKind, UNSAFE};
use crate::arguments::Members;

/// Key that Choria's own clients add, and no agent is to see.
const CLIENTS_OWN: &str = "process_results";

/// Makes of arguments the `data` of a request, an object.
///
/// # Errors
///
/// `invalid_argument_list` that names an input which is wrong; its name stands in the
/// data as `input`.
pub fn checked_data(action: &Action, arguments: &Json) -> Result<Json, Failure> {
    let is_empty_list = arguments.as_str() == "[]";
    if arguments.as_str().starts_with('[') && !is_empty_list {
        return Err(Failure::new(
            error_type::INVALID_ARGUMENT_LIST,
            "an agent's action takes its inputs by name",
        ));
    }
    let text = if is_empty_list {
        "{}"
    } else {
        arguments.as_str()
    };
    let Members(members) = serde_json::from_str(text)
        .map_err(|error| Failure::new(error_type::INVALID_ARGUMENT_LIST, error.to_string()))?;
    let mut given = Members(Vec::new());
    for (name, value) in members {
        if name == CLIENTS_OWN {
            continue;
        }
        if !action.inputs.contains_key(&name) {
            return Err(unfit(&name, "is not an input of this action"));
        }
        // The last of the same name counts, as everywhere. There are no more than inputs.
        match given.0.iter_mut().find(|(known, _)| *known == name) {
            Some(earlier) => earlier.1 = value,
            None => given.0.push((name, value)),
        }
    }
    for (name, input) in &action.inputs {
        match given.0.iter().find(|(given, _)| given == name) {
            Some((_, value)) => check(input, value.get()).map_err(|why| unfit(name, &why))?,
            None if input.is_required => return Err(unfit(name, "is required")),
            None => {}
        }
    }
    Json::encode(&given).map_err(|error| unfit("", &error.to_string()))
}

fn unfit(input: &str, why: &str) -> Failure {
    Failure::new(
        error_type::INVALID_ARGUMENT_LIST,
        format!("input {input:?} {why}"),
    )
    .with_data(&serde_json::json!({ "input": input }))
}

/// Says what is wrong with a value.
fn check(input: &Input, value: &str) -> Result<(), String> {
    let is_number = value.starts_with(|first: char| first == '-' || first.is_ascii_digit());
    let fits = match &input.kind {
        InputKind::Integer => is_number && is_whole(value),
        InputKind::Number => is_number,
        InputKind::Boolean => matches!(value, "true" | "false"),
        InputKind::Hash => value.starts_with('{'),
        InputKind::Array => value.starts_with('['),
        InputKind::Unsupported(kind) => return Err(format!("is of unsupported type {kind:?}")),
        InputKind::String { max_length, form } => {
            return match (string(value), max_length) {
                (None, _) => Err("must be a string".to_owned()),
                (Some(_), None) => Ok(()),
                (Some(text), Some(max)) => check_string(&text, *max, form),
            };
        }
        InputKind::List(allowed) => {
            return match string(value) {
                Some(text) if allowed.contains(&text) => Ok(()),
                _ => Err(format!("must be one of {}", allowed.join(", "))),
            };
        }
    };
    let wanted = match &input.kind {
        InputKind::Integer => "a whole number",
        InputKind::Number => "a number",
        InputKind::Boolean => "true or false",
        InputKind::Hash => "an object",
        _ => "an array",
    };
    if fits {
        Ok(())
    } else {
        Err(format!("must be {wanted}"))
    }
}

fn check_string(text: &str, max_length: usize, form: &Form) -> Result<(), String> {
    if text.len() > max_length {
        return Err(format!(
            "is {} bytes long, and may be {max_length}",
            text.len()
        ));
    }
    let (fits, wanted) = match form {
        Form::Any => return Ok(()),
        Form::ShellSafe => {
            return match UNSAFE.iter().find(|part| text.contains(**part)) {
                Some(part) => Err(format!("must be safe for a shell, and has {part} in it")),
                None => Ok(()),
            };
        }
        Form::Ipv4 => (text.parse::<Ipv4Addr>().is_ok(), "an IPv4 address"),
        Form::Ipv6 => (text.parse::<Ipv6Addr>().is_ok(), "an IPv6 address"),
        Form::Ip => (text.parse::<IpAddr>().is_ok(), "an IP address"),
        Form::Matching(regex) if regex.is_match(text) => return Ok(()),
        Form::Matching(regex) => return Err(format!("must match {}", regex.as_str())),
        Form::Unusable(expression) => {
            return Err(format!("must match {expression}, which cannot be used"));
        }
    };
    if fits {
        Ok(())
    } else {
        Err(format!("must be {wanted}"))
    }
}

/// `None` if it is not a string, or not one of Unicode.
fn string(value: &str) -> Option<String> {
    serde_json::from_str(value).ok()
}

/// Whether a JSON number has no fraction: `5`, `5.0` and `5e3` have none.
fn is_whole(number: &str) -> bool {
    if !number.contains(['.', 'e', 'E']) {
        return true;
    }
    number
        .parse::<f64>()
        .is_ok_and(|number| number.is_finite() && number.fract() == 0.0)
}

#[cfg(test)]
mod tests {
    use super::super::ddl::tests::action;
    use super::*;

    fn judge(input: &str, value: &str) -> Result<(), String> {
        let action = action(&format!("{{\"in\": {input}}}"), "{}");
        let arguments = format!("{{\"in\": {value}}}").parse().unwrap();
        match checked_data(&action, &arguments) {
            Ok(data) => {
                let same: Json = arguments;
                assert_eq!(data, same);
                Ok(())
            }
            Err(failure) => {
                assert_eq!(failure.error_type, "invalid_argument_list");
                assert!(failure.message.starts_with("input \"in\" "), "{failure:?}");
                assert_eq!(failure.data.unwrap().as_str(), r#"{"input":"in"}"#);
                Err(failure.message)
            }
        }
    }

    #[test]
    fn types() {
        for (kind, good, bad) in [
            (
                "integer",
                &["1", "-5", "5.0", "1e3", "0"][..],
                &["1.5", "\"1\"", "null"][..],
            ),
            ("INT", &["1"], &["true"]),
            ("number", &["1", "1.5", "-2e-3"], &["\"1\"", "null", "[]"]),
            ("Float", &["1", "1.5"], &["\"1\""]),
            (
                "string",
                &["\"\"", "\"a;b\""],
                &["1", "null", "{}", "\"\\ud800\""],
            ),
            ("boolean", &["true", "false"], &["1", "\"true\"", "null"]),
            ("hash", &["{}", "{\"a\":1}"], &["[]", "null", "\"{}\""]),
            ("array", &["[]", "[1]"], &["{}", "null"]),
            ("list", &[], &["\"x\"", "null"]),
            ("", &[], &["1", "\"x\""]),
            ("tuple", &[], &["[]"]),
        ] {
            let input = format!("{{\"type\": {kind:?}, \"optional\": true}}");
            for value in good {
                assert_eq!(judge(&input, value), Ok(()), "{kind} {value}");
            }
            for value in bad {
                assert!(judge(&input, value).is_err(), "{kind} {value}");
            }
        }
        let list = r#"{"type": "list", "list": ["a", "b"]}"#;
        assert_eq!(judge(list, "\"b\""), Ok(()));
        assert!(judge(list, "\"c\"").unwrap_err().contains("one of a, b"));
    }

    #[test]
    fn strings_are_looked_at_only_with_a_length() {
        for (validation, good, bad) in [
            (
                "shellsafe",
                &["a b", "a&b", "x=1"][..],
                &["a;b", "`a`", "$a", "a|b", "a&&b", ">", "<"][..],
            ),
            ("ipv4address", &["192.0.2.1"], &["::1", "192.0.2", "x"]),
            ("ipv6address", &["::1", "2001:db8::1"], &["192.0.2.1"]),
            ("ipaddress", &["::1", "192.0.2.1"], &["x"]),
            ("^[a-z]+$", &["abc"], &["a1", "", "abé"]),
            ("[0-9]", &["a1b"], &["ab"]),
            ("\\\\d$", &["a1"], &["a١"]),
            ("nonsense", &["anything;"], &[]),
            ("(", &[], &["(", ""]),
        ] {
            let input = |length: u32| {
                format!(r#"{{"type":"string","validation":"{validation}","maxlength":{length}}}"#)
            };
            for text in good {
                assert_eq!(
                    judge(&input(20), &format!("{text:?}")),
                    Ok(()),
                    "{validation} {text}"
                );
            }
            for text in bad {
                let value = format!("{text:?}");
                assert!(judge(&input(20), &value).is_err(), "{validation} {text}");
                assert_eq!(judge(&input(0), &value), Ok(()), "{validation} {text}");
            }
        }
        let two = r#"{"type": "string", "maxlength": 2}"#;
        assert_eq!(judge(two, "\"é\""), Ok(()));
        assert!(judge(two, "\"éa\"").unwrap_err().contains("3 bytes long"));
    }

    #[test]
    fn required_undeclared_and_the_clients_own() {
        let action = action(
            r#"{"must": {"type": "string", "default": "x"},
                "may": {"type": "integer", "optional": true}}"#,
            "{}",
        );
        let judge = |arguments: &str| checked_data(&action, &arguments.parse().unwrap());
        let data = judge(r#"{"must": "é\n", "process_results": false}"#).unwrap();
        assert_eq!(data.as_str(), r#"{"must":"é\n"}"#);
        for (arguments, told) in [
            ("{}", "\"must\" is required"),
            ("[]", "\"must\" is required"),
            (r#"["x"]"#, "by name"),
            (r#"{"must": "x", "other": 1}"#, "\"other\" is not an input"),
            (r#"{"must": "x", "may": null}"#, "\"may\" must be a whole"),
        ] {
            let failure = judge(arguments).unwrap_err();
            assert!(failure.message.contains(told), "{}", failure.message);
        }
    }
}
