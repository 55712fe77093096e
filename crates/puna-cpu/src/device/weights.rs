//! The weight regions of a device and checked views of what ops name in them.

use crate::buffers::Aligned;
use crate::matmul::MatRef;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Range;
use puna_core::{DeviceError, Mat, Region, Vector, Weight};

/// The regions loaded so far, shared with forks.
#[derive(Clone, Default)]
pub(crate) struct Weights(Arc<Vec<Region>>);

impl Weights {
    pub(crate) fn load(&mut self, region: &Region) -> Result<Weight, DeviceError> {
        let regions = Arc::make_mut(&mut self.0);
        let refused = DeviceError::OutOfMemory { bytes: size_of::<Region>() as u64 };
        let id = u32::try_from(regions.len()).map_err(|_| refused.clone())?;
        regions.try_reserve(1).map_err(|_| refused)?;
        regions.push(region.clone());
        Ok(Weight(id))
    }

    fn bytes(&self, weight: Weight) -> Option<&[u8]> {
        self.0.get(weight.0 as usize).map(Region::bytes)
    }

    pub(crate) fn vector(&self, op: &'static str, v: Vector) -> Result<Floats<'_>, DeviceError> {
        let bytes = || {
            let start = v.offset.checked_mul(4)?;
            let end = v.len.checked_mul(4)?.checked_add(start)?;
            self.bytes(v.weight)?.get(start..end)
        };
        bytes().map(Floats).ok_or(DeviceError::Handle { op, what: "vector" })
    }

    pub(crate) fn mat<'a>(&'a self, op: &'static str, mat: &'a Mat) -> Result<WeightMat<'a>, DeviceError> {
        let bytes = self.bytes(mat.weight).filter(|b| mat.end().is_some_and(|end| end <= b.len()));
        let bytes = bytes.ok_or(DeviceError::Handle { op, what: "matrix" })?;
        let scale = mat.scale.map(|v| self.vector(op, v)).transpose()?;
        Ok(WeightMat { mat, bytes, scale })
    }
}

/// Little-endian F32 values somewhere in a file, so not always aligned.
#[derive(Clone, Copy)]
pub(crate) struct Floats<'a>(&'a [u8]);

impl<'a> Floats<'a> {
    fn in_place(self) -> Option<&'a [f32]> {
        if cfg!(target_endian = "little") { bytemuck::try_cast_slice(self.0).ok() } else { None }
    }

    pub(crate) fn slice(self, range: Range<usize>) -> Self {
        Self(&self.0[range.start * 4..range.end * 4])
    }

    /// Makes room in `spare` for [`get`](Self::get), if it will need any.
    pub(crate) fn prepare(self, spare: &mut Aligned) -> Result<(), DeviceError> {
        match self.in_place() {
            Some(_) => Ok(()),
            None => spare.room::<f32>(self.0.len() / 4).map(|_| ()),
        }
    }

    /// The values: where they are if they are aligned, else decoded into `spare`.
    pub(crate) fn get<'s>(self, spare: &'s mut Aligned) -> &'s [f32]
    where
        'a: 's,
    {
        if let Some(values) = self.in_place() {
            return values;
        }
        let (words, _) = self.0.as_chunks::<4>();
        let values = &mut spare.values_mut()[..words.len()];
        for (value, word) in values.iter_mut().zip(words) {
            *value = f32::from_le_bytes(*word);
        }
        values
    }
}

/// A matrix that lies inside its region.
#[derive(Clone, Copy)]
pub(crate) struct WeightMat<'a> {
    pub(crate) mat: &'a Mat,
    pub(crate) bytes: &'a [u8],
    pub(crate) scale: Option<Floats<'a>>,
}

impl<'a> WeightMat<'a> {
    pub(crate) fn prepare(&self, spare: &mut Aligned) -> Result<(), DeviceError> {
        self.scale.map_or(Ok(()), |scale| scale.prepare(spare))
    }

    /// As the kernels take it.
    pub(crate) fn get<'s>(&self, spare: &'s mut Aligned) -> MatRef<'s>
    where
        'a: 's,
    {
        MatRef { mat: self.mat, bytes: self.bytes, scale: self.scale.map(|scale| scale.get(spare)) }
    }
}
