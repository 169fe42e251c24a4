//! Makes the table of the page's files, so that a file that is added is served without being
//! named anywhere. Modules are served without their comments, a third of their bytes; each
//! line keeps its number, so that what a browser says of a line is true of the source.

use std::fs;
use std::path::{Path, PathBuf};
use std::{env, io};

fn main() -> io::Result<()> {
    let top = Path::new("page");
    // A folder stands for all that is in it.
    println!("cargo::rerun-if-changed={}", top.display());
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    let mut files = Vec::new();
    find(top, &mut files)?;
    files.sort();
    let mut table = String::from("&[\n");
    for file in &files {
        let name = file.strip_prefix(top).unwrap_or(file);
        let text = fs::read_to_string(file)?;
        let text = if file.extension().is_some_and(|kind| kind == "js") {
            without_comments(&text)
        } else {
            text
        };
        let served = out.join(name.to_string_lossy().replace('/', "+"));
        fs::write(&served, text)?;
        table += &format!("    ({name:?}, include_bytes!({served:?})),\n");
    }
    table += "]\n";
    fs::write(out.join("files.rs"), table)
}

fn find(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            find(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}

/// A module without comments that begin a line; those behind code are few, and stay. A text over
/// several lines may not have a line that looks like one: the tests in a browser run what is
/// served.
fn without_comments(text: &str) -> String {
    let mut served = String::with_capacity(text.len());
    let mut is_within = false;
    for line in text.lines() {
        let trimmed = line.trim_start();
        let begins = trimmed.starts_with("/**");
        let rest = match (is_within || begins, line.split_once("*/")) {
            (true, Some((_, rest))) => {
                is_within = false;
                rest
            }
            (true, None) => {
                is_within = true;
                ""
            }
            (false, _) if trimmed.starts_with("//") => "",
            (false, _) => line,
        };
        served.push_str(rest);
        served.push('\n');
    }
    served
}
