//! Makes the table of the page's files, so that a file that is added is served without being
//! named anywhere.

use std::fs;
use std::path::{Path, PathBuf};
use std::{env, io};

fn main() -> io::Result<()> {
    let top = Path::new("page");
    // A folder stands for all that is in it.
    println!("cargo::rerun-if-changed={}", top.display());
    let mut files = Vec::new();
    find(top, &mut files)?;
    files.sort();
    let mut table = String::from("&[\n");
    for file in &files {
        let name = file.strip_prefix(top).unwrap_or(file);
        let path = fs::canonicalize(file)?;
        table += &format!("    ({:?}, include_bytes!({:?})),\n", name, path);
    }
    table += "]\n";
    let out = env::var_os("OUT_DIR")
        .map(PathBuf::from)
        .unwrap_or_default();
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
