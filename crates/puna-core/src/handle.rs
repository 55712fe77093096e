//! Handles and views: the plain data that ops are made of.

use crate::DType;

/// A mutable buffer of one device: activations, key/value blocks, picks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Buf(pub u32);

/// An immutable weight region of one device, shared by all forks of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Weight(pub u32);

/// Element type of a [`Buf`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Elem {
    /// 32-bit float: every activation.
    F32,
    /// 16-bit float: key/value blocks by default.
    F16,
    /// Unsigned 32-bit integer: expert picks.
    U32,
}

impl Elem {
    /// Bytes of one element.
    pub const fn bytes(self) -> usize {
        match self {
            Elem::F16 => 2,
            Elem::F32 | Elem::U32 => 4,
        }
    }
}

/// A view of `n_rows` rows of `width` elements in a buffer, one after the other without gaps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rows {
    /// The buffer.
    pub buf: Buf,
    /// Index of the first element in the buffer.
    pub offset: usize,
    /// Number of rows.
    pub n_rows: usize,
    /// Elements of a row.
    pub width: usize,
}

impl Rows {
    /// Rows from the start of `buf`.
    pub const fn new(buf: Buf, n_rows: usize, width: usize) -> Self {
        Self { buf, offset: 0, n_rows, width }
    }

    /// The `n_rows` rows from row `first` on.
    pub const fn slice(self, first: usize, n_rows: usize) -> Self {
        Self { buf: self.buf, offset: self.offset + first * self.width, n_rows, width: self.width }
    }

    /// Number of elements.
    pub const fn len(&self) -> usize {
        self.n_rows * self.width
    }

    /// Whether the view is empty.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A vector of F32 weights: a norm, a bias, row scales.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vector {
    /// Where it lives; little-endian F32.
    pub weight: Weight,
    /// Index of the first element (not byte) in the region.
    pub offset: usize,
    /// Number of elements.
    pub len: usize,
}

/// Which of a matrix's two dimensions runs fastest in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Layout {
    /// `[n_out, n_in]`: each output's weights are contiguous (GGUF, `nn.Linear`).
    OutIn,
    /// `[n_in, n_out]`: each input's weights are contiguous (fused expert tensors of Hugging Face). Plain formats only.
    InOut,
}

/// A weight matrix that maps `n_in` values to `n_out`, in the bytes and the order of its file.
///
/// Row `r` (an output for [`Layout::OutIn`], an input for [`Layout::InOut`]) starts at byte
/// `offset + r * stride` of the region. `scale`, where present, multiplies each output (`n_out` values).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mat {
    /// Where it lives.
    pub weight: Weight,
    /// Number format.
    pub dtype: DType,
    /// Outputs.
    pub n_out: usize,
    /// Inputs.
    pub n_in: usize,
    /// First byte in the region.
    pub offset: usize,
    /// Bytes from one row to the next.
    pub stride: usize,
    /// Order of the dimensions.
    pub layout: Layout,
    /// One factor per output.
    pub scale: Option<Vector>,
}

impl Mat {
    /// A contiguous `[n_out, n_in]` matrix at the start of a region.
    ///
    /// `n_in` must be a whole number of blocks; otherwise the stride is 0 and every op refuses the matrix.
    pub const fn plain(weight: Weight, dtype: DType, n_out: usize, n_in: usize) -> Self {
        let stride = match dtype.row_bytes(n_in) {
            Some(bytes) => bytes,
            None => 0,
        };
        Self { weight, dtype, n_out, n_in, offset: 0, stride, layout: Layout::OutIn, scale: None }
    }

    /// Number of rows in memory and values in each.
    pub const fn stored(&self) -> (usize, usize) {
        match self.layout {
            Layout::OutIn => (self.n_out, self.n_in),
            Layout::InOut => (self.n_in, self.n_out),
        }
    }

    /// Bytes of one row, or `None` when a row is not a whole number of blocks.
    pub const fn row_bytes(&self) -> Option<usize> {
        self.dtype.row_bytes(self.stored().1)
    }

    /// The end of the last row in the region, or `None` on overflow or a row that is no whole number of blocks.
    pub const fn end(&self) -> Option<usize> {
        let (rows, _) = self.stored();
        let Some(row_bytes) = self.row_bytes() else {
            return None;
        };
        if rows == 0 {
            return Some(self.offset);
        }
        let Some(last) = (rows - 1).checked_mul(self.stride) else {
            return None;
        };
        let Some(last) = last.checked_add(self.offset) else {
            return None;
        };
        last.checked_add(row_bytes)
    }

    /// Weight bytes that one use of the matrix reads.
    pub const fn bytes(&self) -> u64 {
        match self.row_bytes() {
            Some(bytes) => bytes as u64 * self.stored().0 as u64,
            None => 0,
        }
    }
}

/// The three matrices of one routed expert: `down(silu(gate(x)) * up(x))`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expert {
    /// `[n_ff, hidden]`.
    pub gate: Mat,
    /// `[n_ff, hidden]`.
    pub up: Mat,
    /// `[hidden, n_ff]`.
    pub down: Mat,
}

/// The keys and values of one layer that are in memory: blocks of `block_tokens` positions each.
///
/// Block `b` holds positions `first + b * block_tokens ..`. Inside a block the order is
/// `[2][n_kv_heads][block_tokens][head_dim]`: all keys, then all values; the rows of one head are contiguous.
#[derive(Clone, Copy, Debug)]
pub struct KvView<'a> {
    /// The blocks in order of position, all of one element type ([`Elem::F16`] or [`Elem::F32`]).
    pub blocks: &'a [Buf],
    /// Positions a block holds.
    pub block_tokens: usize,
    /// Absolute position of the first slot of the first block.
    pub first: u64,
    /// Key/value heads.
    pub n_kv_heads: usize,
    /// Values of one head.
    pub head_dim: usize,
    /// Element type of the blocks.
    pub elem: Elem,
}

impl KvView<'_> {
    /// Elements of one block.
    pub const fn block_len(&self) -> usize {
        2 * self.n_kv_heads * self.block_tokens * self.head_dim
    }
}
