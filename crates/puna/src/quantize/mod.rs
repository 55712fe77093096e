//! Writing a model in another mix of formats: GGUF or a Hugging Face folder in, GGUF out.

mod keys;
mod options;
mod output;

pub use options::QuantizeOptions;

use crate::error::{Error, ErrorKind, Lift, Place};
use crate::options::ProgressFn;
use crate::package::{FormatUse, Package, Watch, limits};
use crate::{Cancel, Imatrix, LoadOptions, Phase, Progress};
use output::{Output, Shard};
use puna_core::DType;
use puna_core::quant::{QuantError, Quantizer};
use puna_cpu::ThreadPool;
use puna_format::gguf::Metadata;
use puna_llama::convert::mix::Mix;
use puna_llama::convert::{Export, OutTensor};
use puna_llama::{LoadWatch, VisionConfig};
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::string::String;
use std::sync::{Mutex, PoisonError};
use std::vec::Vec;

/// Values that a thread works on at once: bounds the memory of a conversion.
const CHUNK: usize = 1 << 20;

/// What was written.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Quantized {
    /// The files, the first one first.
    pub files: Vec<PathBuf>,
    /// The file of the vision tower, if it was asked for.
    pub mmproj: Option<PathBuf>,
    /// Bytes of all tensors of the text model.
    pub bytes: u64,
    /// Bits a weight of it, all tensors counted.
    pub bits: f64,
    /// How much of it is stored in each format.
    pub formats: Vec<FormatUse>,
}

/// Writes the text model at `input` (a GGUF file, any shard of a split one, or a Hugging Face folder) as GGUF to
/// `output`, with every explicit key, its tokenizer and its chat template; and its vision tower to another file if
/// [`QuantizeOptions::mmproj`] names one.
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
/// that is one of the inputs or cannot be written; an importance matrix of a model of other dimensions; a vision tower
/// that is asked for and not there.
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
    keys::written(options.mix, options.name.as_deref(), &mut metadata);
    keys::importance(options.imatrix.as_ref(), &mut metadata);
    let (config, weighted) = (&export.config, options.imatrix.is_some());
    let dtype = |t: &OutTensor| options.mix.of(config, t.role, t.width(), weighted);
    let plan: Vec<(&OutTensor, DType)> = export.tensors.iter().map(|t| (t, dtype(t))).collect();
    require_importance(&plan, options)?;
    let out = Output::create(output, input, metadata, &plan, options.split_bytes)?;

    let tower =
        options.mmproj.as_ref().map(|_| tower(&package, &mut listen).place(input.display())).transpose()?;
    let dtypes = tower.as_ref().map(|export| export.dtypes(options.mmproj_mix.map(Mix::base)));
    let tower_plan: Vec<(&OutTensor, DType)> =
        tower.iter().flat_map(|export| &export.tensors).zip(dtypes.into_iter().flatten()).collect();
    let tower_out = match (&options.mmproj, &tower) {
        (Some(path), Some(export)) => {
            Some(tower_output(path, output, input, options, export, &package, &tower_plan)?)
        }
        _ => None,
    };

    let pool = ThreadPool::new(threads(&options.load)?).lift()?;
    let total = out.bytes() + tower_out.as_ref().map_or(0, Output::bytes);
    let mut work = Work { pool, cancel: &watch.cancel, progress: options.progress.as_ref(), done: 0, total };
    work.write(&export, options.imatrix.as_ref(), &plan, &out)?;
    if let (Some(export), Some(out)) = (&tower, &tower_out) {
        work.write(export, None, &tower_plan, out)?;
    }
    let values: f64 = plan.iter().map(|(t, _)| t.n_rows() as f64 * t.width() as f64).sum();
    let (bytes, formats) = (out.bytes(), out.formats());
    let mmproj = tower_out.map(Output::publish).transpose()?;
    let files = out.publish()?;
    let mmproj = mmproj.and_then(|files| files.into_iter().next());
    Ok(Quantized { files, mmproj, bytes, bits: bytes as f64 * 8.0 / values.max(1.0), formats })
}

/// The model's vision tower.
fn tower(package: &Package, listen: &mut LoadWatch<'_>) -> Result<Export<VisionConfig>, Error> {
    let config = package.vision.clone().ok_or_else(crate::images::no_tower)?;
    package.with_vision(|source| Export::tower(config, source, listen)).lift()
}

fn tower_output<'a>(
    path: &Path,
    text: &Path,
    input: &Path,
    options: &QuantizeOptions,
    export: &Export<VisionConfig>,
    package: &Package,
    plan: &'a [(&'a OutTensor, DType)],
) -> Result<Output<'a>, Error> {
    let same = |other: &Path| std::path::absolute(path).ok() == std::path::absolute(other).ok();
    let read =
        options.load.mmproj.as_ref().is_some_and(|tower| real(tower).is_some() && real(tower) == real(path));
    if same(text) || read {
        let message =
            "expected a file of its own for the vision tower, found one that is read or written already";
        return Err(Error::input(message).at(path.display()));
    }
    let mut metadata = Metadata::default();
    export.keys(&mut metadata);
    if let Some(name) = options.name.as_deref().or(package.name.as_deref()) {
        metadata.set("general.name", name);
    }
    if let Some(mix) = options.mmproj_mix {
        keys::written(mix, None, &mut metadata);
    }
    Output::create(path, input, metadata, plan, None)
}

/// Refuses to write matrices of one or two bits without knowing which of their columns matter, unless they are that
/// already.
fn require_importance(plan: &[(&OutTensor, DType)], options: &QuantizeOptions) -> Result<(), Error> {
    for (tensor, dtype) in plan {
        let coarse = tensor.role.is_some_and(|(role, _)| options.mix.needs_importance(*dtype, role));
        let known = |imatrix: &Imatrix| imatrix.0.knows(&tensor.name);
        if coarse && tensor.dtype() != Some(*dtype) && !options.imatrix.as_ref().is_some_and(known) {
            let message = format_args!(
                "type {}: expected an importance matrix that knows every tensor, found none for this one: it would be of \
                 no use in {dtype} (`puna imatrix` makes one)",
                options.mix.name()
            );
            return Err(Error::input(message).at(&tensor.name));
        }
    }
    Ok(())
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

/// What converting takes, and how far it has come.
struct Work<'a> {
    pool: ThreadPool,
    cancel: &'a Cancel,
    progress: Option<&'a ProgressFn>,
    done: u64,
    total: u64,
}

impl Work<'_> {
    /// Converts and writes all tensors of a plan.
    fn write<C: Sync>(
        &mut self,
        export: &Export<C>,
        imatrix: Option<&Imatrix>,
        plan: &[(&OutTensor, DType)],
        out: &Output<'_>,
    ) -> Result<(), Error> {
        // One for each format: some have large tables.
        let mut quantizers: BTreeMap<DType, Quantizer> = BTreeMap::new();
        for i in 0..out.shards() {
            let mut shard = out.shard(i)?;
            for (tensor, dtype) in plan.get(shard.tensors()).unwrap_or_default() {
                let importance = importance(imatrix, tensor, *dtype)?;
                let quantizer = quantizers.entry(*dtype).or_insert_with(|| Quantizer::new(*dtype));
                self.tensor(export, tensor, quantizer, importance.as_deref(), &mut shard)?;
            }
            shard.finish()?;
        }
        Ok(())
    }

    /// Converts and writes one tensor, in chunks of rows, as many at once as there are threads.
    fn tensor<C: Sync>(
        &mut self,
        export: &Export<C>,
        tensor: &OutTensor,
        quantizer: &Quantizer,
        importance: Option<&[f32]>,
        shard: &mut Shard<'_>,
    ) -> Result<(), Error> {
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
            let chunk = |rows| chunk(export, tensor, quantizer, importance, rows);
            for bytes in convert(&self.pool, &chunks, &chunk)? {
                shard.write(&tensor.name, &bytes)?;
                self.done += bytes.len() as u64;
                if let Some(progress) = self.progress {
                    progress(Progress::new(Phase::Write, self.done, self.total));
                }
            }
        }
        Ok(())
    }
}

/// What the columns of a tensor are worth: a row for each of its matrices.
fn importance(
    imatrix: Option<&Imatrix>,
    tensor: &OutTensor,
    dtype: DType,
) -> Result<Option<Vec<f32>>, Error> {
    let Some(imatrix) = imatrix.filter(|_| !dtype.is_plain()) else { return Ok(None) };
    imatrix.0.weights(&tensor.name, tensor.n_mats(), tensor.width()).lift()
}

/// Runs `chunk` on all chunks at once.
fn convert(
    pool: &ThreadPool,
    chunks: &[Range<usize>],
    chunk: &(dyn Fn(Range<usize>) -> Result<Vec<u8>, Error> + Sync),
) -> Result<Vec<Vec<u8>>, Error> {
    // A place for each result: tasks finish in any order.
    let places: Vec<Slot> = chunks.iter().map(|_| Mutex::new(None)).collect();
    let run = |task: usize, _worker: usize| {
        if let (Some(rows), Some(place)) = (chunks.get(task), places.get(task)) {
            let done = chunk(rows.clone());
            *place.lock().unwrap_or_else(PoisonError::into_inner) = Some(done);
        }
    };
    let lost = || Error::new(ErrorKind::Device, "a task of the conversion did not finish");
    pool.run(chunks.len(), &run).map_err(|_| lost())?;
    let taken = |place: Slot| place.into_inner().unwrap_or_else(PoisonError::into_inner);
    places.into_iter().map(|place| taken(place).unwrap_or_else(|| Err(lost()))).collect()
}

/// Some rows in their new format.
fn chunk<C>(
    export: &Export<C>,
    tensor: &OutTensor,
    quantizer: &Quantizer,
    importance: Option<&[f32]>,
    rows: Range<usize>,
) -> Result<Vec<u8>, Error> {
    let dtype = quantizer.dtype();
    let width = tensor.width();
    let row_bytes = dtype.row_bytes(width).unwrap_or(0);
    let refused = |_| {
        let bytes = rows.len().saturating_mul(row_bytes);
        Error::new(ErrorKind::OutOfMemory, format_args!("{bytes} bytes of memory were refused"))
    };
    let mut bytes: Vec<u8> = Vec::new();
    bytes.try_reserve_exact(rows.len() * row_bytes).map_err(refused)?;
    if tensor.dtype() == Some(dtype)
        && let Some(stored) = export.stored(tensor, rows.clone())
    {
        bytes.extend_from_slice(stored);
        return Ok(bytes);
    }
    let mut values: Vec<f32> = Vec::new();
    values.try_reserve_exact(rows.len() * width).map_err(refused)?;
    values.resize(rows.len() * width, 0.0);
    export.rows(tensor, rows.clone(), &mut values).lift()?;
    bytes.resize(rows.len() * row_bytes, 0);
    let rows_of_mat = (tensor.n_rows() / tensor.n_mats()).max(1);
    let packed = values.chunks_exact(width.max(1)).zip(bytes.chunks_exact_mut(row_bytes.max(1)));
    for (row, (values, bytes)) in rows.zip(packed) {
        let of_mat = |all| <[f32]>::chunks_exact(all, width.max(1)).nth(row / rows_of_mat);
        let failed = |e: QuantError| Error::unsupported(e).at(&tensor.name);
        quantizer.row(values, importance.and_then(of_mat), bytes).map_err(failed)?;
    }
    Ok(bytes)
}

/// The file a name stands for, links followed.
fn real(path: &Path) -> Option<PathBuf> {
    std::fs::canonicalize(path).ok()
}

fn named(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}
