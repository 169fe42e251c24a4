//! A configuration of the original's becomes one of this harpd's.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use harp_proto::HOST_PORT;
use yaml_rust2::yaml::Hash;
use yaml_rust2::{ScanError, Yaml, YamlLoader};

/// Where this harpd looks for its users if the original had them elsewhere.
const USERS_FILE: &str = "/etc/harpd/users.txt";

/// What the original was told on its command line.
#[derive(Debug, Clone)]
pub struct Given {
    /// The module of procedures.
    pub procedures: PathBuf,
    /// Whom procedures run as.
    pub user: Option<String>,
    /// The group that they run with.
    pub group: Option<String>,
}

/// Why a file cannot be converted.
#[derive(Debug, thiserror::Error)]
pub enum ConvertError {
    /// It cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It is no YAML.
    #[error("{}: not YAML: {source}", path.display())]
    NotYaml {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: ScanError,
    },
    /// It is YAML, but no table of settings.
    #[error("{}: not a configuration of the original harpd: no table of settings", .0.display())]
    NoTable(PathBuf),
}

/// Reads a configuration of the original's and returns the text of one for this harpd. What
/// could not be carried over stands in it as comments that begin with `# not carried over`.
///
/// # Errors
///
/// If the file cannot be read or is no configuration.
pub fn convert(path: &Path, given: &Given) -> Result<String, ConvertError> {
    let text = harp_files::regular::read_to_string(path).map_err(|source| {
        let path = path.to_owned();
        ConvertError::Unreadable { path, source }
    })?;
    let documents = YamlLoader::load_from_str(&text).map_err(|source| {
        let path = path.to_owned();
        ConvertError::NotYaml { path, source }
    })?;
    let root = documents.first().and_then(Yaml::as_hash);
    let root = root.ok_or_else(|| ConvertError::NoTable(path.to_owned()))?;
    let mut writing = Writing::default();
    writing.line(&format!(
        "# From {}, a configuration of the original harpd. `harpd --test` checks it;\n\
         # harpd.toml(5) has all keys.",
        path.display()
    ));
    let mut root = Section::new("", root);
    writing.network(&mut root);
    writing.authentication(&mut root);
    writing.python(&mut root, given);
    writing.rest(&root);
    Ok(writing.text)
}

/// A table of the original's, and which of its keys were taken.
struct Section<'a> {
    name: String,
    keys: &'a Hash,
    taken: BTreeSet<&'a str>,
}

impl<'a> Section<'a> {
    fn new(name: &str, keys: &'a Hash) -> Section<'a> {
        Section {
            name: name.to_owned(),
            keys,
            taken: BTreeSet::new(),
        }
    }

    fn take(&mut self, key: &'static str) -> Option<&'a Yaml> {
        self.taken.insert(key);
        self.keys.get(&Yaml::String(key.to_owned()))
    }

    fn text(&mut self, key: &'static str) -> Option<&'a str> {
        self.take(key)?.as_str()
    }

    fn table(&mut self, key: &'static str) -> Option<Section<'a>> {
        let table = self.take(key)?.as_hash()?;
        Some(Section::new(&self.dotted(key), table))
    }

    fn dotted(&self, key: &str) -> String {
        if self.name.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.name)
        }
    }
}

/// The configuration as far as it is written.
#[derive(Default)]
struct Writing {
    text: String,
}

impl Writing {
    fn line(&mut self, line: &str) {
        let _ = writeln!(self.text, "{line}");
    }

    fn key(&mut self, key: &str, value: &str) {
        self.line(&format!("{key} = {}", quoted(value)));
    }

    /// A comment about something that has no counterpart, or none that is known here.
    fn open(&mut self, what: &str, why: &str) {
        self.line(&format!(
            "# not carried over: {}: {}",
            one_line(what),
            one_line(why)
        ));
    }

    fn network(&mut self, root: &mut Section<'_>) {
        self.line("");
        let Some(mut network) = root.table("network") else {
            return self.open("network", "missing; certificate and private_key are needed");
        };
        let address = network.text("address").unwrap_or("*");
        let address = if address.contains(':') {
            format!("[{address}]")
        } else {
            address.to_owned()
        };
        let port = network.take("port").and_then(Yaml::as_i64);
        let port = port.unwrap_or(HOST_PORT.into());
        self.line(&format!(
            "listen = [{}]",
            quoted(&format!("{address}:{port}"))
        ));
        for (its, ours) in [("certfile", "certificate"), ("keyfile", "private_key")] {
            match network.text(its) {
                Some(file) => self.key(ours, file),
                None => self.open(&network.dotted(its), &format!("missing; {ours} is needed")),
            }
        }
        self.rest(&network);
    }

    fn authentication(&mut self, root: &mut Section<'_>) {
        let Some(mut authentication) = root.table("authentication") else {
            return self.open("authentication", "missing; users_file is needed");
        };
        match authentication.text("module") {
            Some("harpd.auth.passfile") => match authentication.text("file") {
                Some(file) => self.key("users_file", file),
                None => self.open("authentication.file", "missing; users_file is needed"),
            },
            Some("harpd.auth.inconfig") => {
                self.key("users_file", USERS_FILE);
                if let Some(users) = authentication.table("users") {
                    self.users(&users);
                }
            }
            other => {
                self.key("users_file", USERS_FILE);
                let module = other.unwrap_or("no module");
                self.open(
                    "authentication.module",
                    &format!(
                        "{module}: this harpd reads users from a file alone; `harpd add-user \
                         NAME` adds one"
                    ),
                );
            }
        }
        self.rest(&authentication);
    }

    /// Users that stood in the configuration itself. What they typed is never shown.
    fn users(&mut self, users: &Section<'_>) {
        self.line(&format!(
            "# not carried over: authentication.users: this harpd reads users from a file. Write\n\
             # the lines NAME:HASH below into {USERS_FILE}, without what comes before\n\
             # the name, in mode 0600; `harpd add-user NAME` asks for the password of the others."
        ));
        for (name, password) in users.keys {
            let name = one_line(name.as_str().unwrap_or("?"));
            match password
                .as_str()
                .and_then(|told| told.strip_prefix("crypt:"))
            {
                Some(hash) => self.line(&format!("#   {name}:{}", one_line(hash))),
                None => self.line(&format!("#   harpd add-user {name}")),
            }
        }
    }

    fn python(&mut self, root: &mut Section<'_>, given: &Given) {
        self.line("\n[python]");
        self.key("module", &given.procedures.display().to_string());
        self.line("# A module that was written for Python 2 needs 2to3(1) first.");
        if let Some(user) = &given.user {
            self.key("user", user);
        }
        if let Some(group) = &given.group {
            self.line(&format!("group = [{}]", quoted(group)));
        }
        let Some(mut python) = root.table("python") else {
            return;
        };
        let (first, last) = match python.take("path") {
            Some(Yaml::Hash(path)) => {
                let mut path = Section::new("python.path", path);
                let first = paths(path.take("prepend"));
                let last = paths(path.take("append"));
                self.rest(&path);
                (first, last)
            }
            path => (Vec::new(), paths(path)),
        };
        if !last.is_empty() {
            self.line(
                "# These came behind Python's own directories and come before them now, where a\n\
                 # module of the same name would be taken first.",
            );
        }
        let all: Vec<_> = first.into_iter().chain(last).collect();
        if !all.is_empty() {
            let path = quoted(&all.join(":"));
            self.line(&format!("environment = {{ PYTHONPATH = {path} }}"));
        }
        self.rest(&python);
    }

    /// What nobody has taken.
    fn rest(&mut self, section: &Section<'_>) {
        for key in section.keys.keys() {
            let Some(key) = key.as_str() else {
                self.open(&section.name, "a key that is no text");
                continue;
            };
            if !section.taken.contains(key) {
                self.open(&section.dotted(key), "this harpd has nothing like it");
            }
        }
    }
}

/// One path, or several.
fn paths(value: Option<&Yaml>) -> Vec<String> {
    let several = match value {
        Some(Yaml::Array(several)) => several.iter().collect(),
        Some(one) => vec![one],
        None => Vec::new(),
    };
    let paths = several.into_iter().filter_map(Yaml::as_str);
    paths.map(str::to_owned).collect()
}

/// A string of TOML: those of JSON are, but for one character.
fn quoted(text: &str) -> String {
    let json = serde_json::Value::from(text).to_string();
    json.replace('\u{7f}', "\\u007F")
}

/// Without what would end a comment.
fn one_line(text: &str) -> String {
    text.chars()
        .map(|letter| if letter.is_control() { ' ' } else { letter })
        .collect()
}

#[cfg(test)]
mod tests {
    use harp_service::Settings;

    use super::*;

    fn converted(yaml: &str) -> String {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("harpd.conf");
        std::fs::write(&path, yaml).unwrap();
        let given = Given {
            procedures: "/etc/harpd/harpd.py".into(),
            user: Some("nobody".to_owned()),
            group: Some("adm".to_owned()),
        };
        let text = convert(&path, &given).unwrap();
        // Whatever came in, TOML comes out.
        Settings::parse(&text, "f").unwrap_or_else(|error| panic!("{error}:\n{text}"));
        let (_, body) = text.split_once("\n\n").unwrap();
        body.to_owned()
    }

    #[test]
    fn everything_that_has_a_counterpart_is_carried_over() {
        let text = converted(
            "network: {address: 127.0.0.1, port: 4307, certfile: /c.pem, keyfile: /k.pem}\n\
             python:\n  path:\n    prepend: [/first, /second]\n    append: /last\n\
             authentication:\n  module: harpd.auth.passfile\n  file: /etc/harpd/users.txt\n",
        );
        assert_eq!(
            text,
            "listen = [\"127.0.0.1:4307\"]\n\
             certificate = \"/c.pem\"\n\
             private_key = \"/k.pem\"\n\
             users_file = \"/etc/harpd/users.txt\"\n\
             \n\
             [python]\n\
             module = \"/etc/harpd/harpd.py\"\n\
             # A module that was written for Python 2 needs 2to3(1) first.\n\
             user = \"nobody\"\n\
             group = [\"adm\"]\n\
             # These came behind Python's own directories and come before them now, where a\n\
             # module of the same name would be taken first.\n\
             environment = { PYTHONPATH = \"/first:/second:/last\" }\n"
        );
    }

    #[test]
    fn what_has_none_is_a_comment() {
        let text = converted(
            "network: {certfile: /c.pem, backlog: 5}\n\
             authentication:\n  module: harpd.auth.inconfig\n  users:\n\
             \x20   jack: \"crypt:$6$salt$hash\"\n    jane: \"plain:secret\"\n\
             1: odd\nextra: \"a\\nb\"\n",
        );
        assert!(text.contains("listen = [\"*:4306\"]\n"), "{text}");
        for told in [
            "# not carried over: network.keyfile: missing; private_key is needed\n",
            "# not carried over: network.backlog: this harpd has nothing like it\n",
            "#   jack:$6$salt$hash\n",
            "#   harpd add-user jane\n",
            "# not carried over: extra: this harpd has nothing like it\n",
        ] {
            assert!(text.contains(told), "{told}\n{text}");
        }
        assert!(!text.contains("secret"), "{text}");

        let text = converted("authentication: {module: site.ldap, url: \"ldap://x\"}\n");
        for told in [
            "not carried over: network: missing",
            "not carried over: authentication.module: site.ldap",
            "not carried over: authentication.url",
        ] {
            assert!(text.contains(told), "{told}\n{text}");
        }
    }

    #[test]
    fn names_of_any_letters_stay_on_their_line() {
        let text = converted(
            "network: {certfile: \"/a\\u007f\\\"b\\n\", keyfile: \"/ü\", \"x\\ny\": 1}\n\
             authentication: {module: harpd.auth.inconfig, users: {\"a\\nb\": \"crypt:x\\ny\"}}\n",
        );
        assert!(
            text.contains("certificate = \"/a\\u007F\\\"b\\n\"\n"),
            "{text}"
        );
        assert!(text.contains("#   a b:x y\n"), "{text}");
    }
}
