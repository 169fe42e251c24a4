//! `harp completions`

use std::process::{Command, Stdio};

use crate::command::Harp;

#[test]
fn there_is_a_script_for_each_shell() {
    for (shell, options) in [
        ("bash", &["--max-exec-time", "--hosts", "direct"][..]),
        ("zsh", &["--max-exec-time", "Wait for the result"]),
        ("fish", &["max-exec-time", "Wait for the result"]),
    ] {
        let done = Harp::new(&["completions", shell]).run().expect(0);
        for option in options {
            assert!(done.out.contains(option), "no {option} for {shell}");
        }
        if shell == "bash" {
            check_with_bash(&done.out);
        }
    }
}

fn check_with_bash(script: &str) {
    let typed = format!(
        "{script}\nCOMP_WORDS=(harp call --max); COMP_CWORD=2\n\
         _harp harp --max call; echo \"${{COMPREPLY[@]}}\""
    );
    let bash = Command::new("bash")
        .args(["--norc", "-c", &typed])
        .stderr(Stdio::inherit())
        .output();
    match bash {
        Ok(bash) => {
            let offered = String::from_utf8_lossy(&bash.stdout).into_owned();
            assert_eq!(offered.trim(), "--max-exec-time");
        }
        Err(_) => println!("skipped: there is no bash to try the script"),
    }
}
