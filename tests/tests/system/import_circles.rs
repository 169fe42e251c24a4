//! No circles of imports between the files of a crate: what one file is for can be said
//! without the others only where the arrows go one way.
//!
//! A file and those in the folder of its name are a house and its rooms: that a room uses
//! what its own house gives it is no circle. Every other way from a file back to itself is.
//! Tests inside a file do not count, nor does the crate's root, which only names its parts.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use harp_tests::{members, repository};

/// A file of a crate as the path of its module.
type Module = Vec<String>;

/// The source files below `directory`, by module.
fn files(directory: &Path, module: &Module, found: &mut BTreeMap<Module, String>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let mut inner = module.clone();
        inner.push(name.clone());
        if path.is_dir() {
            files(&path, &inner, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            if module.is_empty() && (name == "lib" || name == "main") {
                inner.clear();
            }
            let text = found.entry(inner).or_default();
            text.push_str(&production(&fs::read_to_string(&path).unwrap()));
        }
    }
}

/// The text without comments and without the tests at its end.
pub(crate) fn production(text: &str) -> String {
    let text = match text.find("#[cfg(test)]\nmod tests") {
        Some(tests) => &text[..tests],
        None => text,
    };
    let lines = text.lines();
    let lines = lines.map(|line| line.split("//").next().unwrap_or_default());
    lines.collect::<Vec<_>>().join("\n")
}

/// These files by name from the top of the repository, each with its [`production`] text.
pub(crate) fn productions(files: Vec<PathBuf>) -> BTreeMap<String, String> {
    let texts = files.into_iter().map(|path| {
        let name = path.strip_prefix(repository()).unwrap().to_str().unwrap();
        let text = fs::read_to_string(&path).unwrap();
        (name.to_owned(), production(&text))
    });
    texts.collect()
}

/// Every path that the text uses, as words: of `use` lines each branch, and what is written
/// out in the code.
pub(crate) fn paths(text: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(begin) = rest.find("use ") {
        let is_word = rest[..begin]
            .chars()
            .next_back()
            .is_none_or(|before| !before.is_alphanumeric() && before != '_');
        let behind = &rest[begin + 4..];
        let end = behind.find(';').unwrap_or(behind.len());
        if is_word {
            branches(&[], &behind[..end], &mut found);
        }
        rest = behind;
    }
    let is_part = |character: char| character.is_alphanumeric() || "_:".contains(character);
    for written in text.split(|character| !is_part(character)) {
        if written.contains("::") {
            branches(&[], written, &mut found);
        }
    }
    found
}

/// The paths of a tree such as `a::{b, c::d}`.
fn branches(before: &[String], tree: &str, found: &mut Vec<Vec<String>>) {
    let (stem, inner) = match tree.split_once('{') {
        Some((stem, inner)) => (stem, inner.trim_end().strip_suffix('}').unwrap_or(inner)),
        None => (tree, ""),
    };
    let stem = stem.split(" as ").next().unwrap_or_default();
    let words = stem
        .split("::")
        .map(str::trim)
        .filter(|word| !word.is_empty());
    let path: Vec<_> = before
        .iter()
        .cloned()
        .chain(words.map(str::to_owned))
        .collect();
    if inner.is_empty() {
        found.push(path);
        return;
    }
    let (mut depth, mut begin) = (0, 0);
    for (place, character) in inner.char_indices() {
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                branches(&path, &inner[begin..place], found);
                begin = place + 1;
            }
            _ => {}
        }
    }
    if !inner[begin..].trim().is_empty() {
        branches(&path, &inner[begin..], found);
    }
}

/// The file that a path leads to from another one; `None` for paths to other crates.
fn target(from: &Module, path: &[String], files: &BTreeMap<Module, String>) -> Option<Module> {
    let mut at = from.clone();
    let mut words = path.iter().peekable();
    match words.peek()?.as_str() {
        "crate" => at.clear(),
        "self" => {}
        "super" => {
            at.pop();
        }
        word => {
            let mut room = from.clone();
            room.push(word.to_owned());
            if !files.contains_key(&room) {
                return None;
            }
            return target(from, &[&["self".to_owned()], path].concat(), files);
        }
    }
    words.next();
    for word in words {
        if word == "super" {
            at.pop();
            continue;
        }
        let mut inner = at.clone();
        inner.push(word.clone());
        if !files.contains_key(&inner) {
            break;
        }
        at = inner;
    }
    Some(at)
}

/// Which file uses which.
fn arrows(files: &BTreeMap<Module, String>) -> BTreeMap<&Module, BTreeSet<Module>> {
    let of = |module: &Module, text: &str| {
        let targets = paths(text).into_iter();
        let targets = targets.filter_map(|path| target(module, &path, files));
        targets
            // A room and its house.
            .filter(|target| !module.starts_with(target))
            .collect()
    };
    let files = files.iter().filter(|(module, _)| !module.is_empty());
    files
        .map(|(module, text)| (module, of(module, text)))
        .collect()
}

/// All that can be reached from a file.
fn reached(from: &Module, arrows: &BTreeMap<&Module, BTreeSet<Module>>) -> BTreeSet<Module> {
    let mut found = BTreeSet::new();
    let mut next = vec![from.clone()];
    while let Some(module) = next.pop() {
        for target in arrows.get(&module).into_iter().flatten() {
            if found.insert(target.clone()) {
                next.push(target.clone());
            }
        }
    }
    found
}

/// The circles of a crate, each with all of its files.
fn circles(directory: &Path) -> BTreeSet<Vec<String>> {
    let mut found = BTreeMap::new();
    files(&directory.join("src"), &Module::new(), &mut found);
    let arrows = arrows(&found);
    let reaching: BTreeMap<_, _> = arrows
        .keys()
        .map(|module| (*module, reached(module, &arrows)))
        .collect();
    let is_in_circle = |module: &&Module| reaching[*module].contains(*module);
    reaching
        .keys()
        .copied()
        .filter(is_in_circle)
        .map(|module| {
            let others = reaching[module].iter();
            let others = others.filter(|other| {
                reaching
                    .get(*other)
                    .is_some_and(|back| back.contains(module))
            });
            others.map(|other| other.join("/")).collect()
        })
        .collect()
}

#[test]
fn no_files_of_a_crate_import_each_other_in_a_circle() {
    let mut found = BTreeSet::new();
    for directory in members().into_iter().chain([repository().join("python")]) {
        let name = directory.file_name().unwrap().to_str().unwrap().to_owned();
        if !directory.join("src").is_dir() {
            continue;
        }
        for circle in circles(&directory) {
            found.insert((name.clone(), circle));
        }
    }
    assert!(found.is_empty(), "circles of imports: {found:#?}");
}

/// Without it the test above could not fail.
#[test]
fn a_circle_is_found_whatever_way_it_takes() {
    let files = |texts: &[(&str, &str)]| -> BTreeMap<Module, String> {
        let module = |path: &str| path.split('/').map(str::to_owned).collect();
        let texts = texts.iter();
        texts
            .map(|(path, text)| (module(path), production(text)))
            .collect()
    };
    let is_circle = |texts: &[(&str, &str)]| {
        let files = files(texts);
        let arrows = arrows(&files);
        files
            .keys()
            .any(|module| reached(module, &arrows).contains(module))
    };
    assert!(is_circle(&[
        ("a", "use crate::{x, b::{self, B}};"),
        ("b", "fn f() { super::c::g(); }"),
        ("c", "pub(crate) use crate::a::A;"),
    ]));
    assert!(is_circle(&[
        ("a", "use b::B;"),
        ("a/b", "use crate::c;"),
        ("c", "use crate::a::A;")
    ]));
    assert!(is_circle(&[
        ("a/b", "use super::c::C;"),
        ("a/c", "use super::b::B;"),
        ("a", "")
    ]));
    // A room and its house; what is said, and what tests use.
    assert!(!is_circle(&[
        ("a", "mod b; use b::B;"),
        ("a/b", "use super::A;")
    ]));
    assert!(!is_circle(&[
        ("a", "// use crate::b;\n"),
        ("b", "use crate::a::A;")
    ]));
    assert!(!is_circle(&[
        ("a", "x\n#[cfg(test)]\nmod tests { use crate::b::B; }"),
        ("b", "use crate::a::A;"),
    ]));
}
