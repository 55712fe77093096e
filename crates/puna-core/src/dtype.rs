//! Number formats of weights: their names, block sizes and ids in files.

/// The number format of a weight tensor.
///
/// A format stores `block_len` consecutive values of one row in `block_bytes` bytes; every row starts on a
/// block boundary. The byte layouts are those of GGUF (see [`crate::quant`]); `F8E4M3` is the "fn" variant of
/// the OCP 8-bit float and comes from safetensors files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
#[expect(missing_docs, reason = "each name is the format's own name in GGUF or safetensors")]
#[expect(non_camel_case_types, reason = "the names are those of the file formats")]
pub enum DType {
    F32,
    F16,
    BF16,
    F8E4M3,
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    Q2_K,
    Q3_K,
    Q4_K,
    Q5_K,
    Q6_K,
    IQ4_NL,
    IQ4_XS,
    MXFP4,
    IQ1_S,
    IQ1_M,
    IQ2_XXS,
    IQ2_XS,
    IQ2_S,
    IQ3_XXS,
    IQ3_S,
    TQ1_0,
    TQ2_0,
}

impl DType {
    /// Every format, in declaration order.
    pub const ALL: [DType; 26] = [
        DType::F32,
        DType::F16,
        DType::BF16,
        DType::F8E4M3,
        DType::Q4_0,
        DType::Q4_1,
        DType::Q5_0,
        DType::Q5_1,
        DType::Q8_0,
        DType::Q2_K,
        DType::Q3_K,
        DType::Q4_K,
        DType::Q5_K,
        DType::Q6_K,
        DType::IQ4_NL,
        DType::IQ4_XS,
        DType::MXFP4,
        DType::IQ1_S,
        DType::IQ1_M,
        DType::IQ2_XXS,
        DType::IQ2_XS,
        DType::IQ2_S,
        DType::IQ3_XXS,
        DType::IQ3_S,
        DType::TQ1_0,
        DType::TQ2_0,
    ];

    /// Name, GGUF type id, values per block, bytes per block.
    const fn facts(self) -> (&'static str, Option<u32>, usize, usize) {
        match self {
            DType::F32 => ("F32", Some(0), 1, 4),
            DType::F16 => ("F16", Some(1), 1, 2),
            DType::BF16 => ("BF16", Some(30), 1, 2),
            DType::F8E4M3 => ("F8_E4M3", None, 1, 1),
            DType::Q4_0 => ("Q4_0", Some(2), 32, 18),
            DType::Q4_1 => ("Q4_1", Some(3), 32, 20),
            DType::Q5_0 => ("Q5_0", Some(6), 32, 22),
            DType::Q5_1 => ("Q5_1", Some(7), 32, 24),
            DType::Q8_0 => ("Q8_0", Some(8), 32, 34),
            DType::Q2_K => ("Q2_K", Some(10), 256, 84),
            DType::Q3_K => ("Q3_K", Some(11), 256, 110),
            DType::Q4_K => ("Q4_K", Some(12), 256, 144),
            DType::Q5_K => ("Q5_K", Some(13), 256, 176),
            DType::Q6_K => ("Q6_K", Some(14), 256, 210),
            DType::IQ4_NL => ("IQ4_NL", Some(20), 32, 18),
            DType::IQ4_XS => ("IQ4_XS", Some(23), 256, 136),
            DType::MXFP4 => ("MXFP4", Some(39), 32, 17),
            DType::IQ1_S => ("IQ1_S", Some(19), 256, 50),
            DType::IQ1_M => ("IQ1_M", Some(29), 256, 56),
            DType::IQ2_XXS => ("IQ2_XXS", Some(16), 256, 66),
            DType::IQ2_XS => ("IQ2_XS", Some(17), 256, 74),
            DType::IQ2_S => ("IQ2_S", Some(22), 256, 82),
            DType::IQ3_XXS => ("IQ3_XXS", Some(18), 256, 98),
            DType::IQ3_S => ("IQ3_S", Some(21), 256, 110),
            DType::TQ1_0 => ("TQ1_0", Some(34), 256, 54),
            DType::TQ2_0 => ("TQ2_0", Some(35), 256, 66),
        }
    }

    /// The format's name as GGUF tools and safetensors write it.
    pub const fn name(self) -> &'static str {
        self.facts().0
    }

    /// The type id in a GGUF tensor table; `None` for formats that GGUF does not have.
    pub const fn gguf_id(self) -> Option<u32> {
        self.facts().1
    }

    /// The format with this GGUF type id.
    pub fn from_gguf_id(id: u32) -> Option<DType> {
        DType::ALL.into_iter().find(|t| t.gguf_id() == Some(id))
    }

    /// The format with this name, ignoring case.
    pub fn from_name(name: &str) -> Option<DType> {
        DType::ALL.into_iter().find(|t| t.name().eq_ignore_ascii_case(name))
    }

    /// Values in one block.
    pub const fn block_len(self) -> usize {
        self.facts().2
    }

    /// Bytes of one block.
    pub const fn block_bytes(self) -> usize {
        self.facts().3
    }

    /// Whether values are stored one by one (no blocks shared between neighbours).
    pub const fn is_plain(self) -> bool {
        self.block_len() == 1
    }

    /// Bytes of a row of `n` values, or `None` when `n` is not a whole number of blocks or overflows.
    pub const fn row_bytes(self, n: usize) -> Option<usize> {
        if !n.is_multiple_of(self.block_len()) {
            return None;
        }
        (n / self.block_len()).checked_mul(self.block_bytes())
    }
}

impl core::fmt::Display for DType {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.name())
    }
}
