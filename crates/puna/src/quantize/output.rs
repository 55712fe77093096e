//! The files of the output: written under other names, and renamed when all are whole.

use super::{named, real};
use crate::error::{Error, Lift, Place};
use crate::package::FormatUse;
use puna_core::DType;
use puna_format::WriteSink;
use puna_format::gguf::split::{COUNT_KEY, NO_KEY, SplitName, TENSORS_KEY, parse_name};
use puna_format::gguf::{GgufWriter, Metadata, TensorStream, Value};
use puna_llama::convert::OutTensor;
use std::fs::{self, File};
use std::io::BufWriter;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::string::String;
use std::vec::Vec;

/// Files that are being written. Dropped before all have their names, it removes them.
pub(super) struct Output<'a> {
    plan: &'a [(&'a OutTensor, DType)],
    metadata: Metadata,
    parts: Vec<Part>,
    /// How many have their names.
    published: usize,
}

struct Part {
    path: PathBuf,
    partial: PathBuf,
    tensors: Range<usize>,
}

/// One file that is being written.
pub(super) struct Shard<'a> {
    stream: TensorStream<WriteSink<BufWriter<File>>>,
    part: &'a Part,
}

fn bytes((tensor, dtype): &(&OutTensor, DType)) -> u64 {
    (tensor.n_rows() as u64).saturating_mul(dtype.row_bytes(tensor.width()).unwrap_or(0) as u64)
}

impl<'a> Output<'a> {
    /// Plans the files; nothing is created yet.
    pub(super) fn create(
        output: &Path,
        input: &Path,
        metadata: Metadata,
        plan: &'a [(&'a OutTensor, DType)],
        split: Option<u64>,
    ) -> Result<Self, Error> {
        if output.is_dir() {
            return Err(
                Error::input("expected the name of a file to write, found a folder").at(output.display())
            );
        }
        let ranges = ranges(plan, split)?;
        let name = named(output);
        let prefix = name.strip_suffix(".gguf").unwrap_or(&name);
        let count = ranges.len();
        let mut parts = Vec::new();
        for (no, tensors) in ranges.into_iter().enumerate() {
            let path = match count {
                1 => output.to_path_buf(),
                _ => output.with_file_name(SplitName { prefix, no, count }.sibling(no)),
            };
            let mut partial = path.clone().into_os_string();
            partial.push(".partial");
            parts.push(Part { path, partial: partial.into(), tensors });
        }
        if let Some(part) = parts.iter().find(|part| is_of(&part.path, input)) {
            let message = "expected another file than the model that is read, found one of its files";
            return Err(Error::input(message).at(part.path.display()));
        }
        Ok(Self { plan, metadata, parts, published: 0 })
    }

    pub(super) fn bytes(&self) -> u64 {
        self.plan.iter().map(bytes).fold(0, u64::saturating_add)
    }

    pub(super) fn shards(&self) -> usize {
        self.parts.len()
    }

    /// Creates file `i` and writes its header.
    pub(super) fn shard(&self, i: usize) -> Result<Shard<'_>, Error> {
        let gone = || Error::input(format_args!("part: expected one of {}, found {i}", self.parts.len()));
        let part = self.parts.get(i).ok_or_else(gone)?;
        let mut metadata = if i == 0 { self.metadata.clone() } else { Metadata::default() };
        if self.parts.len() > 1 {
            let small = |n: usize| Value::U16(u16::try_from(n).unwrap_or(u16::MAX));
            metadata.set(NO_KEY, small(i));
            metadata.set(COUNT_KEY, small(self.parts.len()));
            metadata.set(TENSORS_KEY, Value::I32(i32::try_from(self.plan.len()).unwrap_or(i32::MAX)));
        }
        let mut writer = GgufWriter::with_metadata(metadata);
        for (tensor, dtype) in self.plan.get(part.tensors.clone()).unwrap_or_default() {
            let ne: Vec<u64> = tensor.shape.iter().rev().map(|&n| n as u64).collect();
            writer.tensor(&tensor.name, &ne, *dtype).lift()?;
        }
        let file = File::create(&part.partial).lift().place(part.partial.display())?;
        let stream = writer.start(WriteSink(BufWriter::with_capacity(1 << 20, file))).lift();
        Ok(Shard { stream: stream.place(part.partial.display())?, part })
    }

    pub(super) fn formats(&self) -> Vec<FormatUse> {
        let mut formats: Vec<FormatUse> = Vec::new();
        for entry in self.plan {
            match formats.iter_mut().find(|f| f.format == entry.1.name()) {
                Some(f) => {
                    f.tensors += 1;
                    f.bytes = f.bytes.saturating_add(bytes(entry));
                }
                None => {
                    let format = String::from(entry.1.name());
                    formats.push(FormatUse { format, tensors: 1, bytes: bytes(entry) });
                }
            }
        }
        formats.sort_by(|a, b| b.bytes.cmp(&a.bytes).then(a.format.cmp(&b.format)));
        formats
    }

    /// Gives the files their names.
    pub(super) fn publish(mut self) -> Result<Vec<PathBuf>, Error> {
        for part in &self.parts {
            fs::rename(&part.partial, &part.path).lift().place(part.path.display())?;
            self.published += 1;
        }
        Ok(self.parts.iter().map(|part| part.path.clone()).collect())
    }
}

impl Drop for Output<'_> {
    fn drop(&mut self) {
        if self.published < self.parts.len() {
            // Where nothing was created there is nothing to remove.
            for (i, part) in self.parts.iter().enumerate() {
                let _ = fs::remove_file(if i < self.published { &part.path } else { &part.partial });
            }
        }
    }
}

/// Whether a path names a file of the model that is read: it itself, another file of the same split, or what is in its
/// folder.
fn is_of(path: &Path, input: &Path) -> bool {
    let (Some(file), Some(model)) = (real(path), real(input)) else { return false };
    if input.is_dir() {
        return file.parent() == Some(&*model);
    }
    let (a, b) = (named(&file), named(&model));
    let same_split = match (parse_name(&a), parse_name(&b)) {
        (Some(a), Some(b)) => a.prefix == b.prefix && a.count == b.count,
        _ => false,
    };
    file == model || same_split && file.parent() == model.parent()
}

/// Which tensors go into which file.
fn ranges(plan: &[(&OutTensor, DType)], split: Option<u64>) -> Result<Vec<Range<usize>>, Error> {
    let Some(limit) = split else { return Ok(std::vec![0..plan.len()]) };
    let (mut ranges, mut first, mut held) = (Vec::new(), 0, 0u64);
    for (i, entry) in plan.iter().enumerate() {
        if i > first && held.saturating_add(bytes(entry)) > limit {
            ranges.push(first..i);
            (first, held) = (i, 0);
        }
        held = held.saturating_add(bytes(entry));
    }
    ranges.push(first..plan.len());
    // Names count to 99,999, the header's numbers to 65,535.
    if ranges.len() > usize::from(u16::MAX) {
        let message = format_args!("split: expected at most {} files, found {}", u16::MAX, ranges.len());
        return Err(Error::input(message));
    }
    Ok(ranges)
}

impl Shard<'_> {
    /// Positions of its tensors in the plan.
    pub(super) fn tensors(&self) -> Range<usize> {
        self.part.tensors.clone()
    }

    pub(super) fn write(&mut self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        self.stream.write(name, bytes).lift().place(self.part.partial.display())
    }

    pub(super) fn finish(self) -> Result<(), Error> {
        let place = self.part.partial.display();
        let sink = self.stream.finish().lift().place(&place)?;
        let file = sink.0.into_inner().map_err(|e| e.into_error()).lift().place(&place)?;
        file.sync_all().lift().place(&place)
    }
}
