//! The no_std proof: `tests/nostd` links every no_std crate with its own panic handler and allocator.
//!
//! rustc refuses a second panic handler with error E0152, so anything that pulled in std would stop the build. That
//! the build can fail this way is checked too, by asking for a feature that needs std.

use crate::run::{Result, cargo, root, run, say};
use std::fs;
use std::process::Command;

pub(crate) fn nostd() -> Result {
    let proof = root().join("tests/nostd");
    // The versions that everything else is built with; cargo drops what the proof does not use.
    let (from, to) = (root().join("Cargo.lock"), proof.join("Cargo.lock"));
    fs::copy(&from, &to).map_err(|e| format!("{} to {}: {e}", from.display(), to.display()))?;

    run(&mut build())?;
    let lib = root().join("target/nostd/release/libpuna_nostd.a");
    if !lib.exists() {
        return Err(format!("{} was not built", lib.display()));
    }

    let with_std =
        build().args(["--features", "std"]).output().map_err(|e| format!("cannot start cargo: {e}"))?;
    let said = String::from_utf8_lossy(&with_std.stderr);
    if with_std.status.success() {
        return Err("the proof proves nothing: with std linked in it still builds".into());
    }
    if !said.contains("E0152") {
        return Err(format!("with std linked in, rustc should have stopped with E0152, but said:\n{said}"));
    }
    say("links without std, and is refused with it");
    Ok(())
}

fn build() -> Command {
    let mut command = cargo();
    // Release only: the core library of the debug profile is built for unwinding.
    command.args(["build", "--quiet", "--release", "--manifest-path", "tests/nostd/Cargo.toml"]);
    command.env("CARGO_TARGET_DIR", root().join("target/nostd"));
    command
}
