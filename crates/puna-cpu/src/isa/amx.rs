//! Tiles of BF16 pairs: whether the processor has them and the system lets this process use them.

use super::Avx512Bf16;

/// Proof that this processor has AMX-BF16, besides what [`Avx512Bf16`] proves, and that this process may use it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Amx(pub(crate) Avx512Bf16);

impl Amx {
    /// Checks the processor, and asks Linux to let the threads of this process have the 8 KiB of registers
    /// (`ARCH_REQ_XCOMP_PERM`, `Documentation/arch/x86/xstate.rst`). It refuses if a thread has a stack for signals that is too
    /// small to save them on, and afterwards refuses such stacks. On other systems there is nothing to be had.
    pub fn new() -> Option<Self> {
        #[cfg(all(feature = "std", target_arch = "x86_64", target_os = "linux"))]
        if let Some(bf16) = Avx512Bf16::new()
            && linux::has_tiles()
            && linux::permitted()
        {
            return Some(Self(bf16));
        }
        #[cfg(not(all(feature = "std", target_arch = "x86_64", target_os = "linux")))]
        let _ = Avx512Bf16::new;
        None
    }
}

#[cfg(all(feature = "std", target_arch = "x86_64", target_os = "linux"))]
mod linux {
    use core::arch::asm;
    use core::arch::x86_64::__cpuid_count;

    /// Whether the processor has AMX-TILE and AMX-BF16. Those with AVX-512 have this leaf of `cpuid`.
    pub(super) fn has_tiles() -> bool {
        let edx = __cpuid_count(7, 0).edx;
        edx >> 24 & 1 == 1 && edx >> 22 & 1 == 1
    }

    /// Asks for the registers. To ask again does no harm.
    pub(super) fn permitted() -> bool {
        const ARCH_PRCTL: u64 = 158;
        const ARCH_REQ_XCOMP_PERM: u64 = 0x1023;
        const XFEATURE_XTILEDATA: u64 = 18;
        let mut result = ARCH_PRCTL;
        // SAFETY: this system call takes two numbers and touches no memory of the process; the instruction clobbers `rcx` and
        // `r11`.
        unsafe {
            asm!(
                "syscall",
                inout("rax") result,
                in("rdi") ARCH_REQ_XCOMP_PERM,
                in("rsi") XFEATURE_XTILEDATA,
                out("rcx") _,
                out("r11") _,
                options(nostack),
            );
        }
        result == 0
    }
}
