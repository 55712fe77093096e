//! GGUF models in several files: their names, and the one table they make together.

use super::{Gguf, Metadata, TensorInfo};
use crate::error::{ErrorKind, FormatError, out_of_memory};
use crate::{Limits, Placed, Result, Table};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// Position of a file in its model, from 0.
pub const NO_KEY: &str = "split.no";
/// Number of files of the model.
pub const COUNT_KEY: &str = "split.count";
/// Number of tensors in all files.
pub const TENSORS_KEY: &str = "split.tensors.count";

/// The parts of a name like `scout-00001-of-00003.gguf`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SplitName<'a> {
    /// What comes before `-00001-of-…`, a folder included if there was one.
    pub prefix: &'a str,
    /// Which file it is, from 0 (names count from 1).
    pub no: usize,
    /// How many there are, at least 1.
    pub count: usize,
}

impl SplitName<'_> {
    /// The name of file `no`, from 0.
    pub fn sibling(&self, no: usize) -> String {
        format!("{}-{:05}-of-{:05}.gguf", self.prefix, no.saturating_add(1), self.count)
    }

    /// All names of the model in order.
    ///
    /// # Errors
    /// [`ErrorKind::Limit`] when there are more than `limits.shards`.
    pub fn siblings(&self, limits: &Limits) -> Result<Vec<String>> {
        if self.count as u64 > limits.shards {
            return Err(FormatError::limit("split file name", limits.shards, "files", self.count as u64));
        }
        Ok((0..self.count).map(|no| self.sibling(no)).collect())
    }
}

/// Takes a split file's name apart; `None` when it is not one (then the model is this one file).
pub fn parse_name(name: &str) -> Option<SplitName<'_>> {
    fn number(digits: &str) -> Option<usize> {
        let five = digits.len() == 5 && digits.bytes().all(|b| b.is_ascii_digit());
        five.then(|| digits.parse().ok()).flatten()
    }
    let (rest, count) = name.strip_suffix(".gguf")?.rsplit_once("-of-")?;
    let (prefix, no) = rest.rsplit_once('-')?;
    let (no, count) = (number(no)?, number(count)?);
    (1..=count).contains(&no).then(|| SplitName { prefix, no: no - 1, count })
}

/// A whole GGUF model: the metadata of its first file and the tensors of all.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct GgufSet {
    /// Keys and values of the first file, without `split.*`.
    pub metadata: Metadata,
    /// All tensors, each with the position of its file.
    pub tensors: Table<Placed<TensorInfo>>,
    /// The number of files.
    pub n_files: usize,
}

impl GgufSet {
    /// Joins the files of one model, given in order; a model of one file is a list of one.
    ///
    /// # Errors
    /// [`ErrorKind::Mismatch`] when a file is missing, foreign, or in the wrong place, or the tensors are not
    /// as many as announced; [`ErrorKind::Duplicate`] when two files hold a tensor of the same name;
    /// [`ErrorKind::Limit`]. Errors name a file as `file 2 of 3`.
    pub fn join(files: Vec<Gguf>, limits: &Limits) -> Result<GgufSet> {
        let n_files = files.len();
        if n_files as u64 > limits.shards {
            return Err(FormatError::limit("split files", limits.shards, "files", n_files as u64));
        }
        let mut announced = None;
        for (no, file) in files.iter().enumerate() {
            let n = check_place(&file.metadata, no, n_files)
                .map_err(|e| e.in_file(format_args!("file {} of {n_files}", no + 1)))?;
            announced = announced.or(n);
        }

        let n_tensors = files.iter().map(|file| file.tensors.len()).sum::<usize>();
        if n_tensors as u64 > limits.tensors {
            return Err(FormatError::limit("split files", limits.tensors, "tensors", n_tensors as u64));
        }
        if let Some(announced) = announced.filter(|&n| n != n_tensors as u64) {
            let found = format_args!("{n_tensors} in the files");
            let what = format_args!("key \"{TENSORS_KEY}\"");
            return Err(FormatError::new(
                ErrorKind::Mismatch,
                what,
                format_args!("{announced} tensors"),
                found,
            ));
        }

        let mut tensors = Vec::new();
        let memory = |e| out_of_memory(e, "tensor table", n_tensors * size_of::<Placed<TensorInfo>>());
        tensors.try_reserve_exact(n_tensors).map_err(memory)?;
        let mut metadata = None;
        for (no, file) in files.into_iter().enumerate() {
            metadata.get_or_insert(file.metadata);
            tensors.extend(file.tensors.into_vec().into_iter().map(|tensor| Placed { file: no, tensor }));
        }
        let mut metadata = metadata.ok_or_else(|| {
            FormatError::new(ErrorKind::Missing, "split files", "at least one file", "none")
        })?;
        for key in [NO_KEY, COUNT_KEY, TENSORS_KEY] {
            metadata.remove(key);
        }
        Ok(GgufSet { metadata, tensors: Table::new(tensors)?, n_files })
    }
}

/// Checks that a file says it is number `no` of `count`; returns how many tensors it says there are in all.
fn check_place(metadata: &Metadata, no: usize, count: usize) -> Result<Option<u64>> {
    // A file without these keys is a model of its own.
    let (said_no, said_count) =
        (metadata.find::<u64>(NO_KEY)?.unwrap_or(0), metadata.find::<u64>(COUNT_KEY)?.unwrap_or(1));
    for (key, expected, said) in [(COUNT_KEY, count, said_count), (NO_KEY, no, said_no)] {
        if said != expected as u64 {
            let what = format_args!("key \"{key}\"");
            return Err(FormatError::new(ErrorKind::Mismatch, what, expected, said));
        }
    }
    metadata.find::<u64>(TENSORS_KEY)
}
