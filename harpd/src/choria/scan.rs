//! Finding agents in a directory (Choria external agents, section 1).

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::ddl::{Ddl, Reading};

/// An agent for harpd.
#[derive(Debug)]
pub struct Found {
    /// Its name.
    pub name: String,
    /// Its program; whether it is there and executable has not been looked at.
    pub program: PathBuf,
    /// Its description.
    pub ddl: Ddl,
}

/// Content of a directory.
#[derive(Debug, Default)]
pub struct Scan {
    /// The agents, in the order of their names.
    pub agents: Vec<Found>,
    /// Why others cannot be used.
    pub problems: Vec<String>,
    /// Oddities of those that can.
    pub warnings: Vec<String>,
}

/// Looks for agents in a directory. Those of other kinds than external are passed over.
/// Blocks.
#[must_use]
pub fn scan(directory: &Path) -> Scan {
    let mut scan = Scan::default();
    let names = match names(directory) {
        Ok(names) => names,
        Err(error) => {
            scan.problems.push(format!(
                "agents: cannot read {}: {error}",
                directory.display()
            ));
            return scan;
        }
    };
    for name in names {
        let Some(file) = description(directory, &name) else {
            continue;
        };
        match Ddl::read(&file, &name) {
            Ok(Reading::External(ddl, oddities)) => {
                let oddities = oddities.into_iter();
                scan.warnings
                    .extend(oddities.map(|oddity| format!("{}: {oddity}", file.display())));
                scan.agents.push(Found {
                    program: program(directory, &name),
                    name,
                    ddl,
                });
            }
            Ok(Reading::Foreign) => {
                tracing::debug!(agent = name, "not an external agent, passed over");
            }
            Err(error) => scan.problems.push(format!("{}: {error}", file.display())),
        }
    }
    scan
}

/// A directory's entry that may be an agent: `NAME.json`, or a directory `NAME`.
fn names(directory: &Path) -> std::io::Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        let name = if path.is_dir() {
            path.file_name()
        } else if path
            .extension()
            .is_some_and(|extension| extension == "json")
        {
            path.file_stem()
        } else {
            None
        };
        match name.and_then(|name| name.to_str()) {
            Some("tmp") | None => {}
            Some(name) => {
                names.insert(name.to_owned());
            }
        }
    }
    Ok(names)
}

fn description(directory: &Path, name: &str) -> Option<PathBuf> {
    let beside = directory.join(format!("{name}.json"));
    let inside = directory.join(name).join(format!("{name}.json"));
    [beside, inside].into_iter().find(|file| file.is_file())
}

fn program(directory: &Path, name: &str) -> PathBuf {
    let plain = directory.join(name);
    if plain.is_file() {
        return plain;
    }
    // As Go names systems.
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        "loongarch64" => "loong64",
        other => other,
    };
    plain.join(format!("{name}-{}_{architecture}", std::env::consts::OS))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ddl(name: &str, provider: &str) -> String {
        format!(
            r#"{{"metadata": {{"name": "{name}", "provider": "{provider}", "timeout": 5}},
                "actions": [{{"action": "act"}}]}}"#
        )
    }

    #[test]
    fn both_layouts_are_found_and_the_rest_is_told_or_passed_over() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        let write = |path: &str, content: &str| {
            let path = root.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        };
        write("flat.json", &ddl("flat", "external"));
        write("flat", "");
        write("deep/deep.json", &ddl("deep", "external"));
        write("ruby.json", &ddl("ruby", "ruby"));
        write("broken.json", "{");
        write("scout.json", &ddl("scout", "external"));
        write("tmp/tmp.json", &ddl("tmp", "external"));
        write("none/other.json", &ddl("other", "external"));
        write("readme.txt", "");

        let Scan {
            agents, problems, ..
        } = scan(root);
        let found: Vec<_> = agents.iter().map(|agent| agent.name.as_str()).collect();
        assert_eq!(found, ["deep", "flat"]);
        assert_eq!(agents[1].program, root.join("flat"));
        let deep = agents[0].program.strip_prefix(root).unwrap();
        let deep = deep.to_str().unwrap();
        assert!(deep.starts_with("deep/deep-linux_"), "{deep}");
        assert_eq!(problems.len(), 2, "{problems:?}");
        assert!(problems[0].contains("broken.json"), "{problems:?}");
        assert!(problems[1].contains("scout is reserved"), "{problems:?}");

        let nothing = scan(&root.join("absent"));
        assert!(nothing.agents.is_empty());
        assert!(nothing.problems[0].contains("cannot read"), "{nothing:?}");
    }
}
