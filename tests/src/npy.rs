//! Reading NumPy's `.npy` files of float32.

use std::fs;
use std::path::Path;

/// Shape and values of a C-ordered float32 array.
pub fn read(path: &Path) -> (Vec<usize>, Vec<f32>) {
    let bytes = fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    assert_eq!(&bytes[..6], b"\x93NUMPY", "{}: magic", path.display());
    let (len, start) = match bytes[6] {
        1 => (usize::from(u16::from_le_bytes([bytes[8], bytes[9]])), 10),
        _ => (u32::from_le_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]) as usize, 12),
    };
    assert!((start + len).is_multiple_of(64), "{}: NumPy aligns the data to 64 bytes", path.display());
    let header = std::str::from_utf8(&bytes[start..start + len]).unwrap();
    assert!(header.contains("'descr': '<f4'"), "{}: {header}", path.display());
    assert!(header.contains("'fortran_order': False"), "{}: {header}", path.display());
    assert!(header.ends_with('\n'), "{}: {header:?}", path.display());
    let shape = header.split_once("'shape': (").unwrap().1.split_once(')').unwrap().0;
    let shape: Vec<usize> =
        shape.split(',').map(str::trim).filter(|s| !s.is_empty()).map(|s| s.parse().unwrap()).collect();
    let data = bytes[start + len..].as_chunks::<4>();
    assert!(data.1.is_empty() && data.0.len() == shape.iter().product::<usize>());
    (shape, data.0.iter().map(|b| f32::from_le_bytes(*b)).collect())
}
