//! `puna chat`: a conversation over a pipe.

use super::tiny;
use puna_tests::cli::{command, run, run_with_input};
use puna_tests::fetched::smollm2;
use std::process::Command;

#[test]
fn a_conversation_over_a_pipe() {
    let model = smollm2();
    let model = model.to_str().unwrap();
    let done = run_with_input(["chat", model, "--quiet", "--temp", "0"], "What is the capital of France?\n");
    let out = done.ok();
    assert!(out.contains("Paris"), "{out}");
    // It remembers what was said.
    let input = "My name is Ada.\nWhat is my name?\n/exit\nnever read\n";
    let out = run_with_input(["chat", model, "--quiet", "--temp", "0", "--max-tokens", "40"], input).ok();
    assert!(out.contains("Ada"), "{out}");
}

#[test]
fn a_path_alone_is_a_chat() {
    let model = tiny();
    let path = model.path().to_str().unwrap();
    run_with_input([path, "--max-tokens", "4", "--quiet"], "Hello\n").ok();
    // Nothing on the other side: it leaves.
    run([path, "--quiet"]).ok();
    // Commands of the chat itself speak on stderr.
    let help = run_with_input([path, "--quiet"], "/help\n/nonsense\n/exit\n");
    assert!(help.stderr.contains("/reset") && help.stderr.contains("/nonsense"), "{help:#?}");
    assert_eq!(help.ok(), "");
}

#[test]
fn without_a_model_it_says_how_to_get_one() {
    let folder = puna_tests::folder::Folder::new();
    let out = Command::new(command()).arg("chat").current_dir(folder.path()).output().unwrap();
    assert_eq!(out.status.code(), Some(1));
    let line = String::from_utf8(out.stderr).unwrap();
    assert!(line.contains("cargo xtask models") && line.lines().count() == 1, "{line}");
}
