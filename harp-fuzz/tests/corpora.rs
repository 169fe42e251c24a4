//! Every target holds for every input of its corpus, and for what is near to one: a
//! bounded run of what the fuzzers do, on any toolchain.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use harp_fuzz::TARGETS;
use harp_fuzz::neighbour::neighbour;

/// Inputs made of each file of a corpus.
const NEIGHBOURS: u64 = 24;

fn fuzz(part: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../fuzz")
        .join(part)
}

fn names(directory: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(directory).unwrap_or_else(|error| panic!("{directory:?}: {error}"));
    let name = |path: PathBuf| path.file_stem().unwrap().to_str().unwrap().to_owned();
    entries.map(|entry| name(entry.unwrap().path())).collect()
}

#[test]
fn every_target_has_its_program_and_its_corpus() {
    let targets: BTreeSet<_> = TARGETS
        .iter()
        .map(|target| target.name.to_owned())
        .collect();
    assert_eq!(targets.len(), TARGETS.len());
    assert_eq!(names(&fuzz("fuzz_targets")), targets);
    assert_eq!(names(&fuzz("corpus")), targets);
    let manifest = fs::read_to_string(fuzz("Cargo.toml")).unwrap();
    for target in &targets {
        assert!(
            manifest.contains(&format!("\nname = \"{target}\"\n")),
            "{target}"
        );
        let program = fuzz("fuzz_targets").join(target).with_extension("rs");
        let program = fs::read_to_string(program).unwrap();
        assert!(
            program.contains(&format!("harp_fuzz::run(\"{target}\", data)")),
            "{target}"
        );
    }
}

#[test]
fn every_target_holds_for_its_corpus() {
    std::thread::scope(|scope| {
        for target in TARGETS {
            scope.spawn(move || {
                let mut inputs = 0;
                for entry in fs::read_dir(fuzz("corpus").join(target.name)).unwrap() {
                    let path = entry.unwrap().path();
                    let input = fs::read(&path).unwrap();
                    hold(target, &path, 0, &input);
                    for number in 1..=NEIGHBOURS {
                        hold(target, &path, number, &neighbour(&input, number));
                    }
                    inputs += 1;
                }
                assert!(inputs >= 3, "{}: a corpus of {inputs}", target.name);
            });
        }
    });
}

/// Runs the target; if it does not hold, says for what.
fn hold(target: harp_fuzz::Target, path: &Path, number: u64, input: &[u8]) {
    let run = std::panic::AssertUnwindSafe(|| (target.run)(input));
    if std::panic::catch_unwind(run).is_err() {
        panic!(
            "{}, neighbour {number}: {}",
            path.display(),
            input.escape_ascii()
        );
    }
}
