//! Writing a model in another mix of formats: GGUF or a Hugging Face folder in, GGUF out.

mod keys;
mod output;

use crate::error::{Error, ErrorKind, Lift, Place};
use crate::options::ProgressFn;
use crate::package::{FormatUse, Package, Watch, limits};
use crate::{Cancel, Imatrix, LoadOptions, Phase, Progress};
use output::{Output, Shard};
use puna_core::DType;
use puna_core::quant::{QuantError, quantize_row};
use puna_cpu::ThreadPool;
use puna_llama::LoadWatch;
use puna_llama::convert::mix::Mix;
use puna_llama::convert::{Export, OutTensor};
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::string::String;
use std::sync::{Arc, Mutex, PoisonError};
use std::vec::Vec;

/// Values that a thread works on at once: bounds the memory of a conversion.
const CHUNK: usize = 1 << 20;

/// How to write a model. Every choice but the type is optional.
#[derive(Clone)]
#[non_exhaustive]
pub struct QuantizeOptions {
    mix: Mix,
    /// How the source is read, and on how many threads it is converted. The device does not matter.
    pub load: LoadOptions,
    /// Most bytes of tensors in one file; more are split over several. Default: one file.
    pub split_bytes: Option<u64>,
    /// What the columns of matrices are worth. Default: all the same.
    pub imatrix: Option<Imatrix>,
    progress: Option<ProgressFn>,
}

/// What was written.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Quantized {
    /// The files, the first one first.
    pub files: Vec<PathBuf>,
    /// Bytes of all tensors.
    pub bytes: u64,
    /// Bits a weight, all tensors counted.
    pub bits: f64,
    /// How much is stored in each format.
    pub formats: Vec<FormatUse>,
}

impl fmt::Debug for QuantizeOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("QuantizeOptions");
        shown
            .field("type", &self.mix.name())
            .field("load", &self.load)
            .field("split_bytes", &self.split_bytes)
            .field("imatrix", &self.imatrix.as_ref().map(Imatrix::tensors));
        shown.finish_non_exhaustive()
    }
}

impl QuantizeOptions {
    /// Writes one of the standard mixes of llama.cpp, such as `q4_k_m`, `q8_0` or `bf16`.
    ///
    /// # Errors
    /// A name that is none of them; the error lists them.
    pub fn new(mix: &str) -> Result<Self, Error> {
        let unknown = || {
            let names: Vec<&str> = Mix::names().collect();
            Error::input(format_args!("type: expected one of {}, found {mix}", names.join(", ")))
        };
        let mix = Mix::parse(mix).ok_or_else(unknown)?;
        Ok(Self { mix, load: LoadOptions::default(), split_bytes: None, imatrix: None, progress: None })
    }

    /// The names of all mixes.
    pub fn types() -> impl Iterator<Item = &'static str> {
        Mix::names()
    }

    /// Says how the source is read.
    #[must_use]
    pub fn load(mut self, load: LoadOptions) -> Self {
        self.load = load;
        self
    }

    /// Splits the output into files of at most this many bytes of tensors, `OUT-00001-of-0000N.gguf`; a tensor is never
    /// split.
    #[must_use]
    pub fn split(mut self, bytes: u64) -> Self {
        self.split_bytes = Some(bytes);
        self
    }

    /// Weighs errors by an importance matrix of the same model, in the formats Q2_K to Q6_K, Q4_0 to Q5_1, IQ4_NL and
    /// IQ4_XS. Tensors that it does not know are written without.
    #[must_use]
    pub fn imatrix(mut self, imatrix: Imatrix) -> Self {
        self.imatrix = Some(imatrix);
        self
    }

    /// Calls `f` as tensors are written, from the calling thread.
    #[must_use]
    pub fn on_progress(mut self, f: impl Fn(Progress) + Send + Sync + 'static) -> Self {
        self.progress = Some(Arc::new(f));
        self
    }
}

/// Writes the text model at `input` (a GGUF file, any shard of a split one, or a Hugging Face folder) as GGUF to
/// `output`, with every explicit key, its tokenizer and its chat template.
///
/// Memory is bounded by a few megabytes or one row for each thread, whatever the model's size. The output has its name
/// only once it is whole; a call that fails or is cancelled (by the [`Cancel`] of [`QuantizeOptions::load`]) leaves
/// nothing behind.
///
/// ```no_run
/// let done = puna::quantize("llama-4-scout/", "scout-q4_k_m.gguf", &puna::QuantizeOptions::new("q4_k_m")?)?;
/// println!("{} bytes, {:.2} bits a weight", done.bytes, done.bits);
/// # Ok::<(), puna::Error>(())
/// ```
///
/// # Errors
/// As [`Model::open`](crate::Model::open); weights that are not finite; a tokenizer that GGUF cannot hold; an output
/// that is one of the inputs or cannot be written; an importance matrix of a model of other dimensions.
pub fn quantize(
    input: impl AsRef<Path>,
    output: impl AsRef<Path>,
    options: &QuantizeOptions,
) -> Result<Quantized, Error> {
    let (input, output) = (input.as_ref(), output.as_ref());
    let watch = Watch::new(&options.load);
    let package = Package::open(input, &options.load)?;
    let mut metadata = keys::source(&package, input, &limits(&options.load)).place(input.display())?;
    let mut listen = LoadWatch { cancel: Some(&watch.cancel), progress: None };
    let config = package.config.clone();
    let export = package.tensors.with(|source| Export::new(config, source, &mut listen)).lift();
    let export = export.place(input.display())?;
    export.metadata(&mut metadata);
    metadata.set("general.file_type", options.mix.file_type());
    metadata.set("general.quantization_version", 2u32);
    keys::importance(options.imatrix.as_ref(), &mut metadata);

    let (config, weighted) = (&export.config, options.imatrix.is_some());
    let dtype = |t: &OutTensor| options.mix.of(config, t.role, t.width(), weighted);
    let plan: Vec<(&OutTensor, DType)> = export.tensors.iter().map(|t| (t, dtype(t))).collect();
    let out = Output::create(output, input, metadata, &plan, options.split_bytes)?;
    let total = out.bytes();
    let mut done = 0;
    let pool = ThreadPool::new(threads(&options.load)?).lift()?;
    let work = Work { export: &export, imatrix: options.imatrix.as_ref(), pool, cancel: &watch.cancel };
    for i in 0..out.shards() {
        let mut shard = out.shard(i)?;
        for (tensor, dtype) in plan.get(shard.tensors()).unwrap_or_default() {
            work.tensor(tensor, *dtype, &mut shard, |bytes| {
                done += bytes;
                if let Some(progress) = &options.progress {
                    progress(Progress::new(Phase::Write, done, total));
                }
            })?;
        }
        shard.finish()?;
    }
    let values: f64 = plan.iter().map(|(t, _)| t.n_rows() as f64 * t.width() as f64).sum();
    let formats = out.formats();
    let files = out.publish()?;
    Ok(Quantized { files, bytes: total, bits: total as f64 * 8.0 / values.max(1.0), formats })
}

fn threads(options: &LoadOptions) -> Result<usize, Error> {
    match options.threads {
        Some(0) => Err(Error::input("threads: expected at least 1, found 0")),
        Some(n) => Ok(n.min(256)),
        None => Ok(std::thread::available_parallelism().map_or(1, |n| n.get())),
    }
}

/// Where a task leaves what it made.
type Slot = Mutex<Option<Result<Vec<u8>, Error>>>;

/// What converting a tensor needs.
struct Work<'a> {
    export: &'a Export,
    imatrix: Option<&'a Imatrix>,
    pool: ThreadPool,
    cancel: &'a Cancel,
}

impl Work<'_> {
    /// Converts and writes one tensor, in chunks of rows, as many at once as there are threads.
    fn tensor(
        &self,
        tensor: &OutTensor,
        dtype: DType,
        shard: &mut Shard<'_>,
        mut wrote: impl FnMut(u64),
    ) -> Result<(), Error> {
        let importance = self.importance(tensor, dtype)?;
        let step = (CHUNK / tensor.width().max(1)).max(1);
        let n_rows = tensor.n_rows();
        let mut first = 0;
        while first < n_rows {
            if self.cancel.is_cancelled() {
                return Err(Error::cancelled("quantising"));
            }
            let next = |first: &mut usize| {
                let rows = *first..(*first + step).min(n_rows);
                *first = rows.end;
                (!rows.is_empty()).then_some(rows)
            };
            let chunks: Vec<Range<usize>> =
                (0..self.pool.n_threads()).map_while(|_| next(&mut first)).collect();
            for bytes in self.convert(tensor, dtype, importance.as_deref(), chunks)? {
                shard.write(&tensor.name, &bytes)?;
                wrote(bytes.len() as u64);
            }
        }
        Ok(())
    }

    /// What the columns of a tensor are worth: a row for each of its matrices.
    fn importance(&self, tensor: &OutTensor, dtype: DType) -> Result<Option<Vec<f32>>, Error> {
        let Some(imatrix) = self.imatrix.filter(|_| !dtype.is_plain()) else { return Ok(None) };
        imatrix.0.weights(&tensor.name, tensor.n_mats(), tensor.width()).lift()
    }

    fn convert(
        &self,
        tensor: &OutTensor,
        dtype: DType,
        importance: Option<&[f32]>,
        chunks: Vec<Range<usize>>,
    ) -> Result<Vec<Vec<u8>>, Error> {
        // A place for each result: tasks finish in any order.
        let places: Vec<Slot> = chunks.iter().map(|_| Mutex::new(None)).collect();
        let run = |task: usize, _worker: usize| {
            if let (Some(rows), Some(place)) = (chunks.get(task), places.get(task)) {
                let done = self.chunk(tensor, dtype, importance, rows.clone());
                *place.lock().unwrap_or_else(PoisonError::into_inner) = Some(done);
            }
        };
        let lost = || Error::new(ErrorKind::Device, "a task of the conversion did not finish");
        self.pool.run(chunks.len(), &run).map_err(|_| lost())?;
        let taken = |place: Slot| place.into_inner().unwrap_or_else(PoisonError::into_inner);
        places.into_iter().map(|place| taken(place).unwrap_or_else(|| Err(lost()))).collect()
    }

    /// Some rows in their new format.
    fn chunk(
        &self,
        tensor: &OutTensor,
        dtype: DType,
        importance: Option<&[f32]>,
        rows: Range<usize>,
    ) -> Result<Vec<u8>, Error> {
        let width = tensor.width();
        let row_bytes = dtype.row_bytes(width).unwrap_or(0);
        let refused = |_| {
            let bytes = rows.len().saturating_mul(row_bytes);
            Error::new(ErrorKind::OutOfMemory, format_args!("{bytes} bytes of memory were refused"))
        };
        let mut bytes: Vec<u8> = Vec::new();
        bytes.try_reserve_exact(rows.len() * row_bytes).map_err(refused)?;
        if tensor.dtype() == Some(dtype)
            && let Some(stored) = self.export.stored(tensor, rows.clone())
        {
            bytes.extend_from_slice(stored);
            return Ok(bytes);
        }
        let mut values: Vec<f32> = Vec::new();
        values.try_reserve_exact(rows.len() * width).map_err(refused)?;
        values.resize(rows.len() * width, 0.0);
        self.export.rows(tensor, rows.clone(), &mut values).lift()?;
        bytes.resize(rows.len() * row_bytes, 0);
        let rows_of_mat = (tensor.n_rows() / tensor.n_mats()).max(1);
        let packed = values.chunks_exact(width.max(1)).zip(bytes.chunks_exact_mut(row_bytes.max(1)));
        for (row, (values, bytes)) in rows.zip(packed) {
            let of_mat = |all| <[f32]>::chunks_exact(all, width.max(1)).nth(row / rows_of_mat);
            let failed = |e: QuantError| Error::unsupported(e).at(&tensor.name);
            quantize_row(dtype, values, importance.and_then(of_mat), bytes).map_err(failed)?;
        }
        Ok(bytes)
    }
}

/// The file a name stands for, links followed.
fn real(path: &Path) -> Option<PathBuf> {
    std::fs::canonicalize(path).ok()
}

fn named(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}
