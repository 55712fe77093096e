//! The `puna` command as a process.

use std::env::consts::EXE_SUFFIX;
use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

/// Where the command was built: beside the folder of this test's executable.
///
/// # Panics
/// When it is not there.
pub fn command() -> PathBuf {
    let mut path = std::env::current_exe().unwrap();
    path.pop();
    if path.ends_with("deps") {
        path.pop();
    }
    path.push(format!("puna{EXE_SUFFIX}"));
    assert!(
        path.is_file(),
        "{} is missing: run cargo build -p puna-cli --profile test (cargo test --workspace builds it)",
        path.display()
    );
    path
}

/// What the command did.
#[derive(Debug)]
pub struct Done {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// Runs the command with these arguments and no input.
pub fn run<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Done {
    run_with_input(args, "")
}

/// Runs the command with these arguments, and `input` on its standard input.
pub fn run_with_input<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>, input: &str) -> Done {
    use std::io::Write;
    let mut child = Command::new(command())
        .args(args)
        // Without it a software driver says so on stderr, in lines of its own.
        .env("XDG_RUNTIME_DIR", std::env::temp_dir())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that ends without reading its input closes the pipe.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).expect("the command writes UTF-8");
    Done { code: status.code(), stdout: text(stdout), stderr: text(stderr) }
}

impl Done {
    /// Asserts success and gives what was written to stdout.
    pub fn ok(self) -> String {
        assert_eq!(self.code, Some(0), "{self:#?}");
        self.stdout
    }

    /// Asserts success and parses stdout as one JSON value.
    pub fn json(self) -> serde_json::Value {
        let out = self.ok();
        serde_json::from_str(&out).unwrap_or_else(|e| panic!("{e}: {out:?}"))
    }

    /// Asserts that it failed as a command should (code 1, nothing on stdout, one line on stderr) and gives the line.
    pub fn refusal(self) -> String {
        assert_eq!(self.code, Some(1), "{self:#?}");
        let line = self.stderr.strip_suffix('\n').unwrap_or_else(|| panic!("{self:#?}"));
        assert!(!line.is_empty() && !line.contains('\n') && !line.contains("panicked"), "{self:#?}");
        line.to_string()
    }

    /// Asserts that the arguments were refused: code 2.
    pub fn wrong_usage(self) -> String {
        assert_eq!(self.code, Some(2), "{self:#?}");
        assert!(!self.stderr.contains("panicked"), "{self:#?}");
        self.stderr
    }
}
