//! What the emulated machine starts from: a CD with a boot loader, Debian's Linux, and a RAM disk of test programs.

use crate::run::{Result, install, needed, output, run, say};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where the shell and the tests are in the RAM disk.
pub(super) const BUSYBOX: &str = "/bin/busybox";
pub(super) const TESTS: &str = "/tests";

/// The package that names the newest kernel's package, which begins so.
const KERNEL: (&str, &str) = ("linux-image-amd64", "linux-image-");
/// The shell and the boot loader.
const PACKAGES: [&str; 3] = ["busybox-static", "isolinux", "syslinux-common"];
/// The boot loader's files.
const LOADER: [&str; 2] = ["usr/lib/ISOLINUX/isolinux.bin", "usr/lib/syslinux/modules/bios/ldlinux.c32"];

/// What Linux is told. Its `memmove` does not survive the fast short moves of Bochs' processor; the other features stand
/// in its way only where Bochs was built with protection keys.
const LINUX: &str = "console=ttyS0,115200 loglevel=3 mitigations=off clearcpuid=fsrm,pku,xsaves,xsavec";

/// Makes the CD, fetching what it takes.
pub(super) fn disk(programs: &[(&str, PathBuf)], script: &str, folder: &Path) -> Result<PathBuf> {
    let debian = unpacked(folder)?;
    let (kernel, cd) = (kernel(&debian)?, folder.join("cd"));
    let _ = fs::remove_dir_all(&cd);
    fs::create_dir_all(&cd).map_err(|e| format!("{}: {e}", cd.display()))?;
    let put = |name: &str, bytes: &[u8]| {
        let path = cd.join(name);
        fs::write(&path, bytes).map_err(|e| format!("{}: {e}", path.display()))
    };
    let loader = LOADER.map(|file| debian.join(file));
    for (name, from) in [("linux", &kernel), ("isolinux.bin", &loader[0]), ("ldlinux.c32", &loader[1])] {
        put(name, &read(from)?)?;
    }
    put("ram", &ram_disk(programs, script, &read(&debian.join(&BUSYBOX[1..]))?)?)?;
    put(
        "isolinux.cfg",
        format!("default puna\nlabel puna\nkernel linux\nappend initrd=ram {LINUX}\n").as_bytes(),
    )?;
    if Command::new("xorriso").arg("--version").output().is_err() {
        install(&["xorriso"], "the emulated machine's disk")?;
    }
    let disk = folder.join("disk.iso");
    let boot =
        ["-b", "isolinux.bin", "-c", "boot.cat", "-no-emul-boot", "-boot-load-size", "4", "-boot-info-table"];
    output(Command::new("xorriso").args(["-as", "mkisofs", "-o"]).arg(&disk).args(boot).arg(&cd))?;
    Ok(disk)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(|e| format!("{}: {e}", path.display()))
}

/// Debian's packages, unpacked unless they are there: neither this machine's kernel nor its shell are to change.
fn unpacked(folder: &Path) -> Result<PathBuf> {
    let to = folder.join("debian");
    if to.exists() {
        return Ok(to);
    }
    say("fetching Linux for the emulated machine");
    // Unpacked in another place first, so that the folder is there when all is in it.
    let [packages, partly] = ["packages", "partly"].map(|name| folder.join(name));
    for folder in [&packages, &partly] {
        let _ = fs::remove_dir_all(folder);
        fs::create_dir_all(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    }
    let download = || {
        let kernel = needed(&mut Command::new("apt-cache"), KERNEL.0, KERNEL.1)?;
        run(Command::new("apt-get")
            .current_dir(&packages)
            .args(["download", "--quiet", "-o", "APT::Sandbox::User=root", &kernel])
            .args(PACKAGES))
    };
    // Lists that are old name packages that are gone.
    download()
        .or_else(|_| run(Command::new("apt-get").args(["update", "--quiet"])).and_then(|()| download()))
        .map_err(|why| format!("{why}\nthe emulated machine starts a Debian release's {}", KERNEL.0))?;
    for package in fs::read_dir(&packages).map_err(|e| e.to_string())?.flatten() {
        run(Command::new("dpkg").arg("-x").arg(package.path()).arg(&partly))?;
    }
    let _ = fs::remove_dir_all(&packages);
    fs::rename(&partly, &to).map_err(|e| format!("{}: {e}", to.display()))?;
    Ok(to)
}

fn kernel(debian: &Path) -> Result<PathBuf> {
    let boot = debian.join("boot");
    let files = fs::read_dir(&boot).map_err(|e| format!("{}: {e}", boot.display()))?.flatten();
    let kernel = files
        .map(|file| file.path())
        .find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("vmlinuz")));
    kernel.ok_or_else(|| format!("{}: expected a kernel, found none", boot.display()))
}

/// A RAM disk: the shell, the script that Linux starts, and the test programs under their names.
fn ram_disk(programs: &[(&str, PathBuf)], script: &str, busybox: &[u8]) -> Result<Vec<u8>> {
    let mut disk = Archive::default();
    for folder in ["/bin", TESTS] {
        disk.folder(folder);
    }
    disk.program(BUSYBOX, busybox);
    disk.program("/init", script.as_bytes());
    for (name, path) in programs {
        disk.program(&format!("{TESTS}/{name}"), &read(path)?);
    }
    Ok(disk.finish())
}

/// An archive as Linux unpacks it into memory: `cpio`'s portable format without checksums.
#[derive(Default)]
struct Archive {
    bytes: Vec<u8>,
    files: u32,
}

impl Archive {
    fn folder(&mut self, path: &str) {
        self.put(path, 0o040_755, &[]);
    }

    fn program(&mut self, path: &str, bytes: &[u8]) {
        self.put(path, 0o100_755, bytes);
    }

    fn put(&mut self, path: &str, mode: u32, bytes: &[u8]) {
        let name = path.trim_start_matches('/');
        self.files += 1;
        // Number, mode, links, owner, group, time, then after the length of the data two device numbers of two parts
        // each, and after that of the name, which ends in a zero, an unused checksum.
        let (length, name_length) = (bytes.len() as u32, name.len() as u32 + 1);
        let fields = [self.files, mode, 1, 0, 0, 0, length, 0, 0, 0, 0, name_length, 0];
        self.bytes.extend(b"070701");
        for field in fields {
            self.bytes.extend(format!("{field:08x}").bytes());
        }
        self.bytes.extend(name.bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend(bytes);
        self.pad();
    }

    /// Every part begins at a multiple of four bytes.
    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    fn finish(mut self) -> Vec<u8> {
        self.put("TRAILER!!!", 0, &[]);
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_is_what_its_format_says() {
        let mut disk = Archive::default();
        disk.program("/init", b"abcde");
        let bytes = disk.finish();
        // A header of 110 bytes, five of the name and one of padding; five of the data and three of padding.
        assert_eq!(&bytes[..22], b"07070100000001000081ed");
        assert_eq!(&bytes[54..62], b"00000005");
        assert_eq!(&bytes[110..116], b"init\0\0");
        assert_eq!(&bytes[116..124], b"abcde\0\0\0");
        assert!(bytes[124..].starts_with(b"070701") && bytes[234..].starts_with(b"TRAILER!!!\0"));
        assert_eq!(bytes.len() % 4, 0);
    }
}
