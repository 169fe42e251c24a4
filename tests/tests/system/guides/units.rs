//! Commands of a system's own in README.md, MIGRATION.md and the manual: units that are named are
//! there, and can do what they are asked to; packages are called what they are called.

use std::fs;

use harp_tests::repository;

/// Everything that administrators read.
fn pages() -> Vec<(String, String)> {
    let manual = fs::read_dir(repository().join("man")).unwrap();
    let manual = manual.map(|entry| entry.unwrap().path());
    let guides = ["README.md", "MIGRATION.md"].map(|name| repository().join(name));
    manual
        .chain(guides)
        .map(|path| {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, fs::read_to_string(path).unwrap())
        })
        .collect()
}

/// The words behind a command, wherever a page has it.
fn behind(text: &str, command: &str) -> Vec<Vec<String>> {
    let places = text.split(command).skip(1);
    places
        .map(|rest| {
            let line = rest.lines().next().unwrap_or_default();
            let end = line.find(['`', '#', '&', '|', ';']).unwrap_or(line.len());
            let words = line[..end].split_whitespace();
            words
                .map(|word| word.trim_end_matches([',', '.', ':', '"']).to_owned())
                .filter(|word| !word.is_empty())
                .collect()
        })
        .collect()
}

#[test]
fn units_that_are_named_are_there_and_can_do_it() {
    let unit = |name: &str| {
        let file = if name.contains('.') {
            name.to_owned()
        } else {
            format!("{name}.service")
        };
        fs::read_to_string(repository().join("dist/systemd").join(file)).ok()
    };
    let mut found = 0;
    for (page, text) in pages() {
        for words in behind(&text, "systemctl ") {
            let Some((verb, rest)) = words.split_first() else {
                continue;
            };
            let units: Vec<_> = rest
                .iter()
                .filter(|word| word.starts_with("harp"))
                .collect();
            for name in units {
                let text = unit(name);
                let text = text.unwrap_or_else(|| panic!("{page}: systemctl {words:?}: {name}"));
                let needs = match verb.as_str() {
                    "reload" => "ExecReload=",
                    "enable" => "WantedBy=",
                    "start" | "stop" | "restart" | "edit" => "[Unit]",
                    other => panic!("{page}: systemctl {other}"),
                };
                assert!(text.contains(needs), "{page}: systemctl {words:?}: {needs}");
                found += 1;
            }
        }
    }
    assert!(found >= 8, "{found}");
}

#[test]
fn packages_are_called_as_they_are_built() {
    let readme = fs::read_to_string(repository().join("README.md")).unwrap();
    let builder = fs::read_to_string(repository().join("dist/debian/build-packages")).unwrap();
    let mut found = 0;
    for words in behind(&readme, "apt install ") {
        for word in words {
            let name = word.strip_prefix("./target/debian/").unwrap();
            let name = name.strip_suffix("_*.deb").unwrap();
            let is_built = builder
                .split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '-')
                .any(|word| word == name);
            assert!(is_built, "{name}");
            found += 1;
        }
    }
    assert_eq!(found, 3);
    assert!(readme.contains("    dist/debian/build-packages\n"));
}
