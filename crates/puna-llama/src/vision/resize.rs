//! Bilinear resize of bytes with antialias, bit for bit as the Python Imaging Library does it.

use super::Image;
use crate::Result;
use crate::error::with_capacity;
use alloc::vec::Vec;

/// Fraction bits of the filter's weights: with 8 bits of pixel and 2 to spare they fill 32.
const BITS: u32 = 22;

/// The filter along one axis: for each output the first input it sees and its weights.
struct Filter {
    spans: Vec<(usize, usize)>,
    weights: Vec<i32>,
    /// Weights of one output, those past its span being 0.
    most: usize,
}

impl Filter {
    /// A triangle of two inputs, or of two outputs where those are wider.
    fn new(n_in: usize, n_out: usize) -> Result<Filter> {
        let scale = n_in as f64 / n_out.max(1) as f64;
        let reach = scale.max(1.0);
        // Outputs times weights is about twice the longer side.
        let most = (libm::ceil(reach) as usize).saturating_mul(2).saturating_add(1);
        let mut spans = with_capacity(n_out)?;
        let mut weights = with_capacity(n_out.saturating_mul(most))?;
        for out in 0..n_out {
            let center = (out as f64 + 0.5) * scale;
            let first = (center - reach + 0.5).max(0.0) as usize;
            let end = ((center + reach + 0.5) as usize).min(n_in);
            let n = end.saturating_sub(first).min(most);
            let weight = |x: usize| {
                let at = ((x + first) as f64 - center + 0.5) * (1.0 / reach);
                (1.0 - libm::fabs(at)).max(0.0)
            };
            let total: f64 = (0..n).map(weight).sum();
            let fixed = |w: f64| {
                let w = if total == 0.0 { w } else { w / total };
                (w * f64::from(1 << BITS) + 0.5) as i32
            };
            spans.push((first, n));
            weights.extend((0..n).map(|x| fixed(weight(x))));
            weights.resize((out + 1) * most, 0);
        }
        Ok(Filter { spans, weights, most })
    }

    /// For each output: the inputs it sees, as first and weights.
    fn taps(&self) -> impl Iterator<Item = (usize, &[i32])> {
        let weights = self.weights.chunks_exact(self.most);
        self.spans.iter().zip(weights).map(|(&(first, n), w)| (first, w.get(..n).unwrap_or(w)))
    }
}

/// A rounded sum back to a byte.
fn byte(sum: i32) -> u8 {
    (sum >> BITS).clamp(0, 255) as u8
}

/// One half in a sum, so that it is rounded.
const HALF: i32 = 1 << (BITS - 1);

/// The image at `width` by `height`, as rows of red, green, blue: what the image library calls BILINEAR.
///
/// One axis is resized and rounded to bytes, then the other. Rows come first, unless the height shrinks by more than
/// twice what the width does: so does the library since version 13, and before it rows always came first. The order shows
/// in the last bit of some bytes.
///
/// # Errors
/// Out of memory.
pub fn resize(image: &Image, width: usize, height: usize) -> Result<Vec<u8>> {
    let (across, down) = (Filter::new(image.width(), width)?, Filter::new(image.height(), height)?);
    let less = |from: usize, to: usize| from as i64 - to as i64;
    let (narrower, lower) = (less(image.width(), width), less(image.height(), height));
    if lower > 0 && lower > 2 * narrower {
        columns_first(image, &across, &down)
    } else {
        rows_first(image, &across, &down)
    }
}

/// Resizes one row of pixels onto the end of `out`.
fn resize_row(row: &[u8], across: &Filter, out: &mut Vec<u8>) {
    let (pixels, _) = row.as_chunks::<3>();
    for (first, weights) in across.taps() {
        let mut sum = [HALF; 3];
        for (pixel, &w) in pixels.iter().skip(first).zip(weights) {
            sum.iter_mut().zip(pixel).for_each(|(sum, &v)| *sum += i32::from(v) * w);
        }
        out.extend(sum.map(byte));
    }
}

fn columns_first(image: &Image, across: &Filter, down: &Filter) -> Result<Vec<u8>> {
    let len = image.width() * 3;
    let mut out = with_capacity((across.spans.len() * 3).saturating_mul(down.spans.len()))?;
    let (mut sums, mut row) = (with_capacity(len)?, with_capacity(len)?);
    for (first, weights) in down.taps() {
        sums.clear();
        sums.resize(len, HALF);
        for (pixels, &w) in image.rgb().chunks_exact(len).skip(first).zip(weights) {
            sums.iter_mut().zip(pixels).for_each(|(sum, &v)| *sum += i32::from(v) * w);
        }
        row.clear();
        row.extend(sums.iter().map(|&sum| byte(sum)));
        resize_row(&row, across, &mut out);
    }
    Ok(out)
}

fn rows_first(image: &Image, across: &Filter, down: &Filter) -> Result<Vec<u8>> {
    let len = across.spans.len() * 3;
    let all = len.saturating_mul(down.spans.len());
    let (mut sums, mut row) = (with_capacity(all)?, with_capacity(len)?);
    sums.resize(all, HALF);
    // Output rows whose span has not ended above this source row; spans begin and end in order.
    let mut open = 0;
    for (y, pixels) in image.rgb().chunks_exact(image.width() * 3).enumerate() {
        row.clear();
        resize_row(pixels, across, &mut row);
        while down.spans.get(open).is_some_and(|&(first, n)| first + n <= y) {
            open += 1;
        }
        let outputs = down.taps().zip(sums.chunks_exact_mut(len.max(1))).skip(open);
        for ((first, weights), sums) in outputs.take_while(|((first, _), _)| *first <= y) {
            let w = weights.get(y - first).copied().unwrap_or(0);
            sums.iter_mut().zip(&row).for_each(|(sum, &v)| *sum += i32::from(v) * w);
        }
    }
    let mut out = with_capacity(all)?;
    out.extend(sums.into_iter().map(byte));
    Ok(out)
}
