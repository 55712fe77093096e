//! The instruction sets that tests run on.
//!
//! For those that a machine lacks there are emulated ones: `cargo xtask emulate` for AVX-512 with VNNI and BF16, and for
//! AVX-VNNI; `cargo xtask arm` for AArch64.

use puna_cpu::isa::Isa;

/// All that this machine has, or of these the ones that `PUNA_TEST_ISA` names, separated by commas: an emulator is too
/// slow for those that processors run.
pub(crate) fn isas() -> Vec<Isa> {
    let mut isas = Isa::available();
    if let Ok(wanted) = std::env::var("PUNA_TEST_ISA") {
        isas.retain(|isa| wanted.split(',').any(|name| name == isa.name()));
        assert!(!isas.is_empty(), "this machine has none of {wanted:?}");
    }
    isas
}
