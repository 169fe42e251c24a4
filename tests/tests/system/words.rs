//! The words of ARCHITECTURE.md's glossary have one meaning each, in code, in the manual and in
//! what the programs say; metaphors for them, and words of other systems, are held out.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use harp_tests::{members, repository, sources};

use crate::import_circles::productions;

/// Words of the glossary that name one type at most. The forms that wires and lists give to
/// a call, a queue, a packet or a host have the word, too.
const ONE_TYPE: [&str; 24] = [
    "Attempt",
    "Denial",
    "Desk",
    "End",
    "Follower",
    "Keeper",
    "Ledger",
    "Life",
    "Lineup",
    "Outage",
    "Outcome",
    "Paper",
    "Permit",
    "Place",
    "Pool",
    "Record",
    "Refusal",
    "Registry",
    "Segment",
    "Session",
    "Slot",
    "Store",
    "Transport",
    "Turn",
];

/// What is not said to people, and what is said instead.
const HELD_OUT: [(&str, &str); 23] = [
    ("backend", "host"),
    ("callee", "host"),
    ("chunk", "packet, segment"),
    ("coordinator", "dispatcher"),
    ("desk", "dispatcher"),
    ("enqueue", "queue"),
    ("hall", "queue"),
    ("lane", "queue"),
    ("lineup", "queue"),
    ("master", "dispatcher"),
    ("office", "dispatcher"),
    ("publisher queue", "queue"),
    ("queue slot", "place"),
    ("remote host", "host"),
    ("remote procedure", "procedure"),
    ("scheduler", "dispatcher"),
    ("slave", "host"),
    ("subscriber", "follower"),
    ("subscription", "follower"),
    ("superuser", "administrator"),
    ("ticket", "job"),
    ("waiting room", "queue"),
    ("work item", "job"),
];

/// The sources of what is installed, by name from the top of the repository.
fn installed() -> BTreeMap<String, String> {
    let not_installed = ["axum", "bench", "fuzz", "harp-fuzz", "harp-sim", "tests"];
    let without_tests = |name: &str| matches!(name, "tests" | "tests.rs" | "model.rs");
    let mut files = Vec::new();
    for member in members() {
        let name = member.file_name().unwrap().to_str().unwrap().to_owned();
        if !not_installed.contains(&name.as_str()) {
            files.extend(sources(&member.join("src"), without_tests));
        }
    }
    productions(files)
}

/// The types that a text defines, at the beginning of a line.
fn types(text: &str) -> Vec<&str> {
    let of = |line: &'_ str| -> Option<usize> {
        let mut at = 0;
        for word in line.split_inclusive(' ') {
            let is_kind = ["struct ", "enum ", "trait ", "type "].contains(&word);
            at += word.len();
            if is_kind {
                return Some(at);
            }
            if !word.starts_with("pub") && !word.starts_with("in ") {
                return None;
            }
        }
        None
    };
    let named = text.lines().filter_map(|line| {
        let rest = &line[of(line)?..];
        rest.split(|next: char| !next.is_alphanumeric()).next()
    });
    named.collect()
}

/// The texts between quotes.
fn literals(text: &str) -> String {
    let text = text
        .replace("\\\\", "")
        .replace("\\\"", "'")
        .replace("'\"'", "");
    let inside: Vec<_> = text.split('"').skip(1).step_by(2).collect();
    inside.join("\n")
}

/// Which words a text has that are held out.
fn offenders(text: &str) -> Vec<&'static str> {
    let words = |text: &str| {
        let lower = text.to_lowercase();
        let words = lower.split(|next: char| !next.is_alphanumeric() && next != '_');
        let words: Vec<_> = words.filter(|word| !word.is_empty()).collect();
        format!(" {} ", words.join(" "))
    };
    let text = words(text);
    let is_said = |word: &&str| {
        let (one, many) = (format!(" {word} "), format!(" {word}s "));
        text.contains(&one) || text.contains(&many)
    };
    HELD_OUT
        .iter()
        .map(|(word, _)| *word)
        .filter(is_said)
        .collect()
}

#[test]
fn a_word_of_the_glossary_names_one_type() {
    let all = installed();
    let mut found: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (name, text) in &all {
        for word in types(text) {
            if ONE_TYPE.contains(&word) {
                found.entry(word).or_default().insert(name);
            }
        }
    }
    assert!(found.len() > 15, "{found:?}");
    found.retain(|_, files| files.len() > 1);
    assert!(found.is_empty(), "several meanings: {found:#?}");
}

#[test]
fn the_manual_says_no_other_words() {
    let mut pages = vec![repository().join("README.md")];
    for entry in fs::read_dir(repository().join("man")).unwrap() {
        pages.push(entry.unwrap().path());
    }
    assert!(pages.len() > 10, "{pages:?}");
    for page in pages.into_iter().filter(|page| page.is_file()) {
        let found = offenders(&fs::read_to_string(&page).unwrap());
        assert!(found.is_empty(), "{}: {found:?}", page.display());
    }
}

#[test]
fn programs_say_no_other_words() {
    let mut wrong = Vec::new();
    for (name, text) in installed() {
        let found = offenders(&literals(&text));
        if !found.is_empty() {
            wrong.push((name, found));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Without it the tests above could not fail.
#[test]
fn another_word_is_found() {
    let text = "pub(crate) struct Place {\n    slot: u8,\n}\nenum End { Queue }\nlet type_of = 1;";
    assert_eq!(types(text), ["Place", "End"]);
    assert_eq!(
        offenders("Two queue\nslots, a Ticket."),
        ["queue slot", "ticket"]
    );
    assert_eq!(
        literals(r#"say("a \"lane\"", 'x'); fn lane() {}"#),
        "a 'lane'"
    );
    assert!(offenders("The place of a job in its queue, slot_grace.").is_empty());
}
