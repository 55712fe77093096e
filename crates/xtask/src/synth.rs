//! Writes synthetic model files for benchmarks.

use crate::run::{Result, say};
use puna_testkit::synth::{Like, Mix, Spec, write};
use std::path::PathBuf;
use std::time::Instant;

/// What the words after `synth` ask for.
fn parse(words: &[&str]) -> Result<(Spec, PathBuf)> {
    let (mut like, mut mix, mut out) = (None, None, None);
    let (mut layers, mut moe_step, mut seed) = (None, None, 0);
    for pair in words.chunks(2) {
        let &[flag, value] = pair else {
            return Err(format!("synth: expected a value after {}, found none", pair.concat()));
        };
        let wrong = |expected: &str| format!("{flag}: expected {expected}, found {value}");
        let count = || value.parse().ok().filter(|&n: &usize| n > 0).ok_or_else(|| wrong("a number above 0"));
        match flag {
            "--like" => like = Some(Like::parse(value).ok_or_else(|| wrong("scout or maverick"))?),
            "--type" => {
                let names = || Mix::names().collect::<Vec<_>>().join(", ");
                mix = Some(Mix::parse(value).ok_or_else(|| wrong(&format!("one of {}", names())))?);
            }
            "--out" => out = Some(PathBuf::from(value)),
            "--layers" => layers = Some(count()?),
            "--moe-every" => moe_step = Some(count()?),
            "--seed" => seed = value.parse().map_err(|_| wrong("a number below 2^32"))?,
            _ => {
                return Err(format!(
                    "synth: expected --like, --layers, --type, --out, --seed or --moe-every, found {flag}"
                ));
            }
        }
    }
    let missing = |flag: &str| format!("synth: {flag} is missing");
    let spec = Spec {
        like: like.ok_or_else(|| missing("--like"))?,
        layers: layers.ok_or_else(|| missing("--layers"))?,
        mix: mix.ok_or_else(|| missing("--type"))?,
        moe_step,
        seed,
    };
    Ok((spec, out.ok_or_else(|| missing("--out"))?))
}

pub(crate) fn synth(words: &[&str]) -> Result {
    let (spec, out) = parse(words)?;
    let clock = Instant::now();
    let bytes = write(&spec, &out).map_err(|e| e.to_string())?;
    let (path, seconds) = (out.display(), clock.elapsed().as_secs_f64());
    say(&format!("{path}: {bytes} bytes of tensors in {seconds:.1} s"));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_read_in_any_order_and_mistakes_are_named() {
        let (spec, out) = parse(&[
            "--type",
            "Q4_K_M",
            "--layers",
            "4",
            "--out",
            "a.gguf",
            "--like",
            "maverick",
            "--moe-every",
            "4",
        ])
        .unwrap();
        assert_eq!((spec.like, spec.layers, spec.moe_step, spec.seed), (Like::Maverick, 4, Some(4), 0));
        assert_eq!((spec.mix.name(), out), ("q4_k_m", PathBuf::from("a.gguf")));
        for (words, expected) in [
            (&["--like"][..], "a value after --like"),
            (&["--like", "llama"], "scout or maverick"),
            (&["--type", "q4_9"], "q4_k_m"),
            (&["--layers", "0"], "above 0"),
            (&["--like", "scout"], "--layers is missing"),
        ] {
            let why = parse(words).unwrap_err();
            assert!(why.contains(expected), "{why}");
        }
    }
}
