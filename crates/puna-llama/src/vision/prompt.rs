//! Where in a prompt an image's rows go.

use super::Features;
use crate::error::with_capacity;
use crate::{LlamaError, Result};
use alloc::format;
use alloc::vec::Vec;
use puna_text::chat::ImageLayout;
use puna_text::special;

/// Rows that take the place of the embeddings at positions `at ..`.
#[derive(Clone, Debug, PartialEq)]
pub struct Embed {
    /// Absolute position of the first row.
    pub at: u64,
    /// Which row of `features` that is.
    pub first: usize,
    /// Number of rows.
    pub n: usize,
    /// Where the rows are.
    pub features: Features,
}

impl Embed {
    /// The position after the last row.
    pub fn end(&self) -> u64 {
        self.at.saturating_add(self.n as u64)
    }

    /// The rows for positions `from .. to`, and the first of these positions; `None` when there are none.
    pub(crate) fn overlap(&self, from: u64, to: u64) -> Option<(u64, &[f32])> {
        let (start, end) = (self.at.max(from), self.end().min(to));
        let n = usize::try_from(end.checked_sub(start)?).ok().filter(|&n| n > 0)?;
        let first = self.first + usize::try_from(start - self.at).ok()?;
        Some((start, self.features.rows(first, n)))
    }
}

/// The ids that a tokenizer gives the tokens of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageIds {
    /// `<|image_start|>`.
    pub start: u32,
    /// `<|image_end|>`.
    pub end: u32,
    /// `<|image|>`.
    pub image: u32,
    /// `<|patch|>`, whose embedding is replaced.
    pub patch: u32,
    /// `<|tile_x_separator|>`.
    pub tile_x: u32,
    /// `<|tile_y_separator|>`.
    pub tile_y: u32,
}

impl ImageIds {
    /// Asks `id` for each token; `None` when the vocabulary lacks one.
    pub fn find(mut id: impl FnMut(&str) -> Option<u32>) -> Option<ImageIds> {
        Some(ImageIds {
            start: id(special::IMAGE_START)?,
            end: id(special::IMAGE_END)?,
            image: id(special::IMAGE)?,
            patch: id(special::PATCH)?,
            tile_x: id(special::TILE_X_SEPARATOR)?,
            tile_y: id(special::TILE_Y_SEPARATOR)?,
        })
    }

    fn of(&self, name: &str) -> u32 {
        match name {
            special::IMAGE_START => self.start,
            special::IMAGE_END => self.end,
            special::IMAGE => self.image,
            special::TILE_X_SEPARATOR => self.tile_x,
            special::TILE_Y_SEPARATOR => self.tile_y,
            _ => self.patch,
        }
    }
}

/// Replaces each `<|image|>` by the tokens of the image of that number.
///
/// # Errors
/// [`LlamaError::Image`] when there are not as many placeholders as images; out of memory.
pub fn expand(tokens: &[u32], ids: &ImageIds, images: &[ImageLayout]) -> Result<Vec<u32>> {
    let found = tokens.iter().filter(|&&t| t == ids.image).count();
    if found != images.len() {
        let expected = format!("{}, as many as images", images.len());
        return Err(LlamaError::image("<|image|> placeholders", expected, found));
    }
    let more: u64 = images.iter().map(|image| image.n_tokens()).fold(0, u64::saturating_add);
    let len = usize::try_from(more).unwrap_or(usize::MAX).saturating_add(tokens.len());
    let mut out = with_capacity(len)?;
    let mut images = images.iter();
    for &token in tokens {
        match images.as_slice().first().filter(|_| token == ids.image) {
            Some(image) => {
                out.extend(image.tokens().map(|name| ids.of(name)));
                images.next();
            }
            None => out.push(token),
        }
    }
    Ok(out)
}

/// Consecutive rows of an image and the positions they go to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Which image.
    pub image: usize,
    /// Absolute position of the first row.
    pub at: u64,
    /// Which of the image's rows that is.
    pub first: usize,
    /// Number of rows.
    pub n: usize,
}

/// Says where rows go before there are any: the `<|patch|>` tokens of a prompt that begins at position `pos` take, in
/// order, the rows of images that have so many each.
///
/// # Errors
/// [`LlamaError::Image`] when there are not as many patches as rows; out of memory.
pub fn spans(tokens: &[u32], pos: u64, patch: u32, rows: &[usize]) -> Result<Vec<Span>> {
    let expected = rows.iter().fold(0usize, |sum, &n| sum.saturating_add(n));
    let found = tokens.iter().filter(|&&t| t == patch).count();
    if found != expected {
        let expected = format!("{expected}, as many as rows of image features");
        return Err(LlamaError::image("<|patch|> tokens", expected, found));
    }
    let mut all: Vec<Span> = Vec::new();
    let mut images = rows.iter().enumerate().filter(|&(_, &n)| n > 0);
    let (mut current, mut row) = (images.next(), 0);
    for (at, _) in (pos..).zip(tokens).filter(|&(_, &t)| t == patch) {
        let Some((image, &n)) = current else { break };
        match all.last_mut().filter(|last| row > 0 && last.at + last.n as u64 == at) {
            Some(last) => last.n += 1,
            None => {
                all.try_reserve(1).map_err(|_| LlamaError::out_of_memory::<Span>(1))?;
                all.push(Span { image, at, first: row, n: 1 });
            }
        }
        row += 1;
        if row == n {
            (current, row) = (images.next(), 0);
        }
    }
    Ok(all)
}

/// [`spans`] of images whose rows are there.
///
/// # Errors
/// As [`spans`].
pub fn place(tokens: &[u32], pos: u64, patch: u32, images: &[Features]) -> Result<Vec<Embed>> {
    let mut rows = with_capacity(images.len())?;
    rows.extend(images.iter().map(Features::n_rows));
    let spans = spans(tokens, pos, patch, &rows)?;
    let mut embeds = with_capacity(spans.len())?;
    embeds.extend(spans.into_iter().filter_map(|Span { image, at, first, n }| {
        images.get(image).map(|features| Embed { at, first, n, features: features.clone() })
    }));
    Ok(embeds)
}
