//! [`KvAppend`].

use super::simd::{self, Kernel, Simd};
use crate::buffers::{Buffers, Storage};
use crate::device::CpuDevice;
use crate::isa::Isa;
use half::f16;
use puna_core::{DeviceError, Elem, KvView, ops::KvAppend};

/// Refuses a block that has not the type or the size that `kv` says.
pub(super) fn check_block(op: &'static str, kv: &KvView<'_>, block: &Storage) -> Result<(), DeviceError> {
    let len = match kv.elem {
        Elem::F16 => block.f16s().map(<[f16]>::len),
        Elem::F32 => block.f32s().map(<[f32]>::len),
        Elem::U32 => None,
    };
    let needed = || 2usize.checked_mul(kv.n_kv_heads)?.checked_mul(kv.block_tokens)?.checked_mul(kv.head_dim);
    match len.zip(needed()) {
        Some((len, needed)) if needed <= len => Ok(()),
        _ => Err(DeviceError::Handle { op, what: "key/value block" }),
    }
}

pub(crate) fn kv_append(device: &mut CpuDevice, op: &KvAppend<'_>) -> Result<(), DeviceError> {
    const OP: &str = "KvAppend";
    let (kv, n_rows) = (op.kv, op.k.n_rows);
    let first = (op.pos - kv.first) as usize;
    let mut row = 0;
    while row < n_rows {
        let (b, slot) = ((first + row) / kv.block_tokens, (first + row) % kv.block_tokens);
        let rows = row..n_rows.min(row + kv.block_tokens - slot);
        row = rows.end;
        let mut block = device.buffers.take(OP, "key/value block", kv.blocks[b])?;
        let stored = store(&device.buffers, device.isa, op, rows, slot, &mut block);
        device.buffers.put(kv.blocks[b], block);
        stored?;
    }
    Ok(())
}

/// Stores the keys and values of `rows` in one block, from `slot` on.
fn store(
    buffers: &Buffers,
    isa: Isa,
    op: &KvAppend<'_>,
    rows: core::ops::Range<usize>,
    slot: usize,
    block: &mut Storage,
) -> Result<(), DeviceError> {
    const OP: &str = "KvAppend";
    check_block(OP, op.kv, block)?;
    let (tokens, d) = (op.kv.block_tokens, op.kv.head_dim);
    for (part, view) in [op.k, op.v].iter().enumerate() {
        let values = buffers.rows(OP, "input rows", view)?;
        let width = view.width;
        let at =
            |head: usize, r: usize| ((part * op.kv.n_kv_heads + head) * tokens + slot + r - rows.start) * d;
        let heads = rows.clone().flat_map(|r| {
            let heads = values[r * width..(r + 1) * width].chunks_exact(d.max(1));
            heads.enumerate().map(move |(head, values)| (r, head, values))
        });
        match op.kv.elem {
            Elem::F16 => {
                let block = block.f16s_mut()?.unwrap_or_default();
                heads.for_each(|(r, head, x)| {
                    simd::run(isa, Halves { x, out: &mut block[at(head, r)..][..d] })
                });
            }
            Elem::F32 => {
                let block = block.f32s_mut()?.unwrap_or_default();
                heads.for_each(|(r, head, x)| block[at(head, r)..][..d].copy_from_slice(x));
            }
            Elem::U32 => {}
        }
    }
    Ok(())
}

/// Rounds to F16.
struct Halves<'a> {
    x: &'a [f32],
    out: &'a mut [f16],
}

impl Kernel for Halves<'_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (mut xs, mut outs) = (self.x.chunks_exact(S::N), self.out.chunks_exact_mut(S::N));
        for (x, out) in (&mut xs).zip(&mut outs) {
            // SAFETY: both chunks have `N` values.
            unsafe { s.store_f16(out.as_mut_ptr(), s.load(x.as_ptr())) }
        }
        for (x, out) in xs.remainder().iter().zip(outs.into_remainder()) {
            *out = f16::from_f32(*x);
        }
    }
}
