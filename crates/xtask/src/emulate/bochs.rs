//! Bochs itself: fetched, put right and built below `target/emulate`, or in a folder that holds its source.
//!
//! Debian's packages and Bochs' releases do not do: they know no such processor, or multiply BF16 pairs wrongly.

use crate::run::{Result, install, output, say};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const SOURCE: &str = "https://github.com/bochs-emu/Bochs";
/// The commit that tests are known to run on.
const COMMIT: &str = "783b58fd6d9bae598a07c59719122322fa0edce6";

/// The table of instructions that have a mask and 512 bits.
const OPCODES: &str = "cpu/decoder/ia_opcodes_evex.def";
/// The instruction that multiplies pairs of BF16, as the table spells it.
const DOT: &str = "\"vdpbf16ps\"";
/// The kind of memory operand that it has there, a vector of which one element is read, and the kind that it has in
/// truth: with the first one its address comes out wrong where it is a short distance from a register.
const OPERAND: (&str, &str) = ("OP_mVdq32", "OP_mVdq");

/// No window, and what a processor with AVX-512 is made of.
const CONFIGURE: [&str; 7] = [
    "--with-nogui",
    "--enable-all-optimizations",
    "--enable-cpu-level=6",
    "--enable-x86-64",
    "--enable-avx",
    "--enable-evex",
    "--disable-docbook",
];

/// The programs that building takes, and their packages.
const PROGRAMS: [(&str, &str); 2] = [("g++", "g++"), ("make", "make")];

/// The folder of a Bochs that runs: the one given or, without one, that below `folder`.
pub(super) fn bochs(given: Option<&Path>, folder: &Path) -> Result<PathBuf> {
    let source = match given {
        Some(given) => given.to_path_buf(),
        None => fetched(folder)?,
    };
    // The repository holds more than the program.
    let nested = source.join("bochs");
    let source = if nested.join(OPCODES).exists() { nested } else { source };
    let source = source.canonicalize().map_err(|e| format!("{}: {e}\n{}", source.display(), by_hand()))?;
    let changed = put_right(&source)?;
    if changed || !source.join("bochs").is_file() {
        build(&source, changed)?;
    }
    Ok(source)
}

/// Fetches the source, unless it is there.
fn fetched(folder: &Path) -> Result<PathBuf> {
    let to = folder.join("bochs");
    if to.join("bochs").join(OPCODES).exists() {
        return Ok(to);
    }
    say(&format!("fetching Bochs from {SOURCE}"));
    fs::create_dir_all(&to).map_err(|e| format!("{}: {e}", to.display()))?;
    let git = |words: &[&str]| output(Command::new("git").current_dir(&to).args(words));
    git(&["init", "--quiet"])
        .and_then(|_| git(&["fetch", "--quiet", "--depth", "1", SOURCE, COMMIT]))
        .and_then(|_| git(&["checkout", "--quiet", "--force", "FETCH_HEAD"]))
        .map_err(|why| format!("{why}\n{}", by_hand()))?;
    Ok(to)
}

fn by_hand() -> String {
    format!("get the source of {SOURCE} at commit {COMMIT}, and name its folder after --bochs")
}

/// Corrects the table of instructions; whether there was something to correct.
fn put_right(source: &Path) -> Result<bool> {
    let path = source.join(OPCODES);
    let wrong = |why: &str| format!("{}: {why}\n{}", path.display(), by_hand());
    let table = fs::read_to_string(&path).map_err(|e| wrong(&e.to_string()))?;
    if !table.contains(DOT) {
        return Err(wrong(&format!("expected {DOT}, found none")));
    }
    let right = corrected(&table);
    if right == table {
        return Ok(false);
    }
    fs::write(&path, right).map_err(|e| wrong(&e.to_string()))?;
    Ok(true)
}

fn corrected(table: &str) -> String {
    let line = |line: &str| {
        if line.contains(DOT) { line.replace(OPERAND.0, OPERAND.1) } else { line.to_owned() }
    };
    table.split_inclusive('\n').map(line).collect()
}

/// Builds Bochs, anew if its source has `changed`.
fn build(source: &Path, changed: bool) -> Result {
    let missing = |program: &str| Command::new(program).arg("--version").output().is_err();
    let packages: Vec<&str> = PROGRAMS.iter().filter(|(program, _)| missing(program)).map(|p| p.1).collect();
    install(&packages, "Bochs")?;
    say("building Bochs, which takes some minutes");
    if !source.join("Makefile").exists() {
        let mut configure = Command::new(source.join("configure"));
        // The compiler's own choice would be debug information too.
        configure.current_dir(source).args(CONFIGURE).env("CFLAGS", "-O2").env("CXXFLAGS", "-O2");
        output(&mut configure)?;
    }
    let make = |words: &[&str]| output(Command::new("make").current_dir(source).args(words));
    // What depends on the table is not written down everywhere.
    if changed {
        make(&["clean"])?;
    }
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    make(&[&format!("-j{threads}")])?;
    Ok(())
}

/// The emulated machine, as Bochs reads it from a file: a processor, 1 GiB, a disk to start from, a serial port.
pub(super) fn settings(bochs: &Path, disk: &Path, said: &Path, log: &Path) -> String {
    let bios = bochs.join("bios");
    let vga = bios.join("VGABIOS-lgpl/VGABIOS-lgpl-latest.bin");
    let bios = bios.join("BIOS-bochs-latest");
    let [bios, vga, disk, said, log] = [&bios, &vga, disk, said, log].map(Path::display);
    [
        // Its clock counts instructions, so that a busy host does not let timers expire.
        "cpu: model=sapphire_rapids, count=1, ips=100000000, reset_on_triple_fault=0, ignore_bad_msrs=1"
            .into(),
        "clock: sync=none".into(),
        "memory: guest=1024, host=1024".into(),
        format!("romimage: file=\"{bios}\", options=fastboot"),
        format!("vgaromimage: file=\"{vga}\""),
        "ata0: enabled=1, ioaddr1=0x1f0, ioaddr2=0x3f0, irq=14".into(),
        format!("ata0-master: type=cdrom, path=\"{disk}\", status=inserted"),
        "boot: cdrom".into(),
        format!("com1: enabled=1, mode=file, dev=\"{said}\""),
        format!("log: \"{log}\""),
        // Nobody is there to be asked; instructions that it does not know are the program's business.
        "panic: action=fatal".into(),
        "error: action=report".into(),
        "info: action=report".into(),
        "debug: action=ignore".into(),
        String::new(),
    ]
    .join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_operand_of_one_instruction_is_corrected() {
        let table = "f(\"vdpbf16ps\", OP_Hdq, OP_mVdq32, OP_NONE)\nf(\"vpdpbusd\", OP_mVdq32)";
        let right = "f(\"vdpbf16ps\", OP_Hdq, OP_mVdq, OP_NONE)\nf(\"vpdpbusd\", OP_mVdq32)";
        assert_eq!(corrected(table), right);
        assert_eq!(corrected(right), right);
    }

    #[test]
    fn what_is_missing_is_named() {
        let why = bochs(Some(Path::new("no such folder")), Path::new(".")).unwrap_err();
        assert!(why.contains("no such folder") && why.contains(COMMIT));
    }
}
