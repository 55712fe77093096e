//! What the GPU tests need: a Vulkan driver, any that is installed or Mesa's software driver; and the SPIR-V validator.

use crate::run::{Result, install};
use std::fs;
use std::process::Command;

/// Where drivers announce themselves.
const FOLDERS: [&str; 3] = ["/usr/share/vulkan/icd.d", "/etc/vulkan/icd.d", "/usr/local/share/vulkan/icd.d"];
/// Debian's software driver and the loader.
const PACKAGES: [&str; 2] = ["mesa-vulkan-drivers", "libvulkan1"];

/// Debian's package with `spirv-val`.
const VALIDATOR: &str = "spirv-tools";

/// Makes sure that there is a driver and a validator. Only Linux is looked after; other systems bring theirs.
pub(crate) fn driver() -> Result {
    if !cfg!(target_os = "linux") {
        return Ok(());
    }
    let mut packages = Vec::new();
    if !installed() {
        packages.extend(PACKAGES);
    }
    if Command::new("spirv-val").arg("--version").output().is_err() {
        packages.push(VALIDATOR);
    }
    install(&packages, "the GPU tests, which need a Vulkan driver and spirv-val")
}

fn installed() -> bool {
    let announced = FOLDERS.iter().filter_map(|folder| fs::read_dir(folder).ok()).flatten().flatten();
    announced.into_iter().any(|file| file.path().extension().is_some_and(|extension| extension == "json"))
}
