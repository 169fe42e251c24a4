//! harp(1) has everything that the command has.

use std::collections::BTreeSet;
use std::fs;

use crate::command::Harp;

#[test]
fn every_command_and_option_is_in_the_manual() {
    let manual = concat!(env!("CARGO_MANIFEST_DIR"), "/../man/harp.1");
    let manual = fs::read_to_string(manual).unwrap();
    let commands = [
        "call",
        "follow",
        "stream",
        "result",
        "status",
        "cancel",
        "direct",
        "completions",
    ];
    let mut options = BTreeSet::new();
    for command in commands {
        assert!(manual.contains(&format!(".It Cm {command}")), "{command}");
        let help = Harp::new(&[command, "--help"]).run().expect(0).out;
        let words = help.split(|letter: char| !(letter.is_alphanumeric() || letter == '-'));
        options.extend(
            words
                .filter(|word| word.starts_with("--") && word.len() > 2)
                .map(str::to_owned),
        );
    }
    assert!(options.len() > 20, "{options:?}");
    // Those of the examples belong to the procedures.
    for option in options.iter().filter(|option| *option != "--help") {
        let name = format!("Fl -{}", option.trim_start_matches("--"));
        assert!(manual.contains(&name), "{name} is not in man/harp.1");
    }
}
