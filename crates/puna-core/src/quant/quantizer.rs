//! Packing rows.

use super::grid::Grid;
use super::*;

/// Packs rows in one format.
///
/// For the formats with codebooks it holds tables that take some tens of milliseconds to make, and is worth keeping.
#[derive(Clone, Debug)]
pub struct Quantizer {
    dtype: DType,
    tables: Tables,
}

/// What the search of a codebook needs.
#[derive(Clone, Debug)]
enum Tables {
    None,
    Fours(Grid<4>),
    Eights(Grid<8>),
}

impl Quantizer {
    /// Makes the tables of a format.
    pub fn new(dtype: DType) -> Self {
        let tables = match dtype {
            DType::IQ1_S | DType::IQ1_M => Tables::Eights(iq1_s::grid()),
            DType::IQ2_XXS => Tables::Eights(iq2_xxs::grid()),
            DType::IQ2_XS => Tables::Eights(iq2_xs::grid()),
            DType::IQ2_S => Tables::Eights(iq2_s::grid()),
            DType::IQ3_XXS => Tables::Fours(iq3_xxs::grid()),
            DType::IQ3_S => Tables::Fours(iq3_s::grid()),
            _ => Tables::None,
        };
        Self { dtype, tables }
    }

    /// The format.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Packs a row of f32 values.
    ///
    /// `out` must have exactly the bytes of a row of `values.len()` values, which must be whole blocks. `importance` is
    /// one non-negative weight per column (the mean square of the activations that meet it); the formats Q4_0 to Q5_1,
    /// Q2_K to Q6_K and IQ1 to IQ4 minimise the error weighted by it, the others ignore it. Without it, the formats IQ1
    /// and IQ2 are poor. Scales are rounded to f16 and overflow to infinity as f16 does; values that are not finite
    /// spoil their block, nothing else.
    ///
    /// # Errors
    /// [`QuantError::PartialBlock`], [`QuantError::ByteLength`], [`QuantError::ImportanceLength`].
    pub fn row(&self, values: &[f32], importance: Option<&[f32]>, out: &mut [u8]) -> Result<(), QuantError> {
        check_lengths(self.dtype, values.len(), out.len())?;
        if let Some(importance) = importance
            && importance.len() != values.len()
        {
            return Err(QuantError::ImportanceLength { expected: values.len(), found: importance.len() });
        }
        match &self.tables {
            Tables::None => self.plain(values, importance, out),
            Tables::Fours(grid) => match self.dtype {
                DType::IQ3_XXS => {
                    pack_by_importance(values, importance, out, |x, w| iq3_xxs::quantize_block(grid, x, w));
                }
                _ => pack_by_importance(values, importance, out, |x, w| iq3_s::quantize_block(grid, x, w)),
            },
            Tables::Eights(grid) => match self.dtype {
                DType::IQ1_S => {
                    pack_by_importance(values, importance, out, |x, w| iq1_s::quantize_block(grid, x, w));
                }
                DType::IQ1_M => {
                    pack_by_importance(values, importance, out, |x, w| iq1_m::quantize_block(grid, x, w));
                }
                DType::IQ2_XXS => {
                    pack_by_importance(values, importance, out, |x, w| iq2_xxs::quantize_block(grid, x, w));
                }
                DType::IQ2_XS => {
                    pack_by_importance(values, importance, out, |x, w| iq2_xs::quantize_block(grid, x, w));
                }
                _ => pack_by_importance(values, importance, out, |x, w| iq2_s::quantize_block(grid, x, w)),
            },
        }
        Ok(())
    }

    /// The formats without tables.
    fn plain(&self, values: &[f32], importance: Option<&[f32]>, out: &mut [u8]) {
        match self.dtype {
            DType::F32 => pack(values, out, plain::f32_encode),
            DType::F16 => pack(values, out, plain::f16_encode),
            DType::BF16 => pack(values, out, plain::bf16_encode),
            DType::F8E4M3 => pack(values, out, f8_e4m3::quantize_block),
            DType::Q4_0 => pack_by_row_level(values, importance, out, q4_0::quantize_block),
            DType::Q4_1 => pack_by_row_level(values, importance, out, q4_1::quantize_block),
            DType::Q5_0 => pack_by_row_level(values, importance, out, q5_0::quantize_block),
            DType::Q5_1 => pack_by_row_level(values, importance, out, q5_1::quantize_block),
            DType::Q8_0 => pack(values, out, q8_0::quantize_block),
            DType::Q2_K => pack_by_importance(values, importance, out, q2_k::quantize_block),
            DType::Q3_K => pack_by_importance(values, importance, out, q3_k::quantize_block),
            DType::Q4_K => pack_by_importance(values, importance, out, q4_k::quantize_block),
            DType::Q5_K => pack_by_importance(values, importance, out, q5_k::quantize_block),
            DType::Q6_K => pack_by_importance(values, importance, out, q6_k::quantize_block),
            DType::IQ4_NL => pack_by_importance(values, importance, out, iq4_nl::quantize_block),
            DType::IQ4_XS => pack_by_importance(values, importance, out, iq4_xs::quantize_block),
            DType::MXFP4 => pack(values, out, mxfp4::quantize_block),
            DType::TQ1_0 => pack(values, out, tq1_0::quantize_block),
            DType::TQ2_0 => pack(values, out, tq2_0::quantize_block),
            // Those with tables.
            DType::IQ1_S
            | DType::IQ1_M
            | DType::IQ2_XXS
            | DType::IQ2_XS
            | DType::IQ2_S
            | DType::IQ3_XXS
            | DType::IQ3_S => {}
        }
    }
}

/// Packs one row, as [`Quantizer::row`] does, in a format without a codebook.
///
/// # Errors
/// As there, and [`QuantError::NoQuantizer`] where [`can_quantize`] is false.
pub fn quantize_row(
    dtype: DType,
    values: &[f32],
    importance: Option<&[f32]>,
    out: &mut [u8],
) -> Result<(), QuantError> {
    if !can_quantize(dtype) {
        return Err(QuantError::NoQuantizer { dtype });
    }
    Quantizer::new(dtype).row(values, importance, out)
}

fn pack<const B: usize, const L: usize>(x: &[f32], out: &mut [u8], block: impl Fn(&[f32; L]) -> [u8; B]) {
    for (x, out) in x.as_chunks().0.iter().zip(out.as_chunks_mut().0) {
        *out = block(x);
    }
}

/// Formats that weigh errors within a block.
fn pack_by_importance<const B: usize, const L: usize>(
    x: &[f32],
    importance: Option<&[f32]>,
    out: &mut [u8],
    block: impl Fn(&[f32; L], Option<&[f32; L]>) -> [u8; B],
) {
    let Some(importance) = importance else {
        return pack(x, out, |x| block(x, None));
    };
    let importance = importance.as_chunks().0;
    for ((x, importance), out) in x.as_chunks().0.iter().zip(importance).zip(out.as_chunks_mut().0) {
        *out = block(x, Some(importance));
    }
}

/// The 32-value formats: their blocks are too short to tell the general level, so the row's is used.
fn pack_by_row_level<const B: usize, const L: usize>(
    x: &[f32],
    importance: Option<&[f32]>,
    out: &mut [u8],
    block: fn(&[f32; L], Option<&[f32; L]>) -> [u8; B],
) {
    let Some(importance) = importance else {
        return pack(x, out, |x| block(x, None));
    };
    let level = fit::mean_square(x);
    let importance = importance.as_chunks().0;
    for ((x, importance), out) in x.as_chunks().0.iter().zip(importance).zip(out.as_chunks_mut().0) {
        *out = block(x, Some(&fit::weigh(x, importance, level)));
    }
}
