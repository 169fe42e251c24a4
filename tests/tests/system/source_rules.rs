//! What can be held of CONTRIBUTING.md's rules by reading the sources: files of one purpose,
//! comments that stand by themselves, and the tables of files and words in ARCHITECTURE.md.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use harp_tests::{files_of, members, repository, sources};

/// Most lines of a file.
const LONGEST: usize = 500;

/// What the files end in that are no longer than that.
const LANGUAGES: [&str; 5] = ["rs", "py", "js", "css", "html"];

/// Comments that begin so cannot be understood without the one before, or name nobody.
const BEGINNINGS: [&str; 4] = ["The same", "Same", "Who ", "Like ["];

/// Sentences that go on so name nobody either.
const WITHIN: [&str; 11] = [
    ": who ",
    "; who ",
    ". Who ",
    "? Who ",
    " all who ",
    " for who ",
    " from who ",
    " last who ",
    " or who ",
    "herwise who ",
    "Then who ",
];

/// The directories of the workspace's members, and of the Python package's extension.
fn crates() -> Vec<PathBuf> {
    let mut crates = members();
    crates.push(repository().join("python"));
    crates
}

/// What was built, or belongs to a tool.
fn is_not_ours(name: &str) -> bool {
    name == "target" || name.starts_with('.')
}

/// All of these crates, by name from the top of the repository, with their text.
fn all() -> Vec<(String, String)> {
    let members = crates().into_iter();
    let found = members.flat_map(|member| sources(&member, is_not_ours));
    let texts = found.map(|path| {
        let text = fs::read_to_string(&path).unwrap();
        let name = path.strip_prefix(repository()).unwrap();
        (name.to_str().unwrap().to_owned(), text)
    });
    texts.collect()
}

/// The comments of a file as paragraphs, each with the number of its first line.
fn comments(text: &str) -> Vec<(usize, String)> {
    let mut found: Vec<(usize, String)> = Vec::new();
    let mut goes_on = false;
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim_start();
        let said = ["//!", "///", "//"]
            .iter()
            .find_map(|sign| line.strip_prefix(sign))
            .map(str::trim);
        match said {
            Some(said) if goes_on && !said.is_empty() => {
                let (_, paragraph) = found.last_mut().expect("one that goes on");
                paragraph.push(' ');
                paragraph.push_str(said);
            }
            Some(said) if !said.is_empty() => {
                found.push((number, said.to_owned()));
                goes_on = true;
            }
            _ => goes_on = false,
        }
    }
    found
}

/// What is wrong with a comment.
fn faults(comment: &str) -> Vec<&'static str> {
    let begins = BEGINNINGS.into_iter().filter(|it| comment.starts_with(it));
    let goes_on = WITHIN.into_iter().filter(|it| comment.contains(it));
    begins.chain(goes_on).collect()
}

#[test]
fn no_file_is_so_long_that_it_must_have_two_purposes() {
    let members = crates().into_iter();
    let all = members.flat_map(|member| files_of(&member, &LANGUAGES, is_not_ours));
    let lines = |path: &PathBuf| fs::read_to_string(path).unwrap().lines().count();
    let long: Vec<_> = all.filter(|path| lines(path) > LONGEST).collect();
    assert!(long.is_empty(), "over {LONGEST} lines: {long:#?}");
}

#[test]
fn comments_stand_by_themselves_and_name_the_party() {
    let mut wrong = Vec::new();
    for (name, text) in all() {
        for (line, comment) in comments(&text) {
            for fault in faults(&comment) {
                wrong.push(format!("{name}:{line}: {:?}: {comment}", fault.trim()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Without it the test above could not fail.
#[test]
fn a_comment_that_leans_on_another_is_found() {
    let of = |text: &str| -> Vec<&str> {
        let comments = comments(text).into_iter();
        comments.flat_map(|(_, it)| faults(&it)).collect()
    };
    assert_eq!(of("/// The same for hosts.\n"), ["The same"]);
    assert_eq!(
        of("    // It waits: who\n    // comes first.\n"),
        [": who "]
    );
    assert_eq!(of("//! First. Who waits.\n"), [". Who "]);
    assert_eq!(of("/// Told to all who wait.\n"), [" all who "]);
    assert!(of("/// A client who waits.\n\n/// Whoever it is: the host.\n").is_empty());
    assert!(of("fn the_same() { \"The same\" }\n").is_empty());
}

/// The part of ARCHITECTURE.md with the table of a crate's files.
fn table<'p>(page: &'p str, of: &str) -> Option<&'p str> {
    let (_, table) = page.split_once(&format!("\n### {of}\n"))?;
    Some(table.split("\n#").next().unwrap_or(table))
}

#[test]
fn architecture_says_what_each_file_is_for() {
    let page = include_str!("../../../ARCHITECTURE.md");
    let mut missing = Vec::new();
    for member in crates() {
        let Some(table) = table(page, member.file_name().unwrap().to_str().unwrap()) else {
            continue;
        };
        let named: BTreeSet<&str> = table.split('`').skip(1).step_by(2).collect();
        let top = member.join("src");
        for path in sources(&top, is_not_ours) {
            let path = path.strip_prefix(&top).unwrap();
            let is_named = |path: &Path| {
                let text = path.to_str().unwrap();
                named.contains(text)
                    || path
                        .file_name()
                        .is_some_and(|name| named.contains(name.to_str().unwrap()))
            };
            let is_covered = path.ancestors().skip(1).any(|folder| {
                let folder = folder.to_str().unwrap();
                let last = folder.rsplit('/').next().unwrap_or(folder);
                !folder.is_empty()
                    && [
                        format!("{folder}/"),
                        format!("{last}/"),
                        format!("{folder}/*.rs"),
                    ]
                    .iter()
                    .any(|it| named.contains(it.as_str()))
            });
            let is_test = path
                .iter()
                .any(|part| part == "tests" || part == "tests.rs");
            if !is_test && !is_named(path) && !is_covered && path != Path::new("lib.rs") {
                missing.push(member.join("src").join(path));
            }
        }
    }
    assert!(missing.is_empty(), "in no table: {missing:#?}");
}

#[test]
fn the_glossary_has_one_row_a_word_and_every_word_is_in_use() {
    let page = include_str!("../../../ARCHITECTURE.md");
    let (_, glossary) = page.split_once("\n## Words\n").unwrap();
    let glossary = glossary.split("\n## ").next().unwrap();
    let rows = glossary
        .lines()
        .filter_map(|line| line.strip_prefix("| **"));
    let texts = all();
    let mut seen = BTreeSet::new();
    let mut count = 0;
    for row in rows {
        count += 1;
        let head = format!("**{}", row.split(" | ").next().unwrap());
        for word in head.split("**").skip(1).step_by(2) {
            assert!(seen.insert(word.to_owned()), "two rows for {word:?}");
            let is_used = texts
                .iter()
                .any(|(name, text)| name.contains("/src/") && text.to_lowercase().contains(word));
            assert!(is_used, "nobody says {word:?}");
        }
    }
    assert!(count > 20, "{count} rows");
}
