//! Element types of safetensors.

use core::fmt;
use puna_core::DType;

/// The element type of a safetensors tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[expect(missing_docs, reason = "each name is the format's own")]
#[expect(non_camel_case_types, reason = "the names are those of the file format")]
pub enum StDType {
    BOOL,
    F4,
    F6_E2M3,
    F6_E3M2,
    U8,
    I8,
    F8_E5M2,
    F8_E4M3,
    F8_E8M0,
    F8_E4M3FNUZ,
    F8_E5M2FNUZ,
    I16,
    U16,
    F16,
    BF16,
    I32,
    U32,
    F32,
    C64,
    F64,
    I64,
    U64,
}

impl StDType {
    /// Every type, in the format's order.
    pub const ALL: [StDType; 22] = [
        StDType::BOOL,
        StDType::F4,
        StDType::F6_E2M3,
        StDType::F6_E3M2,
        StDType::U8,
        StDType::I8,
        StDType::F8_E5M2,
        StDType::F8_E4M3,
        StDType::F8_E8M0,
        StDType::F8_E4M3FNUZ,
        StDType::F8_E5M2FNUZ,
        StDType::I16,
        StDType::U16,
        StDType::F16,
        StDType::BF16,
        StDType::I32,
        StDType::U32,
        StDType::F32,
        StDType::C64,
        StDType::F64,
        StDType::I64,
        StDType::U64,
    ];

    const fn facts(self) -> (&'static str, u64) {
        match self {
            StDType::BOOL => ("BOOL", 8),
            StDType::F4 => ("F4", 4),
            StDType::F6_E2M3 => ("F6_E2M3", 6),
            StDType::F6_E3M2 => ("F6_E3M2", 6),
            StDType::U8 => ("U8", 8),
            StDType::I8 => ("I8", 8),
            StDType::F8_E5M2 => ("F8_E5M2", 8),
            StDType::F8_E4M3 => ("F8_E4M3", 8),
            StDType::F8_E8M0 => ("F8_E8M0", 8),
            StDType::F8_E4M3FNUZ => ("F8_E4M3FNUZ", 8),
            StDType::F8_E5M2FNUZ => ("F8_E5M2FNUZ", 8),
            StDType::I16 => ("I16", 16),
            StDType::U16 => ("U16", 16),
            StDType::F16 => ("F16", 16),
            StDType::BF16 => ("BF16", 16),
            StDType::I32 => ("I32", 32),
            StDType::U32 => ("U32", 32),
            StDType::F32 => ("F32", 32),
            StDType::C64 => ("C64", 64),
            StDType::F64 => ("F64", 64),
            StDType::I64 => ("I64", 64),
            StDType::U64 => ("U64", 64),
        }
    }

    /// The name in a header.
    pub const fn name(self) -> &'static str {
        self.facts().0
    }

    /// Bits of one element.
    pub const fn bits(self) -> u64 {
        self.facts().1
    }

    /// The type with exactly this name.
    pub fn from_name(name: &str) -> Option<StDType> {
        StDType::ALL.into_iter().find(|t| t.name() == name)
    }

    /// The weight format, if it is one.
    pub const fn as_dtype(self) -> Option<DType> {
        match self {
            StDType::F32 => Some(DType::F32),
            StDType::F16 => Some(DType::F16),
            StDType::BF16 => Some(DType::BF16),
            StDType::F8_E4M3 => Some(DType::F8E4M3),
            _ => None,
        }
    }

    /// Bytes of a tensor of this shape, or `None` when they overflow or are no whole number.
    pub(super) fn n_bytes(self, shape: &[u64]) -> Option<u64> {
        // A dimension of 0 makes the product 0 whatever the others are; elsewhere it may not overflow.
        let elements = match shape.contains(&0) {
            true => 0,
            false => shape.iter().try_fold(1u64, |n, &dim| n.checked_mul(dim))?,
        };
        let bits = elements.checked_mul(self.bits())?;
        bits.is_multiple_of(8).then_some(bits / 8)
    }
}

impl fmt::Display for StDType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
