//! Developer tasks: `cargo xtask test` is everything that a change must pass.
#![forbid(unsafe_code)]
#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed test is a panic")
)]

mod arm;
mod arrows;
mod code;
mod driver;
mod emulate;
mod fuzz;
mod goldens;
mod models;
mod nostd;
mod run;
mod synth;
mod test;
mod tidy;

use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask COMMAND

  test      fetch what tests use, then check format, lints, house rules and the no_std proof, then run all tests
  models    fetch what tests use into target/models: a small model, tokenizers, a text
  tidy      house rules: crate dependencies, places of unsafe, file sizes, module docs, silence of libraries
  nostd     prove that the no_std crates link without std
  arm       run tests of the CPU kernels for ARM on emulated processors (x86-64 Debian; installs what that takes)
  emulate [--bochs DIR] [--isa NAMES] [--minutes N] [FILTER...]
            run tests of the CPU kernels for AVX-512 with BF16, or for those named, on an emulated processor, a hundred
            times slower than one (x86-64 Debian; installs, fetches and builds what that takes, or takes Bochs' source
            from DIR): all tests, or those whose names contain a FILTER
  goldens   make the files below tests/goldens again (needs Python; see crates/xtask/src/goldens.rs)
  fuzz [TARGET|all] [SECONDS]
            run fuzz targets with coverage guidance, ten minutes each unless told otherwise
  synth --like scout|maverick --layers N --type T --out F.gguf [--seed S] [--moe-every N]
            write a model of true dimensions without meaning, for benchmarks: N layers of it, in any mix that
            `puna quantize` has; experts on every N-th layer instead of as the model has them";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let result = match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["test"] => test::test(),
        ["models"] => models::models(),
        ["tidy"] => tidy::tidy(),
        ["nostd"] => nostd::nostd(),
        ["arm"] => arm::arm(),
        ["emulate", ref rest @ ..] => emulate::emulate(rest),
        ["goldens"] => goldens::goldens(),
        ["fuzz"] => fuzz::fuzz(None, None),
        ["fuzz", target] => fuzz::fuzz(Some(target), None),
        ["fuzz", target, seconds] => fuzz::fuzz(Some(target), Some(seconds)),
        ["synth", ref rest @ ..] => synth::synth(rest),
        _ => {
            run::say(USAGE);
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            run::say(&format!("xtask: {why}"));
            ExitCode::FAILURE
        }
    }
}
