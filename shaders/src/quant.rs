//! The weight formats that have a `dequant` function.

/// A weight format: an entry of [`FORMATS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Format {
    /// The stem of its file in `quant/`: the format's name in lower case.
    pub stem: &'static str,
    /// Values of a block that is decoded at once; 8 for formats that store values one by one.
    pub block_len: usize,
    /// Bytes of such a block.
    pub block_bytes: usize,
    /// Values are stored one by one: rows of any length, and matrices stored `[n_in, n_out]`, are possible.
    pub plain: bool,
    /// 16 values have a scale of their own; of other blocks, no less than 32.
    pub halves: bool,
    /// Values are a scale times a number and something added to it.
    pub low: bool,
}

const fn plain(stem: &'static str, value_bytes: usize) -> Format {
    Format { stem, block_len: 8, block_bytes: 8 * value_bytes, plain: true, halves: false, low: false }
}

const fn blocks(stem: &'static str, block_len: usize, block_bytes: usize) -> Format {
    Format { stem, block_len, block_bytes, plain: false, halves: false, low: false }
}

impl Format {
    const fn halves(self) -> Self {
        Format { halves: true, ..self }
    }

    const fn low(self) -> Self {
        Format { low: true, ..self }
    }
}

/// All formats with shaders.
pub const FORMATS: [Format; 17] = [
    plain("f32", 4),
    plain("f16", 2),
    plain("bf16", 2),
    plain("f8_e4m3", 1),
    blocks("q4_0", 32, 18).low(),
    blocks("q4_1", 32, 20).low(),
    blocks("q5_0", 32, 22).low(),
    blocks("q5_1", 32, 24).low(),
    blocks("q8_0", 32, 34),
    blocks("q2_k", 256, 84).halves().low(),
    blocks("q3_k", 256, 110).halves().low(),
    blocks("q4_k", 256, 144).low(),
    blocks("q5_k", 256, 176).low(),
    blocks("q6_k", 256, 210).halves(),
    blocks("iq4_nl", 32, 18),
    blocks("iq4_xs", 256, 136),
    blocks("mxfp4", 32, 17),
];

/// The format with this name, ignoring case.
pub fn by_name(name: &str) -> Option<Format> {
    FORMATS.into_iter().find(|f| f.stem.eq_ignore_ascii_case(name))
}

impl Format {
    /// Whether it is F32: whoever stores that wants nothing rounded.
    pub const fn exact(&self) -> bool {
        self.plain && self.block_bytes == 4 * self.block_len
    }

    /// Whether every block begins on a multiple of 4 bytes when the first one does.
    pub const fn keeps_alignment(&self) -> bool {
        self.block_bytes.is_multiple_of(4)
    }
}
