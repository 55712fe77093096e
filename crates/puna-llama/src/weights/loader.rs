//! Tensors of a file on their way to a device, each of the size that is asked for.

use super::{LoadProgress, LoadWatch, Tensor, TensorSource};
use crate::error::with_capacity;
use crate::{LlamaError, Result};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Display;
use puna_core::quant::dequantize_row;
use puna_core::{Device, DeviceError, Mat, Place, Region, Vector, Weight};

/// What a device makes of a tensor; nothing if it did not take several at once.
type Loaded = core::result::Result<Option<Weight>, DeviceError>;

/// The tensors of a file on their way to a device.
pub(crate) struct Loader<'a, 'w> {
    tensors: &'a dyn TensorSource,
    device: &'a mut dyn Device,
    watch: &'a mut LoadWatch<'w>,
    progress: LoadProgress,
    /// Where the device puts what comes next.
    pub(super) place: Place,
}

impl<'a, 'w> Loader<'a, 'w> {
    pub(crate) fn new(
        tensors: &'a dyn TensorSource,
        device: &'a mut dyn Device,
        watch: &'a mut LoadWatch<'w>,
    ) -> Self {
        let progress = LoadProgress { total_bytes: tensors.total_bytes(), ..LoadProgress::default() };
        Loader { tensors, device, watch, progress, place: Place(0) }
    }

    pub(crate) fn contains(&self, name: &str) -> bool {
        self.tensors.contains(name)
    }

    pub(crate) fn need(&self, name: &str) -> Result<Tensor> {
        self.tensors.find(name)?.ok_or_else(|| LlamaError::missing(name))
    }

    /// Loads the bytes of a tensor whole, and gives its matrix view: `n_rows` stored rows of `width`.
    pub(crate) fn load(&mut self, name: &str, tensor: &Tensor, n_rows: usize, width: usize) -> Result<Mat> {
        self.check(name, tensor, n_rows, width)?;
        let (place, region) = (self.place, &tensor.region);
        let load = |device: &mut dyn Device, step: &mut dyn FnMut(u64) -> bool| {
            device.load_in_steps(place, region, step).map(Some)
        };
        match self.watched(1, region.len(), load)? {
            Some(weight) => Ok(Mat::plain(weight, tensor.dtype, n_rows, width)),
            None => Err(DeviceError::Handle { op: "load", what: "weight" }.into()),
        }
    }

    /// Loads tensors of one format and width as one matrix, in order, if the device likes that.
    pub(super) fn load_together(
        &mut self,
        parts: &[(&str, &Tensor, usize)],
        width: usize,
    ) -> Result<Option<Mat>> {
        let Some((_, Tensor { dtype, .. }, _)) = parts.first() else { return Ok(None) };
        let mut regions = with_capacity(parts.len())?;
        let (mut rows, mut bytes) = (0, 0);
        for &(name, tensor, n_rows) in parts {
            self.check(name, tensor, n_rows, width)?;
            regions.push(tensor.region.clone());
            (rows, bytes) = (rows + n_rows, bytes + tensor.region.len());
        }
        let place = self.place;
        let load = |device: &mut dyn Device, step: &mut dyn FnMut(u64) -> bool| {
            device.load_together(place, &regions, step)
        };
        let weight = self.watched(parts.len(), bytes, load)?;
        Ok(weight.map(|weight| Mat::plain(weight, *dtype, rows, width)))
    }

    /// Refuses a tensor of another size, and a cancelled load.
    fn check(&self, name: &str, tensor: &Tensor, n_rows: usize, width: usize) -> Result<()> {
        if self.watch.cancel.is_some_and(|c| c.is_cancelled()) {
            return Err(LlamaError::Cancelled);
        }
        let dtype = tensor.dtype;
        let Some(row_bytes) = dtype.row_bytes(width) else {
            let expected = format!("rows of whole blocks of {} in {dtype}", dtype.block_len());
            return Err(LlamaError::tensor(name, expected, format!("rows of {width}")));
        };
        let (bytes, found) = (n_rows.checked_mul(row_bytes), tensor.region.len());
        if bytes != Some(found) {
            let expected = format!("{n_rows} rows of {row_bytes} bytes");
            return Err(LlamaError::tensor(name, expected, format!("{found} bytes")));
        }
        Ok(())
    }

    /// Loads `tensors` tensors of so many bytes, and tells how far it is.
    fn watched(
        &mut self,
        tensors: usize,
        bytes: usize,
        load: impl FnOnce(&mut dyn Device, &mut dyn FnMut(u64) -> bool) -> Loaded,
    ) -> Result<Option<Weight>> {
        let (watch, before) = (&mut *self.watch, self.progress);
        let mut step = |bytes: u64| {
            if let Some(progress) = &mut watch.progress {
                progress(LoadProgress { bytes: before.bytes.saturating_add(bytes), ..before });
            }
            !watch.cancel.is_some_and(|c| c.is_cancelled())
        };
        let loaded = load(self.device, &mut step)?;
        if loaded.is_some() {
            self.progress.tensors += tensors;
            self.progress.bytes = self.progress.bytes.saturating_add(bytes as u64);
            if let Some(progress) = &mut self.watch.progress {
                progress(self.progress);
            }
        }
        Ok(loaded)
    }

    /// How many of the first of these tensors have the first one's format; none if one of them is missing or has factors.
    pub(super) fn alike(&self, names: &[(String, usize)]) -> usize {
        let tensor = |(name, _): &(String, usize)| {
            let scaled = self.tensors.contains(&format!("{name}_scale"));
            self.tensors.find(name).ok().flatten().filter(|_| !scaled)
        };
        let first = names.first().and_then(tensor);
        let same = |name: &&(String, usize)| {
            tensor(name).is_some_and(|t| first.as_ref().is_some_and(|f| f.dtype == t.dtype))
        };
        names.iter().take_while(same).count()
    }

    /// Several `[n_out, n_in]` tensors of one format as one matrix, in order, if the device likes that.
    pub(super) fn matrices(&mut self, names: &[(String, usize)], n_in: usize) -> Result<Option<Mat>> {
        let mut tensors = with_capacity(names.len())?;
        for (name, n_out) in names {
            let tensor = self.need(name)?;
            expect_shape(name, &tensor, &[*n_out, n_in])?;
            tensors.push(tensor);
        }
        let parts = names.iter().zip(&tensors).map(|((name, n_out), tensor)| (name.as_str(), tensor, *n_out));
        self.load_together(&parts.collect::<Vec<_>>(), n_in)
    }

    /// A `[n_out, n_in]` tensor, with its row scales where the file has them (`NAME_scale`).
    pub(crate) fn matrix(&mut self, name: &str, n_out: usize, n_in: usize) -> Result<Mat> {
        let tensor = self.need(name)?;
        expect_shape(name, &tensor, &[n_out, n_in])?;
        let mut mat = self.load(name, &tensor, n_out, n_in)?;
        mat.scale = self.scale(name, n_out)?;
        Ok(mat)
    }

    /// The factors of a matrix's outputs: one each, or one for all.
    fn scale(&mut self, name: &str, n_out: usize) -> Result<Option<Vector>> {
        let name = format!("{name}_scale");
        let Some(tensor) = self.tensors.find(&name)? else { return Ok(None) };
        let mut values = values(&name, &tensor)?;
        if let [one] = values[..] {
            values.try_reserve_exact(n_out).map_err(|_| LlamaError::out_of_memory::<f32>(n_out))?;
            values.resize(n_out, one);
        }
        self.upload(&name, values, n_out).map(Some)
    }

    /// A vector of exactly `len` finite values in any format and shape.
    pub(crate) fn vector(&mut self, name: &str, len: usize) -> Result<Vector> {
        let values = values(name, &self.need(name)?)?;
        self.upload(name, values, len)
    }

    pub(crate) fn upload(&mut self, name: &str, values: Vec<f32>, len: usize) -> Result<Vector> {
        if values.len() != len {
            return Err(LlamaError::tensor(name, format!("{len} values"), values.len()));
        }
        let mut bytes = with_capacity(len.saturating_mul(4))?;
        bytes.extend(values.iter().flat_map(|v| v.to_le_bytes()));
        let weight = self.device.load_at(self.place, &Region::from_vec(bytes))?;
        Ok(Vector { weight, offset: 0, len })
    }
}

/// Refuses a tensor of another shape.
pub(super) fn expect_shape(name: &str, tensor: &Tensor, expected: &[usize]) -> Result<()> {
    if tensor.shape == expected {
        return Ok(());
    }
    Err(LlamaError::tensor(name, format!("shape {expected:?}"), format!("{:?}", tensor.shape)))
}

/// All values of a small tensor as F32, proven finite.
pub(crate) fn values(name: &str, tensor: &Tensor) -> Result<Vec<f32>> {
    let n = tensor.shape.iter().try_fold(1usize, |n, &dim| n.checked_mul(dim));
    let wrong = |found: &dyn Display| LlamaError::tensor(name, "whole blocks of its shape's values", found);
    let n = n.filter(|&n| tensor.dtype.row_bytes(n) == Some(tensor.region.len()));
    let n = n.ok_or_else(|| wrong(&format!("{} bytes for shape {:?}", tensor.region.len(), tensor.shape)))?;
    let mut values = with_capacity(n)?;
    values.resize(n, 0.0);
    dequantize_row(tensor.dtype, tensor.region.bytes(), &mut values).map_err(|e| wrong(&e))?;
    match values.iter().enumerate().find(|(_, v)| !v.is_finite()) {
        Some((index, &found)) => Err(LlamaError::TensorValue { name: name.into(), index, found }),
        None => Ok(values),
    }
}
