//! The tensors of a safetensors model, over the bytes of its files.

use alloc::format;
use alloc::string::ToString;
use puna_core::Region;
use puna_format::safetensors::ShardSet;
use puna_llama::weights::{Tensor, TensorSource};
use puna_llama::{LlamaError, Result};

/// The tensors of `set`, whose file number `i` has the bytes `files[i]`.
pub(super) struct ShardTensors<'a> {
    pub(super) set: &'a ShardSet,
    pub(super) files: &'a [Region],
}

impl TensorSource for ShardTensors<'_> {
    fn find(&self, name: &str) -> Result<Option<Tensor>> {
        let Some(info) = self.set.tensors.named(name) else { return Ok(None) };
        let error = |expected: &str, found: alloc::string::String| LlamaError::Tensor {
            name: name.to_string(),
            expected: expected.to_string(),
            found,
        };
        let dtype = info.dtype.as_dtype().ok_or_else(|| error("a weight format", info.dtype.to_string()))?;
        let shape = info.shape.iter().map(|&n| usize::try_from(n).ok()).collect::<Option<_>>();
        let shape =
            shape.ok_or_else(|| error("dimensions that fit this machine", format!("{:?}", info.shape)))?;
        let bounds = usize::try_from(info.range.start).ok().zip(usize::try_from(info.range.end).ok());
        let region =
            self.files.get(info.file).zip(bounds).and_then(|(file, (start, end))| file.slice(start..end));
        let region =
            region.ok_or_else(|| error("bytes inside its file", format!("bytes {:?}", info.range)))?;
        Ok(Some(Tensor { dtype, shape, region }))
    }

    fn contains(&self, name: &str) -> bool {
        self.set.tensors.named(name).is_some()
    }

    fn total_bytes(&self) -> u64 {
        self.set.tensors.iter().map(|t| t.range.end - t.range.start).sum()
    }
}
