//! Where settings come from, and which of them count.

use std::fs;
use std::path::PathBuf;

use harp_tests::{Cluster, refusing_address};
use tempfile::TempDir;

use crate::command::Harp;

const STATUS: [&str; 2] = ["status", "8ec71d6b-28d1-4ce2-aa23-f3ea7887beda"];

/// A user's configuration, and the directory that it is in.
fn configured(text: &str) -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("harp/config.toml");
    fs::create_dir(directory.path().join("harp")).unwrap();
    fs::write(&file, text).unwrap();
    (directory, file)
}

fn with(harp: Harp, directory: &TempDir) -> Harp {
    harp.env("XDG_CONFIG_HOME", directory.path().to_str().unwrap())
}

#[test]
fn an_option_goes_before_the_environment_and_that_before_the_file() {
    let cluster = Cluster::start();
    let [in_file, in_environment] = [(); 2].map(|()| refusing_address().to_string());
    let (directory, file) = configured(&format!("dispatcher = '{in_file}'\n"));

    let origin = format!("came from {}", file.display());
    with(Harp::new(&STATUS), &directory)
        .run()
        .expect(6)
        .says(&[&in_file, &origin]);

    with(Harp::new(&STATUS), &directory)
        .env("HARPCALLER", &in_environment)
        .run()
        .expect(6)
        .says(&[&in_environment, "came from HARPCALLER"]);

    let address = cluster.address().to_string();
    let line = ["call", "web01", "echo", "7", "--dispatcher", &address];
    let done = with(Harp::new(&line), &directory)
        .env("HARPCALLER", &in_environment)
        .run()
        .expect(0);
    assert_eq!(done.out, "[7]\n");

    // A file that was named is read in place of the user's own; an empty variable is none.
    let named = directory.path().join("named.toml");
    fs::write(&named, format!("dispatcher = '{address}'\n")).unwrap();
    let line = [
        "--config",
        named.to_str().unwrap(),
        "call",
        "web01",
        "echo",
        "8",
    ];
    let done = with(Harp::new(&line), &directory)
        .env("HARPCALLER", "")
        .run()
        .expect(0);
    assert_eq!(done.out, "[8]\n");
}

#[test]
fn a_file_that_cannot_be_used_is_told_with_line_and_key() {
    let (directory, _) = configured("dispacher = 'd'\nparallel = 'many'\n");
    with(Harp::new(&STATUS), &directory)
        .run()
        .expect(2)
        .says(&["config.toml:2: parallel: must be a whole number"]);

    let address = refusing_address();
    let (directory, _) = configured(&format!("dispacher = 'd'\ndispatcher = '{address}'\n"));
    with(Harp::new(&STATUS), &directory).run().expect(6).says(&[
        "warning:",
        "config.toml:1: dispacher: unknown key, ignored; did you mean dispatcher?",
    ]);

    let line = ["--config", "/nonexistent/harp.toml", "status", STATUS[1]];
    Harp::new(&line)
        .run()
        .expect(2)
        .says(&["/nonexistent/harp.toml"]);
}

#[test]
fn a_token_file_that_others_can_read_is_warned_of() {
    let cluster = Cluster::start();
    let token = cluster.path("token");
    fs::write(&token, "secret\n").unwrap();
    let (directory, _) = configured(&format!("token_file = '{}'\n", token.display()));
    let done = with(Harp::of(&cluster, &STATUS), &directory)
        .run()
        .expect(7);
    let done = done.says(&["token can be read by others", "chmod 600"]);
    assert!(!done.err.contains("secret"), "{done:#?}");
}
