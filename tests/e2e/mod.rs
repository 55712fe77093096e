//! The `puna` command as its users and scripts see it: every subcommand, its flags, its JSON, its files.

mod chat;
mod devices;
mod eval;
mod generate;
mod inspect;
mod logits;
mod measure;
mod synthetic;
mod vision;
mod words;

use puna_testkit::ModelDir;
use puna_tests::cli::{Done, run};
use std::ffi::OsString;
use std::path::Path;

/// Runs `puna COMMAND MODEL ARGS…`.
fn puna(command: &str, model: &Path, args: &[&str]) -> Done {
    let mut all: Vec<OsString> = vec![command.into(), model.into()];
    all.extend(args.iter().map(OsString::from));
    run(all)
}

/// The small seeded Llama 4 with a vocabulary of bytes, as a file.
fn tiny() -> ModelDir {
    let folder = ModelDir::new("tiny");
    folder.write("tiny.gguf", &puna::tiny::gguf(7).unwrap());
    folder.pointing_at("tiny.gguf")
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn help_is_complete() {
    let help = run(["--help"]).ok();
    for command in [
        "chat",
        "generate",
        "logits",
        "vision",
        "tokenize",
        "detokenize",
        "inspect",
        "dequant",
        "perplexity",
        "eval",
        "bench",
        "plan",
        "devices",
        "quantize",
        "imatrix",
    ] {
        assert!(help.contains(command), "{command} in:\n{help}");
        let help = run([command, "--help"]).ok();
        assert!(help.contains("Usage:"), "{help}");
        // Every flag says what it does.
        for line in help.lines().filter(|l| l.trim_start().starts_with("--") && !l.contains("--help")) {
            let after = line.trim().split_once("  ").map_or("", |(_, text)| text.trim());
            let next = help.lines().skip_while(|l| *l != line).nth(1).unwrap_or("").trim();
            assert!(!after.is_empty() || !next.is_empty(), "{command}: {line}");
        }
    }
    let common = run(["generate", "--help"]).ok();
    for flag in [
        "--prompt",
        "--file",
        "--tokens",
        "--tokens-file",
        "--chat",
        "--max-tokens",
        "--temp",
        "--top-k",
        "--top-p",
        "--min-p",
        "--seed",
        "--ignore-eos",
        "--json",
        "--device",
        "--threads",
        "--kv",
        "--activations",
        "--override",
        "--quiet",
    ] {
        assert!(common.contains(flag), "{flag} in:\n{common}");
    }
    let typo = run(["generte", "m", "--prompt", "x"]).wrong_usage();
    assert!(typo.contains("neither a command"), "{typo}");
    assert!(run(["--version"]).ok().starts_with("puna "));
}
