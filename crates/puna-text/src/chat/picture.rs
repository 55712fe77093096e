//! Pictures in memory.

use crate::TextError;
use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// Longest side of an image.
pub const MAX_SIDE: usize = 1 << 20;

/// An RGB picture of 8 bits a channel. Cloning shares the pixels.
#[derive(Clone, PartialEq, Eq)]
pub struct Image {
    width: usize,
    height: usize,
    rgb: Arc<Vec<u8>>,
}

impl Image {
    /// From rows of red, green, blue.
    ///
    /// # Errors
    /// [`TextError::Image`] when a side is 0 or above [`MAX_SIDE`], or `pixels` is not `3 * width * height` bytes.
    pub fn rgb8(width: usize, height: usize, pixels: &[u8]) -> Result<Image, TextError> {
        Self::build::<3>(width, height, pixels, |rgb| rgb)
    }

    /// From rows of red, green, blue and opacity, laid over white.
    ///
    /// # Errors
    /// As [`rgb8`](Self::rgb8), with 4 bytes a pixel.
    pub fn rgba8(width: usize, height: usize, pixels: &[u8]) -> Result<Image, TextError> {
        Self::build::<4>(width, height, pixels, |[r, g, b, a]| [r, g, b].map(|v| over_white(v, a)))
    }

    /// From rows of grey.
    ///
    /// # Errors
    /// As [`rgb8`](Self::rgb8), with 1 byte a pixel.
    pub fn luma8(width: usize, height: usize, pixels: &[u8]) -> Result<Image, TextError> {
        Self::build::<1>(width, height, pixels, |[v]| [v; 3])
    }

    /// From what `pixel` says of each place (x, y): red, green, blue and opacity, laid over white.
    ///
    /// # Errors
    /// As [`rgb8`](Self::rgb8).
    pub fn from_fn(
        width: usize,
        height: usize,
        pixel: impl Fn(usize, usize) -> [u8; 4],
    ) -> Result<Image, TextError> {
        check_sides(width, height)?;
        let mut rgb = values(width.saturating_mul(height).saturating_mul(3))?;
        for y in 0..height {
            rgb.extend((0..width).flat_map(|x| {
                let [r, g, b, a] = pixel(x, y);
                [r, g, b].map(|v| if a == 255 { v } else { over_white(v, a) })
            }));
        }
        Ok(Image { width, height, rgb: Arc::new(rgb) })
    }

    fn build<const N: usize>(
        width: usize,
        height: usize,
        pixels: &[u8],
        rgb: impl Fn([u8; N]) -> [u8; 3],
    ) -> Result<Image, TextError> {
        check_sides(width, height)?;
        let n = width.checked_mul(height).and_then(|n| n.checked_mul(N));
        if n != Some(pixels.len()) {
            let expected = format!("{N} bytes for each of {width} x {height}");
            return Err(TextError::image("image pixels", expected, pixels.len()));
        }
        let (pixels, _) = pixels.as_chunks::<N>();
        let mut values = values(pixels.len().saturating_mul(3))?;
        values.extend(pixels.iter().flat_map(|&pixel| rgb(pixel)));
        Ok(Image { width, height, rgb: Arc::new(values) })
    }

    /// Pixels from left to right.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Pixels from top to bottom.
    pub fn height(&self) -> usize {
        self.height
    }

    /// Rows of red, green, blue.
    pub fn rgb(&self) -> &[u8] {
        &self.rgb
    }
}

impl core::fmt::Debug for Image {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Image({} x {})", self.width, self.height)
    }
}

fn check_sides(width: usize, height: usize) -> Result<(), TextError> {
    for (what, side) in [("image width", width), ("image height", height)] {
        if !(1..=MAX_SIDE).contains(&side) {
            return Err(TextError::image(what, format!("1 to {MAX_SIDE}"), side));
        }
    }
    Ok(())
}

/// Room for so many samples.
fn values(len: usize) -> Result<Vec<u8>, TextError> {
    let mut values = Vec::new();
    values.try_reserve_exact(len).map_err(|_| TextError::OutOfMemory { what: "an image" })?;
    Ok(values)
}

/// One channel of a pixel of opacity `a` over white, with the fixed-point rounding of the image library that the
/// reference preprocessing uses.
fn over_white(v: u8, a: u8) -> u8 {
    let (v, a) = (u32::from(v), u32::from(a));
    let sum = ((v * a + 255 * (255 - a)) << 7) + (0x80 << 7);
    // Division by 255, rounded; the sum is at most 255 * 255.5 * 128, so the result fits in a byte.
    ((((sum >> 8) + sum) >> 8) >> 7) as u8
}
