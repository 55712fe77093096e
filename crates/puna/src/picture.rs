//! Images that a program shows a model.

use crate::error::{Error, Lift};
use core::fmt;
use puna_text::chat::{Image as Pixels, Part};

/// An RGB picture of 8 bits a channel. Cloning shares the pixels.
///
/// ```
/// use puna::{Image, Message};
///
/// let red = Image::rgb8(2, 1, &[255, 0, 0, 255, 0, 0])?;
/// let question = Message::user("Which colour is this?").with(red);
/// # let _ = question;
/// # Ok::<(), puna::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Image(pub(crate) Pixels);

impl Image {
    /// From rows of red, green, blue.
    ///
    /// # Errors
    /// [`ErrorKind::BadInput`](crate::ErrorKind::BadInput) for a side of 0 or above 1,048,576, or when `pixels` is not
    /// `3 * width * height` bytes; refused memory.
    pub fn rgb8(width: usize, height: usize, pixels: &[u8]) -> Result<Image, Error> {
        Pixels::rgb8(width, height, pixels).lift().map(Image)
    }

    /// From rows of red, green, blue and opacity, laid over white.
    ///
    /// # Errors
    /// As [`rgb8`](Self::rgb8), with 4 bytes a pixel.
    pub fn rgba8(width: usize, height: usize, pixels: &[u8]) -> Result<Image, Error> {
        Pixels::rgba8(width, height, pixels).lift().map(Image)
    }

    /// From rows of grey.
    ///
    /// # Errors
    /// As [`rgb8`](Self::rgb8), with 1 byte a pixel.
    pub fn luma8(width: usize, height: usize, pixels: &[u8]) -> Result<Image, Error> {
        Pixels::luma8(width, height, pixels).lift().map(Image)
    }

    /// Pixels from left to right.
    pub fn width(&self) -> usize {
        self.0.width()
    }

    /// Pixels from top to bottom.
    pub fn height(&self) -> usize {
        self.0.height()
    }

    /// Rows of red, green, blue.
    pub fn rgb(&self) -> &[u8] {
        self.0.rgb()
    }
}

impl From<Image> for Part {
    fn from(image: Image) -> Self {
        Part::Picture(image.0)
    }
}

impl fmt::Debug for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
