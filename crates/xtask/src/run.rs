//! Running other programs, and saying what goes on.

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What a task gives; the error is a message for people.
pub(crate) type Result<T = ()> = std::result::Result<T, String>;

/// One line to stderr: stdout belongs to the programs that are run.
#[expect(clippy::print_stderr, reason = "talking is this program's job")]
pub(crate) fn say(line: &str) {
    eprintln!("{line}");
}

/// The root of the workspace.
pub(crate) fn root() -> PathBuf {
    let manifest =
        env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| PathBuf::from("crates/xtask"), PathBuf::from);
    manifest.ancestors().nth(2).unwrap_or(Path::new(".")).to_path_buf()
}

/// The cargo that started this program.
pub(crate) fn cargo() -> Command {
    at_root(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// The Python that `PUNA_PYTHON` names, or the first one there is.
pub(crate) fn python() -> Command {
    at_root(env::var_os("PUNA_PYTHON").unwrap_or_else(|| "python3".into()))
}

/// A program that runs in the root of the workspace.
pub(crate) fn at_root(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.current_dir(root());
    command
}

/// Runs a program to its end, its output going where ours goes.
pub(crate) fn run(command: &mut Command) -> Result {
    let status = command.status().map_err(|e| cannot_start(command, &e))?;
    if status.success() { Ok(()) } else { Err(format!("{status}: {}", line(command))) }
}

/// Runs a program and gives what it wrote to stdout; on failure the error holds what it wrote to stderr.
pub(crate) fn output(command: &mut Command) -> Result<Vec<u8>> {
    let output = command.output().map_err(|e| cannot_start(command, &e))?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    Err(format!(
        "{}: {}\n{}",
        output.status,
        line(command),
        String::from_utf8_lossy(&output.stderr).trim_end()
    ))
}

/// The same as text.
pub(crate) fn text(command: &mut Command) -> Result<String> {
    Ok(String::from_utf8_lossy(&output(command)?).into_owned())
}

/// The Debian package that `package` needs and whose name begins with `prefix`, as this `apt-cache` knows it.
pub(crate) fn needed(apt_cache: &mut Command, package: &str, prefix: &str) -> Result<String> {
    let said = text(apt_cache.args(["depends", package]))?;
    let mut names = said.lines().filter_map(|line| line.trim().strip_prefix("Depends: "));
    let name = names.find(|name| name.starts_with(prefix));
    name.map(str::to_string).ok_or_else(|| format!("the package {package} needs no {prefix}"))
}

/// Installs Debian packages for `what`.
pub(crate) fn install(packages: &[&str], what: &str) -> Result {
    if packages.is_empty() {
        return Ok(());
    }
    let names = packages.join(" ");
    say(&format!("installing {names} for {what}"));
    let install = || {
        run(at_root("apt-get")
            .args(["install", "--yes", "--quiet", "--no-install-recommends"])
            .args(packages)
            .env("DEBIAN_FRONTEND", "noninteractive"))
    };
    install()
        .or_else(|_| run(at_root("apt-get").args(["update", "--quiet"])).and_then(|()| install()))
        .map_err(|why| format!("{why}\ninstall {names} for {what}"))
}

fn cannot_start(command: &Command, error: &std::io::Error) -> String {
    format!("cannot start {}: {error}", command.get_program().to_string_lossy())
}

/// A command as one would type it.
fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}
