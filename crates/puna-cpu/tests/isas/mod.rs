//! The instruction sets that tests run on.
//!
//! For those that a machine lacks there is Bochs (<https://github.com/bochs-emu/Bochs>), whose `sapphire_rapids` has
//! AVX-512 with VNNI and BF16: at commit 783b58f, with `OP_mVdq32` of `vdpbf16ps` in `cpu/decoder/ia_opcodes_evex.def`
//! made `OP_mVdq`, without which it reads memory operands at a wrong address. A Debian 6.1 kernel starts there with
//! `clearcpuid=fsrm,pku,xsaves,xsavec` (its `memmove` does not survive the model's fast short moves); test programs and
//! their libraries go into the initial RAM disk, `PUNA_TEST_ISA` with them. It is about a hundred times slower than a
//! processor. For AArch64 there is `cargo xtask arm`.

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
