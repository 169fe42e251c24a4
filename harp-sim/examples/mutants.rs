//! Puts each mutant into a copy of the core and plays histories until one does not hold, or has
//! the test run that finds it.
//!
//! `cargo run -p harp-sim --example mutants [HISTORIES [WORDS OF ITS NAME]]`

use std::path::Path;
use std::process::{Command, ExitCode};
use std::{fs, io};

use harp_sim::mutants::{BY_TESTS, MUTANTS, Mutant};

const CRATES: [&str; 3] = ["harp-values", "harp-jobs", "harp-sim"];

fn main() -> io::Result<ExitCode> {
    let mut arguments = std::env::args().skip(1);
    let histories = arguments.next().unwrap_or_else(|| "100000".to_owned());
    let words = arguments.next().unwrap_or_default();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let copy = root.join("target/mutants/workspace");
    let mut missed = Vec::new();
    let chosen: Vec<&Mutant> = MUTANTS
        .iter()
        .filter(|mutant| mutant.name.contains(&words))
        .collect();
    for mutant in &chosen {
        make_copy(&root, &copy)?;
        put_in(mutant, &copy)?;
        let target = root.join("target/mutants/target");
        let built = Command::new("cargo")
            .args(["build", "--quiet", "-p", "harp-sim", "--bin", "harp-sim"])
            .env("CARGO_TARGET_DIR", &target)
            .env("RUSTFLAGS", "-Awarnings")
            .current_dir(&copy)
            .status()?;
        if !built.success() {
            return Err(io::Error::other(format!("{:?} is no program", mutant.name)));
        }
        let program = target.join("debug/harp-sim");
        let played = Command::new(program).arg(&histories).output()?;
        let told = String::from_utf8_lossy(&played.stdout);
        match told.lines().find(|line| line.starts_with("seed ")) {
            Some(line) => println!("found: {}\n       {line}", mutant.name),
            None => {
                println!("MISSED: {}\n{told}", mutant.name);
                missed.push(mutant.name);
            }
        }
    }
    let by_tests = BY_TESTS
        .iter()
        .filter(|(mutant, _)| mutant.name.contains(&words));
    let mut count = chosen.len();
    for (mutant, test) in by_tests {
        count += 1;
        make_copy(&root, &copy)?;
        put_in(mutant, &copy)?;
        let tested = Command::new("cargo")
            .args(["test", "--quiet", "-p", "harp-jobs", "--lib", test])
            .env("CARGO_TARGET_DIR", root.join("target/mutants/target"))
            .env("RUSTFLAGS", "-Awarnings")
            .current_dir(&copy)
            .output()?;
        let told = String::from_utf8_lossy(&tested.stdout);
        if told.contains("test result: FAILED. 0 passed; 1 failed") {
            println!("found: {}\n       {test}", mutant.name);
        } else {
            let why = String::from_utf8_lossy(&tested.stderr);
            println!("MISSED: {}\n{told}{why}", mutant.name);
            missed.push(mutant.name);
        }
    }
    println!("{} of {count} found", count - missed.len());
    Ok(ExitCode::from(u8::from(!missed.is_empty())))
}

/// The three crates in a workspace of their own.
fn make_copy(root: &Path, copy: &Path) -> io::Result<()> {
    if copy.exists() {
        fs::remove_dir_all(copy)?;
    }
    fs::create_dir_all(copy)?;
    // A test of the core reads the table of a job's life.
    for name in ["Cargo.lock", "ARCHITECTURE.md"] {
        fs::copy(root.join(name), copy.join(name))?;
    }
    let manifest = fs::read_to_string(root.join("Cargo.toml"))?;
    let (before, rest) = manifest
        .split_once("members = [")
        .unwrap_or((&manifest, ""));
    let (_, after) = rest.split_once(']').unwrap_or_default();
    let members = CRATES.map(|name| format!("{name:?}")).join(", ");
    let manifest = format!("{before}members = [{members}]{after}");
    fs::write(copy.join("Cargo.toml"), manifest)?;
    CRATES
        .iter()
        .try_for_each(|name| copy_directory(&root.join(name), &copy.join(name)))
}

fn copy_directory(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_directory(&entry.path(), &to)?;
        } else {
            fs::copy(entry.path(), to)?;
        }
    }
    Ok(())
}

fn put_in(mutant: &Mutant, copy: &Path) -> io::Result<()> {
    let file = copy.join(mutant.file);
    let text = fs::read_to_string(&file)?;
    assert_eq!(text.matches(mutant.from).count(), 1, "{}", mutant.name);
    fs::write(file, text.replace(mutant.from, mutant.to))
}
