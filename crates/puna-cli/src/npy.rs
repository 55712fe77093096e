//! NumPy's `.npy` files of 32-bit floats, written row by row.

use std::fs::File;
use std::io::{self, BufWriter, Write};
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

#[cfg(test)]
mod tests {
    use super::*;

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
