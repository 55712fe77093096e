//! The kernels for ARM, on emulated processors: tests of `puna-cpu` are built for AArch64 Linux and run by QEMU.
//!
//! Everything comes from Debian: QEMU, a linker with the C library, and the newest compiler that a Debian release has,
//! whose packages, that of the standard library for AArch64 among them, are unpacked below `target/arm`: installed they
//! would take the place of Debian's other compiler.

use crate::run::{Result, at_root, cargo, install, needed, root, run, say, text};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The processors: QEMU's name, and the kernels that no better one would let run by default.
const PROCESSORS: [(&str, &str); 2] = [("cortex-a53", "neon"), ("neoverse-n1", "neon dotprod")];

const TARGET: &str = "aarch64-unknown-linux-gnu";
/// The programs that are called, and their packages.
const PROGRAMS: [(&str, &str); 2] =
    [("qemu-aarch64", "qemu-user"), ("aarch64-linux-gnu-gcc", "gcc-aarch64-linux-gnu")];
/// Where the C library for AArch64 is, by which file one sees that it is there, and its package.
const LIBRARY: (&str, &str, &str) = ("/usr/aarch64-linux-gnu", "lib/crti.o", "libc6-dev-arm64-cross");
/// The package of the compiler, and that of the standard library.
const COMPILER: [&str; 2] = ["rustc-web", "libstd-rust-web-dev"];

/// All tests of kernels and ops. Building takes most of the time, for every kernel is compiled for three sets of lanes.
pub(crate) fn arm() -> Result {
    tests(&["--lib", "--test", "matmul", "--test", "device"])
}

/// The operations that kernels are made of alone, which are soon compiled.
pub(crate) fn lanes() -> Result {
    tests(&["--lib"])
}

/// Runs tests, after installing what is missing.
fn tests(which: &[&str]) -> Result {
    if !cfg!(target_os = "linux") || cfg!(target_arch = "aarch64") {
        say("only x86-64 Linux emulates ARM; on ARM itself the other tests run these kernels");
        return Ok(());
    }
    programs()?;
    let compiler = compiler().map_err(|why| {
        format!("{why}\nfor the ARM tests a Debian release with the package {} is needed", COMPILER[0])
    })?;
    for (processor, isa) in PROCESSORS {
        say(&format!("{isa} on an emulated {processor}"));
        let mut tests = cargo();
        tests.args(["test", "--quiet", "--package", "puna-cpu", "--target", TARGET]);
        tests.args(which);
        // Little is spent in the crates that ours depend on but the time to optimise them, for this machine and for ARM.
        tests.args(["--config", "profile.dev.package.\"*\".opt-level=0"]);
        compiler.use_in(&mut tests);
        tests
            .env("CARGO_TARGET_DIR", folder().join("build"))
            .env("CARGO_PROFILE_TEST_DEBUG", "0")
            .env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER", PROGRAMS[1].0)
            .env(
                "CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER",
                format!("{} -L {} -cpu {processor}", PROGRAMS[0].0, LIBRARY.0),
            )
            // The portable kernels are those that every other machine tests.
            .env("PUNA_TEST_ISA", isa);
        run(&mut tests)?;
    }
    Ok(())
}

fn folder() -> PathBuf {
    root().join("target/arm")
}

/// Installs the emulator and the linker where there are none.
fn programs() -> Result {
    let mut packages: Vec<&str> = PROGRAMS
        .into_iter()
        .filter(|(program, _)| Command::new(program).arg("--version").output().is_err())
        .map(|(_, package)| package)
        .collect();
    if !Path::new(LIBRARY.0).join(LIBRARY.1).exists() {
        packages.push(LIBRARY.2);
    }
    install(&packages, "the ARM tests")
}

/// A compiler with the standard library for AArch64.
struct Compiler {
    rustc: PathBuf,
    /// Where its own shared library is.
    libraries: PathBuf,
}

impl Compiler {
    /// The one unpacked in `to`, if it is there and runs.
    fn find(to: &Path) -> Option<Self> {
        let folders = fs::read_dir(to.join("usr/lib")).ok()?;
        let libraries = folders.flatten().map(|entry| entry.path()).find(|folder| {
            let files = fs::read_dir(folder).into_iter().flatten().flatten();
            files.into_iter().any(|file| file.file_name().to_string_lossy().starts_with("librustc_driver"))
        })?;
        let found = Self { rustc: to.join("usr/bin/rustc"), libraries };
        let mut version = Command::new(&found.rustc);
        found.use_in(version.arg("--version"));
        let there = to.join("usr/lib/rustlib").join(TARGET).exists();
        (there && version.output().is_ok_and(|said| said.status.success())).then_some(found)
    }

    fn use_in(&self, command: &mut Command) {
        command.env("RUSTC", &self.rustc).env("LD_LIBRARY_PATH", &self.libraries);
        // What it compiles is what stable Rust lets through.
        command.env_remove("RUSTC_BOOTSTRAP").env_remove("RUSTFLAGS");
    }
}

/// Unpacks the compiler, unless it is there.
fn compiler() -> Result<Compiler> {
    let to = folder().join("compiler");
    if let Some(found) = Compiler::find(&to) {
        return Ok(found);
    }
    say("fetching a compiler for the ARM tests");
    let packages = folder().join("packages");
    for folder in [&to, &packages] {
        let _ = fs::remove_dir_all(folder);
        fs::create_dir_all(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    }
    let lists = folder().join("lists");
    fs::create_dir_all(lists.join("partial")).map_err(|e| format!("{}: {e}", lists.display()))?;
    let host = text(at_root("dpkg").arg("--print-architecture"))?;
    // With lists of its own, so that the machine's remain those of its own architecture.
    let apt = |program: &str| {
        let mut command = Command::new(program);
        command.current_dir(&packages);
        for option in ["Dir::Cache::pkgcache=", "Dir::Cache::srcpkgcache=", "APT::Sandbox::User=root"] {
            command.args(["-o", option]);
        }
        command.arg("-o").arg(format!("Dir::State::Lists={}", lists.display()));
        for architecture in [host.trim(), "arm64"] {
            command.arg("-o").arg(format!("APT::Architectures::={architecture}"));
        }
        command
    };
    run(apt("apt-get").args(["update", "--quiet"]))?;
    let needed = |package: &str, prefix: &str| needed(&mut apt("apt-cache"), package, prefix);
    let [rustc, std] = COMPILER;
    let runtime = needed(std, "libstd-rust-web-")?;
    install(&[&needed(&runtime, "libllvm")?], "the ARM tests")?;
    run(apt("apt-get").args(["download", "--quiet", rustc, &runtime, std, &format!("{std}:arm64")]))?;
    for package in fs::read_dir(&packages).map_err(|e| e.to_string())?.flatten() {
        run(Command::new("dpkg").arg("-x").arg(package.path()).arg(&to))?;
    }
    let _ = fs::remove_dir_all(&packages);
    let _ = fs::remove_dir_all(&lists);
    Compiler::find(&to).ok_or_else(|| format!("the compiler in {} does not run", to.display()))
}
