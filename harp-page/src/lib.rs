//! The dispatcher's page for browsers: modules, styles and one HTML file, as they stand in
//! `page/`, with the addresses that they are served at.
//!
//! All files but the HTML file are below a folder that is named for what is in them, so that
//! browsers may keep them for ever, and a page that is open while the dispatcher is replaced
//! never mixes two releases. Nothing is built: the files refer to each other by relative
//! addresses.

use ring::digest::{Context, SHA256};

/// Files by name below `page/`.
static FILES: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/files.rs"));

/// The HTML file, which names the folder of the others.
const INDEX: &str = "index.html";

/// What stands in the HTML file for the folder of the others.
const FOLDER: &str = "{{folder}}";

/// What a browser is told about a file, or about itself when it has it: no markup or script of
/// anybody else, no other site, no frame around it.
pub const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; \
     style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; \
     base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'";

/// The page, ready to be served.
#[derive(Debug)]
pub struct Page {
    /// Where all files but the HTML file are: `/page/HASH/`.
    folder: String,
    index: String,
    etag: String,
}

/// A file of the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct File<'a> {
    /// What is in it.
    pub bytes: &'a [u8],
    /// Its `Content-Type`.
    pub media_type: &'static str,
    /// True if it never changes under its address.
    pub is_immutable: bool,
    /// Its `ETag`.
    pub etag: &'a str,
}

impl Page {
    /// The page of this release.
    #[must_use]
    pub fn new() -> Page {
        let mut all = Context::new(&SHA256);
        for (name, bytes) in FILES {
            for part in [name.as_bytes(), bytes] {
                all.update(&(part.len() as u64).to_be_bytes());
                all.update(part);
            }
        }
        let hash = all.finish();
        let hash: String = hash.as_ref()[..8]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let index = FILES.iter().find(|(name, _)| *name == INDEX);
        let index = String::from_utf8_lossy(index.map_or(b"", |(_, bytes)| bytes));
        Page {
            index: index.replace(FOLDER, &format!("page/{hash}")),
            folder: format!("/page/{hash}/"),
            etag: format!("\"{hash}\""),
        }
    }

    /// The file at a path; `None` if the page has none there.
    #[must_use]
    pub fn file(&self, path: &str) -> Option<File<'_>> {
        if path == "/" {
            return Some(File {
                bytes: self.index.as_bytes(),
                media_type: media_type(INDEX),
                is_immutable: false,
                etag: &self.etag,
            });
        }
        let name = path.strip_prefix(&self.folder)?;
        let (name, bytes) = FILES.iter().find(|(there, _)| *there == name)?;
        (*name != INDEX).then_some(File {
            bytes,
            media_type: media_type(name),
            is_immutable: true,
            etag: &self.etag,
        })
    }
}

impl Default for Page {
    fn default() -> Page {
        Page::new()
    }
}

fn media_type(name: &str) -> &'static str {
    match name.rsplit('.').next() {
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("html") => "text/html; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes of all files, before compression.
    const MOST: usize = 200 * 1024;

    #[test]
    fn the_html_file_names_the_folder_of_the_others() {
        let page = Page::new();
        let index = page.file("/").unwrap();
        let text = std::str::from_utf8(index.bytes).unwrap();
        assert!(!index.is_immutable && !text.contains(FOLDER));
        let named: Vec<&str> = text
            .split('"')
            .filter(|part| part.starts_with("page/"))
            .collect();
        assert!(named.len() >= 3, "{named:?}");
        for path in named {
            let file = page.file(&format!("/{path}"));
            assert!(file.is_some_and(|file| file.is_immutable), "{path}");
        }
        for other in ["/page/", "/page/0/main.js", "/index.html", "/main.js", ""] {
            assert_eq!(page.file(other), None, "{other}");
        }
        assert_eq!(page.file(&format!("{}{INDEX}", page.folder)), None);
    }

    #[test]
    fn every_module_that_is_imported_is_there() {
        let mut imports = 0;
        for (name, bytes) in FILES.iter().filter(|(name, _)| name.ends_with(".js")) {
            let text = std::str::from_utf8(bytes).unwrap();
            for line in text.lines() {
                let Some((_, module)) = line.split_once(" from \"") else {
                    continue;
                };
                let module = module.trim_end_matches("\";");
                let folder = name.rsplit_once('/').map_or("", |(folder, _)| folder);
                let path = match module.strip_prefix("../") {
                    Some(rest) => rest.to_owned(),
                    None => format!("{folder}/{}", module.trim_start_matches("./")),
                };
                let path = path.trim_start_matches('/');
                let is_there = FILES.iter().any(|(there, _)| *there == path);
                assert!(is_there, "{name}: {module} ({path})");
                imports += 1;
            }
        }
        assert!(imports > 10, "{imports}");
    }

    #[test]
    fn the_page_is_small_and_asks_nobody_else() {
        let bytes: usize = FILES.iter().map(|(_, bytes)| bytes.len()).sum();
        assert!(bytes < MOST, "{bytes} bytes");
        for (name, bytes) in FILES {
            let text = std::str::from_utf8(bytes).unwrap();
            for foreign in ["https://", "http://", "innerHTML", "eval("] {
                // The namespace of SVG is a name, not an address.
                let text = text.replace("http://www.w3.org/2000/svg", "");
                assert!(!text.contains(foreign), "{name} has {foreign}");
            }
            let lines = text.lines().count();
            assert!(lines <= 500, "{name} has {lines} lines");
        }
    }
}
