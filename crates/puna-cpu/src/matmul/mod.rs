//! The matrix product: which kernel multiplies which format, and how activations are packed for it.

mod pack;

pub use pack::{Form, Packed};
pub(crate) use pack::{Plane, Q8Row, STEP, WIDE_STEP};

use crate::isa::{Amx, Avx512Bf16, Isa};
use crate::kernels::blocks::{self, Block, Shape};
use crate::kernels::dot::{Dot, FEW_ROWS};
use crate::kernels::float::{self, FloatScratch};
use crate::kernels::lanes::{Kernel, Lanes, Portable};
use crate::kernels::narrow::{self, NarrowScratch};
use crate::kernels::tile::{self, TileScratch};
use crate::kernels::wide::{self, WideScratch};
use alloc::collections::TryReserveError;
use core::marker::PhantomData;
use core::ops::Range;
use pack::Pack;
use puna_core::{DType, Layout, Mat};

/// Calls a macro with all block formats.
macro_rules! block_formats {
    ($by_format:ident) => {
        $by_format!(
            Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q2_K, Q3_K, Q4_K, Q5_K, Q6_K, IQ4_NL, IQ4_XS, MXFP4, IQ1_S, IQ1_M,
            IQ2_XXS, IQ2_XS, IQ2_S, IQ3_XXS, IQ3_S, TQ1_0, TQ2_0
        )
    };
}
pub(crate) use block_formats;

/// From this many rows on, tiles multiply weights of block formats and of F16.
const TILE_ROWS: usize = 12;

/// What kernels may do to activations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Activations {
    /// Quantise them to 8 bits for block formats; round them to BF16 for BF16 weights where that is fast, and where there are
    /// tiles, for rows of some number, for block formats and F16 too.
    #[default]
    Auto,
    /// Leave them as they are, for any weight format. Block formats are then expanded by the scalar reference, which is
    /// slow.
    F32,
}

/// The kernels chosen for a processor.
#[derive(Clone, Copy, Debug)]
pub struct Kernels {
    isa: Isa,
    activations: Activations,
}

/// A matrix, the bytes of its region, and its row scales.
///
/// The caller has proven that [`Mat::end`] is within `bytes` and that `scale` has `n_out` values.
#[derive(Clone, Copy, Debug)]
pub struct MatRef<'a> {
    /// Format and dimensions.
    pub mat: &'a Mat,
    /// The whole region that `mat.offset` counts in.
    pub bytes: &'a [u8],
    /// One factor per output.
    pub scale: Option<&'a [f32]>,
}

impl<'a> MatRef<'a> {
    /// The bytes from the start of row `r` (in memory order) on.
    #[inline(always)]
    pub(crate) fn row(&self, r: usize) -> &'a [u8] {
        &self.bytes[self.mat.offset + r * self.mat.stride..]
    }
}

/// Working memory of one thread, about 800 KiB. It never grows.
pub struct Scratch {
    tile: TileScratch,
    narrow: NarrowScratch,
    wide: WideScratch,
    float: FloatScratch,
}

impl Scratch {
    /// Allocates it.
    ///
    /// # Errors
    /// When the allocator refuses.
    pub fn new() -> Result<Self, TryReserveError> {
        Ok(Self {
            tile: TileScratch::new()?,
            narrow: NarrowScratch::new()?,
            wide: WideScratch::new()?,
            float: FloatScratch::new()?,
        })
    }
}

impl Kernels {
    /// The kernels for `isa`.
    pub fn new(isa: Isa, activations: Activations) -> Self {
        Self { isa, activations }
    }

    /// What multiplies this format, for reports.
    pub fn name(&self, dtype: DType) -> &'static str {
        match (self.form(dtype, Layout::OutIn, 1), self.isa) {
            (Form::Bf16, Isa::Amx(_)) => "avx512 bf16 dot, amx bf16 tiles",
            (Form::Bf16, _) => "avx512 bf16 dot",
            (Form::F32, Isa::Scalar) => "scalar f32",
            (Form::F32, Isa::Amx(_)) if dtype == DType::F16 => "avx512 f32 fma, amx bf16 tiles",
            (Form::F32, Isa::Avx2(_) | Isa::AvxVnni(_)) => "avx2 f32 fma",
            (Form::F32, Isa::Avx512(..) | Isa::Amx(_)) => "avx512 f32 fma",
            (Form::F32, Isa::Neon(_) | Isa::NeonDot(_)) => "neon f32 fma",
            (_, Isa::Scalar) => "scalar int8 dot",
            (_, Isa::Avx2(_)) => "avx2 int8 dot",
            (_, Isa::AvxVnni(_)) => "avx-vnni int8 dot",
            (_, Isa::Avx512(..)) => "avx512 vnni int8 dot",
            (_, Isa::Amx(_)) => "avx512 vnni int8 dot, amx bf16 tiles",
            (_, Isa::Neon(_)) => "neon int8 dot",
            (_, Isa::NeonDot(_)) => "neon dotprod int8 dot",
        }
    }

    /// How `n_rows` rows of activations are best packed to meet weights of this format.
    pub fn form(&self, dtype: DType, layout: Layout, n_rows: usize) -> Form {
        let pairs = dtype == DType::BF16 && layout == Layout::OutIn && self.avx512_bf16().is_some();
        if self.activations == Activations::F32 {
            return Form::F32;
        }
        let tiles = self.amx().is_some() && layout == Layout::OutIn && n_rows >= TILE_ROWS;
        if tiles && (dtype == DType::F16 || !dtype.is_plain()) {
            return Form::Bf16;
        }
        macro_rules! by_format {
            ($($format:ident),*) => {
                match dtype {
                    $(DType::$format => self.block_form::<blocks::$format>(n_rows <= self.few_rows(dtype)),)*
                    _ if pairs => Form::Bf16,
                    _ => Form::F32,
                }
            };
        }
        block_formats!(by_format)
    }

    /// Up to this many rows multiply weights of this format as they are unpacked, instead of after it.
    ///
    /// One thread of a Zen 3, three and four rows as few and as many, GOP/s (`roofline --rows 3,4`, the best of three runs): Q3_K
    /// 53, 69 and 61, 71; Q4_K 65, 77 and 78, 93; Q5_K 60, 76 and 65, 78; Q5_0 54, 63 and 69, 79; Q5_1 48, 57 and 64, 77; IQ4_XS
    /// 41, 57 and 48, 58; MXFP4 62, 68 and 75, 91; TQ2_0 86, 99 and 97, 112; IQ3_S 21, 38 and 29, 37. With two rows all are
    /// faster as few, with three and four the others too, or the same.
    fn few_rows(&self, dtype: DType) -> usize {
        match (self.isa, dtype) {
            (
                Isa::Avx2(_),
                DType::Q3_K
                | DType::Q4_K
                | DType::Q5_K
                | DType::Q5_0
                | DType::Q5_1
                | DType::IQ4_XS
                | DType::MXFP4
                | DType::TQ2_0
                | DType::IQ3_S,
            ) => 2,
            _ => FEW_ROWS,
        }
    }

    fn block_form<B: Block>(&self, few: bool) -> Form {
        match (few, B::STEPS) {
            (true, 1) => Form::Q8,
            (true, _) => Form::Q8K,
            (false, _) => Form::Steps { wide: self.wide(B::Shape::LIMIT) },
        }
    }

    /// Whether products with codes up to `limit` are sooner had from 16-bit codes: where sums of two products of bytes
    /// would overflow.
    fn wide(&self, limit: i32) -> bool {
        matches!(self.isa, Isa::Avx2(_)) && limit > tile::LARGEST
    }

    /// Bytes of a packed row of `n_in` values.
    pub fn packed_len(&self, form: Form, n_in: usize) -> usize {
        form.row_bytes(n_in)
    }

    /// Packs `n_in` values times `factor` into [`packed_len`](Self::packed_len) bytes.
    ///
    /// For 8-bit forms `n_in` must be whole blocks of the weights' format. Values that are not finite make all
    /// products that they take part in NaN.
    pub fn pack(&self, form: Form, x: &[f32], n_in: usize, factor: f32, into: &mut [u8]) {
        self.enter(Pack { form, x: &x[..n_in], factor, into });
    }

    /// `tile[r * outs.len() + (o - outs.start)] = sum_i x[r][i] * w[o][i] * scale[o]` for every row `r` of `x` and
    /// every `o` in `outs`. `x` must have the [`form`](Self::form) that the weights take of any number of rows, or
    /// [`Form::F32`], or for [`Layout::OutIn`] weights in BF16, F16 or a block format [`Form::Bf16`], which is slow where the
    /// processor has no instructions for it. Weights of other formats are rounded to BF16 then.
    ///
    /// A value does not depend on the range it was computed in, nor on which rows it was computed with, but may
    /// differ in rounding from form to form, and between few rows and many.
    pub fn product(
        &self,
        w: &MatRef<'_>,
        x: &Packed<'_>,
        outs: Range<usize>,
        scratch: &mut Scratch,
        tile: &mut [f32],
    ) {
        let tile = &mut tile[..x.n_rows * outs.len()];
        if tile.is_empty() {
            return;
        }
        match x.form {
            Form::F32 | Form::Bf16 => {
                let scratch = &mut scratch.float;
                float::Product { w: *w, x: *x, outs: outs.clone(), scratch, tile }.run(self);
            }
            _ => self.integer_product(w, x, outs.clone(), scratch, tile),
        }
        if let Some(scale) = w.scale {
            for row in tile.chunks_exact_mut(outs.len()) {
                for (value, scale) in row.iter_mut().zip(&scale[outs.clone()]) {
                    *value *= scale;
                }
            }
        }
    }

    fn integer_product(
        &self,
        w: &MatRef<'_>,
        x: &Packed<'_>,
        outs: Range<usize>,
        scratch: &mut Scratch,
        tile: &mut [f32],
    ) {
        if x.form == (Form::Steps { wide: true }) {
            let scratch = &mut scratch.wide;
            return match w.mat.dtype {
                DType::Q8_0 => wide::product::<blocks::Q8_0>(self, *w, *x, outs, scratch, tile),
                DType::IQ4_NL => wide::product::<blocks::IQ4_NL>(self, *w, *x, outs, scratch, tile),
                DType::IQ4_XS => wide::product::<blocks::IQ4_XS>(self, *w, *x, outs, scratch, tile),
                // The others fit in bytes and never have this form.
                _ => tile.fill(f32::NAN),
            };
        }
        macro_rules! by_format {
            ($($format:ident),*) => {
                match w.mat.dtype {
                    $(DType::$format => self.blocks::<blocks::$format>(w, x, outs, scratch, tile),)*
                    // Plain formats never have an integer form.
                    _ => tile.fill(f32::NAN),
                }
            };
        }
        block_formats!(by_format)
    }

    fn blocks<B: Block>(
        &self,
        w: &MatRef<'_>,
        x: &Packed<'_>,
        outs: Range<usize>,
        scratch: &mut Scratch,
        tile: &mut [f32],
    ) {
        match (x.form, self.isa) {
            (Form::Steps { .. }, Isa::Avx2(_)) if B::Shape::LIMIT > narrow::LARGEST => {
                tile::product::<B>(self, *w, *x, outs, &mut scratch.tile, tile);
            }
            (Form::Steps { .. }, _) => {
                narrow::product::<B>(self, *w, *x, outs, &mut scratch.narrow, tile);
            }
            _ => self.enter(Dot { w: *w, x: *x, outs, tile, row: PhantomData::<B::Dot> }),
        }
    }

    /// The proof that dot products of BF16 pairs can be had.
    pub(crate) fn avx512_bf16(&self) -> Option<Avx512Bf16> {
        match self.isa {
            Isa::Avx512(_, bf16) => bf16,
            Isa::Amx(Amx(bf16)) => Some(bf16),
            _ => None,
        }
    }

    /// The proof that tiles can be had.
    pub(crate) fn amx(&self) -> Option<Amx> {
        match self.isa {
            Isa::Amx(amx) => Some(amx),
            _ => None,
        }
    }

    /// Runs a kernel if the instruction set is AVX2, for which alone it is compiled.
    pub(crate) fn enter_avx2(&self, kernel: impl Kernel) {
        #[cfg(target_arch = "x86_64")]
        if let Isa::Avx2(lanes) = self.isa {
            lanes.enter(kernel);
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = kernel;
    }

    /// Runs a kernel on the lanes of the instruction set.
    pub(crate) fn enter(&self, kernel: impl Kernel) {
        match self.isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2(lanes) => lanes.enter(kernel),
            #[cfg(target_arch = "x86_64")]
            Isa::AvxVnni(lanes) => lanes.enter(kernel),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512(lanes, _) | Isa::Amx(Amx(Avx512Bf16(lanes))) => lanes.enter(kernel),
            #[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
            Isa::Neon(lanes) => lanes.enter(kernel),
            #[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
            Isa::NeonDot(lanes) => lanes.enter(kernel),
            _ => Portable.enter(kernel),
        }
    }
}
