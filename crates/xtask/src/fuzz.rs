//! Fuzzing with coverage guidance: libFuzzer over the targets of `puna-fuzz`, on the stable toolchain.

use crate::run::{Result, at_root, cargo, output, root, run, say};
use std::path::PathBuf;

/// Seconds of processor time for each target, unless another number is given.
const SECONDS: &str = "600";
const HOST: &str = "x86_64-unknown-linux-gnu";

/// What cargo-fuzz passes too: coverage counters, compared values, and the address sanitizer.
const FLAGS: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Zsanitizer=address -Ccodegen-units=1";

/// Runs one target, or all of them one after the other; what they find is below `fuzz/work`.
pub(crate) fn fuzz(name: Option<&str>, seconds: Option<&str>) -> Result {
    let targets = targets()?;
    let chosen: Vec<&str> = match name {
        None | Some("all") => targets.iter().map(String::as_str).collect(),
        Some(name) if targets.iter().any(|t| t == name) => vec![name],
        Some(name) => return Err(format!("no target {name}; there are {}", targets.join(", "))),
    };
    let program = build()?;
    let mut failed = Vec::new();
    for target in chosen {
        say(&format!("== {target}"));
        if one(&program, target, seconds.unwrap_or(SECONDS)).is_err() {
            failed.push(target);
        }
    }
    match failed[..] {
        [] => Ok(()),
        _ => Err(format!("found something in {}: see fuzz/work/TARGET", failed.join(", "))),
    }
}

/// The folders of the corpus are named after the targets.
fn targets() -> Result<Vec<String>> {
    let corpus = root().join("fuzz/corpus");
    let list = std::fs::read_dir(&corpus).map_err(|e| format!("{}: {e}", corpus.display()))?;
    let mut names: Vec<String> =
        list.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    Ok(names)
}

/// One program holds all targets.
fn build() -> Result<PathBuf> {
    let folder = root().join("fuzz/libfuzzer");
    // The sanitizer's flags are not stable, so the compiler is told to take them all the same.
    let mut build = cargo();
    build.current_dir(&folder).args(["build", "--release", "--quiet", "--target", HOST]);
    build.env("RUSTC_BOOTSTRAP", "1").env("RUSTFLAGS", FLAGS).env_remove("CARGO_TARGET_DIR");
    run(&mut build)?;
    Ok(folder.join("target").join(HOST).join("release/puna-libfuzzer"))
}

fn one(program: &PathBuf, target: &str, seconds: &str) -> Result {
    let work = root().join("fuzz/work").join(target);
    let (found, seeds) = (work.join("corpus"), root().join("fuzz/corpus").join(target));
    std::fs::create_dir_all(&found).map_err(|e| format!("{}: {e}", found.display()))?;
    let artifacts = format!("-artifact_prefix={}/", work.display());
    let mut fuzz = at_root(program);
    fuzz.env("PUNA_FUZZ_TARGET", target).arg(&found).arg(seeds).args([
        &format!("-max_total_time={seconds}"),
        &artifacts,
        "-timeout=20",
        "-rss_limit_mb=2048",
        "-malloc_limit_mb=1024",
        "-max_len=65536",
        "-print_final_stats=1",
        "-verbosity=0",
    ]);
    let done = run(&mut fuzz);
    // What is worth keeping, in few files.
    let kept = work.join("minimised");
    std::fs::create_dir_all(&kept).map_err(|e| format!("{}: {e}", kept.display()))?;
    let merge = ["-merge=1", "-max_len=65536", "-verbosity=0"];
    let merged = output(at_root(program).env("PUNA_FUZZ_TARGET", target).args(merge).arg(&kept).arg(&found));
    done.and(merged.map(|_| ()))
}
