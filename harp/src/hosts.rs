//! Which hosts are meant by `--hosts`.

use std::collections::HashSet;
use std::io::Read;

use crate::problem::Problem;

/// The hosts of all these lists in their order, each once. A list is `a,b,c`, or `@FILE`
/// with names apart by white space or commas and comments behind `#`; `@-` is `input`.
///
/// # Errors
///
/// If a file cannot be read, a list has an empty name in it, or there is no host at all.
pub(crate) fn read(lists: &[String], mut input: impl Read) -> Result<Vec<String>, Problem> {
    let mut hosts = Vec::new();
    for list in lists {
        match list.strip_prefix('@') {
            Some(file) => {
                let text = read_file(file, &mut input)?;
                let lines = text
                    .lines()
                    .map(|line| line.split('#').next().unwrap_or(""));
                let names = lines.flat_map(|line| {
                    line.split(|letter: char| letter == ',' || letter.is_whitespace())
                });
                hosts.extend(names.filter(|name| !name.is_empty()).map(str::to_owned));
            }
            None => {
                for name in list.split(',').map(str::trim) {
                    if name.is_empty() {
                        return Err(Problem::usage(format!(
                            "--hosts {list:?}: an empty name; write names apart by commas, as \
                             in web01,web02, or @FILE for a file with one a line"
                        )));
                    }
                    hosts.push(name.to_owned());
                }
            }
        }
    }
    let mut seen = HashSet::new();
    hosts.retain(|host| seen.insert(host.clone()));
    match hosts.is_empty() {
        true => Err(Problem::usage(format!(
            "--hosts {}: no host in it",
            lists.join(" ")
        ))),
        false => Ok(hosts),
    }
}

fn read_file(file: &str, input: &mut impl Read) -> Result<String, Problem> {
    let read = match file {
        "-" => {
            let mut text = String::new();
            input.read_to_string(&mut text).map(|_| text)
        }
        _ => std::fs::read_to_string(file),
    };
    read.map_err(|error| {
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
