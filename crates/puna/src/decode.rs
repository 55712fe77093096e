//! Image files: PNG, JPEG, WebP, GIF and BMP to pixels, under limits.
//!
//! Whatever a file holds, the result is what a viewer shows: turned as its EXIF data says, transparency over white,
//! palettes and greys as colours, of an animation the first picture. Samples of 16 bits are cut to their upper 8, as
//! Pillow does, with which Meta prepares images.

use crate::error::{Error, ErrorKind, Lift, Place};
use crate::{Image, jpeg};
use ::image::metadata::Orientation;
use ::image::{ColorType, ImageDecoder, ImageError, ImageFormat, ImageReader};
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use puna_text::chat::Image as Pixels;
use std::fs::File;
use std::io::{Cursor, Read};
use std::path::Path;

/// What an image file may cost. It is checked before memory is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ImageLimits {
    /// Longest side in pixels. Default: 65,536.
    pub side: usize,
    /// Most pixels. Default: 67,108,864 (8192 x 8192). Decoding takes up to 11 bytes for each.
    pub pixels: u64,
    /// Largest file in bytes. Default: 268,435,456.
    pub file_bytes: u64,
}

impl Default for ImageLimits {
    fn default() -> Self {
        ImageLimits { side: 1 << 16, pixels: 1 << 26, file_bytes: 256 << 20 }
    }
}

impl ImageLimits {
    /// Sets the longest side.
    #[must_use]
    pub fn side(mut self, pixels: usize) -> Self {
        self.side = pixels;
        self
    }

    /// Sets the most pixels.
    #[must_use]
    pub fn pixels(mut self, pixels: u64) -> Self {
        self.pixels = pixels;
        self
    }

    /// Sets the largest file.
    #[must_use]
    pub fn file_bytes(mut self, bytes: u64) -> Self {
        self.file_bytes = bytes;
        self
    }
}

/// Image files (feature `image`).
impl Image {
    /// Reads a PNG, JPEG, WebP, GIF or BMP file, told by its first bytes and not by its name.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] for a file that cannot be read; and as [`decode`](Self::decode).
    pub fn open(path: impl AsRef<Path>) -> Result<Image, Error> {
        Self::open_with(path, &ImageLimits::default())
    }

    /// [`open`](Self::open) under limits of the caller's.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_with(path: impl AsRef<Path>, limits: &ImageLimits) -> Result<Image, Error> {
        let path = path.as_ref();
        let read = || {
            // A pipe or a growing file has no length to trust: one byte more than allowed is asked for.
            let mut file = File::open(path).lift()?.take(limits.file_bytes.saturating_add(1));
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes).lift()?;
            Self::decode_with(&bytes, limits)
        };
        read().place(path.display())
    }

    /// Decodes a whole PNG, JPEG, WebP, GIF or BMP file, turned as its EXIF data says, transparency laid over white; the
    /// first picture of an animation.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] for another format, [`ErrorKind::BadFile`] for a damaged or truncated file,
    /// [`ErrorKind::Limit`] for an image that is larger than [`ImageLimits`] allow, which takes no memory.
    ///
    /// ```
    /// let error = puna::Image::decode(b"no image").unwrap_err();
    /// assert_eq!(error.kind(), puna::ErrorKind::Unsupported);
    /// ```
    pub fn decode(bytes: &[u8]) -> Result<Image, Error> {
        Self::decode_with(bytes, &ImageLimits::default())
    }

    /// [`decode`](Self::decode) under limits of the caller's.
    ///
    /// # Errors
    /// As [`decode`](Self::decode).
    pub fn decode_with(bytes: &[u8], limits: &ImageLimits) -> Result<Image, Error> {
        within("bytes of an image file", limits.file_bytes, bytes.len() as u64)?;
        let format = ::image::guess_format(bytes).ok().filter(|format| FORMATS.contains(format));
        let format = format.ok_or_else(|| {
            Error::unsupported("image: expected a PNG, JPEG, WebP, GIF or BMP file, found another format")
        })?;
        if format == ImageFormat::Jpeg && !jpeg::is_whole(bytes) {
            return Err(bad(format, "the file is truncated: expected an end-of-image marker, found the end"));
        }
        let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
        reader.limits(decoder_limits(limits));
        let mut decoder = reader.into_decoder().map_err(|e| error(format, e))?;
        let (width, height) = decoder.dimensions();
        if width == 0 || height == 0 {
            return Err(bad(format, format_args!("expected a size, found {width} x {height}")));
        }
        within("pixels along a side of an image", limits.side as u64, width.max(height).into())?;
        within("pixels of an image", limits.pixels, u64::from(width) * u64::from(height))?;
        let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
        let color = decoder.color_type();
        let raw = raw(format, decoder)?;
        pixels(width as usize, height as usize, color, orientation, &raw).ok_or_else(|| {
            bad(format, format_args!("expected whole rows of grey or colour, found {color:?}"))
        })?
    }
}

const FORMATS: [ImageFormat; 5] =
    [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::WebP, ImageFormat::Gif, ImageFormat::Bmp];

fn within(what: &str, limit: u64, found: u64) -> Result<(), Error> {
    match found <= limit {
        true => Ok(()),
        false => {
            Err(Error::new(ErrorKind::Limit, format_args!("{what}: expected at most {limit}, found {found}")))
        }
    }
}

/// What the decoder may take beside the samples it hands over: they, and as much again.
fn decoder_limits(limits: &ImageLimits) -> ::image::Limits {
    let mut out = ::image::Limits::default();
    out.max_alloc = Some(limits.pixels.saturating_mul(16).max(1 << 20));
    out
}

fn bad(format: ImageFormat, message: impl core::fmt::Display) -> Error {
    Error::new(ErrorKind::BadFile, format_args!("{} image: {message}", name(format)))
}

fn name(format: ImageFormat) -> &'static str {
    match format {
        ImageFormat::Png => "PNG",
        ImageFormat::Jpeg => "JPEG",
        ImageFormat::WebP => "WebP",
        ImageFormat::Gif => "GIF",
        _ => "BMP",
    }
}

fn error(format: ImageFormat, e: ImageError) -> Error {
    let kind = match &e {
        ImageError::Limits(_) => ErrorKind::Limit,
        ImageError::Unsupported(_) => ErrorKind::Unsupported,
        _ => ErrorKind::BadFile,
    };
    // Some messages have several lines.
    let message: String = e.to_string().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    Error::new(kind, format_args!("{} image: {message}", name(format)))
}

/// All samples, in memory that may be refused.
fn raw(format: ImageFormat, decoder: impl ImageDecoder) -> Result<Vec<u8>, Error> {
    let len = decoder.total_bytes();
    let refused = || Error::new(ErrorKind::OutOfMemory, format_args!("{len} bytes of memory were refused"));
    let n = usize::try_from(len).map_err(|_| refused())?;
    let mut raw = Vec::new();
    raw.try_reserve_exact(n).map_err(|_| refused())?;
    raw.resize(n, 0);
    decoder.read_image(&mut raw).map_err(|e| error(format, e))?;
    Ok(raw)
}

/// Samples to an upright image; `None` for samples that none of the formats has.
fn pixels(
    width: usize,
    height: usize,
    color: ColorType,
    orientation: Orientation,
    raw: &[u8],
) -> Option<Result<Image, Error>> {
    let (bytes, wide) =
        (usize::from(color.bytes_per_pixel()), color.bytes_per_pixel() / color.channel_count());
    let channels = usize::from(color.channel_count());
    if !(wide == 1 || wide == 2) || !(1..=4).contains(&channels) || raw.len() != width * height * bytes {
        return None;
    }
    let step = usize::from(wide);
    // Samples are in the machine's byte order; the upper byte of a wide one is what it is to 8 bits.
    let upper = if cfg!(target_endian = "little") { step - 1 } else { 0 };
    let turned = matches!(
        orientation,
        Orientation::Rotate90
            | Orientation::Rotate270
            | Orientation::Rotate90FlipH
            | Orientation::Rotate270FlipH
    );
    let (w, h) = if turned { (height, width) } else { (width, height) };
    let (right, bottom) = (width - 1, height - 1);
    let at = |x: usize, y: usize| {
        let (x, y) = match orientation {
            Orientation::NoTransforms => (x, y),
            Orientation::Rotate90 => (y, bottom - x),
            Orientation::Rotate180 => (right - x, bottom - y),
            Orientation::Rotate270 => (right - y, x),
            Orientation::FlipHorizontal => (right - x, y),
            Orientation::FlipVertical => (x, bottom - y),
            Orientation::Rotate90FlipH => (y, x),
            Orientation::Rotate270FlipH => (right - y, bottom - x),
        };
        let pixel = raw.get((y * width + x) * bytes..).unwrap_or_default();
        let sample = |c: usize| pixel.get(c * step + upper).copied().unwrap_or(0);
        match channels {
            1 => [sample(0), sample(0), sample(0), 255],
            2 => [sample(0), sample(0), sample(0), sample(1)],
            3 => [sample(0), sample(1), sample(2), 255],
            _ => [sample(0), sample(1), sample(2), sample(3)],
        }
    };
    Some(Pixels::from_fn(w, h, at).lift().map(Image))
}
