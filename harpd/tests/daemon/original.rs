//! What an administrator of the original harpd brings along: its configuration, its options,
//! modules of Python 2, certificates of its time.

use std::process::{Command, Output};

use crate::host::{Host, make_executable};
use crate::python;

/// A configuration as the original read them.
const YAML: &str = "network:\n  address: 127.0.0.1\n  port: 0\n  certfile: CERTIFICATE\n  \
                    keyfile: KEY\nauthentication:\n  module: harpd.auth.passfile\n  file: USERS\n";

fn harpd(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_harpd"))
        .args(arguments)
        .output()
        .unwrap()
}

fn error(output: &Output) -> String {
    assert!(!output.status.success(), "{output:?}");
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn a_configuration_of_the_originals_is_known_and_converted() {
    let Some(host) = python::host("") else { return };
    let files = [
        ("CERTIFICATE", "cert.pem"),
        ("KEY", "key.pem"),
        ("USERS", "users"),
    ];
    let yaml = files.iter().fold(YAML.to_owned(), |yaml, (its, ours)| {
        yaml.replace(its, host.path(ours).to_str().unwrap())
    });
    let yaml = host.write("harpd.conf", &yaml);
    let yaml = yaml.to_str().unwrap();
    let module = host.write(
        "procedures.py",
        "from harpd.proc import procedure\n@procedure\ndef sum(a, b): return a + b\n",
    );

    let told = error(&harpd(&["--config", yaml, "--test"]));
    assert!(
        told.contains("is YAML, a configuration of the original harpd"),
        "{told}"
    );
    assert!(told.contains(&format!("harpd convert {yaml}")), "{told}");

    let module = module.to_str().unwrap();
    let converted = harpd(&["convert", yaml, "--procedures", module]);
    assert!(converted.status.success(), "{converted:?}");
    let text = String::from_utf8(converted.stdout).unwrap();
    assert!(!text.contains("not carried over"), "{text}");
    let toml = host.write("converted.toml", &text);
    let toml = toml.to_str().unwrap();
    let tested = harpd(&["--config", toml, "--test"]);
    assert!(tested.status.success(), "{tested:?}\n{text}");
    let listed = harpd(&["--config", toml, "list"]);
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert!(listed.starts_with("sum\t"), "{listed}");
}

#[test]
fn what_is_no_configuration_is_not_converted() {
    let host = Host::new();
    for (text, told) in [
        ("just words\n", "no table of settings"),
        ("", "no table of settings"),
        ("a: [1\n", "not YAML"),
    ] {
        let file = host.write("harpd.conf", text);
        let said = error(&harpd(&["convert", file.to_str().unwrap()]));
        assert!(said.contains(told), "{said}");
        // Nor is it taken for one when it is to be used.
        let said = error(&harpd(&["--config", file.to_str().unwrap(), "--test"]));
        assert!(!said.contains("original"), "{said}");
    }
    let said = error(&harpd(&["convert", host.path("none").to_str().unwrap()]));
    assert!(said.contains("cannot read"), "{said}");
}

#[test]
fn options_of_the_original_say_what_takes_their_place() {
    for (options, told) in [
        (&["-r", "/etc/harpd/harpd.py"][..], "`module` of [python]"),
        (&["--procedures=x"], "`module` of [python]"),
        (&["-l", "logging.yaml"], "`log_handlers`"),
        (&["-u", "nobody"], "`user` of [python]"),
        (&["--default-group", "1"], "`group` of [python]"),
        (&["--syslog"], "[\"syslog\"]"),
        (&["-d", "-p", "/nonexistent/pid"], "stays in the foreground"),
    ] {
        let said = error(&harpd(options));
        assert!(said.contains("of the original harpd"), "{said}");
        assert!(said.contains(told), "{said}");
        assert!(said.contains("harpd convert"), "{said}");
    }
}

#[test]
fn what_python_2_had_is_told_before_it_is_called() {
    let source = "from harpd.proc import procedure\n\
                  unicode = str\n\
                  @procedure\n\
                  def count(n):\n\
                  \x20   for i in xrange(n):\n\
                  \x20       print(unicode(i))\n\
                  \x20   return {}.iteritems()\n\
                  def own(reduce):\n\
                  \x20   return reduce\n";
    let Some(host) = python::host(source) else {
        return;
    };
    let tested = host.harpd(&["--test"]);
    assert!(tested.status.success(), "{tested:?}");
    let told = String::from_utf8(tested.stderr).unwrap();
    for line in [
        "harpd.py: line 5: xrange was of Python 2, now it is range",
        "harpd.py: line 7: iteritems was of Python 2, now it is items",
    ] {
        assert!(told.contains(line), "{told}");
    }
    // What the module has itself is its own.
    assert!(
        !told.contains("unicode") && !told.contains("reduce"),
        "{told}"
    );

    let Some(host) = python::host("import urllib2\n") else {
        return;
    };
    let told = error(&host.harpd(&["--test"]));
    assert!(told.contains("2to3(1)"), "{told}");
}

#[test]
fn an_interpreter_that_is_no_python_3_is_named() {
    let Some(mut host) = python::host("") else {
        return;
    };
    // As Python 2 does, which knows no -X.
    let old = host.write(
        "python2",
        "#!/bin/sh\necho 'Unknown option: -X' >&2\nexit 2\n",
    );
    make_executable(&old);
    host.procedures
        .push_str(&format!("interpreter = {old:?}\n"));
    let told = error(&host.harpd(&["--test"]));
    assert!(
        told.contains("python2 ended before it had imported it"),
        "{told}"
    );
    assert!(told.contains("Python 3.8 or later"), "{told}");
}

#[test]
fn certificates_of_its_time_are_named() {
    for (make, told) in [
        (
            "openssl req -x509 -newkey rsa:1024 -nodes -days 2 -subj /CN=h -keyout $K -out $C",
            "has an RSA key of 1024 bits",
        ),
        (
            "openssl req -new -newkey rsa:2048 -nodes -subj /CN=h -keyout $K -out $C.req && \
             openssl x509 -req -in $C.req -signkey $K -days 2 -out $C",
            "is X.509 version 1",
        ),
    ] {
        let host = Host::new();
        let made = Command::new("sh")
            .args(["-c", make])
            .env("C", host.path("cert.pem"))
            .env("K", host.path("key.pem"))
            .output()
            .unwrap();
        if !made.status.success() {
            println!("skipped: openssl cannot make such a certificate");
            return;
        }
        let said = error(&host.harpd(&["--test"]));
        assert!(said.contains(told), "{said}");
        assert!(said.contains("openssl req -x509"), "{said}");
    }
}
