use super::*;

const LEAST: &str = "stream_directory = \"/s\"\nhost_db_script = \"/h\"\nhost_db = \"/c\"\n";

fn check(text: &str) -> Result<(Config, Vec<String>), String> {
    let settings = Settings::parse(text, "test.toml").map_err(|error| error.to_string())?;
    match Config::check(&settings) {
        Ok((config, warnings)) => Ok((config, warnings.iter().map(ToString::to_string).collect())),
        Err(error) => Err(error.to_string()),
    }
}

#[test]
fn defaults_are_those_of_the_specification() {
    let (config, warnings) = check(LEAST).unwrap();
    assert!(warnings.is_empty(), "{warnings:?}");
    assert_eq!(config.execution.default_timeout, Duration::from_secs(600));
    assert_eq!(config.execution.max_exec_time, Duration::from_secs(600));
    assert_eq!(config.execution.connect_timeout, Duration::from_secs(10));
    assert_eq!(config.execution.connect_patience, Duration::from_secs(15));
    assert_eq!(config.execution.slot_grace, Duration::from_secs(10));
    assert_eq!(config.execution.break_grace, Duration::from_secs(66));
    assert_eq!(config.execution.last_words, Duration::from_secs(5));
    assert_eq!(config.execution.max_packet_size, 16 << 20);
    assert_eq!(config.clients.desk.max_request_size, 16 << 20);
    assert_eq!(config.clients.max_connections, 10_000);
    assert_eq!(config.clients.desk.max_live_jobs, 100_000);
    assert_eq!(config.registry.interval, Duration::from_secs(900));
    assert_eq!(config.registry.script_timeout, Duration::from_secs(60));
    assert_eq!(config.cache_size, 64 << 20);
    assert!(config.resume_queued && config.trust.verify_hostname);
}

#[test]
fn a_problem_names_key_line_and_expectation() {
    let error = check(&format!(
        "{LEAST}slot_grace = \"soon\"\nlisten = [\"nowhere\"]\n"
    ))
    .unwrap_err();
    assert!(
        error.contains("test.toml:4") && error.contains("slot_grace"),
        "{error}"
    );
    assert!(
        error.contains("test.toml:5") && error.contains("listen"),
        "{error}"
    );
    let error = check(&format!("{LEAST}listen = []\n")).unwrap_err();
    assert!(
        error.contains("test.toml:4: listen: must have at least one"),
        "{error}"
    );
    let error = check(&format!("{LEAST}max_packet_size = 1\ncache_size = 100\n")).unwrap_err();
    assert!(
        error.contains("test.toml:4: max_packet_size: must be"),
        "{error}"
    );
    assert!(
        error.contains("test.toml:5: cache_size: must be"),
        "{error}"
    );
    let error = check("").unwrap_err();
    for key in ["stream_directory", "host_db_script", "host_db"] {
        assert!(error.contains(key), "{error}");
    }
}

#[test]
fn a_discovery_program_needs_what_makes_an_entry() {
    let without_script = LEAST.replace("host_db_script = \"/h\"\n", "");
    assert!(
        check(&without_script)
            .unwrap_err()
            .contains("host_db_script")
    );
    let node = "[discovery.node]\nport = 1\nuser = 'u'\npassword = 'p'\n";
    let good = format!("[discovery]\ncommand = ['/d', '-x']\n{node}");
    let (config, warnings) = check(&format!("{without_script}{good}")).unwrap();
    assert!(warnings.is_empty(), "{warnings:?}");
    let discovery = config.registry.discovery.unwrap();
    assert_eq!(discovery.program().to_str(), Some("/d"));
    assert!(!format!("{discovery:?}").contains("\"p\""));
    let device = "[discovery.node]\nkind = 'autotrainer'\nrecord = true\n";
    check(
        &good
            .replace(node, device)
            .replace("[discovery]", &format!("{LEAST}[discovery]")),
    )
    .unwrap();
    for (from, to, told) in [
        (
            "'/d'",
            "'d'",
            "discovery.command: must begin with the absolute path",
        ),
        (
            "['/d', '-x']",
            "[]",
            "discovery.command: must begin with the absolute path",
        ),
        ("port = 1\n", "", "discovery.node: makes no entry"),
        ("user = 'u'\n", "", "discovery.node.user: missing"),
        (
            "port = 1",
            "kind = 'toaster'",
            "discovery.node: makes no entry",
        ),
        (
            "port = 1",
            "port = 1\nfingerprint = 'zz'",
            "discovery.node: makes no entry",
        ),
        (node, "", "discovery.node: missing"),
    ] {
        let error = check(&format!("{LEAST}{}", good.replace(from, to))).unwrap_err();
        assert!(error.contains(told), "{to}: {error}");
    }
}

#[test]
fn a_listener_has_one_place_and_a_way_to_authenticate() {
    let of = |keys: &str| check(&format!("{LEAST}[[listener]]\n{keys}\n"));
    let (config, _) = of("path = '/run/s'\nmode = '0600'\n").unwrap();
    assert!(
        config.listen.is_empty(),
        "the default is for files without listeners"
    );
    assert!(config.listeners[0].requires_authentication);
    let tls = "certificate = '/c'\nprivate_key = '/k'\n";
    of(&format!("address = '*:1'\n{tls}client_ca_file = '/a'")).unwrap();
    of("address = '*:1'\nrequire_authentication = false").unwrap();
    check(&format!(
        "tokens_file = '/t'\n{LEAST}[[listener]]\naddress = '*:1'\n"
    ))
    .unwrap();
    for (keys, told) in [
        ("", "test.toml:4: listener[0].address: missing"),
        ("address = '*:1'", "nobody could authenticate"),
        (
            "address = '*:1'\npath = '/s'",
            "cannot stand beside address",
        ),
        (
            "path = '/s'\nmode = '999'",
            "listener[0].mode: must be octal",
        ),
        ("address = '*:1'\nmode = '600'", "is for a Unix socket"),
        ("path = '/s'\nclient_ca_file = '/a'", "needs certificate"),
        (
            "address = '*:1'\ncertificate = '/c'",
            "private_key: missing",
        ),
        (
            "path = '/s'\ncertificate = '/c'\nprivate_key = '/k'",
            "TLS is for an address",
        ),
    ] {
        let error = of(keys).unwrap_err();
        assert!(error.contains(told), "{keys}: {error}");
    }
}

#[test]
fn what_would_let_in_whom_a_rule_should_keep_out_is_refused() {
    for (text, told) in [
        ("[[allow]]\nclients = 'token:op'", "did you mean client?"),
        (
            "[[allow]]\nclient = '*'\nprocedures = 'p'",
            "did you mean procedure?",
        ),
        ("[[allow]]\nclient = '*'\nhosts = 'h'", "did you mean host?"),
        (
            "[[allow]]\nclient = '*'\noperation = 'read'",
            "did you mean operations?",
        ),
        ("[[allow]]\nclient = '*'\njob = 'own'", "did you mean jobs?"),
        (
            "[[allow]]\nclient = '*'\nuser = 'x'",
            "allow[0].user: unknown key",
        ),
        ("[[alow]]\nclient = '*'", "did you mean allow?"),
        ("[[rules]]\nclient = '*'", "did you mean allow?"),
        ("[allow]\nclient = '*'", "must be an array of tables"),
        ("[[allow]]\nhost = 'h'", "allow[0].client: missing"),
        ("[[allow]]", "allow[0].client: missing"),
        (
            "[[listener]]\naddress = '*:1'\nrequire_authentification = true",
            "require_authentication",
        ),
        (
            "[[listener]]\npath = '/s'\nmod = '0600'",
            "did you mean mode?",
        ),
        ("[[listners]]\npath = '/s'", "did you mean listener?"),
        ("knwon_certs_file = '/k'", "did you mean known_certs_file?"),
        ("ca_flie = '/k'", "did you mean ca_file?"),
        ("verify_hostnames = true", "did you mean verify_hostname?"),
        ("token_file = '/t'", "did you mean tokens_file?"),
        ("audit_log = '/t'", "did you mean audit_"),
        ("max_conections = 5", "did you mean max_connections?"),
        ("max_queue_len = 5", "did you mean max_queue_length?"),
    ] {
        let error = check(&format!("{LEAST}{text}\n")).unwrap_err();
        assert!(error.contains(told), "{text}: {error}");
    }
}

#[test]
fn a_place_is_listened_on_once() {
    let tls = "require_authentication = false\n";
    let listener = |address: &str| format!("[[listener]]\naddress = '{address}'\n{tls}");
    for (listen, listeners, told) in [
        (
            "['127.0.0.1:1', '127.0.0.1:1']",
            String::new(),
            "127.0.0.1:1 is there twice",
        ),
        (
            "['*:1', '127.0.0.1:1']",
            String::new(),
            "127.0.0.1:1 is part of *:1",
        ),
        ("['Web:1', 'web:1']", String::new(), "is there twice"),
        (
            "['[::1]:1']",
            listener("[::1]:1"),
            "listener[0].address: [::1]:1 is there twice",
        ),
        ("['[::1]:1']", listener("*:1"), "listener[0].address: *:1"),
        (
            "[]",
            listener("*:1") + &listener("0.0.0.0:1"),
            "listener[1].address",
        ),
        (
            "[]",
            "[[listener]]\npath = '/a/s'\n".repeat(2),
            "listener[1].path: /a/s is there twice",
        ),
        (
            "[]",
            "[[listener]]\npath = '/a/s'\n[[listener]]\npath = '/a/./b/../s'\n".to_owned(),
            "listener[1].path",
        ),
    ] {
        let error = check(&format!("{LEAST}listen = {listen}\n{listeners}")).unwrap_err();
        assert!(error.contains(told), "{listen} {listeners}: {error}");
    }
    let many = "['127.0.0.1:0', '127.0.0.1:0', '*:0', '127.0.0.1:1', '127.0.0.2:1', '[::1]:1']";
    check(&format!(
        "{LEAST}listen = {many}\n{}",
        listener("127.0.0.1:2")
    ))
    .unwrap();
}

#[test]
fn an_unknown_key_is_a_warning_with_the_nearest_known_one() {
    let (_, warnings) = check(&format!(
        "{LEAST}default_timout = 5\n[erlang]\nnode = \"x\"\n"
    ))
    .unwrap();
    assert!(
        warnings.iter().any(|text| text.contains("default_timeout")),
        "{warnings:?}"
    );
    assert!(
        warnings.iter().any(|text| text.contains("erlang")),
        "{warnings:?}"
    );
}
