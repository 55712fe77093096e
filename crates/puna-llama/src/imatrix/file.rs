//! Importance matrices as GGUF files, as llama.cpp's `llama-imatrix` writes them and `llama-quantize` reads them.
//!
//! `general.type` is "imatrix"; `imatrix.datasets`, `imatrix.chunk_count` and `imatrix.chunk_size` say what was read. For
//! each tensor there are two of F32: `NAME.in_sum2`, ne {columns, matrices}, and `NAME.counts`, ne {1, matrices}.

use super::{Entry, Imatrix};
use crate::weights::{GgufTensors, TensorSource, values};
use crate::{LlamaError, Result};
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use puna_core::{DType, Region};
use puna_format::gguf::{Array, Gguf, GgufSet, GgufWriter, Strings, Value};
use puna_format::{Limits, Sink};

const SUMS: &str = ".in_sum2";
const COUNTS: &str = ".counts";
const TYPE_KEY: &str = "general.type";
const DATASETS_KEY: &str = "imatrix.datasets";
const CHUNKS_KEY: &str = "imatrix.chunk_count";
const SIZE_KEY: &str = "imatrix.chunk_size";

impl Imatrix {
    /// Takes the bytes of a file, in this format or in llama.cpp's old binary one.
    ///
    /// # Errors
    /// A file of another kind, a tensor without its partner, shapes that do not fit each other, values that are no sums of
    /// squares.
    pub fn read(file: &Region, limits: &Limits) -> Result<Imatrix> {
        if !Gguf::is_gguf(file.bytes()) {
            return Self::read_legacy(file.bytes());
        }
        let set = GgufSet::join(vec![Gguf::read(file.bytes(), limits)?], limits)?;
        let kind = set.metadata.find::<&str>(TYPE_KEY)?.unwrap_or("none");
        if kind != "imatrix" {
            return Err(LlamaError::config(TYPE_KEY, "imatrix", kind));
        }
        let files = [file.clone()];
        let tensors = GgufTensors::new(&set, &files);
        let mut entries = BTreeMap::new();
        for info in set.tensors.iter() {
            if let Some(name) = info.name.strip_suffix(SUMS) {
                entries.insert(String::from(name), entry(name, &tensors)?);
            } else if !info.name.ends_with(COUNTS) {
                let expected = format!("a name that ends in {SUMS} or {COUNTS}");
                return Err(LlamaError::tensor(&info.name, expected, "another"));
            }
        }
        let datasets = set.metadata.find::<&Strings>(DATASETS_KEY)?;
        Ok(Imatrix {
            entries,
            chunks: set.metadata.find(CHUNKS_KEY)?.unwrap_or(0),
            chunk_size: set.metadata.find(SIZE_KEY)?.unwrap_or(0),
            datasets: datasets.map(|names| names.iter().map(String::from).collect()).unwrap_or_default(),
        })
    }

    /// Writes it as a file.
    ///
    /// # Errors
    /// A name longer than GGUF has, and what the sink says.
    pub fn write<S: Sink>(&self, sink: S) -> Result<S> {
        let mut file = GgufWriter::new();
        file.set(TYPE_KEY, "imatrix")?;
        file.set(DATASETS_KEY, Value::Array(Array::String(Strings::from_strs(&self.datasets)?)))?;
        file.set(CHUNKS_KEY, self.chunks)?;
        file.set(SIZE_KEY, self.chunk_size)?;
        for (name, entry) in &self.entries {
            let n_mats = entry.counts.len() as u64;
            file.tensor(&format!("{name}{SUMS}"), &[entry.n_in as u64, n_mats], DType::F32)?;
            file.tensor(&format!("{name}{COUNTS}"), &[1, n_mats], DType::F32)?;
        }
        let mut out = file.start(sink)?;
        for (name, entry) in &self.entries {
            for (suffix, values) in [(SUMS, &entry.sums), (COUNTS, &entry.counts)] {
                let name = format!("{name}{suffix}");
                for piece in values.chunks(1 << 14) {
                    let bytes: Vec<u8> = piece.iter().flat_map(|v| v.to_le_bytes()).collect();
                    out.write(&name, &bytes)?;
                }
            }
        }
        Ok(out.finish()?)
    }
}

/// Both tensors of a name.
fn entry(name: &str, tensors: &GgufTensors<'_>) -> Result<Entry> {
    let floats = |suffix: &str| {
        let name = format!("{name}{suffix}");
        let tensor = tensors.find(&name)?.ok_or_else(|| LlamaError::missing(&name))?;
        let values = values(&name, &tensor)?;
        match values.iter().find(|v| **v < 0.0) {
            Some(found) => Err(LlamaError::tensor(name, "values of 0 or more", found)),
            None => Ok((tensor.shape, values)),
        }
    };
    let ((shape, sums), (_, counts)) = (floats(SUMS)?, floats(COUNTS)?);
    let n_in = shape.last().copied().unwrap_or(0);
    if n_in == 0 || counts.len().checked_mul(n_in) != Some(sums.len()) {
        let expected = format!("{} values, a count for each row of {n_in} sums", sums.len() / n_in.max(1));
        return Err(LlamaError::tensor(format!("{name}{COUNTS}"), expected, counts.len()));
    }
    Ok(Entry { n_in, sums, counts })
}
