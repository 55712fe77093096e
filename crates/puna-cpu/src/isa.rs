//! What the processor can do, as tokens that only a run-time check can make.

mod amx;

pub use amx::Amx;

use alloc::vec::Vec;

/// Proof that this processor has AVX2, FMA and F16C.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Avx2(());

/// Proof that this processor has AVX-VNNI, besides what [`Avx2`] proves.
///
/// With the feature `twin` any processor with AVX2 proves it: the one instruction is then spelled out in AVX2, for tests,
/// and [`Isa::detect`] does not choose it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AvxVnni(pub(crate) Avx2);

/// Proof that this processor has AVX-512 F, BW, DQ, VL and VNNI, besides what [`Avx2`] proves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Avx512(pub(crate) Avx2);

/// Proof that this processor has AVX-512 BF16, besides what [`Avx512`] proves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Avx512Bf16(pub(crate) Avx512);

/// Proof that this is an AArch64 processor with NEON, as they all are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Neon(());

/// Proof that this processor has dot products of bytes (FEAT_DotProd), besides what [`Neon`] proves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NeonDot(pub(crate) Neon);

/// An instruction set that the kernels are compiled for. Holding a value proves that this processor runs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Isa {
    /// Portable code, for any processor.
    Scalar,
    /// 256-bit vectors.
    Avx2(Avx2),
    /// 256-bit vectors with 8-bit dot products.
    AvxVnni(AvxVnni),
    /// 512-bit vectors with 8-bit dot products, and with dot products of BF16 pairs where there is a second proof.
    Avx512(Avx512, Option<Avx512Bf16>),
    /// The same, and tiles of BF16 pairs for products with many rows.
    Amx(Amx),
    /// 128-bit vectors of AArch64.
    Neon(Neon),
    /// The same with 8-bit dot products.
    NeonDot(NeonDot),
}

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
macro_rules! has {
    ($($feature:tt),*) => {
        $({
            #[cfg(all(feature = "std", target_arch = "x86_64"))]
            { std::arch::is_x86_feature_detected!($feature) }
            #[cfg(all(feature = "std", target_arch = "aarch64"))]
            { std::arch::is_aarch64_feature_detected!($feature) }
            // Without an operating system to ask, what the compiler was told of the target counts.
            #[cfg(not(feature = "std"))]
            { cfg!(target_feature = $feature) }
        })&&*
    };
}

impl Avx2 {
    /// Checks the processor.
    pub fn new() -> Option<Self> {
        #[cfg(target_arch = "x86_64")]
        if has!("avx2", "fma", "f16c") {
            return Some(Self(()));
        }
        None
    }
}

impl AvxVnni {
    /// Checks the processor.
    pub fn new() -> Option<Self> {
        #[cfg(target_arch = "x86_64")]
        if let Some(avx2) = Avx2::new()
            && (cfg!(feature = "twin") || has!("avxvnni"))
        {
            return Some(Self(avx2));
        }
        None
    }
}

impl Avx512 {
    /// Checks the processor.
    pub fn new() -> Option<Self> {
        #[cfg(target_arch = "x86_64")]
        if let Some(avx2) = Avx2::new()
            && has!("avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512vnni")
        {
            return Some(Self(avx2));
        }
        None
    }
}

impl Avx512Bf16 {
    /// Checks the processor.
    pub fn new() -> Option<Self> {
        #[cfg(target_arch = "x86_64")]
        if let Some(avx512) = Avx512::new()
            && has!("avx512bf16")
        {
            return Some(Self(avx512));
        }
        None
    }
}

impl Neon {
    /// Checks the target. Vectors of big-endian processors are laid out in another way than the kernels' are.
    pub fn new() -> Option<Self> {
        #[cfg(all(target_arch = "aarch64", target_feature = "neon", target_endian = "little"))]
        return Some(Self(()));
        #[cfg(not(all(target_arch = "aarch64", target_feature = "neon", target_endian = "little")))]
        None
    }
}

impl NeonDot {
    /// Checks the processor.
    pub fn new() -> Option<Self> {
        #[cfg(target_arch = "aarch64")]
        if let Some(neon) = Neon::new()
            && has!("dotprod")
        {
            return Some(Self(neon));
        }
        None
    }
}

impl Isa {
    /// The best instruction set of this processor. Without `std`, the best one that the target promises. This may ask the
    /// system for tiles, see [`Amx::new`].
    pub fn detect() -> Self {
        if let Some(amx) = Amx::new() {
            return Isa::Amx(amx);
        }
        if let Some(avx512) = Avx512::new() {
            return Isa::Avx512(avx512, Avx512Bf16::new());
        }
        if let Some(neon) = Neon::new() {
            return NeonDot::new().map_or(Isa::Neon(neon), Isa::NeonDot);
        }
        // Spelled out, its instruction is slower than what AVX2 does instead.
        let avx_vnni = if cfg!(feature = "twin") { None } else { AvxVnni::new() };
        match (avx_vnni, Avx2::new()) {
            (Some(avx_vnni), _) => Isa::AvxVnni(avx_vnni),
            (None, Some(avx2)) => Isa::Avx2(avx2),
            (None, None) => Isa::Scalar,
        }
    }

    /// Everything this processor can run, the portable code first. As [`detect`](Self::detect) it may ask the system for tiles.
    pub fn available() -> Vec<Self> {
        let mut all = Self::without_tiles();
        all.extend(Amx::new().map(Isa::Amx));
        all
    }

    /// The one of [`available`](Self::available) with this [`name`](Self::name), in upper or lower case. The system is not asked
    /// for what others need.
    pub fn named(name: &str) -> Option<Self> {
        let tiles = if name.eq_ignore_ascii_case("amx") { Amx::new().map(Isa::Amx) } else { None };
        tiles.or_else(|| Self::without_tiles().into_iter().find(|isa| isa.name().eq_ignore_ascii_case(name)))
    }

    fn without_tiles() -> Vec<Self> {
        let mut all = alloc::vec![Isa::Scalar];
        all.extend(Avx2::new().map(Isa::Avx2));
        all.extend(AvxVnni::new().map(Isa::AvxVnni));
        if let Some(avx512) = Avx512::new() {
            all.push(Isa::Avx512(avx512, None));
            all.extend(Avx512Bf16::new().map(|bf16| Isa::Avx512(avx512, Some(bf16))));
        }
        all.extend(Neon::new().map(Isa::Neon));
        all.extend(NeonDot::new().map(Isa::NeonDot));
        all
    }

    /// A short name for reports.
    pub const fn name(self) -> &'static str {
        match self {
            Isa::Scalar => "scalar",
            Isa::Avx2(_) => "avx2",
            Isa::AvxVnni(_) => "avx-vnni",
            Isa::Avx512(_, None) => "avx512",
            Isa::Avx512(_, Some(_)) => "avx512 bf16",
            Isa::Amx(_) => "amx",
            Isa::Neon(_) => "neon",
            Isa::NeonDot(_) => "neon dotprod",
        }
    }
}
