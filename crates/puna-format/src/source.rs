//! Where bytes come from: anything of known length that can be read at an offset.

use crate::Result;
use crate::error::{ErrorKind, FormatError};
use alloc::vec::Vec;

/// A file, or what stands for one: bytes of a known number, readable anywhere, by `&self`.
pub trait Source {
    /// The number of bytes.
    fn len(&self) -> u64;

    /// Fills `into` with the bytes from `offset` on.
    ///
    /// # Errors
    /// [`ErrorKind::Truncated`] past the end, [`ErrorKind::Io`] when reading fails.
    fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<()>;

    /// Whether there are no bytes at all.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Source for [u8] {
    fn len(&self) -> u64 {
        <[u8]>::len(self) as u64
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<()> {
        let bytes = usize::try_from(offset)
            .ok()
            .and_then(|start| self.get(start..start.checked_add(into.len())?))
            .ok_or_else(|| past_the_end(offset, into.len(), Source::len(self)))?;
        into.copy_from_slice(bytes);
        Ok(())
    }
}

impl Source for Vec<u8> {
    fn len(&self) -> u64 {
        Source::len(self.as_slice())
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<()> {
        self.as_slice().read_at(offset, into)
    }
}

impl<S: Source + ?Sized> Source for &S {
    fn len(&self) -> u64 {
        (**self).len()
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<()> {
        (**self).read_at(offset, into)
    }
}

fn past_the_end(offset: u64, wanted: usize, len: u64) -> FormatError {
    let expected = format_args!("{wanted} bytes");
    let found = format_args!("{}", len.saturating_sub(offset));
    FormatError::new(ErrorKind::Truncated, "file", expected, found).at(offset)
}

#[cfg(feature = "std")]
pub use file::FileSource;

#[cfg(feature = "std")]
mod file {
    use super::{Result, Source, past_the_end};
    use crate::error::{ErrorKind, FormatError};
    use std::fs::File;
    use std::io;
    use std::path::Path;

    /// A file of the operating system, read in ranges; its length is taken once.
    #[derive(Debug)]
    pub struct FileSource {
        file: File,
        len: u64,
    }

    impl FileSource {
        /// Opens a file for reading.
        ///
        /// # Errors
        /// Whatever the operating system says.
        pub fn open(path: impl AsRef<Path>) -> io::Result<FileSource> {
            FileSource::new(File::open(path)?)
        }

        /// Reads an open file.
        ///
        /// # Errors
        /// Whatever the operating system says when asked for the length.
        pub fn new(file: File) -> io::Result<FileSource> {
            let len = file.metadata()?.len();
            Ok(FileSource { file, len })
        }
    }

    impl Source for FileSource {
        fn len(&self) -> u64 {
            self.len
        }

        fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<()> {
            if self.len.checked_sub(offset).is_none_or(|left| left < into.len() as u64) {
                return Err(past_the_end(offset, into.len(), self.len));
            }
            read_exact_at(&self.file, into, offset).map_err(|e| {
                let expected = format_args!("{} bytes", into.len());
                FormatError::new(ErrorKind::Io, "reading the file", expected, e).at(offset)
            })
        }
    }

    #[cfg(unix)]
    fn read_exact_at(file: &File, into: &mut [u8], offset: u64) -> io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(file, into, offset)
    }

    /// Elsewhere the file's own position is moved; only headers are read this way, by one thread.
    #[cfg(not(unix))]
    fn read_exact_at(mut file: &File, into: &mut [u8], offset: u64) -> io::Result<()> {
        use std::io::{Read, Seek, SeekFrom};
        file.seek(SeekFrom::Start(offset))?;
        file.read_exact(into)
    }
}
