//! [`EmbedRows`](crate::ops::EmbedRows), scalar.

use super::MatData;
use crate::quant::QuantError;

/// `out[r] = table[tokens[r]]`.
pub fn embed_rows(table: &MatData<'_>, tokens: &[u32], out: &mut [f32]) -> Result<(), QuantError> {
    for (&token, out) in tokens.iter().zip(out.chunks_exact_mut(table.mat.n_in.max(1))) {
        table.row(token as usize, out)?;
        if let Some(scale) = table.scale {
            out.iter_mut().for_each(|v| *v *= scale[token as usize]);
        }
    }
    Ok(())
}
