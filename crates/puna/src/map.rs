//! Files as bytes: mapped into memory, or read into it. The façade's only `unsafe` is here.

use crate::error::{Error, ErrorKind, Lift};
use alloc::sync::Arc;
use alloc::vec::Vec;
use puna_core::{Cancel, Region};
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// How a model's weights come into memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FileAccess {
    /// The file is mapped: loading takes no time and no memory of the program's own, pages are shared between programs
    /// and can be dropped and read again by the system.
    ///
    /// While a model is open, nobody may shorten or overwrite its file: a page that is no longer there ends the
    /// program with `SIGBUS` on Unix (no library can turn that into an error), and one that was overwritten gives wrong
    /// answers. Files that are replaced by renaming a new one over them are safe. Where files cannot be trusted to
    /// stay, use [`FileAccess::Read`].
    #[default]
    Map,
    /// The file is read into memory of the program's own: slower to load, and safe against changes of the file.
    Read,
}

/// A mapped file.
pub(crate) type Map = Arc<memmap2::Mmap>;

/// All bytes of the file at `path`, and the map that they are in, if they are in one. `read` is called with the bytes read so far when they are copied.
pub(crate) fn region(
    path: &Path,
    access: FileAccess,
    cancel: &Cancel,
    read: impl FnMut(u64),
) -> Result<(Region, Option<Map>), Error> {
    let file = File::open(path).lift()?;
    let metadata = file.metadata().lift()?;
    if !metadata.is_file() {
        return Err(Error::new(ErrorKind::Io, "expected a file, found a folder or a device"));
    }
    match access {
        // An empty file cannot be mapped everywhere; it has nothing to map.
        FileAccess::Map if metadata.len() > 0 => {
            // SAFETY: the mapping is read-only and private to this process's address space; it is only ever handed
            // out as `&[u8]` borrowed from the `Mmap` that owns it, behind an `Arc` that unmaps it last. What the type
            // system cannot promise is that no other program changes the file meanwhile: that duty is the caller's,
            // stated on `FileAccess::Map`, and no value read from the bytes is ever used as a length, index or enum
            // again after it was validated and copied out, so that changed weights give other numbers, not other
            // memory accesses.
            let map = Arc::new(unsafe { memmap2::Mmap::map(&file) }.lift()?);
            Ok((Region::new(map.clone()), Some(map)))
        }
        _ => Ok((copy(file, metadata.len(), cancel, read)?, None)),
    }
}

/// Reads `len` bytes in pieces, so that it can be stopped and watched.
fn copy(mut file: File, len: u64, cancel: &Cancel, mut read: impl FnMut(u64)) -> Result<Region, Error> {
    const PIECE: usize = 8 << 20;
    let too_large = || Error::new(ErrorKind::OutOfMemory, format_args!("{len} bytes of memory were refused"));
    let len = usize::try_from(len).map_err(|_| too_large())?;
    let mut bytes: Vec<u8> = Vec::new();
    bytes.try_reserve_exact(len).map_err(|_| too_large())?;
    while bytes.len() < len {
        if cancel.is_cancelled() {
            return Err(Error::cancelled("reading the file"));
        }
        let piece = PIECE.min(len - bytes.len());
        let got = (&mut file).take(piece as u64).read_to_end(&mut bytes).lift()?;
        if got == 0 {
            let message =
                format_args!("expected {len} bytes, found {}: the file became shorter", bytes.len());
            return Err(Error::new(ErrorKind::Io, message));
        }
        read(bytes.len() as u64);
    }
    Ok(Region::from_vec(bytes))
}
