//! Everything that a change must pass, in one command; the first step that fails ends it.

use crate::run::{Result, cargo, run, say};
use crate::{arm, driver, models, nostd, tidy};
use std::time::Instant;

pub(crate) fn test() -> Result {
    step("models", models::models)?;
    step("Vulkan driver", driver::driver)?;
    step("format", || run(cargo().args(["fmt", "--all", "--", "--check"])))?;
    step("house rules", tidy::tidy)?;
    step("lints", || {
        run(cargo().args(["clippy", "--quiet", "--workspace", "--all-targets", "--", "-D", "warnings"]))
    })?;
    step("no_std proof", nostd::nostd)?;
    // What the kernels for ARM are made of, since few servers are ARM; `cargo xtask arm` tests the kernels themselves.
    step("ARM lanes", arm::lanes)?;
    // Last, so that the runner's own summary is what the output ends with. Builds the command, which the end-to-end
    // tests run, for the tests of its package; includes the documentation's examples. One run shows every failure.
    step("tests", || {
        let mut tests = cargo();
        tests.args(["test", "--workspace", "--no-fail-fast"]);
        if !has_avx_vnni() {
            tests.args(["--features", "puna-cpu/twin"]);
        }
        // Without it Mesa's software driver complains on stderr, once for every device that is opened.
        if std::env::var_os("XDG_RUNTIME_DIR").is_none() {
            tests.env("XDG_RUNTIME_DIR", std::env::temp_dir());
        }
        run(&mut tests)
    })
}

/// Whether the processor has AVX-VNNI. Hardly any server does: its kernels are then tested with that instruction spelled
/// out in AVX2.
fn has_avx_vnni() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("avxvnni");
    #[cfg(not(target_arch = "x86_64"))]
    false
}

fn step(name: &str, task: impl FnOnce() -> Result) -> Result {
    say(&format!("== {name}"));
    let start = Instant::now();
    task().map_err(|why| format!("{name} failed: {why}"))?;
    say(&format!("== {name}: passed in {:.0?}", start.elapsed()));
    Ok(())
}
