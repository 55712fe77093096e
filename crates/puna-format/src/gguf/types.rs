//! Tensor types of GGUF: the formats weights can have, and those that are only known by size.

use core::fmt;
use puna_core::DType;

/// The element type of a GGUF tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TensorType {
    /// A format that weights are computed with.
    Weights(DType),
    /// A type that can be located and sized, but not computed with.
    Other(OtherType),
}

/// GGUF types that are no weight formats of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[expect(missing_docs, reason = "each name is the type's own name in GGUF")]
#[expect(non_camel_case_types, reason = "the names are those of the file format")]
pub enum OtherType {
    I8,
    I16,
    I32,
    I64,
    F64,
    Q8_1,
    Q8_K,
    NVFP4,
    Q1_0,
    Q2_0,
}

impl OtherType {
    /// Every such type.
    pub const ALL: [OtherType; 10] = [
        OtherType::I8,
        OtherType::I16,
        OtherType::I32,
        OtherType::I64,
        OtherType::F64,
        OtherType::Q8_1,
        OtherType::Q8_K,
        OtherType::NVFP4,
        OtherType::Q1_0,
        OtherType::Q2_0,
    ];

    /// Name, type id, values per block, bytes per block.
    const fn facts(self) -> (&'static str, u32, u64, u64) {
        match self {
            OtherType::I8 => ("I8", 24, 1, 1),
            OtherType::I16 => ("I16", 25, 1, 2),
            OtherType::I32 => ("I32", 26, 1, 4),
            OtherType::I64 => ("I64", 27, 1, 8),
            OtherType::F64 => ("F64", 28, 1, 8),
            OtherType::Q8_1 => ("Q8_1", 9, 32, 36),
            OtherType::Q8_K => ("Q8_K", 15, 256, 292),
            OtherType::NVFP4 => ("NVFP4", 40, 64, 36),
            OtherType::Q1_0 => ("Q1_0", 41, 128, 18),
            OtherType::Q2_0 => ("Q2_0", 42, 64, 18),
        }
    }
}

impl TensorType {
    /// The type with this id in a tensor table; `None` for retired and unknown ids.
    pub fn from_gguf_id(id: u32) -> Option<TensorType> {
        let other = || OtherType::ALL.into_iter().find(|t| t.facts().1 == id);
        DType::from_gguf_id(id).map(TensorType::Weights).or_else(|| other().map(TensorType::Other))
    }

    /// The id in a tensor table; `None` for formats that GGUF does not have.
    pub const fn gguf_id(self) -> Option<u32> {
        match self {
            TensorType::Weights(t) => t.gguf_id(),
            TensorType::Other(t) => Some(t.facts().1),
        }
    }

    /// The type's name as GGUF tools write it.
    pub const fn name(self) -> &'static str {
        match self {
            TensorType::Weights(t) => t.name(),
            TensorType::Other(t) => t.facts().0,
        }
    }

    /// Values in one block.
    pub const fn block_len(self) -> u64 {
        match self {
            TensorType::Weights(t) => t.block_len() as u64,
            TensorType::Other(t) => t.facts().2,
        }
    }

    /// Bytes of one block.
    pub const fn block_bytes(self) -> u64 {
        match self {
            TensorType::Weights(t) => t.block_bytes() as u64,
            TensorType::Other(t) => t.facts().3,
        }
    }

    /// The weight format, if it is one.
    pub const fn as_dtype(self) -> Option<DType> {
        match self {
            TensorType::Weights(t) => Some(t),
            TensorType::Other(_) => None,
        }
    }
}

impl From<DType> for TensorType {
    fn from(t: DType) -> Self {
        TensorType::Weights(t)
    }
}

impl From<OtherType> for TensorType {
    fn from(t: OtherType) -> Self {
        TensorType::Other(t)
    }
}

impl fmt::Display for TensorType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
