//! Routed experts in each of the four ways files store them.

use super::bind::{Binder, Dense, in_out, slice};
use super::loader::expect_shape;
use super::names::{Names, Part};
use crate::error::with_capacity;
use crate::{Config, LlamaError, Result};
use alloc::format;
use alloc::vec::Vec;
use puna_core::{Expert, Mat, Vector};

impl Binder<'_, '_> {
    pub(super) fn experts(&mut self, layer: usize) -> Result<Vec<Expert>> {
        let fused = self.names.experts_gate_up(layer);
        match self.names {
            Names::Gguf if self.file.contains(&fused) => self.stacked_gate_up(layer, &fused),
            Names::Gguf => self.stacked(layer),
            Names::HuggingFace { .. } if self.file.contains(&fused) => self.in_out(layer, &fused),
            Names::HuggingFace { .. } => self.separate(layer),
        }
    }

    /// GGUF: gate, up and down each `[n_experts, n_out, n_in]`.
    fn stacked(&mut self, layer: usize) -> Result<Vec<Expert>> {
        let Config { hidden, ff_expert, .. } = *self.config;
        let gate = self.stack(&self.names.experts(layer, Part::Gate), ff_expert, hidden)?;
        let up = self.stack(&self.names.experts(layer, Part::Up), ff_expert, hidden)?;
        let down = self.stack(&self.names.experts(layer, Part::Down), hidden, ff_expert)?;
        self.of_stacks(gate, up, down)
    }

    fn of_stacks(&self, gate: Mat, up: Mat, down: Mat) -> Result<Vec<Expert>> {
        let Config { hidden, n_experts, ff_expert, .. } = *self.config;
        collect(n_experts, |e| Expert {
            gate: rows(gate, e * ff_expert, ff_expert),
            up: rows(up, e * ff_expert, ff_expert),
            down: rows(down, e * hidden, hidden),
        })
    }

    /// GGUF, and a shared expert of the same width: each of its matrices goes directly after the routed ones of the same
    /// kind, where the device likes that. Nothing from other files.
    pub(super) fn stacked_with_shared(&mut self, layer: usize) -> Result<Option<(Vec<Expert>, Dense)>> {
        let Config { hidden, ff_expert, .. } = *self.config;
        if !matches!(self.names, Names::Gguf) || self.file.contains(&self.names.experts_gate_up(layer)) {
            return Ok(None);
        }
        let (gate, gate1) = self.stack_and_one(layer, Part::Gate, ff_expert, hidden)?;
        let (up, up1) = self.stack_and_one(layer, Part::Up, ff_expert, hidden)?;
        let (down, down1) = self.stack_and_one(layer, Part::Down, hidden, ff_expert)?;
        let experts = self.of_stacks(gate, up, down)?;
        Ok(Some((experts, Dense { gate: gate1, up: up1, down: down1 })))
    }

    /// The matrices of one kind of all routed experts, and that of the shared one.
    fn stack_and_one(&mut self, layer: usize, part: Part, n_rows: usize, width: usize) -> Result<(Mat, Mat)> {
        let (name, shared) = (self.names.experts(layer, part), self.names.shared(layer, part));
        let (many, one) = (self.file.need(&name)?, self.file.need(&shared)?);
        let n_experts = self.config.n_experts;
        expect_shape(&name, &many, &[n_experts, n_rows, width])?;
        expect_shape(&shared, &one, &[n_rows, width])?;
        let scaled = [&name, &shared].iter().any(|name| self.file.contains(&format!("{name}_scale")));
        if let Some(all) = n_experts.checked_mul(n_rows)
            && many.dtype == one.dtype
            && !scaled
            && let Some(mat) =
                self.file.load_together(&[(&name, &many, all), (&shared, &one, n_rows)], width)?
        {
            return Ok((rows(mat, 0, all), rows(mat, all, n_rows)));
        }
        Ok((self.stack(&name, n_rows, width)?, self.file.matrix(&shared, n_rows, width)?))
    }

    /// GGUF, fused: `[n_experts, 2 * n_ff, hidden]`, the gate's rows first.
    fn stacked_gate_up(&mut self, layer: usize, name: &str) -> Result<Vec<Expert>> {
        let Config { hidden, n_experts, ff_expert, .. } = *self.config;
        let gate_up = self.stack(name, 2 * ff_expert, hidden)?;
        let down = self.stack(&self.names.experts(layer, Part::Down), hidden, ff_expert)?;
        collect(n_experts, |e| Expert {
            gate: rows(gate_up, 2 * e * ff_expert, ff_expert),
            up: rows(gate_up, (2 * e + 1) * ff_expert, ff_expert),
            down: rows(down, e * hidden, hidden),
        })
    }

    /// Hugging Face, fused: `[n_experts, hidden, 2 * n_ff]` and `[n_experts, n_ff, hidden]`, used as they are; in
    /// fbgemm's FP8 with one scale an output (`NAME_scale`).
    fn in_out(&mut self, layer: usize, name: &str) -> Result<Vec<Expert>> {
        let Config { hidden, n_experts, ff_expert, .. } = *self.config;
        let down_name = self.names.experts(layer, Part::Down);
        let gate_up = self.stack(name, hidden, 2 * ff_expert)?;
        let down = self.stack(&down_name, ff_expert, hidden)?;
        for (name, mat) in [(name, gate_up), (&down_name, down)] {
            if !mat.dtype.is_plain() {
                return Err(LlamaError::tensor(
                    name,
                    "a format without blocks in [in, out] order",
                    mat.dtype,
                ));
            }
        }
        let gate_up_scale = self.stack_scale(name, 2 * ff_expert)?;
        let down_scale = self.stack_scale(&down_name, hidden)?;
        let scaled = |mat: Mat, scale: Option<Vector>, first: usize| Mat {
            scale: scale.map(|v| slice(v, first, mat.n_out)),
            ..mat
        };
        collect(n_experts, |e| {
            let gate = in_out(gate_up, e * hidden, hidden, 0, ff_expert);
            let up = in_out(gate_up, e * hidden, hidden, ff_expert, ff_expert);
            Expert {
                gate: scaled(gate, gate_up_scale, 2 * e * ff_expert),
                up: scaled(up, gate_up_scale, (2 * e + 1) * ff_expert),
                down: scaled(in_out(down, e * ff_expert, ff_expert, 0, hidden), down_scale, e * hidden),
            }
        })
    }

    /// Hugging Face, every matrix a tensor of its own (compressed-tensors FP8, some BF16 exports).
    fn separate(&mut self, layer: usize) -> Result<Vec<Expert>> {
        let Config { n_experts, ff_expert, .. } = *self.config;
        let mut experts = with_capacity(n_experts)?;
        for e in 0..n_experts {
            let one = self.dense(ff_expert, |names, part| names.expert(layer, e, part))?;
            experts.push(Expert { gate: one.gate, up: one.up, down: one.down });
        }
        Ok(experts)
    }

    /// A `[n_experts, n_rows, width]` tensor as one matrix of all stored rows.
    fn stack(&mut self, name: &str, n_rows: usize, width: usize) -> Result<Mat> {
        let n_experts = self.config.n_experts;
        let tensor = self.file.need(name)?;
        expect_shape(name, &tensor, &[n_experts, n_rows, width])?;
        let all = n_experts.checked_mul(n_rows);
        let all = all.ok_or_else(|| {
            LlamaError::tensor(name, "rows that fit this machine", format!("{:?}", tensor.shape))
        })?;
        self.file.load(name, &tensor, all, width)
    }

    fn stack_scale(&mut self, name: &str, n_out: usize) -> Result<Option<Vector>> {
        let name = format!("{name}_scale");
        let len = self.config.n_experts.saturating_mul(n_out);
        self.file.contains(&name).then(|| self.file.vector(&name, len)).transpose()
    }
}

/// `n` stored rows from `first` on, of a matrix in `[out, in]` order.
fn rows(all: Mat, first: usize, n: usize) -> Mat {
    Mat { n_out: n, offset: all.offset + first * all.stride, ..all }
}

fn collect(n: usize, expert: impl Fn(usize) -> Expert) -> Result<Vec<Expert>> {
    let mut experts = with_capacity(n)?;
    experts.extend((0..n).map(expert));
    Ok(experts)
}
