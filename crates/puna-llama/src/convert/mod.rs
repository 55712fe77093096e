//! From a model in any file to the tensors of a GGUF file: their names, and their rows as numbers.
//!
//! The model is bound as for running, so that every layout a file may have (fused, transposed, with row scales, experts
//! one by one or stacked, queries and keys in either order) is understood in one place only.

pub mod mix;
mod outline;
mod tower;

pub use outline::{Outline, outline};

use crate::error::with_capacity;
use crate::weights::{Dense, Ffn, Linear, Moe};
use crate::{Config, Llama, LlamaError, LoadWatch, Result, TensorSource, export};
use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::ops::Range;
use mix::Role;
use puna_core::ops::Pairs;
use puna_core::quant::dequantize_row;
use puna_core::{
    Buf, DType, Device, DeviceError, DeviceInfo, Elem, Expert, Layout, Mat, Op, Region, Rows, Vector, Weight,
};
use puna_format::gguf::Metadata;

/// A model's tensors under the names of GGUF: of a text model, or with a [`VisionConfig`](crate::VisionConfig) of a tower.
pub struct Export<C = Config> {
    /// The configuration as it was understood.
    pub config: C,
    /// In the order in which they are written.
    pub tensors: Vec<OutTensor>,
    regions: Vec<Region>,
}

/// One tensor to be written.
#[derive(Clone, Debug)]
pub struct OutTensor {
    /// Its GGUF name.
    pub name: String,
    /// Dimensions, the contiguous one last.
    pub shape: Vec<usize>,
    /// What it does, and in which layer; `None` for what is never quantised.
    pub role: Option<(Role, usize)>,
    rows: Source,
}

#[derive(Clone, Debug)]
enum Source {
    Values(Vec<f32>),
    /// Rows of one matrix after the other.
    Mats {
        mats: Vec<Mat>,
        /// Heads whose rows GGUF stores in another order.
        halves: Option<Heads>,
    },
}

/// Heads whose rotating rows are two halves, which GGUF stores as pairs.
#[derive(Clone, Copy, Debug)]
struct Heads {
    dim: usize,
    n_rot: usize,
}

impl Heads {
    /// The stored row that becomes row `row`.
    fn source(self, row: usize) -> usize {
        let (start, within) = (row / self.dim * self.dim, row % self.dim);
        if within < self.n_rot { start + within % 2 * (self.n_rot / 2) + within / 2 } else { row }
    }
}

impl OutTensor {
    /// Values of a row.
    pub fn width(&self) -> usize {
        self.shape.last().copied().unwrap_or(0)
    }

    /// All rows.
    pub fn n_rows(&self) -> usize {
        self.shape.split_last().map_or(0, |(_, rest)| rest.iter().product())
    }

    /// The matrices that it stacks: experts, or the one it is.
    pub fn n_mats(&self) -> usize {
        match self.shape[..] {
            [n, _, _] => n.max(1),
            _ => 1,
        }
    }

    /// The format it has where it comes from, if that is one.
    pub fn dtype(&self) -> Option<DType> {
        match &self.rows {
            Source::Values(_) => Some(DType::F32),
            Source::Mats { mats, .. } => mats.first().map(|mat| mat.dtype),
        }
    }
}

impl Export {
    /// Binds the text model in `tensors`.
    ///
    /// # Errors
    /// As [`Llama::load`].
    pub fn new(config: Config, tensors: &dyn TensorSource, watch: &mut LoadWatch<'_>) -> Result<Export> {
        let mut keep = Keep::default();
        let llama = Llama::load(config, tensors, &mut keep, watch)?;
        let tensors = list(&llama, &keep)?;
        Ok(Export { config: llama.config, tensors, regions: keep.regions })
    }

    /// Sets the keys that describe the written model.
    pub fn metadata(&self, metadata: &mut Metadata) {
        export::metadata(&self.config, metadata);
    }
}

impl<C> Export<C> {
    /// The stored bytes of rows, where they can be taken over as they are.
    pub fn stored(&self, tensor: &OutTensor, rows: Range<usize>) -> Option<&[u8]> {
        let Source::Mats { mats, halves: None } = &tensor.rows else { return None };
        let (mat, rows) = one(mats, rows)?;
        let row = mat.dtype.row_bytes(mat.n_in)?;
        if mat.layout != Layout::OutIn || mat.scale.is_some() || mat.stride != row {
            return None;
        }
        let start = mat.offset.checked_add(rows.start.checked_mul(row)?)?;
        self.bytes(mat.weight).get(start..start.checked_add(rows.len().checked_mul(row)?)?)
    }

    /// Rows as numbers, one after the other, into `out`, which has room for exactly them.
    ///
    /// # Errors
    /// [`LlamaError::TensorValue`] for a value that is not finite.
    pub fn rows(&self, tensor: &OutTensor, rows: Range<usize>, out: &mut [f32]) -> Result<()> {
        let width = tensor.width().max(1);
        match &tensor.rows {
            Source::Values(values) => {
                let from = values.get(rows.start * width..).unwrap_or_default();
                out.iter_mut().zip(from).for_each(|(to, v)| *to = *v);
            }
            Source::Mats { mats, halves } => {
                let mut first = 0;
                for mat in mats {
                    let (from, to) = (rows.start.max(first), rows.end.min(first + mat.n_out));
                    if from < to {
                        let part = out.get_mut((from - rows.start) * width..(to - rows.start) * width);
                        self.part(mat, from - first..to - first, *halves, part.unwrap_or_default());
                    }
                    first += mat.n_out;
                }
            }
        }
        match out.iter().enumerate().find(|(_, v)| !v.is_finite()) {
            Some((i, &found)) => {
                let index = rows.start.saturating_mul(width).saturating_add(i);
                Err(LlamaError::TensorValue { name: tensor.name.clone(), index, found })
            }
            None => Ok(()),
        }
    }

    /// Rows of one matrix.
    fn part(&self, mat: &Mat, rows: Range<usize>, halves: Option<Heads>, out: &mut [f32]) {
        let bytes = self.bytes(mat.weight);
        let stored = |row: usize, first: usize, n: usize, out: &mut [f32]| {
            // Where a row is not the start of whole blocks, the format has none: `Llama::load` has seen to that.
            let start = mat.offset + row * mat.stride + mat.dtype.row_bytes(first).unwrap_or(0);
            let row = bytes.get(start..).and_then(|b| b.get(..mat.dtype.row_bytes(n)?));
            if row.is_none_or(|row| dequantize_row(mat.dtype, row, out).is_err()) {
                out.fill(f32::NAN);
            }
        };
        match mat.layout {
            Layout::OutIn => {
                for (row, out) in rows.clone().zip(out.chunks_exact_mut(mat.n_in)) {
                    stored(halves.map_or(row, |heads| heads.source(row)), 0, mat.n_in, out);
                }
            }
            Layout::InOut => {
                let mut values = [0.0; 64];
                for first in rows.clone().step_by(values.len()) {
                    let n = values.len().min(rows.end - first);
                    for i in 0..mat.n_in {
                        let Some(values) = values.get_mut(..n) else { return };
                        stored(i, first, n, values);
                        let column = out.iter_mut().skip((first - rows.start) * mat.n_in + i);
                        column.step_by(mat.n_in).zip(values).for_each(|(to, v)| *to = *v);
                    }
                }
            }
        }
        if let Some(scale) = mat.scale {
            let factors = vector(self.bytes(scale.weight), scale);
            for (row, out) in rows.zip(out.chunks_exact_mut(mat.n_in)) {
                let row = halves.map_or(row, |heads| heads.source(row));
                let factor = factors.get(row).map_or(f32::NAN, |b| f32::from_le_bytes(*b));
                out.iter_mut().for_each(|v| *v *= factor);
            }
        }
    }

    fn bytes(&self, weight: Weight) -> &[u8] {
        self.regions.get(weight.0 as usize).map_or(&[], Region::bytes)
    }
}

/// Every tensor of a model whose vectors are in `keep`, in the order in which they are written.
fn list(llama: &Llama, keep: &Keep) -> Result<Vec<OutTensor>> {
    let Llama { config, weights, .. } = llama;
    let heads = Heads { dim: config.head_dim, n_rot: config.rope.n_rot };
    let halves = (config.rope.pairs == Pairs::Half).then_some(heads);
    let mut list = List { halves, keep, tensors: Vec::new() };
    let tied = config.tied_embeddings;
    list.mat("token_embd", weights.embed, if tied { Role::Head } else { Role::Embed }, 0)?;
    if let Some(divisors) = export::rope_divisors(config)? {
        list.values("rope_freqs", divisors)?;
    }
    for (i, layer) in weights.layers.iter().enumerate() {
        let name = |part: &str| format!("blk.{i}.{part}");
        list.vector(&name("attn_norm"), layer.attn_norm)?;
        list.linear(&name("attn_q"), &layer.q, Role::Query, i, true)?;
        list.linear(&name("attn_k"), &layer.k, Role::Key, i, true)?;
        list.linear(&name("attn_v"), &layer.v, Role::Value, i, false)?;
        list.linear(&name("attn_output"), &layer.o, Role::AttnOut, i, false)?;
        list.vector(&name("ffn_norm"), layer.ffn_norm)?;
        match &layer.ffn {
            Ffn::Dense(dense) => list.dense(i, "", dense)?,
            Ffn::Moe(moe) => list.moe(i, moe)?,
        }
    }
    list.vector("output_norm", weights.norm)?;
    if !tied {
        list.mat("output", weights.head, Role::Head, 0)?;
    }
    Ok(list.tensors)
}

/// The matrices of a model on any device under their GGUF names: one, or one for each expert.
///
/// # Errors
/// Out of memory.
pub fn matrices(llama: &Llama) -> Result<Vec<(String, Vec<Mat>)>> {
    let tensors = list(llama, &Keep::default())?.into_iter();
    Ok(tensors
        .filter_map(|tensor| match tensor.rows {
            Source::Mats { mats, .. } => Some((tensor.name, mats)),
            Source::Values(_) => None,
        })
        .collect())
}

/// The one matrix that has all of `rows`, and their places in it.
fn one(mats: &[Mat], rows: Range<usize>) -> Option<(&Mat, Range<usize>)> {
    let mut first = 0;
    for mat in mats {
        if rows.end <= first + mat.n_out {
            return Some((mat, rows.start.checked_sub(first)?..rows.end - first));
        }
        first += mat.n_out;
    }
    None
}

fn vector(bytes: &[u8], v: Vector) -> &[[u8; 4]] {
    bytes.as_chunks().0.get(v.offset..v.offset.saturating_add(v.len)).unwrap_or_default()
}

/// The tensors so far.
struct List<'a> {
    /// How heads that rotate are stored, if not as GGUF does.
    halves: Option<Heads>,
    keep: &'a Keep,
    tensors: Vec<OutTensor>,
}

impl List<'_> {
    fn push(&mut self, name: &str, shape: &[usize], role: Option<(Role, usize)>, rows: Source) -> Result<()> {
        self.tensors.try_reserve(1).map_err(|_| LlamaError::out_of_memory::<OutTensor>(1))?;
        self.tensors.push(OutTensor { name: name.into(), shape: shape.to_vec(), role, rows });
        Ok(())
    }

    fn values(&mut self, name: &str, values: Vec<f32>) -> Result<()> {
        self.push(&format!("{name}.weight"), &[values.len()], None, Source::Values(values))
    }

    fn floats(&self, v: Vector) -> Result<Vec<f32>> {
        let bytes = self.keep.regions.get(v.weight.0 as usize).map_or(&[][..], Region::bytes);
        let mut values = with_capacity(v.len)?;
        values.extend(vector(bytes, v).iter().map(|b| f32::from_le_bytes(*b)));
        Ok(values)
    }

    fn vector(&mut self, name: &str, v: Vector) -> Result<()> {
        let values = self.floats(v)?;
        self.values(name, values)
    }

    fn mat(&mut self, name: &str, mat: Mat, role: Role, layer: usize) -> Result<()> {
        let rows = Source::Mats { mats: alloc::vec![mat], halves: None };
        self.push(&format!("{name}.weight"), &[mat.n_out, mat.n_in], Some((role, layer)), rows)
    }

    /// A projection; `turned` if its outputs are heads that rotate.
    fn linear(&mut self, name: &str, linear: &Linear, role: Role, layer: usize, turned: bool) -> Result<()> {
        let halves = self.halves.filter(|_| turned);
        let rows = Source::Mats { mats: alloc::vec![linear.w], halves };
        let shape = [linear.w.n_out, linear.w.n_in];
        self.push(&format!("{name}.weight"), &shape, Some((role, layer)), rows)?;
        let Some(bias) = linear.bias else { return Ok(()) };
        let stored = self.floats(bias)?;
        let values = (0..stored.len()).map(|i| halves.map_or(i, |heads| heads.source(i)));
        let values: Vec<f32> = values.filter_map(|i| stored.get(i).copied()).collect();
        self.push(&format!("{name}.bias"), &[values.len()], None, Source::Values(values))
    }

    fn dense(&mut self, i: usize, suffix: &str, dense: &Dense) -> Result<()> {
        self.mat(&format!("blk.{i}.ffn_gate{suffix}"), dense.gate, Role::Other, i)?;
        self.mat(&format!("blk.{i}.ffn_up{suffix}"), dense.up, Role::Other, i)?;
        self.mat(&format!("blk.{i}.ffn_down{suffix}"), dense.down, Role::Down, i)
    }

    fn moe(&mut self, i: usize, moe: &Moe) -> Result<()> {
        let router = Source::Mats { mats: alloc::vec![moe.router], halves: None };
        let shape = [moe.router.n_out, moe.router.n_in];
        self.push(&format!("blk.{i}.ffn_gate_inp.weight"), &shape, None, router)?;
        let stack = |mat: &dyn Fn(&Expert) -> Mat| -> Result<Vec<Mat>> {
            let mut mats = with_capacity(moe.experts().len())?;
            mats.extend(moe.experts().iter().map(mat));
            Ok(mats)
        };
        for (part, mats, role) in [
            ("gate", stack(&|e| e.gate)?, Role::Experts),
            ("up", stack(&|e| e.up)?, Role::Experts),
            ("down", stack(&|e| e.down)?, Role::ExpertsDown),
        ] {
            let Some(Mat { n_out, n_in, .. }) = mats.first().copied() else { continue };
            let shape = [mats.len(), n_out, n_in];
            let name = format!("blk.{i}.ffn_{part}_exps.weight");
            self.push(&name, &shape, Some((role, i)), Source::Mats { mats, halves: None })?;
        }
        self.dense(i, "_shexp", &moe.shared)
    }
}

/// A device that only holds weights.
#[derive(Default)]
struct Keep {
    regions: Vec<Region>,
}

impl Keep {
    fn refuse<T>(what: &'static str) -> Result<T, DeviceError> {
        Err(DeviceError::Handle { op: "export", what })
    }
}

impl Device for Keep {
    fn info(&self) -> DeviceInfo {
        DeviceInfo::default()
    }

    fn load(&mut self, region: &Region) -> Result<Weight, DeviceError> {
        let bytes = size_of::<Region>() as u64;
        self.regions.try_reserve(1).map_err(|_| DeviceError::OutOfMemory { bytes })?;
        self.regions.push(region.clone());
        let id = u32::try_from(self.regions.len() - 1);
        id.map(Weight).map_err(|_| DeviceError::OutOfMemory { bytes })
    }

    fn alloc(&mut self, _: Elem, _: usize) -> Result<Buf, DeviceError> {
        Self::refuse("buffers")
    }

    fn free(&mut self, _: Buf) {}

    fn write(&mut self, _: Buf, _: usize, _: &[f32]) -> Result<(), DeviceError> {
        Self::refuse("buffers")
    }

    fn issue(&mut self, _: &Op<'_>) -> Result<(), DeviceError> {
        Self::refuse("ops")
    }

    fn read(&mut self, _: &Rows, _: &mut [f32]) -> Result<(), DeviceError> {
        Self::refuse("buffers")
    }

    fn fork(&self) -> Result<Box<dyn Device>, DeviceError> {
        Self::refuse("forks")
    }
}
