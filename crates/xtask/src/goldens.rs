//! Makes the files below `tests/goldens` again, with the references they come from. Not part of the test run.
//!
//! `PUNA_PYTHON` names a Python that has the packages below; without it an environment is made in `target/goldens`
//! (some gigabytes, most of them torch).

use crate::run::{Result, at_root, output, python, root, run, say};
use std::env;
use std::process::Command;

/// What the scripts import. The versions are those that made what is committed.
const PACKAGES: [&str; 7] = [
    "torch==2.15.0",
    "transformers==5.23.0",
    "numpy",
    "gguf==0.19.0",
    "llama-models==0.3.0",
    "tiktoken",
    "llama-cpp-python==0.3.36",
];

pub(crate) fn goldens() -> Result {
    let scripts = root().join("tests/goldens");
    let mut scripts: Vec<_> = std::fs::read_dir(&scripts)
        .map_err(|e| format!("{}: {e}", scripts.display()))?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "py"))
        .collect();
    scripts.sort();
    let python = interpreter()?;
    for script in scripts {
        say(&format!("== {}", script.display()));
        run(python().arg(script).env("PYTHONDONTWRITEBYTECODE", "1"))?;
    }
    Ok(())
}

fn interpreter() -> Result<impl Fn() -> Command> {
    let venv = root().join("target/goldens");
    let own = venv.join("bin/python");
    let given = env::var_os("PUNA_PYTHON").is_some();
    if !given && !own.exists() {
        say(&format!("making a Python environment in {}", venv.display()));
        output(python().args(["-m", "venv"]).arg(&venv))?;
        run(at_root(&own).args(["-m", "pip", "install", "--quiet"]).args(PACKAGES))?;
    }
    Ok(move || if given { python() } else { at_root(&own) })
}
