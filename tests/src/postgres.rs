//! A PostgreSQL server of a test program's own, where PostgreSQL is installed.
//!
//! There is one server for all tests of a program, with a database for each test. It listens on
//! a Unix socket alone, in a directory in memory, and ends with the program.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::wait::until;

/// The server, once somebody has asked for it, or why there is none.
static SERVER: OnceLock<Result<PostgresServer, String>> = OnceLock::new();

/// Runs the server until its standard input, a pipe of the test program, is closed.
const KEEPER: &str = r#"
"$1/postgres" -D "$2/data" -k "$2" -c listen_addresses= -c max_connections=500 \
    -c shared_buffers=64MB -c superuser_reserved_connections=3 >"$2/log" 2>&1 </dev/null &
server=$!
cat >/dev/null
kill -QUIT $server
wait $server
rm -rf "$2"
"#;

/// A server. It stays for as long as the program.
#[derive(Debug)]
pub struct PostgresServer {
    programs: PathBuf,
    directory: PathBuf,
    databases: AtomicUsize,
    _keeper: Child,
}

/// A database of its own for one test.
#[derive(Debug)]
pub struct Database {
    directory: PathBuf,
    name: String,
}

impl Database {
    /// A new database; `None`, and a line that says why, where there is no PostgreSQL.
    #[must_use]
    pub fn new() -> Option<Database> {
        match SERVER.get_or_init(PostgresServer::start) {
            Ok(server) => Some(server.database()),
            Err(why) => {
                println!("skipped: {why}");
                None
            }
        }
    }

    /// The address by which it is reached, as the configuration has it.
    #[must_use]
    pub fn url(&self) -> String {
        self.url_by(&self.directory)
    }

    /// The address by a socket in another directory.
    #[must_use]
    pub fn url_by(&self, directory: &Path) -> String {
        let directory = directory.display().to_string().replace('/', "%2F");
        format!("postgresql://harp@{directory}:5432/{}", self.name)
    }

    /// The server's socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.directory.join(SOCKET)
    }

    /// Runs a statement, and returns what it prints, without headings.
    ///
    /// # Panics
    ///
    /// If that does not succeed.
    #[must_use]
    pub fn ask(&self, statement: &str) -> String {
        let mut command = Command::new("psql");
        command.args([
            "-X",
            "-q",
            "-A",
            "-t",
            "-v",
            "ON_ERROR_STOP=1",
            "-c",
            statement,
        ]);
        let output = command.arg("-d").arg(self.url()).output();
        let output = output.expect("psql");
        assert!(output.status.success(), "{statement}: {output:?}");
        String::from_utf8(output.stdout)
            .expect("text")
            .trim()
            .to_owned()
    }
}

/// The name that PostgreSQL gives its socket.
pub const SOCKET: &str = ".s.PGSQL.5432";

impl PostgresServer {
    fn start() -> Result<PostgresServer, String> {
        let programs = programs().ok_or("PostgreSQL is not installed")?;
        let directory = directory()?;
        // PostgreSQL does not run as root.
        let is_root = rustix::process::geteuid().is_root();
        let as_user = |program: &str| {
            let mut command = Command::new(if is_root { "setpriv" } else { "env" });
            if is_root {
                command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]);
            }
            command.arg(program);
            command.current_dir(&directory).env("LC_ALL", "C");
            command
        };
        if is_root {
            let given = Command::new("chown")
                .arg("postgres")
                .arg(&directory)
                .output();
            let is_given = given.is_ok_and(|output| output.status.success());
            if !is_given {
                _ = fs::remove_dir_all(&directory);
                return Err("there is no user postgres to run PostgreSQL as".to_owned());
            }
        }
        let mut making = as_user(&programs.join("initdb").display().to_string());
        let making = making
            .args([
                "--auth=trust",
                "--username=harp",
                "--encoding=UTF8",
                "--locale=C",
            ])
            .args(["--no-sync", "--pgdata=data"]);
        let made = making
            .output()
            .map_err(|error| format!("initdb: {error}"))?;
        if !made.status.success() {
            _ = fs::remove_dir_all(&directory);
            let why = String::from_utf8_lossy(&made.stderr).into_owned();
            return Err(format!("PostgreSQL's initdb: {why}"));
        }
        let keeper = as_user("sh")
            .args(["-c", KEEPER, "sh"])
            .args([&programs, &directory])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("a shell: {error}"))?;
        let server = PostgresServer {
            programs,
            directory,
            databases: AtomicUsize::new(0),
            _keeper: keeper,
        };
        until("PostgreSQL answers", || {
            server.run("select 1").then_some(())
        });
        Ok(server)
    }

    fn run(&self, statement: &str) -> bool {
        let mut command = Command::new(self.programs.join("psql"));
        command.arg("-X").arg("-h").arg(&self.directory);
        command.args(["-U", "harp", "-d", "postgres", "-c", statement]);
        let output = command.output().expect("psql");
        output.status.success()
    }

    fn database(&self) -> Database {
        let number = self.databases.fetch_add(1, Ordering::Relaxed);
        let name = format!("test{number}");
        assert!(self.run(&format!("create database {name}")), "{name}");
        Database {
            directory: self.directory.clone(),
            name,
        }
    }
}

/// Where PostgreSQL's programs are: those of the newest version that is installed.
fn programs() -> Option<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .map(|version| version.path().join("bin"))
        .collect();
    found.sort();
    found.push(PathBuf::from("/usr/local/bin"));
    let all = ["initdb", "postgres", "psql"];
    let is_whole = |bin: &PathBuf| all.iter().all(|program| bin.join(program).exists());
    found.into_iter().rev().find(is_whole)
}

/// A directory for the server, in memory where there is one that is.
fn directory() -> Result<PathBuf, String> {
    let memory = Path::new("/dev/shm");
    let mut builder = tempfile::Builder::new();
    let builder = builder.prefix("harp-postgres-");
    let made = builder
        .tempdir_in(memory)
        .or_else(|_| builder.tempdir())
        .map_err(|error| format!("a directory for PostgreSQL: {error}"))?;
    let directory = made.keep();
    let open = fs::Permissions::from_mode(0o755);
    fs::set_permissions(&directory, open).map_err(|error| error.to_string())?;
    Ok(directory)
}
