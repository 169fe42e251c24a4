//! The manual pages have what the programs have, and nothing else: commands, options and
//! the types of errors. Configuration keys are held against theirs beside the code.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use harp_tests::{binary, repository};

fn page(name: &str) -> String {
    let path = repository().join("man").join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Words that follow a macro on the lines of a page's lists: `.It Cm WORD , WORD`.
fn items(page: &str, of: &str) -> BTreeSet<String> {
    let mut words = BTreeSet::new();
    for line in page.lines() {
        let Some(item) = line.strip_prefix(".It ") else {
            continue;
        };
        let mut inside = false;
        for word in item.split_whitespace() {
            match word {
                "Ar" | "No" | "Ns" | "Ta" | "Li" | "Op" | "Oo" | "Oc" | "Bq" => inside = false,
                "Cm" | "Fl" | "Ic" => inside = word == of,
                "," => {}
                word if inside => {
                    words.insert(word.to_owned());
                }
                _ => {}
            }
        }
    }
    words
}

/// The commands and the long options that a program's help names.
fn helped(program: &str) -> (BTreeSet<String>, BTreeSet<String>) {
    let mut commands = BTreeSet::new();
    let mut options = BTreeSet::new();
    let mut ask = |words: &[&str]| {
        let output = Command::new(binary(program))
            .args(words)
            .arg("--help")
            .output()
            .expect("a program of ours");
        let help = String::from_utf8(output.stdout).expect("help is text");
        let named = help
            .split(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '-'))
            .filter_map(|word| word.strip_prefix("--"))
            .filter(|word| !word.is_empty());
        options.extend(named.map(str::to_owned));
        help
    };
    for command in listed(&ask(&[])) {
        // Some have commands of their own.
        for inner in listed(&ask(&[&command])) {
            ask(&[&command, &inner]);
            commands.insert(inner);
        }
        commands.insert(command);
    }
    (commands, options)
}

/// The commands that a help lists.
fn listed(help: &str) -> Vec<String> {
    let lines = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let lines = lines.take_while(|line| !line.is_empty());
    // Names stand two places in; the lines of a long description further.
    let names = lines.filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    let names = names.filter(|name| !name.is_empty() && *name != "help");
    names.map(str::to_owned).collect()
}

fn assert_same(what: &str, program: &BTreeSet<String>, manual: &BTreeSet<String>) {
    let missing: Vec<_> = program.difference(manual).collect();
    let invented: Vec<_> = manual.difference(program).collect();
    assert!(missing.is_empty(), "{what}: not in the manual: {missing:?}");
    assert!(
        invented.is_empty(),
        "{what}: only in the manual: {invented:?}"
    );
}

#[test]
fn commands_and_options_are_those_of_the_programs() {
    for (program, name) in [("harpcallerd", "harpcallerd.8"), ("harpd", "harpd.8")] {
        let page = page(name);
        let (commands, options) = helped(program);
        assert_same(
            &format!("commands of {name}"),
            &commands,
            &items(&page, "Cm"),
        );
        let documented = items(&page, "Fl")
            .iter()
            .filter_map(|flag| flag.strip_prefix('-').map(str::to_owned))
            .collect();
        assert_same(&format!("options of {name}"), &options, &documented);
    }
}

/// String constants of a source file: `= "TEXT";`.
fn constants(file: &str) -> BTreeSet<String> {
    let path = repository().join(file);
    let text =
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let constants = text.lines().filter_map(|line| {
        let value = line.split_once("&str = \"")?.1;
        value.strip_suffix("\";").map(str::to_owned)
    });
    constants.collect()
}

/// All Rust sources of these members, as one text.
fn sources(members: &[&str]) -> String {
    fn add(directory: &Path, text: &mut String) {
        let entries = fs::read_dir(directory).expect("a folder of sources");
        for entry in entries {
            let path = entry.expect("an entry of a folder").path();
            if path.is_dir() {
                add(&path, text);
            } else if path
                .extension()
                .is_some_and(|extension| extension == "rs" || extension == "py")
            {
                *text += &fs::read_to_string(&path).expect("a source file");
            }
        }
    }
    let mut text = String::new();
    for member in members {
        add(&repository().join(member).join("src"), &mut text);
    }
    text
}

#[test]
fn every_error_is_in_the_manual_and_no_other() {
    let page = page("harpcaller-errors.7");
    let documented = items(&page, "Cm");
    let types = constants("harp-values/src/error_type.rs");
    assert!(types.len() > 15, "{types:?}");
    let missing: Vec<_> = types.difference(&documented).collect();
    assert!(missing.is_empty(), "not in the manual: {missing:?}");

    let sources = sources(&[
        "harp-values",
        "harp-proto",
        "harp-host",
        "harp-jobs",
        "harp-client",
        "harpcallerd",
        "harpd",
    ]);
    let invented: Vec<_> = documented
        .iter()
        // Codes of the system are named after its constants.
        .filter(|name| !sources.contains(&format!("\"{name}\"")))
        .filter(|name| !sources.contains(&format!("libc::{}", name.to_uppercase())))
        .collect();
    let example = ["ValueError"];
    let invented: Vec<_> = invented
        .iter()
        .filter(|name| !example.contains(&name.as_str()))
        .collect();
    assert!(invented.is_empty(), "only in the manual: {invented:?}");
}

/// Names of tables, which stand among the keys of a file, and names that the samples
/// below give to procedures and users.
const TABLES: [&str; 14] = [
    "cluster",
    "discovery",
    "traces",
    "topchef",
    "listener",
    "listen_http",
    "allow",
    "erlang",
    "procedure",
    "python",
    "choria",
    "user",
    "sample_procedure",
    "sample_user",
];

fn assert_keys(name: &str, keys: Result<BTreeSet<String>, impl std::fmt::Debug>) {
    let of_program: BTreeSet<String> = keys
        .expect("a sample that is TOML")
        .into_iter()
        .filter(|key| !TABLES.contains(&key.as_str()))
        .collect();
    let documented = items(&page(name), "Ic")
        .into_iter()
        .filter(|key| !TABLES.contains(&key.trim_matches(['[', ']'])))
        .collect();
    assert_same(&format!("keys of {name}"), &of_program, &documented);
}

#[test]
fn keys_of_the_configuration_are_those_of_the_dispatcher() {
    let sample = "[[listener]]\naddress = \"127.0.0.1:1\"\n\
                  [[listen_http]]\naddress = \"127.0.0.1:2\"\n[[allow]]\n[discovery]\n[discovery.node]\n[traces]\n[cluster]\n[topchef]\n[[procedure]]\n";
    assert_keys(
        "harpcaller.toml.5",
        harpcallerd::config::Config::keys(sample),
    );
}

#[test]
fn keys_of_the_configuration_are_those_of_the_host_daemon() {
    let sample = "[procedure.sample_procedure]\n[python]\n[choria]\n[user.sample_user]\n";
    assert_keys("harpd.toml.5", harpd::config::Config::keys(sample));
}

#[test]
fn every_page_is_well_formed() {
    if Command::new("mandoc").arg("-h").output().is_err() {
        println!("skipped: mandoc is not installed");
        return;
    }
    let pages = fs::read_dir(repository().join("man")).expect("the folder of the pages");
    let pages: Vec<_> = pages.map(|entry| entry.expect("an entry").path()).collect();
    assert!(pages.len() >= 8, "{pages:?}");
    let checked = Command::new("mandoc")
        .args(["-T", "lint", "-W", "warning"])
        .args(&pages)
        .output()
        .expect("mandoc runs");
    let told = String::from_utf8_lossy(&checked.stdout);
    let told = format!("{told}{}", String::from_utf8_lossy(&checked.stderr));
    assert_eq!(told, "");
}

#[test]
fn arguments_that_are_shown_as_json_are_json() {
    let page = page("harp.1");
    let shown = page.lines().filter_map(|line| line.strip_prefix(".It Li "));
    let shown = shown.filter_map(|line| line.split_once(" Ta Li "));
    let mut count = 0;
    for (words, json) in shown {
        // A plain quote would be taken for one of the page's own, and not be shown.
        assert!(!json.contains('"'), "{words}: {json}");
        let json = json.trim_start_matches("\\&").replace("\\(dq", "\"");
        let parsed: Result<serde_json::Value, _> = serde_json::from_str(&json);
        assert!(parsed.is_ok(), "{words}: {json}");
        count += 1;
    }
    assert!(count >= 6, "{count}");
}

#[test]
fn the_overview_points_at_every_page_and_each_at_it_and_says_what_is_safe() {
    const OVERVIEW: &str = "harpcaller.7";
    let overview = page(OVERVIEW);
    let mut others = 0;
    for entry in fs::read_dir(repository().join("man")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let text = page(&name);
        assert!(text.contains("\n.Sh SECURITY CONSIDERATIONS\n"), "{name}");
        assert!(text.contains("\n.Os\n"), "{name}");
        if name == OVERVIEW {
            continue;
        }
        let (title, section) = name.rsplit_once('.').unwrap();
        let pointer = format!(".Xr {title} {section}");
        assert!(overview.contains(&pointer), "{OVERVIEW} lacks {name}");
        assert!(text.contains(".Xr harpcaller 7"), "{name} lacks {OVERVIEW}");
        others += 1;
    }
    assert!(others > 10, "{others}");
}
