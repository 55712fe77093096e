//! The kernels for processors that few machines have, on an emulated one: tests of `puna-cpu` are built without shared
//! libraries and run by Bochs, which emulates a whole machine, so that Linux is started there first.
//!
//! Bochs' `sapphire_rapids` has AVX-512 with VNNI and BF16. It is about a hundred times slower than a processor, which
//! is why no other task calls this one.

mod bochs;
mod image;

use crate::run::{Result, at_root, cargo, output, root, say};
use serde_json::Value;
use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

const TARGET: &str = "x86_64-unknown-linux-gnu";
/// The kernels that no other task tests, unless the processor of this machine has them.
const ISA: &str = "avx512 bf16";
/// The test programs by name, those first that soon end.
const PROGRAMS: [&str; 3] = ["puna_cpu", "matmul", "device"];
/// How long the emulated machine may run, unless another number is given.
const MINUTES: u64 = 240;

/// What the emulated machine says last, before the number of programs in which a test failed.
const CLOSING: &str = "puna: programs that failed: ";
/// What Linux says when it goes no further.
const PANIC: &str = "Kernel panic";

/// What the words after `emulate` ask for.
#[derive(Debug, PartialEq)]
struct Wanted {
    bochs: Option<PathBuf>,
    isa: String,
    minutes: u64,
    filters: Vec<String>,
}

impl Wanted {
    fn parse(words: &[&str]) -> Result<Self> {
        let mut wanted = Self { bochs: None, isa: ISA.into(), minutes: MINUTES, filters: Vec::new() };
        let mut words = words.iter();
        while let Some(&word) = words.next() {
            let mut value =
                || words.next().ok_or_else(|| format!("emulate: expected a value after {word}, found none"));
            match word {
                "--bochs" => wanted.bochs = Some(value()?.into()),
                "--isa" => wanted.isa = (*value()?).into(),
                "--minutes" => {
                    let value = value()?;
                    wanted.minutes = value
                        .parse()
                        .map_err(|e| format!("emulate: --minutes: expected a number, found {value}: {e}"))?;
                }
                _ if word.starts_with('-') => {
                    return Err(format!(
                        "emulate: expected --bochs, --isa, --minutes or a part of tests' names, found {word}"
                    ));
                }
                _ => wanted.filters.push(word.into()),
            }
        }
        Ok(wanted)
    }
}

/// Runs the tests whose names contain one of the filters, or all, on the emulated processor.
pub(crate) fn emulate(words: &[&str]) -> Result {
    let wanted = Wanted::parse(words)?;
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        return Err("the emulated machine starts what is built on x86-64 Linux, which this is not".into());
    }
    let folder = root().join("target/emulate");
    fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    // One machine at a time, for its disk and what it says have one place.
    let lock = fs::File::create(folder.join("lock")).map_err(|e| format!("{}: {e}", folder.display()))?;
    if lock.try_lock().is_err() {
        say("waiting for another emulated machine to end");
        lock.lock().map_err(|e| format!("{}: {e}", folder.display()))?;
    }
    let bochs = bochs::bochs(wanted.bochs.as_deref(), &folder)?;
    let programs = programs(&folder)?;
    say(&format!("making the emulated machine's disk in {}", folder.display()));
    let disk = image::disk(&programs, &script(&wanted), &folder)?;
    let machine = Machine::start(&bochs, &disk, &folder)?;
    say(&format!("{} on an emulated processor, for at most {} minutes", wanted.isa, wanted.minutes));
    let clock = Instant::now();
    let failed = machine.follow(Duration::from_secs(60 * wanted.minutes))?;
    say(&format!("the emulated machine ran for {:.0?}", clock.elapsed()));
    match failed {
        0 => Ok(()),
        _ => Err(format!("a test failed in {failed} of {} programs", programs.len())),
    }
}

/// Builds the test programs.
fn programs(folder: &Path) -> Result<Vec<(&'static str, PathBuf)>> {
    say("building the tests");
    let mut build = cargo();
    // The optimised build: what the compiler's optimiser makes of the kernels is what is used, and time is short there.
    build.args(["test", "--quiet", "--release", "--package", "puna-cpu", "--target", TARGET, "--no-run"]);
    build.args(["--lib", "--test", "matmul", "--test", "device", "--message-format", "json"]);
    build
        .env("CARGO_TARGET_DIR", folder.join("build"))
        .env("CARGO_PROFILE_RELEASE_DEBUG", "0")
        .env("CARGO_PROFILE_RELEASE_STRIP", "symbols")
        // There are no libraries on the emulated machine's disk.
        .env("RUSTFLAGS", "-C target-feature=+crt-static")
        .stderr(Stdio::inherit());
    let built = executables(&String::from_utf8_lossy(&output(&mut build)?));
    PROGRAMS
        .iter()
        .map(|&name| {
            let path = built.iter().find(|(program, _)| program == name).map(|(_, path)| path.clone());
            Ok((name, path.ok_or_else(|| format!("cargo built no test program {name}"))?))
        })
        .collect()
}

/// The names and paths of the programs that cargo's messages speak of.
fn executables(messages: &str) -> Vec<(String, PathBuf)> {
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let program = |message: Value| {
        let path = message.get("executable")?.as_str()?.into();
        Some((message.get("target")?.get("name")?.as_str()?.to_owned(), path))
    };
    messages.filter_map(program).collect()
}

/// What runs on the emulated machine after Linux has started.
fn script(wanted: &Wanted) -> String {
    let filters: Vec<String> = wanted.filters.iter().map(|filter| quoted(filter)).collect();
    let (busybox, tests) = (image::BUSYBOX, image::TESTS);
    [
        format!("#!{busybox} sh"),
        format!("for folder in proc dev tmp; do {busybox} mkdir -p /$folder; done"),
        format!("{busybox} mount -t proc proc /proc"),
        format!("{busybox} mount -t devtmpfs dev /dev"),
        format!("export PUNA_TEST_ISA={} RUST_BACKTRACE=0", quoted(&wanted.isa)),
        "failed=0".into(),
        // One thread, so that a test is named before it runs, which takes its time.
        format!("for program in {}; do", PROGRAMS.join(" ")),
        "  echo \"== $program\"".into(),
        format!(
            "  {tests}/$program --color=never --test-threads=1 {} || failed=$((failed + 1))",
            filters.join(" ")
        ),
        "done".into(),
        format!("echo \"{CLOSING}$failed\""),
        // The machine is switched off from outside, by when its serial port has sent all. Until then this process must
        // not end, for Linux would panic.
        format!("{busybox} sleep 999999"),
        String::new(),
    ]
    .join("\n")
}

/// A word as a shell takes it literally.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// A running Bochs, which ends when it is dropped.
struct Machine {
    bochs: Child,
    /// What the emulated machine writes to its serial port.
    said: PathBuf,
    /// What Bochs itself writes.
    log: PathBuf,
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.bochs.kill();
        let _ = self.bochs.wait();
    }
}

impl Machine {
    fn start(bochs: &Path, disk: &Path, folder: &Path) -> Result<Self> {
        let [settings, said, log] = ["settings", "said", "log"].map(|name| folder.join(name));
        let write =
            |path: &Path, text: &str| fs::write(path, text).map_err(|e| format!("{}: {e}", path.display()));
        write(&settings, &bochs::settings(bochs, disk, &said, &log))?;
        write(&said, "")?;
        let words = fs::File::create(folder.join("words")).map_err(|e| e.to_string())?;
        let bochs = at_root(bochs.join("bochs"))
            .args(["-q", "-f"])
            .arg(&settings)
            .stdin(Stdio::null())
            .stderr(words.try_clone().map_err(|e| e.to_string())?)
            .stdout(words)
            .spawn()
            .map_err(|e| format!("cannot start {}: {e}", bochs.display()))?;
        Ok(Self { bochs, said, log })
    }

    /// Passes on what the emulated machine says until it has said all; gives the number of programs that failed.
    fn follow(mut self, limit: Duration) -> Result<usize> {
        let mut file = fs::File::open(&self.said).map_err(|e| format!("{}: {e}", self.said.display()))?;
        let (clock, mut said) = (Instant::now(), String::new());
        loop {
            let mut more = Vec::new();
            let ended = self.bochs.try_wait().map_err(|e| e.to_string())?;
            file.read_to_end(&mut more).map_err(|e| format!("{}: {e}", self.said.display()))?;
            more.retain(|&byte| byte != b'\r');
            let mut to = std::io::stdout();
            to.write_all(&more).and_then(|()| to.flush()).map_err(|e| e.to_string())?;
            said.push_str(&String::from_utf8_lossy(&more));
            if let Some(failed) = closing(&said) {
                return Ok(failed);
            }
            let log = self.log.display();
            if said.contains(PANIC) {
                return Err("Linux does not run on the emulated machine".into());
            }
            if let Some(status) = ended {
                return Err(format!("Bochs ended before the tests did ({status}); see {log}"));
            }
            if clock.elapsed() > limit {
                return Err("time is up; tests take longer, or the machine hangs: see --minutes".into());
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

/// The number in the closing line, once it is complete.
fn closing(said: &str) -> Option<usize> {
    let (_, rest) = said.split_once(CLOSING)?;
    rest.split_once('\n')?.0.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_flags_and_filters() {
        let wanted = Wanted::parse(&["--isa", "avx512", "lanes", "--minutes", "5", "bf16"]).unwrap();
        let filters = vec!["lanes".into(), "bf16".into()];
        assert_eq!(wanted, Wanted { bochs: None, isa: "avx512".into(), minutes: 5, filters });
        for wrong in [&["--isa"][..], &["--minutes", "x"], &["--ise", "avx512"]] {
            assert!(Wanted::parse(wrong).unwrap_err().contains(wrong[0]));
        }
    }

    #[test]
    fn words_reach_the_shell_as_they_are() {
        let wanted = Wanted::parse(&["--isa", "avx512 bf16", "a'b"]).unwrap();
        let script = script(&wanted);
        assert!(script.contains("PUNA_TEST_ISA='avx512 bf16' "));
        assert!(script.contains(r" 'a'\''b' ||"));
    }

    #[test]
    fn the_closing_line_counts_when_it_is_complete() {
        let line = format!("test result: ok.\n{CLOSING}12");
        assert_eq!(closing(&line), None);
        assert_eq!(closing(&format!("{line}\n")), Some(12));
        assert_eq!(closing("no\n"), None);
    }

    #[test]
    fn programs_are_found_in_cargos_messages() {
        let messages = "{\"target\":{\"name\":\"half\"},\"executable\":null}\n\
            {\"target\":{\"name\":\"matmul\"},\"executable\":\"/a/matmul-1\"}\nnoise\n";
        assert_eq!(executables(messages), [("matmul".to_owned(), PathBuf::from("/a/matmul-1"))]);
    }
}
