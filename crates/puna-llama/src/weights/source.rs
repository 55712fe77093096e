//! Where tensors come from: GGUF files, safetensors shards, or memory.

use crate::{LlamaError, Result};
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::ops::Range;
use puna_core::{DType, Region};
use puna_format::gguf::{GgufSet, TensorType};
use puna_format::safetensors::ShardSet;

/// A tensor in the bytes of its file.
#[derive(Clone, Debug)]
pub struct Tensor {
    /// Number format.
    pub dtype: DType,
    /// Dimensions, the contiguous one last (row-major; GGUF's ne order is reversed on the way in).
    pub shape: Vec<usize>,
    /// Its bytes.
    pub region: Region,
}

/// Something that has tensors by name.
pub trait TensorSource {
    /// The tensor of this name, if there is one.
    ///
    /// # Errors
    /// [`LlamaError::Tensor`] when it is there in a format that nothing computes with.
    fn find(&self, name: &str) -> Result<Option<Tensor>>;

    /// Whether there is a tensor of this name.
    fn contains(&self, name: &str) -> bool;

    /// Bytes of all tensors.
    fn total_bytes(&self) -> u64;
}

/// The tensors of a GGUF model, over the bytes of its files.
#[derive(Clone, Debug)]
pub struct GgufTensors<'a> {
    set: &'a GgufSet,
    files: &'a [Region],
}

impl<'a> GgufTensors<'a> {
    /// The tensors of `set`, whose file number `i` has the bytes `files[i]`.
    pub fn new(set: &'a GgufSet, files: &'a [Region]) -> Self {
        Self { set, files }
    }
}

impl TensorSource for GgufTensors<'_> {
    fn find(&self, name: &str) -> Result<Option<Tensor>> {
        let Some(info) = self.set.tensors.named(name) else { return Ok(None) };
        let TensorType::Weights(dtype) = info.dtype else {
            return Err(LlamaError::tensor(name, "a weight format", info.dtype));
        };
        let shape = info.shape.iter().rev();
        locate(name, dtype, shape, self.files.get(info.file), info.range.clone()).map(Some)
    }

    fn contains(&self, name: &str) -> bool {
        self.set.tensors.named(name).is_some()
    }

    fn total_bytes(&self) -> u64 {
        self.set.tensors.iter().map(|t| t.n_bytes()).sum()
    }
}

/// The tensors of a safetensors model, over the bytes of its files.
#[derive(Clone, Debug)]
pub struct ShardTensors<'a> {
    set: &'a ShardSet,
    files: &'a [Region],
}

impl<'a> ShardTensors<'a> {
    /// The tensors of `set`, whose file number `i` has the bytes `files[i]`.
    pub fn new(set: &'a ShardSet, files: &'a [Region]) -> Self {
        Self { set, files }
    }
}

impl TensorSource for ShardTensors<'_> {
    fn find(&self, name: &str) -> Result<Option<Tensor>> {
        let Some(info) = self.set.tensors.named(name) else { return Ok(None) };
        let Some(dtype) = info.dtype.as_dtype() else {
            return Err(LlamaError::tensor(name, "a weight format", info.dtype.name()));
        };
        locate(name, dtype, info.shape.iter(), self.files.get(info.file), info.range.clone()).map(Some)
    }

    fn contains(&self, name: &str) -> bool {
        self.set.tensors.named(name).is_some()
    }

    fn total_bytes(&self) -> u64 {
        self.set.tensors.iter().map(|t| t.range.end.saturating_sub(t.range.start)).sum()
    }
}

/// A tensor at a byte range of one of a model's files.
fn locate<'a>(
    name: &str,
    dtype: DType,
    shape: impl Iterator<Item = &'a u64>,
    file: Option<&Region>,
    range: Range<u64>,
) -> Result<Tensor> {
    let shape: Option<Vec<usize>> = shape.map(|&n| usize::try_from(n).ok()).collect();
    let shape =
        shape.ok_or_else(|| LlamaError::tensor(name, "dimensions that fit this machine", "larger ones"))?;
    let bounds = usize::try_from(range.start).ok().zip(usize::try_from(range.end).ok());
    let region = file.zip(bounds).and_then(|(file, (start, end))| file.slice(start..end));
    let found =
        || format!("bytes {} to {} of a file of {}", range.start, range.end, file.map_or(0, Region::len));
    let region = region.ok_or_else(|| LlamaError::tensor(name, "bytes inside its file", found()))?;
    Ok(Tensor { dtype, shape, region })
}

/// Tensors in memory, added one by one.
#[derive(Clone, Debug, Default)]
pub struct MemTensors {
    tensors: BTreeMap<String, Tensor>,
}

impl MemTensors {
    /// No tensors.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds or replaces a tensor in any format; `shape` is row-major.
    pub fn insert(
        &mut self,
        name: impl Into<String>,
        dtype: DType,
        shape: &[usize],
        bytes: Vec<u8>,
    ) -> &mut Self {
        let tensor = Tensor { dtype, shape: shape.to_vec(), region: Region::from_vec(bytes) };
        self.tensors.insert(name.into(), tensor);
        self
    }

    /// Adds or replaces an F32 tensor.
    pub fn f32(&mut self, name: impl Into<String>, shape: &[usize], values: &[f32]) -> &mut Self {
        let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.insert(name, DType::F32, shape, bytes)
    }

    /// Takes a tensor out.
    pub fn remove(&mut self, name: &str) -> Option<Tensor> {
        self.tensors.remove(name)
    }

    /// Names and tensors in order of name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        self.tensors.iter().map(|(name, tensor)| (name.as_str(), tensor))
    }
}

impl TensorSource for MemTensors {
    fn find(&self, name: &str) -> Result<Option<Tensor>> {
        Ok(self.tensors.get(name).cloned())
    }

    fn contains(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    fn total_bytes(&self) -> u64 {
        self.tensors.values().map(|t| t.region.len() as u64).sum()
    }
}
