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
    let seconds: f64 = match seconds.unwrap_or(SECONDS).parse() {
        Ok(seconds) => seconds,
        Err(e) => return Err(format!("seconds of processor time: expected a number, found {e}")),
    };
    let program = build()?;
    let mut failed = Vec::new();
    for target in chosen {
        say(&format!("== {target}"));
        match one(&program, target, seconds) {
            Ok(used) => say(&format!("== {target}: nothing found in {used:.0} s of processor time")),
            Err(e) => {
                say(&format!("== {target}: {e}"));
                failed.push(target);
            }
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

/// Seconds of processor time that finished children have used, as Linux tells it.
fn used() -> Result<f64> {
    const STAT: &str = "/proc/self/stat";
    let stat = std::fs::read_to_string(STAT).map_err(|e| format!("{STAT}: {e}"))?;
    // Fields 16 and 17, counted from the process's name, which is in parentheses and may hold anything.
    let fields = stat.rsplit_once(')').map(|(_, rest)| rest.split_whitespace().skip(13).take(2));
    let ticks: Vec<f64> = fields.into_iter().flatten().filter_map(|ticks| ticks.parse().ok()).collect();
    match ticks[..] {
        [user, system] => Ok((user + system) / 100.0),
        _ => Err(format!("{STAT}: expected times of children, found {stat:?}")),
    }
}

/// Runs one target until it has had its processor time, which on a busy machine takes longer; says how much it had.
fn one(program: &PathBuf, target: &str, seconds: f64) -> Result<f64> {
    let work = root().join("fuzz/work").join(target);
    let (found, seeds) = (work.join("corpus"), root().join("fuzz/corpus").join(target));
    std::fs::create_dir_all(&found).map_err(|e| format!("{}: {e}", found.display()))?;
    let artifacts = format!("-artifact_prefix={}/", work.display());
    let before = used()?;
    let mut left = seconds;
    while left >= 1.0 {
        let mut fuzz = at_root(program);
        fuzz.env("PUNA_FUZZ_TARGET", target).arg(&found).arg(&seeds).args([
            &format!("-max_total_time={left:.0}"),
            &artifacts,
            "-timeout=20",
            "-rss_limit_mb=2048",
            "-malloc_limit_mb=1024",
            "-max_len=65536",
            "-print_final_stats=1",
            "-verbosity=0",
        ]);
        run(&mut fuzz)?;
        left = seconds - (used()? - before);
    }
    // What is worth keeping, in few files.
    let kept = work.join("minimised");
    std::fs::create_dir_all(&kept).map_err(|e| format!("{}: {e}", kept.display()))?;
    let merge = ["-merge=1", "-max_len=65536", "-verbosity=0"];
    output(at_root(program).env("PUNA_FUZZ_TARGET", target).args(merge).arg(&kept).arg(&found))?;
    Ok(used()? - before)
}
