//! House rules that neither the compiler nor clippy knows.

use crate::code::{code_only, lines_with, without_tests};
use crate::run::{Result, at_root, output, root, say};
use std::fmt;

/// Lines from which a source file is reported, and from which it fails.
const LONG: usize = 500;
const TOO_LONG: usize = 600;
/// Bytes a file of the repository may have.
const TOO_LARGE: u64 = 10_000_000;

/// Long files, with the reason.
const MAY_BE_LONG: &[(&str, &str)] = &[];

/// Where `unsafe` may stand, with the reason.
const MAY_BE_UNSAFE: &[(&str, &str)] = &[
    ("crates/puna-cpu/", "SIMD kernels, the buffers and threads below them, and what measures those"),
    ("crates/puna/src/map.rs", "memory maps"),
    ("tests/", "allocators: one that counts, and the one of the program without std"),
    ("crates/puna-format/tests/hostile.rs", "an allocator that counts"),
    ("crates/puna/tests/alloc.rs", "an allocator that counts"),
    ("crates/puna-gpu/tests/ops/half.rs", "wgpu's experimental features, which an application turns on"),
];

/// Crates that others link. They do not talk, look around or start anything by themselves.
const LIBRARIES: [&str; 8] = [
    "crates/puna-core/",
    "crates/puna-format/",
    "crates/puna-text/",
    "crates/puna-cpu/",
    "crates/puna-gpu/",
    "crates/puna-llama/",
    "crates/puna/",
    "shaders/",
];

/// What a library does not do, and the remedy.
const NOT_IN_LIBRARIES: [(&str, &str); 10] = [
    ("println!", "return it, or report it through a callback"),
    ("print!", "return it, or report it through a callback"),
    ("eprintln!", "return an error, or report it through a callback"),
    ("eprint!", "return an error, or report it through a callback"),
    ("dbg!", "remove it"),
    ("std::env", "take it as an argument"),
    ("thread::spawn", "use the host's pool of puna-cpu"),
    ("thread::Builder", "use the host's pool of puna-cpu"),
    ("Instant::now", "let the caller measure"),
    ("SystemTime", "take it as an argument"),
];

/// Exceptions to [`NOT_IN_LIBRARIES`], with the reason.
const MAY_DO: &[(&str, &str, &str)] = &[
    ("crates/puna-cpu/src/pool", "thread::Builder", "the thread pool that a host asks for"),
    ("crates/puna/src/ahead.rs", "thread::Builder", "a host asks for it: `LoadOptions::read_ahead`"),
    ("crates/puna-cpu/src/pool", "Instant::now", "how long a worker spins before it sleeps"),
    (
        "crates/puna-gpu/src/tier.rs",
        "Instant::now",
        "which of two kernels is faster, when a device is opened",
    ),
    ("crates/puna/src/ahead.rs", "Instant::now", "pages that come too fast for a disk are in memory"),
    (
        "crates/puna/src/generation.rs",
        "Instant::now",
        "how long prefill and decode took, which only it can tell apart",
    ),
];

/// Something against the rules: what, and how to put it right.
#[derive(Debug, PartialEq)]
pub(crate) struct Finding {
    path: String,
    line: usize,
    what: String,
}

impl Finding {
    /// `line` 0 stands for the whole file.
    pub(crate) fn new(path: &str, line: usize, what: impl Into<String>) -> Self {
        Self { path: path.into(), line, what: what.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.path, self.what),
            line => write!(f, "{}:{line}: {}", self.path, self.what),
        }
    }
}

pub(crate) fn tidy() -> Result {
    let mut findings = crate::arrows::check()?;
    let listed =
        output(at_root("git").args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]))?;
    for path in String::from_utf8_lossy(&listed).split('\0').filter(|path| !path.is_empty()) {
        let full = root().join(path);
        // A file that was removed and not yet committed is still listed.
        let Ok(metadata) = std::fs::metadata(&full) else { continue };
        if metadata.len() > TOO_LARGE {
            findings.push(Finding::new(
                path,
                0,
                format!("{} bytes; generate or fetch it instead", metadata.len()),
            ));
            continue;
        }
        let bytes = std::fs::read(&full).map_err(|e| format!("{path}: {e}"))?;
        if let Ok(text) = str::from_utf8(&bytes) {
            findings.extend(check(path, text));
        }
    }
    let (failures, warnings): (Vec<_>, Vec<_>) =
        findings.into_iter().partition(|f| !f.what.starts_with("warning"));
    for finding in warnings.iter().chain(&failures) {
        say(&finding.to_string());
    }
    if failures.is_empty() { Ok(()) } else { Err(format!("{} house rules broken", failures.len())) }
}

/// The findings in one text file.
fn check(path: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut found = |line: usize, what: String| findings.push(Finding::new(path, line, what));

    for (line, directory) in machine_paths(text) {
        found(
            line,
            format!(
                "a path below /{directory} exists on one machine only; make it relative to the workspace"
            ),
        );
    }
    for mark in [concat!("FIX", "ME"), concat!("X", "XX")] {
        for line in lines_with(text, mark) {
            found(line, format!("{mark}: do it now, or describe the limit in the documentation"));
        }
    }
    if path.ends_with(".rs") || path.ends_with(".wgsl") {
        let lines = text.lines().count();
        if lines > LONG && !MAY_BE_LONG.iter().any(|(long, _)| *long == path) {
            let kind = if lines > TOO_LONG { "" } else { "warning: " };
            found(
                0,
                format!(
                    "{kind}{lines} lines, meant are at most {LONG}; split it: one op, format or ISA a file"
                ),
            );
        }
    }
    if path.ends_with("Cargo.toml")
        && text.contains("[package]")
        && !text.contains("[lints]\nworkspace = true")
    {
        let own_workspace = text.contains("\n[workspace]");
        if !own_workspace {
            found(0, "the workspace's lints do not apply; add [lints] workspace = true".into());
        }
    }
    if path.ends_with(".rs") {
        rust(path, text, &mut found);
    }
    findings
}

fn rust(path: &str, text: &str, found: &mut impl FnMut(usize, String)) {
    if !text.starts_with("//!") {
        found(1, "no module documentation; begin the file with one sentence after //!".into());
    }
    let code = code_only(text);
    if !MAY_BE_UNSAFE.iter().any(|(place, _)| path.starts_with(place)) {
        for line in lines_with(&code, "unsafe") {
            found(
                line,
                "unsafe outside the places listed in crates/xtask/src/tidy.rs; find a safe way".into(),
            );
        }
    }
    for unfinished in ["todo!", "unimplemented!"] {
        for line in lines_with(&code, unfinished) {
            found(line, format!("{unfinished} is a panic in waiting; write it or return an error"));
        }
    }
    let is_test = path.ends_with("tests.rs") || path.contains("/tests/") || path.contains("/examples/");
    if LIBRARIES.iter().any(|library| path.starts_with(library)) && !is_test {
        for (what, remedy) in NOT_IN_LIBRARIES {
            if MAY_DO.iter().any(|(place, may, _)| path.starts_with(place) && *may == what) {
                continue;
            }
            for line in lines_with(without_tests(&code), what) {
                found(line, format!("{what} in a library, which is told everything by argument; {remedy}"));
            }
        }
    }
}

/// Lines with absolute paths of a particular machine, and the directory they start at.
fn machine_paths(text: &str) -> Vec<(usize, &'static str)> {
    let joins = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
    let mut found = Vec::new();
    for (index, line) in text.lines().enumerate() {
        for directory in ["work", "root", "farm"] {
            let path = format!("/{directory}/");
            let absolute = |(at, _): (usize, &str)| !line[..at].chars().next_back().is_some_and(joins);
            if line.match_indices(&path).any(absolute) {
                found.push((index + 1, directory));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The findings for a Rust file with this body.
    fn lines(path: &str, body: &str) -> Vec<usize> {
        check(path, &format!("//! Doc.\n{body}")).iter().map(|finding| finding.line).collect()
    }

    const NONE: [usize; 0] = [];
    const CORE: &str = "crates/puna-core/src/x.rs";
    const CLI: &str = "crates/puna-cli/src/x.rs";

    #[test]
    fn files_begin_with_documentation() {
        assert_eq!(check(CORE, "fn f() {}").len(), 1);
        assert!(check(CORE, "//! Doc.\nfn f() {}").is_empty());
    }

    #[test]
    fn unsafe_has_its_places() {
        assert_eq!(lines(CORE, "let x = unsafe { f() };"), [2]);
        assert_eq!(lines("crates/puna-cpu/src/kernels/x.rs", "let x = unsafe { f() };"), NONE);
        assert_eq!(lines(CORE, "#![forbid(unsafe_code)] // unsafe\nf(\"unsafe\")"), NONE);
    }

    #[test]
    fn libraries_are_silent() {
        assert_eq!(
            lines(CORE, "println!(\"x\");\neprintln!();\nstd::env::var(x);\nInstant::now();"),
            [2, 3, 4, 5]
        );
        assert_eq!(lines(CLI, "println!(\"x\");"), NONE);
        assert_eq!(
            lines(CORE, "/// println!(\"x\");\nfn f() {}\n#[cfg(test)]\nmod tests { println!() }"),
            NONE
        );
        assert_eq!(lines("crates/puna-core/src/tests.rs", "println!();"), NONE);
        assert_eq!(lines("crates/puna-cpu/src/pool/mod.rs", "thread::Builder::new();"), NONE);
        assert_eq!(lines("crates/puna-cpu/src/gemm.rs", "thread::Builder::new();"), [2]);
    }

    #[test]
    fn nothing_is_left_for_later() {
        assert_eq!(
            lines(CLI, concat!("todo!();\n// FIX", "ME: x\nunimplemented!()\n// X", "XX")),
            [3, 5, 2, 4]
        );
    }

    #[test]
    fn paths_of_a_machine_are_found() {
        for directory in ["work", "root", "farm"] {
            let path = format!("/{directory}/x");
            assert_eq!(machine_paths(&format!("\n\"{path}\"")), [(2, directory)]);
            assert_eq!(machine_paths(&format!("see {path}")).len(), 1);
            assert_eq!(machine_paths(&path).len(), 1);
            assert!(machine_paths(&format!("..{path} a{path} example.org{path}")).is_empty());
        }
    }

    #[test]
    fn long_files_are_found() {
        let long = |n: usize| check(CORE, &format!("//! Doc.\n{}", "\n".repeat(n)));
        assert_eq!(long(400).len(), 0);
        assert!(long(550)[0].what.starts_with("warning"));
        assert!(!long(650)[0].what.starts_with("warning"));
    }

    #[test]
    fn lints_are_inherited() {
        assert_eq!(check("a/Cargo.toml", "[package]\nname = \"a\"\n").len(), 1);
        assert_eq!(check("a/Cargo.toml", "[package]\nname = \"a\"\n[lints]\nworkspace = true\n").len(), 0);
    }
}
