//! Which hosts are meant by `--hosts`.

use std::collections::HashSet;
use std::io::Read;

use harp_files::text;

use crate::problem::Problem;

/// So many hosts one range may have.
const MOST: usize = 100_000;

/// So many hosts one command may have; ranges multiply.
const MOST_IN_ALL: usize = 1_000_000;

/// The hosts of all these lists in their order, each once. A list is `a,b,c`, apart by
/// commas or white space, or `@FILE` with such lists and comments behind `#`; `@-` is
/// `input`. `web[01-03,07]` is web01, web02, web03 and web07.
///
/// # Errors
///
/// If a file cannot be read, a list has an empty name in it or what can be no name, or there
/// is no host at all.
pub(crate) fn read(lists: &[String], mut input: impl Read) -> Result<Vec<String>, Problem> {
    let mut hosts = Vec::new();
    for list in lists {
        match list.strip_prefix('@') {
            Some(file) => {
                let text = read_file(file, &mut input)?;
                let lines = text::lines(&text).map(|line| line.split('#').next().unwrap_or(""));
                for name in lines.flat_map(words).filter(|name| !name.is_empty()) {
                    expand(name, &mut hosts)?;
                }
            }
            None => {
                for part in apart(list, |letter| letter == ',') {
                    let mut names = words(part).filter(|name| !name.is_empty()).peekable();
                    if names.peek().is_none() {
                        return Err(Problem::usage(format!(
                            "--hosts {list:?}: an empty name; write names apart by commas, as \
                             in web01,web02, or @FILE for a file with one a line"
                        )));
                    }
                    for name in names {
                        expand(name, &mut hosts)?;
                    }
                }
            }
        }
    }
    let mut seen = HashSet::new();
    hosts.retain(|host| seen.insert(host.clone()));
    if hosts.is_empty() {
        Err(Problem::usage(format!(
            "--hosts {}: no host in it",
            lists.join(" ")
        )))
    } else {
        Ok(hosts)
    }
}

/// The parts of a list at white space and commas.
fn words(list: &str) -> impl Iterator<Item = &str> {
    apart(list, |letter| letter == ',' || letter.is_whitespace())
}

/// The parts of a list; within brackets nothing parts it.
fn apart(list: &str, parts: impl Fn(char) -> bool) -> impl Iterator<Item = &str> {
    let mut depth = 0_i32;
    list.split(move |letter| {
        depth += match letter {
            '[' => 1,
            ']' => -1,
            _ => 0,
        };
        depth <= 0 && parts(letter)
    })
}

/// Adds the hosts that a word means.
fn expand(word: &str, hosts: &mut Vec<String>) -> Result<(), Problem> {
    let wrong = |why: &str| {
        Problem::usage(format!("--hosts: {word:?}: {why}")).with_advice(
            "A host is written as in the registry, several as web[01-03,07] or apart by commas.",
        )
    };
    // An address of version 6 has brackets of its own.
    let is_address = |text: &str| {
        text.split_once(']')
            .is_some_and(|(address, _)| address.parse::<std::net::Ipv6Addr>().is_ok())
    };
    let Some((before, behind)) = word.split_once('[').filter(|(_, rest)| !is_address(rest)) else {
        if let Some(letter) = word.chars().find(|letter| !can_be_in_a_name(*letter)) {
            return Err(wrong(&format!("{letter:?} cannot be in a host's name")));
        }
        if word.starts_with('-') {
            return Err(wrong("a host's name does not begin with a dash"));
        }
        let behind_address = word
            .split_once('[')
            .and_then(|(_, rest)| rest.split_once(']'));
        if behind_address
            .map_or(word, |(_, rest)| rest)
            .contains(['[', ']'])
        {
            return Err(wrong("a ] stands there that ends no range"));
        }
        if hosts.len() >= MOST_IN_ALL {
            return Err(wrong(&format!("these are more than {MOST_IN_ALL} hosts")));
        }
        hosts.push(word.to_owned());
        return Ok(());
    };
    let (ranges, rest) = behind
        .split_once(']')
        .ok_or_else(|| wrong("a range has no end, which is ]"))?;
    for range in ranges.split(',').map(str::trim) {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let number = |text: &str| {
            if text.bytes().all(|byte| byte.is_ascii_digit()) {
                text.parse::<usize>().ok()
            } else {
                None
            }
        };
        let (Some(from), Some(to)) = (number(first), number(last)) else {
            return Err(wrong(&format!(
                "{range:?} is no number and no range of numbers"
            )));
        };
        if to < from || to - from >= MOST {
            return Err(wrong(&format!(
                "{range:?} ends before it begins, or has more than {MOST} hosts"
            )));
        }
        for number in from..=to {
            // As wide as the first is written.
            let width = first.len();
            expand(&format!("{before}{number:0width$}{rest}"), hosts)?;
        }
    }
    Ok(())
}

fn can_be_in_a_name(letter: char) -> bool {
    letter.is_alphanumeric() || "-_.:@[]%/".contains(letter)
}

fn read_file(file: &str, input: &mut impl Read) -> Result<String, Problem> {
    let read = match file {
        "-" => {
            let mut content = Vec::new();
            input.read_to_end(&mut content).map(|_| content)
        }
        _ => std::fs::read(file),
    };
    read.and_then(text::from_bytes).map_err(|error| {
        Problem::usage(format!("--hosts @{file}: cannot read it: {error}"))
            .with_advice("What follows @ is a file with one host's name a line, - standard input.")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(lists: &[&str], input: &str) -> Result<String, String> {
        let lists: Vec<String> = lists.iter().map(|list| (*list).to_owned()).collect();
        match read(&lists, input.as_bytes()) {
            Ok(hosts) => Ok(hosts.join(" ")),
            Err(problem) => Err(problem.message),
        }
    }

    #[test]
    fn lists_and_files_are_joined_and_each_host_is_there_once() {
        let file = "c\n# none\n\nd # the last\r\ne, a\n";
        assert_eq!(hosts(&["a, b", "@-"], file).unwrap(), "a b c d e");
        assert_eq!(hosts(&["b,a,b"], "").unwrap(), "b a");
    }

    #[test]
    fn a_range_is_all_of_its_hosts() {
        for (list, expected) in [
            ("web[01-03,07]", "web01 web02 web03 web07"),
            (
                "web[9-11].example.net,db",
                "web9.example.net web10.example.net web11.example.net db",
            ),
            ("r[1-2]n[1-2]", "r1n1 r1n2 r2n1 r2n2"),
            ("web[3]", "web3"),
            ("a b  c,d\te", "a b c d e"),
            ("web[01-02, 05]", "web01 web02 web05"),
            ("[2001:db8::1]:4306", "[2001:db8::1]:4306"),
        ] {
            assert_eq!(hosts(&[list], "").unwrap(), expected, "{list}");
        }
        assert_eq!(
            hosts(&["@-"], "web[1-2]\nx y # z[\n").unwrap(),
            "web1 web2 x y"
        );
    }

    #[test]
    fn what_can_be_no_name_is_refused() {
        for list in [
            "web[01-03",
            "web01]x;",
            "web[a-b]",
            "web[3-1]",
            "web[]",
            "web[1-]",
            "a;b",
            "a|b",
            "web*",
            "$(x)",
            "web[1-1000000]",
            "web[1-99999][1-99999]",
            "web]",
            "web[1-2]]",
            "a],b[1,2]",
            "[::1]]:4306",
            "[::1][1-2]",
            "-x",
            "a\u{1b}b",
            "web\"01\"",
        ] {
            let error = hosts(&[list], "").unwrap_err();
            assert!(error.contains("--hosts"), "{list}: {error}");
        }
    }

    #[test]
    fn a_list_without_hosts_is_refused() {
        assert!(hosts(&["a,,b"], "").unwrap_err().contains("empty name"));
        assert!(
            hosts(&["@-"], "# nobody\n")
                .unwrap_err()
                .contains("no host")
        );
        let error = hosts(&["@/nonexistent"], "").unwrap_err();
        assert!(error.contains("--hosts @/nonexistent"), "{error}");
    }
}
