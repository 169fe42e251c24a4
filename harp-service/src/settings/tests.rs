use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use proptest::prelude::*;

use super::*;

fn settings(text: &str) -> Settings {
    Settings::parse(text, "f").unwrap()
}

fn warnings(settings: &Settings) -> Vec<String> {
    let warnings = settings.finish().unwrap();
    warnings.iter().map(ToString::to_string).collect()
}

#[test]
fn values_of_every_kind_are_taken() {
    let settings = settings(
        r#"
        name = "n"
        file = "/a/b"
        count = 7
        hex = 0xff
        big = 1_000_000
        plus = +3
        wait = 5
        short = 0.25
        raw = 4096
        size = "16M"
        on = true
        words = ["a", "b"]
        mode = "text"
        env = { LANG = "C", "x.y" = "" }
        ports = ["1", "2"]

        [inner]
        key = "k"

        [procedure.b]
        [procedure.a]
        command = "c"

        [[listener]]
        port = 1
        [[listener]]
        port = 2
        "#,
    );
    let root = settings.table();
    assert_eq!(root.string("name").unwrap(), "n");
    assert_eq!(root.path("file").unwrap(), PathBuf::from("/a/b"));
    assert_eq!(root.integer("count", 1..=7), Some(7));
    assert_eq!(root.integer("hex", 0..=u64::MAX), Some(255));
    assert_eq!(root.integer("big", 0..=u64::MAX), Some(1_000_000));
    assert_eq!(root.integer("plus", 0..=u64::MAX), Some(3));
    assert_eq!(root.seconds("wait", 1), Some(Duration::from_secs(5)));
    assert_eq!(root.seconds("short", 0), Some(Duration::from_millis(250)));
    assert_eq!(root.size("raw"), Some(4096));
    assert_eq!(root.size("size"), Some(16 << 20));
    assert_eq!(root.boolean("on"), Some(true));
    assert_eq!(root.strings("words").unwrap(), ["a", "b"]);
    assert_eq!(root.one_of("mode", &["json", "text"]).unwrap(), "text");
    assert_eq!(
        root.string_map("env").unwrap(),
        BTreeMap::from([("LANG".into(), "C".into()), ("x.y".into(), String::new())])
    );
    assert_eq!(root.parsed_strings::<u16>("ports").unwrap(), [1, 2]);
    assert_eq!(root.table("inner").unwrap().string("key").unwrap(), "k");
    let procedures = root.tables("procedure");
    assert_eq!(procedures[0].0, "a");
    assert_eq!(procedures[0].1.string("command").unwrap(), "c");
    assert_eq!(procedures[1].0, "b");
    let listeners = root.array_of_tables("listener");
    let ports: Vec<_> = listeners
        .iter()
        .map(|table| table.integer("port", 0..=9).unwrap())
        .collect();
    assert_eq!(ports, [1, 2]);

    assert_eq!(root.string("absent"), None);
    assert!(root.table("absent").is_none());
    assert!(root.array_of_tables("absent").is_empty());
    assert!(warnings(&settings).is_empty());
}

#[test]
fn every_problem_is_told_with_its_key_and_line() {
    let settings = settings(
        "name = 1\n\
         count = 9\n\
         wait = -1\n\
         size = '16Q'\n\
         mode = 'xml'\n\
         words = ['a',\n 2]\n\
         env = { A = 1 }\n\
         on = 'yes'\n\
         [procedure.'a b']\n\
         timeout = 0\n\
         [[listener]]\n\
         port = 'x'\n\
         [inner]\n",
    );
    let root = settings.table();
    assert_eq!(root.string("name"), None);
    assert_eq!(root.integer("count", 1..=8), None);
    assert_eq!(root.seconds("wait", 0), None);
    assert_eq!(root.size("size"), None);
    assert_eq!(root.one_of("mode", &["json", "text"]), None);
    assert_eq!(root.strings("words"), None);
    assert_eq!(root.string_map("env"), None);
    assert_eq!(root.boolean("on"), None);
    let procedures = root.tables("procedure");
    assert_eq!(procedures[0].1.seconds("timeout", 1), None);
    let listeners = root.array_of_tables("listener");
    assert_eq!(listeners[0].integer("port", 0..=9), None);
    let inner = root.table("inner").unwrap();
    inner.required("key", inner.string("key"));
    root.required("name", None::<String>);
    root.problem("mode", "does not suit");
    root.required("top", root.string("top"));

    let told = settings.finish().unwrap_err().to_string();
    assert_eq!(
        told.lines().collect::<Vec<_>>(),
        [
            "f:1: name: must be a string, not an integer",
            "f:1: top: missing, must be set",
            "f:2: count: must be a whole number from 1 to 8, not 9",
            "f:3: wait: must be a number of seconds, 0 or more",
            "f:4: size: must be a number of bytes, 1 or more, or a string such as \"16M\" (K, M, G)",
            "f:5: mode: must be one of \"json\", \"text\", not \"xml\"",
            "f:5: mode: does not suit",
            "f:7: words: must be an array of strings; an integer is in it",
            "f:8: env.A: must be a string, not an integer",
            "f:9: on: must be true or false, not a string",
            "f:11: procedure.\"a b\".timeout: must be a number of seconds, 1 or more",
            "f:13: listener[0].port: must be a whole number from 0 to 9, not a string",
            "f:14: inner.key: missing, must be set",
        ]
    );
}

#[test]
fn unknown_keys_are_warned_of_with_the_nearest_known_one() {
    let settings = settings(
        "listn = 1\n\
         zzz = 2\n\
         listen = 3\n\
         [procedure.a]\n\
         comand = 'x'\n\
         [empty]\n\
         key = 1\n\
         [erlang]\n\
         whatever = 1\n\
         [unread]\n\
         whatever = 1\n",
    );
    let root = settings.table();
    assert_eq!(root.integer("listen", 0..=9), Some(3));
    for (_, procedure) in root.tables("procedure") {
        assert_eq!(procedure.string("command"), None);
    }
    assert!(root.table("empty").is_some());
    assert!(root.ignore("erlang"));
    assert!(!root.ignore("absent"));
    root.warning("erlang", "not used");
    assert_eq!(
        warnings(&settings),
        [
            "f:1: listn: unknown key, ignored; did you mean listen?",
            "f:2: zzz: unknown key, ignored",
            "f:5: procedure.a.comand: unknown key, ignored; did you mean command?",
            "f:7: empty.key: unknown key, ignored",
            "f:8: erlang: not used",
            "f:10: unread: unknown key, ignored",
        ]
    );
}

#[test]
fn a_key_near_one_that_restricts_or_trusts_is_refused() {
    for (text, told) in [
        ("tokens_fil = 'x'", "tokens_file"),
        ("Tokens_File = 'x'", "tokens_file"),
        ("tokens-file = 'x'", "tokens_file"),
        ("tokens = 'x'", "tokens_file"),
        ("knwon_certs_file = 'x'", "known_certs_file"),
        ("certs_file = 'x'", "known_certs_file"),
        ("[[alow]]\nclient = 'x'", "allow"),
        ("[[Allow]]\nclient = 'x'", "allow"),
        ("[allows]\nclient = 'x'", "allow"),
        ("[[deny]]\nclient = 'x'", "allow"),
        ("[[allow]]\nclients = 'x'", "client"),
        ("api_tokens_file = 'x'", "tokens_file"),
        ("[tls]\nknown_certs_file = 'x'", ""),
        ("[log]\ntokens_fil = 'x'", ""),
        ("[a.b.c]\ntokens-file = 'x'", ""),
        ("[[zzz]]\n[[zzz.deny]]\nclient = 'x'", ""),
        ("zzz = { tokens_file = 'x' }", ""),
        ("[[allow]]\nclient = 'x'\n[[allow]]\nzzz = 'x'", ""),
        ("[[allow]]\n[allow.clientele]\nname = 'x'", "client"),
    ] {
        let settings = Settings::parse(text, "f").unwrap();
        let root = settings.table();
        root.guard(&["tokens_file", "known_certs_file"]);
        root.guard_also("allow", &["deny"]);
        for key in ["tokens_file", "known_certs_file", "log_file"] {
            let _ = root.string(key);
        }
        for rule in root.array_of_tables("allow") {
            let _ = rule.string("client");
        }
        let refused = settings.finish().unwrap_err().to_string();
        let unknown = ["unknown key", "unknown table"];
        let is_told = unknown.iter().any(|words| refused.contains(words));
        assert!(is_told, "{text}: {refused}");
        assert!(
            refused.contains(&format!("mean {told}")) || told.is_empty(),
            "{text}: {refused}"
        );
    }
    // What is far from all of them stays a warning, also near one that does no harm.
    let settings = Settings::parse("log_fil = 'x'\nzzz = 1\n[z]\ny = 1\n", "f").unwrap();
    let root = settings.table();
    root.guard(&["tokens_file", "known_certs_file"]);
    for key in ["tokens_file", "known_certs_file", "log_file"] {
        let _ = root.string(key);
    }
    assert_eq!(
        warnings(&settings),
        [
            "f:1: log_fil: unknown key, ignored; did you mean log_file?",
            "f:2: zzz: unknown key, ignored",
            "f:3: z: unknown key, ignored",
        ]
    );
}

#[test]
fn what_is_no_toml_is_told_with_its_line() {
    let error = Settings::parse("a = 1\nb = = 2\n", "f").unwrap_err();
    assert!(error.to_string().starts_with("f:2: "), "{error}");
    let error = Settings::parse("a = 1\na = 2\n", "f").unwrap_err();
    assert!(error.to_string().starts_with("f:2: "), "{error}");
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = Settings::read(Path::new("/nonexistent/x.toml")).unwrap_err();
    assert!(error.to_string().contains("/nonexistent/x.toml"), "{error}");
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "[a-c\\[\\].=\"'0-9\n ]{0,60}") {
        if let Ok(settings) = Settings::parse(&text, "f") {
            let root = settings.table();
            let _ = root.string("a");
            let _ = root.tables("b");
            let _ = root.seconds("c", 1);
            let _ = settings.finish();
        }
    }
}
