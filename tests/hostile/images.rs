//! Damaged, huge and endless images: each is a clear error, nothing is lost, and the session goes on.

use super::assert_clear;
use crate::images::{files, jpeg};
use puna::{Cancel, DeviceKind, ErrorKind, Image, ImageLimits, LoadOptions, Message, Model, SessionOptions};
use puna_testkit::goldens::{Rounding, VisionGolden};
use puna_tests::folder::Folder;

/// A PNG file with these chunks before its data, which is stored, not compressed.
pub(crate) fn png(
    width: u32,
    height: u32,
    bits: u8,
    color: u8,
    chunks: &[([u8; 4], Vec<u8>)],
    data: &[u8],
) -> Vec<u8> {
    let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
    let mut chunk = |name: &[u8; 4], body: &[u8]| {
        file.extend((body.len() as u32).to_be_bytes());
        let start = file.len();
        file.extend(name);
        file.extend(body);
        let crc = file[start..].iter().fold(!0u32, |crc, &byte| {
            (0..8).fold(crc ^ u32::from(byte), |c, _| (c >> 1) ^ (0xedb8_8320 & (c & 1).wrapping_neg()))
        });
        file.extend((!crc).to_be_bytes());
    };
    let size = [width.to_be_bytes(), height.to_be_bytes()].concat();
    chunk(b"IHDR", &[&size[..], &[bits, color, 0, 0, 0]].concat());
    for (name, body) in chunks {
        chunk(name, body);
    }
    let len = data.len() as u16;
    let (a, b) = data.iter().fold((1u32, 0u32), |(a, b), &v| {
        let a = (a + u32::from(v)) % 65521;
        (a, (b + a) % 65521)
    });
    let stored = [&[0x78, 1, 1][..], &len.to_le_bytes(), &(!len).to_le_bytes(), data].concat();
    chunk(b"IDAT", &[&stored[..], &(b << 16 | a).to_be_bytes()].concat());
    chunk(b"IEND", &[]);
    file
}

/// Files that say they are 60,000 pixels wide and high, or as many as their format can say.
fn huge() -> Vec<(&'static str, Vec<u8>)> {
    let side = 60_000u32;
    let mut bmp = b"BM\0\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0".to_vec();
    bmp.extend([side.to_le_bytes(), side.to_le_bytes()].concat());
    bmp.extend([1, 0, 24, 0]);
    bmp.extend([0; 24]);
    let mut gif =
        b"GIF89a\x60\xea\x60\xea\0\0\0,\0\0\0\0\x60\xea\x60\xea\x80\0\0\0\xff\xff\xff\x02\x02\x44\x01\0;"
            .to_vec();
    gif.extend([0; 8]);
    let mut jpeg = jpeg().1;
    let at = jpeg.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap();
    jpeg[at + 5..at + 9].copy_from_slice(&[0xea, 0x60, 0xea, 0x60]);
    // 16,383 by 16,383: lossless WebP has 14 bits for a side.
    let mut webp = b"RIFF\x1e\0\0\0WEBPVP8L\x11\0\0\0\x2f\xfe\xbf\xff\x0f".to_vec();
    webp.extend([0; 13]);
    vec![
        ("png", png(side, side, 8, 2, &[], &[0; 16])),
        ("bmp", bmp),
        ("gif", gif),
        ("jpeg", jpeg),
        ("webp", webp),
    ]
}

#[test]
fn huge_headers_take_nothing() {
    for (name, file) in huge() {
        let error = Image::decode(&file).unwrap_err();
        assert_clear(name, &error, ErrorKind::Limit, &[]);
    }
    // The caller's own limits, below and above.
    let good = &files()[0].1;
    let limits = ImageLimits::default();
    for (limits, word) in
        [(limits.side(6), "side"), (limits.pixels(34), "pixels"), (limits.file_bytes(20), "bytes")]
    {
        assert_clear(word, &Image::decode_with(good, &limits).unwrap_err(), ErrorKind::Limit, &[word]);
    }
    Image::decode_with(good, &limits.side(7).pixels(35).file_bytes(good.len() as u64)).unwrap();
    let folder = Folder::new();
    let path = folder.write("big.png", good);
    let error = Image::open_with(&path, &limits.file_bytes(20)).unwrap_err();
    assert_clear("file", &error, ErrorKind::Limit, &["big.png", "20"]);
}

#[test]
fn truncated_files() {
    let mut all = files();
    all.push(("jpeg", jpeg().1));
    for (name, file) in all {
        let whole = Image::decode(&file).unwrap();
        for n in 0..file.len() {
            match Image::decode(&file[..n]) {
                // The marks at the end of a file that say nothing but that it ends.
                Ok(image) => assert!(image == whole && n + 13 > file.len(), "{name}, {n} of {}", file.len()),
                Err(error) => {
                    let message = error.to_string();
                    assert!(!message.contains('\n') && message.contains("image"), "{name}, {n}: {message}");
                    let kinds = [ErrorKind::BadFile, ErrorKind::Unsupported];
                    assert!(kinds.contains(&error.kind()), "{name}, {n}: {error:?}");
                }
            }
        }
    }
}

#[test]
fn wrong_files() {
    let mut broken = files()[0].1.clone();
    let at = broken.len() - 30;
    broken[at] ^= 0xff;
    for (what, file, kind) in [
        ("empty", vec![], ErrorKind::Unsupported),
        ("text", b"hello".to_vec(), ErrorKind::Unsupported),
        ("svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>".to_vec(), ErrorKind::Unsupported),
        ("tiff", b"II*\0\x08\0\0\0\0\0\0\0\0\0\0\0".to_vec(), ErrorKind::Unsupported),
        ("no width", png(0, 5, 8, 2, &[], &[0; 5]), ErrorKind::BadFile),
        ("no height", png(5, 0, 8, 2, &[], &[]), ErrorKind::BadFile),
        ("no such colour type", png(1, 1, 8, 5, &[], &[0, 0]), ErrorKind::BadFile),
        ("no such depth", png(1, 1, 7, 0, &[], &[0, 0]), ErrorKind::BadFile),
        ("no palette", png(1, 1, 8, 3, &[], &[0, 0]), ErrorKind::BadFile),
        ("too little data", png(4, 4, 8, 2, &[], &[0; 13]), ErrorKind::BadFile),
        ("a flipped bit", broken, ErrorKind::BadFile),
    ] {
        assert_clear(what, &Image::decode(&file).unwrap_err(), kind, &["image"]);
    }
    let error = Image::open("/no/such/picture.png").unwrap_err();
    assert_clear("missing", &error, ErrorKind::Io, &["picture.png"]);
    for (width, height, len) in [(0, 1, 0), (1, 0, 0), (2, 2, 11), (usize::MAX, usize::MAX, 0)] {
        let error = Image::rgb8(width, height, &vec![0; len]).unwrap_err();
        assert_clear("pixels", &error, ErrorKind::BadInput, &["image"]);
    }
}

fn seeing() -> (VisionGolden, Model) {
    let golden = VisionGolden::load();
    let pair = golden.gguf_pair(Rounding::F32, "ln2");
    let options = LoadOptions::default().threads(1).device(DeviceKind::Cpu);
    let model = Model::open(pair.path(), &options.mmproj(pair.directory().join("mmproj.gguf"))).unwrap();
    (golden, model)
}

#[test]
fn images_past_the_context() {
    let (_, model) = seeing();
    let mut session = model.session(&SessionOptions::default().context(60)).unwrap();
    session.push(&[Message::user("hello")]).unwrap();
    let before = session.tokens().to_vec();
    let logits = session.logits(&Cancel::new()).unwrap().to_vec();
    // 16 tiles and the whole: 87 tokens.
    let wide = Image::luma8(5000, 300, &vec![9; 1_500_000]).unwrap();
    let small = Image::luma8(5, 3, &[9; 15]).unwrap();
    let too_many = (0..9).fold(Message::user("x"), |message, _| message.with(small.clone()));
    for message in [Message::user("x").with(wide.clone()), too_many] {
        let error = session.push(&[message]).unwrap_err();
        assert_clear("context", &error, ErrorKind::ContextFull, &["60"]);
        assert_eq!(session.tokens(), before);
        session.truncate(before.len() - 1);
        session.push_tokens(&before[before.len() - 1..]).unwrap();
        let again = session.logits(&Cancel::new()).unwrap();
        assert!(again.iter().zip(&logits).all(|(a, b)| (a - b).abs() < 1e-4));
    }
    // Placeholders and images that do not match in number.
    for (text, n) in [("no place", 1), ("<|image|><|image|>", 1), ("<|image|>", 0), ("<|image|>", 2)] {
        let images = vec![small.clone(); n];
        let error = session.push_text_with(text, &images).unwrap_err();
        assert_clear(text, &error, ErrorKind::BadInput, &["<|image|>", &n.to_string()]);
        assert_eq!(session.tokens(), before);
    }
    // Cancelled within the tower: the tokens wait, and the next call computes them.
    session.push(&[Message::user("x").with(small)]).unwrap();
    let cancel = Cancel::new();
    cancel.cancel();
    assert_clear("cancel", &session.prefill(&cancel).unwrap_err(), ErrorKind::Cancelled, &["cancel"]);
    session.prefill(&Cancel::new()).unwrap();
}

/// A thousand images in one session, each with seven tokens, all different.
#[test]
fn a_thousand_images() {
    let (_, model) = seeing();
    let mut session = model.session(&SessionOptions::default().context(1024)).unwrap();
    let mut seen = 0;
    for i in 0..1000u32 {
        let pixels: Vec<u8> = (0..48u32).map(|k| (k * i % 251) as u8).collect();
        let image = Image::rgb8(4, 4, &pixels).unwrap();
        if let Err(error) = session.push(&[Message::user("").with(image.clone())]) {
            assert_clear("full", &error, ErrorKind::ContextFull, &["1024"]);
            session.truncate(0);
            session.push(&[Message::user("").with(image)]).unwrap();
        }
        session.prefill(&Cancel::new()).unwrap();
        seen += 1;
    }
    // Only the blank image and its multiples come again.
    assert_eq!((seen, session.images_encoded()), (1000, 251));
    assert!(session.logits(&Cancel::new()).unwrap().iter().all(|v| v.is_finite()));
}

/// A tower whose weights overflow gives no features; the session says so and can leave the image out.
#[test]
fn features_that_are_not_finite() {
    let golden = VisionGolden::load();
    let mut tensors = golden.clone();
    tensors.tensors.f32("multi_modal_projector.linear_1.weight", &[40, 28], &[3e38; 40 * 28]);
    let folder = puna_testkit::ModelDir::new("overflow");
    folder.write("config.json", golden.config.to_string().as_bytes());
    folder.write("model.safetensors", &tensors.safetensors());
    let model = Model::open(folder.path(), &LoadOptions::default().threads(1)).unwrap();
    let mut session = model.session(&SessionOptions::default()).unwrap();
    let (ids, pixels) = golden.prompt("one");
    let error = session.place_pixels(&ids, &pixels, &Cancel::new()).unwrap_err();
    assert_clear("overflow", &error, ErrorKind::BadInput, &["image features"]);
    session.push_tokens(&ids).unwrap();
    session.prefill(&Cancel::new()).unwrap();
}
