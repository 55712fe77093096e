//! Image files of every kind become the pixels that a viewer shows.

use crate::hostile::images::png;
use image::codecs::bmp::BmpEncoder;
use image::codecs::gif::GifEncoder;
use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::PngEncoder;
use image::codecs::webp::WebPEncoder;
use image::metadata::Orientation;
use image::{DynamicImage, ExtendedColorType, ImageEncoder, RgbImage};
use puna::Image;
use puna_tests::folder::Folder;
use puna_tests::seeded::Seeded;

/// A small picture of few colours, no two of its sides alike.
fn picture() -> RgbImage {
    let mut rng = Seeded(5);
    let palette: Vec<[u8; 3]> =
        (0..12).map(|_| [rng.bits() as u8, rng.bits() as u8, rng.bits() as u8]).collect();
    RgbImage::from_fn(7, 5, |_, _| image::Rgb(palette[rng.below(12)]))
}

/// The same as files of every format; JPEG, which loses, apart.
pub(crate) fn files() -> Vec<(&'static str, Vec<u8>)> {
    let p = picture();
    let write = |encode: &dyn Fn(&mut Vec<u8>)| {
        let mut out = Vec::new();
        encode(&mut out);
        out
    };
    let rgb = ExtendedColorType::Rgb8;
    vec![
        ("png", write(&|out| PngEncoder::new(out).write_image(&p, 7, 5, rgb).unwrap())),
        ("webp", write(&|out| WebPEncoder::new_lossless(out).write_image(&p, 7, 5, rgb).unwrap())),
        ("bmp", write(&|out| BmpEncoder::new(out).write_image(&p, 7, 5, rgb).unwrap())),
        ("gif", write(&|out| GifEncoder::new(out).encode(&p, 7, 5, rgb).unwrap())),
    ]
}

pub(crate) fn jpeg() -> (RgbImage, Vec<u8>) {
    let smooth =
        RgbImage::from_fn(40, 24, |x, y| image::Rgb([(x * 6) as u8, (y * 10) as u8, (x + y) as u8 * 3]));
    let mut out = Vec::new();
    JpegEncoder::new_with_quality(&mut out, 100)
        .write_image(&smooth, 40, 24, ExtendedColorType::Rgb8)
        .unwrap();
    (smooth, out)
}

#[test]
fn every_format() {
    let (folder, expected) = (Folder::new(), picture());
    for (name, file) in files() {
        let image = Image::decode(&file).unwrap();
        assert_eq!((image.width(), image.height()), (7, 5), "{name}");
        assert_eq!(image.rgb(), expected.as_raw().as_slice(), "{name}");
        // Told by its bytes, whatever it is called.
        assert_eq!(Image::open(folder.write("picture.txt", &file)).unwrap(), image, "{name}");
    }
    let (expected, file) = jpeg();
    let image = Image::decode(&file).unwrap();
    assert_eq!((image.width(), image.height()), (40, 24));
    let off = image.rgb().iter().zip(expected.as_raw().as_slice()).map(|(a, b)| a.abs_diff(*b)).max();
    assert!(off.unwrap() <= 6, "{off:?}");
}

/// Of an animation, the first picture.
#[test]
fn animations() {
    let mut file = Vec::new();
    let frame = |v: u8| image::Frame::new(image::RgbaImage::from_pixel(3, 2, image::Rgba([v, v, v, 255])));
    let mut encoder = GifEncoder::new(&mut file);
    encoder.encode_frames([frame(9), frame(200)]).unwrap();
    drop(encoder);
    assert_eq!(Image::decode(&file).unwrap().rgb(), [9; 18]);
}

#[test]
fn greys_opacity_and_deep_samples() {
    let deep = |v: u16| v.to_ne_bytes();
    let encode = |bytes: &[u8], kind| {
        let mut out = Vec::new();
        PngEncoder::new(&mut out).write_image(bytes, 1, 1, kind).unwrap();
        Image::decode(&out).unwrap().rgb().to_vec()
    };
    assert_eq!(encode(&[77], ExtendedColorType::L8), [77; 3]);
    assert_eq!(encode(&[0, 0], ExtendedColorType::La8), [255; 3], "transparent is white");
    assert_eq!(encode(&[10, 20, 30, 255], ExtendedColorType::Rgba8), [10, 20, 30]);
    assert_eq!(encode(&[0, 100, 255, 128], ExtendedColorType::Rgba8), [127, 177, 255]);
    // The upper byte, as Pillow has it.
    assert_eq!(encode(&deep(0x12ff), ExtendedColorType::L16), [0x12; 3]);
    let rgb = [0x0102, 0x80ff, 0xfffe].map(deep).concat();
    assert_eq!(encode(&rgb, ExtendedColorType::Rgb16), [0x01, 0x80, 0xff]);
    let rgba = [0x0102, 0x80ff, 0xfffe, 0xffff].map(deep).concat();
    assert_eq!(encode(&rgba, ExtendedColorType::Rgba16), [0x01, 0x80, 0xff]);
    let la = [0x4000, 0].map(deep).concat();
    assert_eq!(encode(&la, ExtendedColorType::La16), [255; 3]);
}

#[test]
fn palettes_and_few_bits() {
    // Four pixels of two bits: colours 0 to 3, of which colour 1 is transparent and 2 half so.
    let palette = [255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 8, 7];
    let chunks = [(*b"PLTE", palette.to_vec()), (*b"tRNS", vec![255, 0, 128])];
    let file = png(4, 1, 2, 3, &chunks, &[0, 0b00_01_10_11]);
    let expected = [255, 0, 0, 255, 255, 255, 127, 127, 255, 9, 8, 7];
    assert_eq!(Image::decode(&file).unwrap().rgb(), expected);
    // Eight greys of one bit.
    let file = png(8, 1, 1, 0, &[], &[0, 0b1010_0110]);
    let expected: Vec<u8> = [1, 0, 1, 0, 0, 1, 1, 0].iter().flat_map(|&bit| [bit * 255; 3]).collect();
    assert_eq!(Image::decode(&file).unwrap().rgb(), expected);
}

/// EXIF's eight orientations, in the formats that carry them.
#[test]
fn orientations() {
    let smooth = jpeg().0;
    for code in 1..=8u8 {
        // A TIFF header and one tag: orientation, a short.
        let tag = [0x01, 0x12, 0, 3, 0, 0, 0, 1, 0, code, 0, 0];
        let exif = [&b"MM\0*\0\0\0\x08\0\x01"[..], &tag, &[0; 4]].concat();
        let mut upright = DynamicImage::ImageRgb8(smooth.clone());
        upright.apply_orientation(Orientation::from_exif(code).unwrap());
        let upright = upright.into_rgb8();
        let check = |name: &str, file: &[u8], tolerance: u8| {
            let found = Image::decode(file).unwrap();
            let size = (found.width() as u32, found.height() as u32);
            assert_eq!(size, upright.dimensions(), "{name} {code}");
            let off = found.rgb().iter().zip(upright.as_raw().as_slice()).map(|(a, b)| a.abs_diff(*b)).max();
            assert!(off.unwrap() <= tolerance, "{name} {code}: {off:?}");
        };
        let mut file = Vec::new();
        let mut encoder = PngEncoder::new(&mut file);
        encoder.set_exif_metadata(exif.clone()).unwrap();
        encoder.write_image(&smooth, 40, 24, ExtendedColorType::Rgb8).unwrap();
        check("PNG", &file, 0);
        file.clear();
        let mut encoder = WebPEncoder::new_lossless(&mut file);
        encoder.set_exif_metadata(exif.clone()).unwrap();
        encoder.write_image(&smooth, 40, 24, ExtendedColorType::Rgb8).unwrap();
        check("WebP", &file, 0);
        file.clear();
        let mut encoder = JpegEncoder::new_with_quality(&mut file, 100);
        encoder.set_exif_metadata(exif).unwrap();
        encoder.write_image(&smooth, 40, 24, ExtendedColorType::Rgb8).unwrap();
        check("JPEG", &file, 6);
    }
}
