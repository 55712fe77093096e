//! Sharded safetensors models: `model.safetensors.index.json`, and the one table that the shards make.

use super::{SafeTensors, StTensor};
use crate::error::{ErrorKind, FormatError, Quoted, out_of_memory};
use crate::json::{self, Object, Shown};
use crate::{Limits, Placed, Result, Table};
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

/// Which file holds which tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShardIndex {
    /// The files' names, sorted: plain names, safe to join to the index's own folder.
    pub files: Vec<String>,
    /// Tensor name and position of its file in `files`.
    pub weight_map: Vec<(String, usize)>,
    /// What the file says all tensors take, in bytes. Often wrong in the wild; nothing here relies on it.
    pub total_size: Option<u64>,
}

impl ShardIndex {
    /// Reads an index file.
    ///
    /// # Errors
    /// Those of [`json::parse`]; [`ErrorKind::Missing`] and [`ErrorKind::WrongType`] for the fields;
    /// [`ErrorKind::BadValue`] for a file name that is not a plain `*.safetensors`; [`ErrorKind::Limit`].
    pub fn parse(bytes: &[u8], limits: &Limits) -> Result<ShardIndex> {
        let value = json::parse(bytes, limits)?;
        let root = Object::root(&value)?;
        let map = root.object("weight_map")?;
        let map =
            map.ok_or_else(|| FormatError::missing("weight_map", "an object of tensor and file names"))?;
        let total_size = root.object("metadata")?.and_then(|m| m.get("total_size")?.as_u64());

        let mut positions = BTreeMap::new();
        let mut entries = Vec::new();
        for (tensor, file) in map.iter() {
            let what = format_args!("weight_map, tensor {}", Quoted(tensor));
            let file =
                file.as_str().ok_or_else(|| FormatError::wrong_type(what, "a file name", Shown(file)))?;
            if !is_plain_name(file) {
                let expected = "a plain name ending in .safetensors, without folders";
                return Err(FormatError::new(ErrorKind::BadValue, what, expected, Quoted(file)));
            }
            if tensor.len() as u64 > limits.name_bytes {
                return Err(FormatError::limit(what, limits.name_bytes, "bytes", tensor.len() as u64));
            }
            positions.insert(file, 0);
            entries.push((tensor, file));
        }
        for (limit, unit, n) in
            [(limits.shards, "files", positions.len()), (limits.tensors, "tensors", entries.len())]
        {
            if n as u64 > limit {
                return Err(FormatError::limit("weight_map", limit, unit, n as u64));
            }
        }
        if entries.is_empty() {
            return Err(FormatError::new(ErrorKind::Missing, "weight_map", "at least one tensor", "none"));
        }
        positions.values_mut().enumerate().for_each(|(i, position)| *position = i);
        let at = |file| positions.get(file).copied().unwrap_or_default();
        Ok(ShardIndex {
            weight_map: entries.into_iter().map(|(tensor, file)| (String::from(tensor), at(file))).collect(),
            files: positions.keys().map(|&file| String::from(file)).collect(),
            total_size,
        })
    }
}

/// Whether a name from a file can only mean a file beside it, on any operating system.
fn is_plain_name(name: &str) -> bool {
    let forbidden = |c: char| matches!(c, '/' | '\\' | ':') || c.is_control();
    name.len() <= 255 && name.ends_with(".safetensors") && !name.starts_with('.') && !name.contains(forbidden)
}

/// A whole safetensors model, of one file or many.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShardSet {
    /// All tensors, each with the position of its file.
    pub tensors: Table<Placed<StTensor>>,
    /// The number of files.
    pub n_files: usize,
}

impl ShardSet {
    /// The model of one file.
    ///
    /// # Errors
    /// Only [`ErrorKind::OutOfMemory`].
    pub fn single(file: SafeTensors) -> Result<ShardSet> {
        let place = |tensor| Placed { file: 0, tensor };
        let tensors = file.tensors.into_vec().into_iter().map(place).collect();
        Ok(ShardSet { tensors: Table::new(tensors)?, n_files: 1 })
    }

    /// Joins the shards, given in the order of `index.files`. The index decides: a tensor that it does not name
    /// is not part of the model.
    ///
    /// # Errors
    /// [`ErrorKind::Mismatch`] for another number of shards; [`ErrorKind::Missing`] when a shard lacks a tensor
    /// that the index says it has.
    pub fn join(index: &ShardIndex, shards: &[SafeTensors]) -> Result<ShardSet> {
        if shards.len() != index.files.len() {
            let expected = format_args!("{} files, as in the index", index.files.len());
            return Err(FormatError::new(ErrorKind::Mismatch, "shards", expected, shards.len()));
        }
        let mut tensors = Vec::new();
        let n = index.weight_map.len();
        let memory = |e| out_of_memory(e, "tensor table", n.saturating_mul(size_of::<Placed<StTensor>>()));
        tensors.try_reserve_exact(n).map_err(memory)?;
        for &(ref name, file) in &index.weight_map {
            let shard = shards.get(file).zip(index.files.get(file));
            let Some(tensor) = shard.and_then(|(shard, _)| shard.tensors.named(name)) else {
                let what = format_args!("tensor {}", Quoted(name));
                let expected = "it in the file that the index names";
                let error = FormatError::missing(what, expected);
                return Err(match shard {
                    Some((_, file)) => error.in_file(file),
                    None => error,
                });
            };
            tensors.push(Placed { file, tensor: tensor.clone() });
        }
        Ok(ShardSet { tensors: Table::new(tensors)?, n_files: shards.len() })
    }
}
