//! `puna chat`: a conversation over a pipe.

use super::tiny;
use puna_tests::cli::{run, run_with_input};
use puna_tests::fetched::smollm2;

#[test]
fn a_conversation_over_a_pipe() {
    let model = smollm2();
    let model = model.to_str().unwrap();
    let args = ["chat", model, "--quiet", "--temp", "0", "--max-tokens", "60"];
    let out = run_with_input(args, "What is 2 + 2?\n").ok();
    assert!(out.contains('4') && out.lines().count() == 1, "{out}");
    let out = run_with_input(args, "Name three colors.\n").ok().to_lowercase();
    assert!(["red", "blue", "green"].iter().all(|color| out.contains(color)), "{out}");
}

/// What was said stays in the context until it is reset.
#[test]
fn a_conversation_grows() {
    let model = tiny();
    let input = "one\n/tokens\ntwo\n/tokens\n/reset\n/tokens\n/exit\nnever read\n";
    let done = run_with_input(["chat", model.path().to_str().unwrap(), "--max-tokens", "4"], input);
    let counts: Vec<usize> = done
        .stderr
        .lines()
        .filter(|line| line.ends_with(" left"))
        .map(|line| line.split(' ').next().unwrap().parse().unwrap())
        .collect();
    assert!(matches!(counts[..], [one, two, 0] if 0 < one && one < two), "{done:#?}");
    assert_eq!(done.code, Some(0));
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

/// The model inside the command: it talks, it looks, and it says what it is.
#[test]
fn without_a_model_it_talks_to_puna_tiny() {
    let done = run_with_input(["--temp", "0"], "Who are you?\n");
    assert!(done.stderr.lines().next().unwrap().contains("not an assistant"), "{done:#?}");
    assert_eq!(done.ok().lines().count(), 1);
    let usage = run_with_input(["chat", "--mmproj", "tower.gguf"], "").wrong_usage();
    assert!(usage.contains("--mmproj"), "{usage}");
}
