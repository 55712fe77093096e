//! The command's own account of itself. That these tests are here has cargo build the command with every test run.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::process::{Command, Output};

fn puna(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_puna")).args(args).output().unwrap()
}

#[test]
fn help_lists_the_commands_and_each_has_its_own() {
    let help = puna(&["--help"]);
    assert!(help.status.success());
    let help = String::from_utf8(help.stdout).unwrap();
    let commands =
        help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    // A description that is too long goes on in a line further to the right.
    let names = commands.filter_map(|line| line.strip_prefix("  ").filter(|rest| !rest.starts_with(' ')));
    let names: Vec<&str> =
        names.filter_map(|rest| rest.split(' ').next()).filter(|name| *name != "help").collect();
    for expected in ["chat", "generate", "logits", "tokenize", "perplexity", "bench", "inspect", "plan"] {
        assert!(names.contains(&expected), "{expected} is missing in {names:?}");
    }
    for name in names {
        let own = puna(&[name, "--help"]);
        assert!(own.status.success(), "{name}");
        assert!(String::from_utf8(own.stdout).unwrap().contains("Usage: puna"), "{name}");
    }
}

#[test]
fn wrong_usage_is_told_apart_from_failure() {
    assert_eq!(puna(&["no-such-command"]).status.code(), Some(2));
    assert_eq!(puna(&["inspect", "/no/such/file.gguf"]).status.code(), Some(1));
}
