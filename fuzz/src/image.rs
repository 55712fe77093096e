//! Image files of every format that puna decodes.

use puna::{Image, ImageLimits};

/// Whatever the bytes, an image within the limits or an error of one line.
pub fn image(data: &[u8]) {
    let limits = ImageLimits::default().side(4096).pixels(1 << 18);
    match Image::decode_with(data, &limits) {
        Ok(image) => {
            assert!(image.width() > 0 && image.height() > 0 && image.width() * image.height() <= 1 << 18);
            assert_eq!(image.rgb().len(), 3 * image.width() * image.height());
        }
        Err(error) => {
            let message = error.to_string();
            assert!(!message.is_empty() && !message.contains('\n'), "an error is one line: {message:?}");
        }
    }
}
