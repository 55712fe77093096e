//! Importance matrices in the binary format of llama.cpp before its GGUF files, usually `imatrix.dat`.
//!
//! Little-endian, i32 but for values: how many tensors; for each the length of its name, the name, how often it was met,
//! how many values it has, and those (f32: mean squares times how often it was met, the matrices of experts one behind the
//! other); then, in all but the oldest files, how many chunks were read, the length of the dataset's name, and the name.

use super::{Entry, Imatrix};
use crate::error::with_capacity;
use crate::{LlamaError, Result};
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec;

/// Longest name that is believed.
const NAME: usize = 4096;

impl Imatrix {
    /// Takes the bytes of a file that is no GGUF.
    pub(super) fn read_legacy(bytes: &[u8]) -> Result<Imatrix> {
        let mut rest = Rest(bytes);
        let count = rest.count("tensors", usize::MAX)?;
        let mut entries = BTreeMap::new();
        for i in 0..count {
            let name = rest.text(&format!("name of tensor {i}"))?;
            let place = format!("importance of {name}");
            let met = rest.count(&place, usize::MAX)?;
            let n = rest.count(&place, usize::MAX)?;
            let values = rest.take(n.saturating_mul(4), &place)?.as_chunks::<4>().0;
            if n == 0 || met == 0 {
                return Err(LlamaError::tensor(
                    place,
                    "values, met at least once",
                    format!("{n} met {met} times"),
                ));
            }
            let mut sums = with_capacity(n)?;
            sums.extend(values.iter().map(|v| f32::from_le_bytes(*v)));
            if let Some(found) = sums.iter().find(|v| !(v.is_finite() && **v >= 0.0)) {
                return Err(LlamaError::tensor(place, "finite values of 0 or more", found));
            }
            // How many columns a matrix has is for the model to say.
            let entry = Entry { n_in: n, sums, counts: vec![met as f32] };
            if entries.insert(name, entry).is_some() {
                return Err(LlamaError::tensor(place, "a name that is there once", "it twice"));
            }
        }
        let mut imatrix = Imatrix { entries, ..Imatrix::default() };
        if !rest.0.is_empty() {
            imatrix.chunks = u32::try_from(rest.count("chunks", usize::MAX)?).unwrap_or(u32::MAX);
            imatrix.datasets.push(rest.text("dataset")?);
        }
        Ok(imatrix)
    }
}

/// What has not been read yet.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, n: usize, what: &str) -> Result<&'a [u8]> {
        let Some((taken, rest)) = self.0.split_at_checked(n) else {
            let expected = format!("{n} bytes more");
            return Err(LlamaError::tensor(format!("importance matrix, {what}"), expected, self.0.len()));
        };
        self.0 = rest;
        Ok(taken)
    }

    /// A number from 0 to `most`.
    fn count(&mut self, what: &str, most: usize) -> Result<usize> {
        let bytes = self.take(4, what)?.first_chunk().copied().unwrap_or_default();
        let found = i32::from_le_bytes(bytes);
        usize::try_from(found).ok().filter(|n| *n <= most).ok_or_else(|| {
            let expected = if most == usize::MAX { "0 or more".into() } else { format!("0 to {most}") };
            LlamaError::tensor(format!("importance matrix, {what}"), expected, found)
        })
    }

    fn text(&mut self, what: &str) -> Result<String> {
        let len = self.count(what, NAME)?;
        let bytes = self.take(len, what)?;
        let text = core::str::from_utf8(bytes).map_err(|_| {
            LlamaError::tensor(format!("importance matrix, {what}"), "text in UTF-8", "other bytes")
        })?;
        Ok(text.into())
    }
}
