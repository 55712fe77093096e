//! A Vulkan driver for the GPU tests: any that is installed, or Mesa's software driver.

use crate::run::{Result, at_root, run, say};
use std::fs;

/// Where drivers announce themselves.
const FOLDERS: [&str; 3] = ["/usr/share/vulkan/icd.d", "/etc/vulkan/icd.d", "/usr/local/share/vulkan/icd.d"];
/// Debian's software driver and the loader.
const PACKAGES: [&str; 2] = ["mesa-vulkan-drivers", "libvulkan1"];

/// Makes sure that there is a driver. Only Linux is looked after; other systems bring theirs.
pub(crate) fn driver() -> Result {
    if !cfg!(target_os = "linux") || installed() {
        return Ok(());
    }
    say("no Vulkan driver is installed; installing Mesa's software driver");
    let install = || {
        run(at_root("apt-get")
            .args(["install", "--yes", "--quiet", "--no-install-recommends"])
            .args(PACKAGES)
            .env("DEBIAN_FRONTEND", "noninteractive"))
    };
    install()
        .or_else(|_| run(at_root("apt-get").args(["update", "--quiet"])).and_then(|()| install()))
        .map_err(|why| {
            let packages = PACKAGES.join(" ");
            format!(
                "{why}\nthe GPU tests need a Vulkan driver: install one, for example the packages {packages}"
            )
        })
}

fn installed() -> bool {
    let announced = FOLDERS.iter().filter_map(|folder| fs::read_dir(folder).ok()).flatten().flatten();
    announced.into_iter().any(|file| file.path().extension().is_some_and(|extension| extension == "json"))
}
