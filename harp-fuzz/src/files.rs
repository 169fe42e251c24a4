//! Files of administrators: the registry, tokens, users, descriptions of agents.

use harpcallerd::hosts::{self, Host};
use harpcallerd::identity::tokens::Tokens;
use harpd::choria::ddl::{Ddl, InputKind, Reading};
use harpd::users::{Users, UsersError};

use crate::input::Input;

/// Which kind of file, and its text.
pub(crate) fn files(data: &[u8]) {
    let mut input = Input::new(data);
    let kind = input.byte();
    let text = input.rest();
    match kind % 4 {
        0 => registry(text),
        1 => tokens(text),
        2 => users(text),
        _ => description(text),
    }
}

fn registry(text: &[u8]) {
    let parsed = hosts::parse(text);
    let lines = text.split(|byte| *byte == b'\n');
    let lines = lines.map(harp_files::text::without_mark);
    let lines = lines.filter(|line| !line.trim_ascii().is_empty()).count();
    // Every line is accounted for.
    assert_eq!(
        parsed.registry.len() + parsed.repeated + parsed.ignored,
        lines
    );
    assert_eq!(parsed.first_ignored.is_some(), parsed.ignored > 0);
    // No value of a line is told, since it may be a password.
    if let Some((_, fault)) = &parsed.first_ignored {
        assert!(fault.len() < 100, "{fault}");
    }
    for host in parsed.registry.values() {
        if let Host::Harpd(harpd) = host {
            assert!(format!("{:?}", harpd.password).len() < 20);
        }
    }
}

fn tokens(text: &[u8]) {
    let Ok(text) = std::str::from_utf8(text) else {
        return;
    };
    let (tokens, problems) = Tokens::parse(text, "file");
    assert!(tokens.owner(&"no token".into()).is_none());
    // A file may be good.
    if !problems.is_empty() {
        told(&problems, text);
    }
}

fn users(text: &[u8]) {
    let Ok(text) = std::str::from_utf8(text) else {
        return;
    };
    match Users::parse(text, "file") {
        Ok(users) => {
            assert!(users.count() <= text.lines().count());
            assert!(!users.has(""));
        }
        Err(UsersError::Wrong(lines)) => {
            told(&lines, text);
            // A hash is never told, only names are.
            let entries = text
                .lines()
                .filter_map(|line| line.trim_end().split_once(':'));
            // What has a space in it is no hash, and may be what a message says by itself.
            let is_hash = |text: &str| text.len() >= 43 && !text.contains(' ');
            for (_, hash) in entries.clone().filter(|(_, hash)| is_hash(hash)) {
                if !entries.clone().any(|(name, _)| name.contains(hash)) {
                    assert!(lines.iter().all(|line| !line.contains(hash)));
                }
            }
        }
        Err(error) => panic!("{error}"),
    }
}

/// Each wrong line is told once.
fn told(problems: &[String], text: &str) {
    assert!(!problems.is_empty() && problems.len() <= text.lines().count());
    assert!(problems.iter().all(|problem| problem.starts_with("file:")));
}

fn description(text: &[u8]) {
    let Ok(Reading::External(ddl, _)) = Ddl::parse(text, "a") else {
        return;
    };
    assert!(ddl.timeout >= 1);
    for action in ddl.actions.values() {
        for input in action.inputs.values() {
            if let InputKind::String { max_length, .. } = &input.kind {
                assert_ne!(*max_length, Some(0));
            }
        }
    }
}
