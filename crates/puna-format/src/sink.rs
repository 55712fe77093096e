//! Where written bytes go.

use crate::Result;
use crate::error::out_of_memory;
use alloc::vec::Vec;

/// Takes bytes in order.
pub trait Sink {
    /// Takes all of `bytes`.
    ///
    /// # Errors
    /// [`ErrorKind::Io`](crate::ErrorKind::Io) or [`ErrorKind::OutOfMemory`](crate::ErrorKind::OutOfMemory).
    fn write(&mut self, bytes: &[u8]) -> Result<()>;
}

impl Sink for Vec<u8> {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.try_reserve(bytes.len()).map_err(|e| out_of_memory(e, "writing to memory", bytes.len()))?;
        self.extend_from_slice(bytes);
        Ok(())
    }
}

impl<S: Sink + ?Sized> Sink for &mut S {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        (**self).write(bytes)
    }
}

/// Any [`std::io::Write`] as a [`Sink`]. Wrap files in a `BufWriter`: headers are written in small pieces.
#[cfg(feature = "std")]
#[derive(Debug)]
pub struct WriteSink<W>(pub W);

#[cfg(feature = "std")]
impl<W: std::io::Write> Sink for WriteSink<W> {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        use crate::error::{ErrorKind, FormatError};
        let expected = format_args!("{} bytes taken", bytes.len());
        self.0.write_all(bytes).map_err(|e| FormatError::new(ErrorKind::Io, "writing", expected, e))
    }
}

/// Writes `n` zero bytes.
pub(crate) fn write_zeros(sink: &mut impl Sink, mut n: u64) -> Result<()> {
    const ZEROS: [u8; 256] = [0; 256];
    while n > 0 {
        let now = n.min(ZEROS.len() as u64) as usize;
        sink.write(&ZEROS[..now])?;
        n -= now as u64;
    }
    Ok(())
}
