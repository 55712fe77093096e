//! NumPy's `.npy` files of 32-bit floats: written row by row, read as a whole.

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::Path;

/// A file of known shape that is being filled.
pub(crate) struct NpyWriter {
    file: BufWriter<File>,
    left: u64,
}

impl NpyWriter {
    /// Creates the file and writes its header: format version 1.0, little-endian f32, C order.
    pub(crate) fn create(path: &Path, shape: &[u64]) -> io::Result<Self> {
        let mut file = BufWriter::with_capacity(1 << 20, File::create(path)?);
        file.write_all(&header(shape))?;
        Ok(Self { file, left: shape.iter().product() })
    }

    /// Writes the next values.
    pub(crate) fn write(&mut self, values: &[f32]) -> io::Result<()> {
        let too_many = || {
            io::Error::other(format!("expected at most {} more values, found {}", self.left, values.len()))
        };
        self.left = self.left.checked_sub(values.len() as u64).ok_or_else(too_many)?;
        values.iter().try_for_each(|v| self.file.write_all(&v.to_le_bytes()))
    }

    /// Ends the file; an error when values are missing or do not reach the disk.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        if self.left > 0 {
            return Err(io::Error::other(format!("expected {} more values, found the end", self.left)));
        }
        self.file.flush()
    }
}

/// Magic, version, length and the description, padded so that the values begin on a multiple of 64 bytes.
fn header(shape: &[u64]) -> Vec<u8> {
    let dims: Vec<String> = shape.iter().map(u64::to_string).collect();
    let comma = if shape.len() == 1 { "," } else { "" };
    let mut text =
        format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({}{comma}), }}", dims.join(", "));
    while !(10 + text.len() + 1).is_multiple_of(64) {
        text.push(' ');
    }
    text.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((text.len() as u16).to_le_bytes());
    bytes.extend(text.as_bytes());
    bytes
}

/// Most values that are read: 64 tiles of 1,024 pixels square, and some more.
const MAX_VALUES: u64 = 1 << 28;
/// The longest description that is read; NumPy's own of an array has about a hundred bytes.
const MAX_HEADER: usize = 1 << 16;

/// Reads a float32 array in C order whose shape `fits`.
pub(crate) fn read(path: &Path, fits: impl Fn(&[u64]) -> bool) -> Result<Vec<f32>, String> {
    let file = File::open(path).map_err(|e| e.to_string())?;
    let len = file.metadata().map_err(|e| e.to_string())?.len();
    read_from(file, len, fits)
}

fn read_from(mut file: impl Read, len: u64, fits: impl Fn(&[u64]) -> bool) -> Result<Vec<f32>, String> {
    let mut exactly = |n: usize| {
        let mut bytes = vec![0; n];
        file.read_exact(&mut bytes).map(|()| bytes).map_err(|e| format!("expected {n} bytes more: {e}"))
    };
    let start = exactly(8)?;
    let header = match start[..] {
        [0x93, b'N', b'U', b'M', b'P', b'Y', 1, _] => exactly(2)?,
        [0x93, b'N', b'U', b'M', b'P', b'Y', 2 | 3, _] => exactly(4)?,
        _ => return Err("expected a NumPy file of format 1 to 3, found another".into()),
    };
    let described = header.iter().rev().fold(0usize, |n, &byte| n << 8 | usize::from(byte));
    if described > MAX_HEADER {
        return Err(format!("expected a description of at most {MAX_HEADER} bytes, found {described}"));
    }
    let text = String::from_utf8(exactly(described)?).map_err(|_| "expected a description in UTF-8")?;
    let shape = shape(&text)?;
    if !fits(&shape) {
        return Err(format!("expected float32 tiles [tiles, 3, H, W] of the model's size, found {shape:?}"));
    }
    let n = shape.iter().try_fold(1u64, |n, &dim| n.checked_mul(dim)).filter(|&n| n <= MAX_VALUES);
    let n = n.ok_or_else(|| format!("expected at most {MAX_VALUES} values, found {shape:?}"))?;
    let before = (start.len() + header.len() + described) as u64;
    if len != before + 4 * n {
        return Err(format!("expected {} bytes for {shape:?}, found {len}", before + 4 * n));
    }
    let bytes = exactly(4 * n as usize)?;
    Ok(bytes.as_chunks::<4>().0.iter().map(|&word| f32::from_le_bytes(word)).collect())
}

/// The shape that a description gives, if it is one of little-endian 32-bit floats in C order.
fn shape(text: &str) -> Result<Vec<u64>, String> {
    // A Python dictionary of three keys, in any order and with either kind of quotes.
    let text: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    let text = text.replace('"', "'");
    let after = |key: &str| {
        let (_, rest) =
            text.split_once(&format!("'{key}':")).ok_or_else(|| format!("expected the key {key}"))?;
        Ok::<_, String>(rest)
    };
    let value = |key: &str| after(key).map(|rest| rest.split([',', '}']).next().unwrap_or_default());
    for (key, expected) in [("descr", "'<f4'"), ("fortran_order", "False")] {
        let found = value(key)?;
        if found != expected {
            return Err(format!("{key}: expected {expected}, found {found}"));
        }
    }
    let list = after("shape")?.strip_prefix('(').and_then(|rest| rest.split_once(')'));
    let (list, _) = list.ok_or("shape: expected a list in parentheses")?;
    let dims = list.split(',').filter(|dim| !dim.is_empty());
    dims.map(|dim| dim.parse().map_err(|_| format!("shape: expected whole numbers, found {dim:?}"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_bytes(bytes: &[u8]) -> Result<Vec<f32>, String> {
        read_from(bytes, bytes.len() as u64, |shape| shape.len() == 2)
    }

    #[test]
    fn what_was_written_is_read() {
        let mut file = header(&[2, 2]);
        file.extend([1.5f32, -0.0, f32::INFINITY, 3e-40].iter().flat_map(|v| v.to_le_bytes()));
        let found: Vec<u32> = read_bytes(&file).unwrap().iter().map(|v| v.to_bits()).collect();
        assert_eq!(found, [1.5f32, -0.0, f32::INFINITY, 3e-40].map(f32::to_bits));
        for n in 0..file.len() {
            assert!(read_bytes(&file[..n]).is_err(), "{n} bytes");
        }
        file.push(0);
        assert!(read_bytes(&file).is_err());
    }

    #[test]
    fn other_arrays_are_refused() {
        let file = |text: &str| {
            let mut bytes = b"\x93NUMPY\x02\x00".to_vec();
            bytes.extend((text.len() as u32).to_le_bytes());
            bytes.extend(text.as_bytes());
            bytes.extend([0; 8]);
            bytes
        };
        let good = r#"{"shape": (1, 2), 'fortran_order': False, 'descr': '<f4'}"#;
        assert_eq!(read_bytes(&file(good)).unwrap(), [0.0; 2]);
        for (from, to, word) in [
            ("<f4", "<f8", "descr"),
            ("<f4", ">f4", "descr"),
            ("False", "True", "fortran_order"),
            ("(1, 2)", "(2,)", "[2]"),
            ("(1, 2)", "(1, 3)", "bytes"),
            ("(1, 2)", "(4294967296, 4294967296)", "at most"),
            ("(1, 2)", "(18446744073709551616, 1)", "whole numbers"),
            ("(1, 2)", "(-1, 2)", "whole numbers"),
            ("(1, 2)", "1", "shape"),
            ("'descr'", "'kind'", "descr"),
        ] {
            let error = read_bytes(&file(&good.replace(from, to))).unwrap_err();
            assert!(error.contains(word), "{to}: {error}");
        }
        let mut long = b"\x93NUMPY\x03\x00".to_vec();
        long.extend([0xff; 4]);
        assert!(read_bytes(&long).unwrap_err().contains("description"));
        assert!(read_bytes(b"PK\x03\x04 a zip file").unwrap_err().contains("NumPy"));
    }

    #[test]
    fn headers_are_those_of_numpy() {
        for (shape, text) in [(&[3][..], "(3,)"), (&[2, 5], "(2, 5)"), (&[], "()")] {
            let header = header(shape);
            assert!(header.len().is_multiple_of(64) && header.ends_with(b"\n"));
            assert_eq!(usize::from(u16::from_le_bytes([header[8], header[9]])), header.len() - 10);
            assert!(String::from_utf8_lossy(&header[10..]).contains(&format!("'shape': {text}")));
        }
    }

    #[test]
    fn a_file_is_exactly_as_long_as_its_shape() {
        let path = std::env::temp_dir().join(format!("puna-npy-{}.npy", std::process::id()));
        let mut writer = NpyWriter::create(&path, &[2, 2]).unwrap();
        writer.write(&[1.0, 2.0, 3.0]).unwrap();
        assert!(writer.write(&[4.0, 5.0]).is_err());
        writer = NpyWriter::create(&path, &[2, 2]).unwrap();
        writer.write(&[1.0, 2.0, 3.0]).unwrap();
        assert!(writer.finish().is_err());
        std::fs::remove_file(&path).unwrap();
    }
}
