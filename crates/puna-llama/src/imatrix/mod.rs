//! Importance matrices: how much each column of a weight matrix matters, told by the activations that meet it.
//!
//! The error of a weight is multiplied by the activation of its column, so a quantiser that weighs errors by the mean
//! square of the activations loses less of what the model computes. [`Imatrix::collect`] sums those squares while a model
//! reads a text; [`Imatrix::read`] and [`Imatrix::write`] exchange them with llama.cpp (`llama-imatrix`).

mod collect;
mod file;
mod legacy;
#[cfg(test)]
mod tests;
mod watched;

pub use collect::{Chunks, Listen};

use crate::error::with_capacity;
use crate::{LlamaError, Result};
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// Sums of squares for the matrices of a model.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Imatrix {
    entries: BTreeMap<String, Entry>,
    /// How many chunks of text were read.
    pub chunks: u32,
    /// Tokens of a chunk.
    pub chunk_size: u32,
    /// What was read, for people.
    pub datasets: Vec<String>,
}

/// What one tensor met.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Entry {
    /// Columns.
    n_in: usize,
    /// Sums of squares: `n_in` for the one matrix, or for each expert's.
    sums: Vec<f32>,
    /// Rows of activations, for the one matrix or for each expert's.
    counts: Vec<f32>,
}

impl Entry {
    /// Nothing met yet.
    fn new(n_mats: usize, n_in: usize) -> Result<Entry> {
        let len = n_mats.saturating_mul(n_in);
        let (mut sums, mut counts) = (with_capacity(len)?, with_capacity(n_mats)?);
        sums.resize(len, 0.0);
        counts.resize(n_mats, 0.0);
        Ok(Entry { n_in, sums, counts })
    }

    /// Adds what matrix `mat` meets: whole rows of `n_in` activations.
    fn add(&mut self, mat: usize, rows: &[f32]) {
        let (Some(sums), Some(count)) =
            (self.sums.chunks_exact_mut(self.n_in.max(1)).nth(mat), self.counts.get_mut(mat))
        else {
            return;
        };
        for row in rows.chunks_exact(self.n_in.max(1)) {
            sums.iter_mut().zip(row).for_each(|(sum, x)| *sum += x * x);
            *count += 1.0;
        }
    }

    /// Mean squares: `n_in` for the one matrix or each expert's. An expert that met nothing has ones, as in llama.cpp.
    fn means(&self) -> Result<Vec<f32>> {
        let mut means = with_capacity(self.sums.len())?;
        for (sums, &count) in self.sums.chunks_exact(self.n_in.max(1)).zip(&self.counts) {
            means.extend(sums.iter().map(|sum| if count > 0.0 { sum / count } else { 1.0 }));
        }
        Ok(means)
    }
}

impl Imatrix {
    /// How many tensors it knows.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether it knows none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether it knows the tensor of this name.
    pub fn knows(&self, name: &str) -> bool {
        self.entries.contains_key(name)
    }

    /// Names, in order, with columns, sums of squares and counts of rows (one, or one for each expert).
    pub fn iter(&self) -> impl Iterator<Item = (&str, usize, &[f32], &[f32])> {
        self.entries.iter().map(|(name, e)| (name.as_str(), e.n_in, &e.sums[..], &e.counts[..]))
    }

    /// The weights of a tensor's columns, `n_in` for each of its `n_mats` matrices; `None` for a tensor that it does not
    /// know.
    ///
    /// # Errors
    /// [`LlamaError::Tensor`] when it was made from a model of other dimensions.
    pub fn weights(&self, name: &str, n_mats: usize, n_in: usize) -> Result<Option<Vec<f32>>> {
        let Some(entry) = self.entries.get(name) else { return Ok(None) };
        let found = (entry.counts.len(), entry.n_in);
        if found == (n_mats, n_in) {
            return entry.means().map(Some);
        }
        // Files of before experts were told apart have one row for all.
        if found == (1, n_in) {
            let one = entry.means()?;
            let mut all = with_capacity(n_mats.saturating_mul(n_in))?;
            (0..n_mats).for_each(|_| all.extend_from_slice(&one));
            return Ok(Some(all));
        }
        // The old binary format does not say how many matrices its values are of.
        if found.0 == 1 && n_mats.checked_mul(n_in) == Some(found.1) {
            let mut all = entry.means()?;
            // What an expert met is unknown if it met nothing.
            let met_nothing = |means: &&mut [f32]| means.iter().all(|mean| *mean == 0.0);
            all.chunks_exact_mut(n_in.max(1)).filter(met_nothing).for_each(|means| means.fill(1.0));
            return Ok(Some(all));
        }
        let expected = format!("{n_mats} x {n_in} columns, as the model has");
        Err(LlamaError::tensor(
            format!("importance of {name}"),
            expected,
            format!("{} x {}", entry.counts.len(), entry.n_in),
        ))
    }
}
