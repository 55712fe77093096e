//! How long each kernel takes, where the adapter has timestamps.

use crate::buffer::Buffer;
use crate::context::Context;
use crate::recorder::fetch;
use puna_core::{DeviceError, OpTime};
use puna_shaders::Kernel;

/// Dispatches that one submit can time: a query set holds 4096 timestamps.
pub(crate) const TIMED: usize = 2048;

/// Timestamps around the dispatches of one submit at a time.
#[derive(Debug)]
pub(crate) struct Profiler {
    pub(crate) queries: wgpu::QuerySet,
    resolved: Buffer,
    staging: Buffer,
    /// What the dispatches of this submit are.
    labels: Vec<(&'static str, Kernel)>,
    times: Vec<((&'static str, Kernel), OpTime)>,
}

impl Profiler {
    /// `None` where there are no timestamps.
    pub(crate) fn new(ctx: &Context) -> Result<Option<Self>, DeviceError> {
        if !ctx.device.features().contains(wgpu::Features::TIMESTAMP_QUERY) {
            return Ok(None);
        }
        let queries = ctx.guarded(0, || {
            ctx.device.create_query_set(&wgpu::QuerySetDescriptor {
                label: Some("times"),
                ty: wgpu::QueryType::Timestamp,
                count: 2 * TIMED as u32,
            })
        })?;
        let bytes = 16 * TIMED as u64;
        let (from, to) = (wgpu::BufferUsages::COPY_SRC, wgpu::BufferUsages::COPY_DST);
        let resolved = ctx.buffer("times", bytes, from | wgpu::BufferUsages::QUERY_RESOLVE)?;
        let staging = ctx.buffer("times read", bytes, to | wgpu::BufferUsages::MAP_READ)?;
        Ok(Some(Profiler { queries, resolved, staging, labels: Vec::new(), times: Vec::new() }))
    }

    /// The queries around the next dispatch.
    pub(crate) fn next(&mut self, op: &'static str, kernel: Kernel) -> wgpu::ComputePassTimestampWrites<'_> {
        let at = 2 * self.labels.len() as u32;
        self.labels.push((op, kernel));
        wgpu::ComputePassTimestampWrites {
            query_set: &self.queries,
            beginning_of_pass_write_index: Some(at),
            end_of_pass_write_index: Some(at + 1),
        }
    }

    /// Ends the commands of a submit.
    pub(crate) fn resolve(&self, encoder: &mut wgpu::CommandEncoder) {
        let n = 2 * self.labels.len() as u32;
        if n > 0 {
            encoder.resolve_query_set(&self.queries, 0..n, &self.resolved.raw, 0);
            encoder.copy_buffer_to_buffer(&self.resolved.raw, 0, &self.staging.raw, 0, u64::from(n) * 8);
        }
    }

    /// Waits for the submit and adds up its times.
    pub(crate) fn collect(&mut self, ctx: &Context) -> Result<(), DeviceError> {
        let labels = core::mem::take(&mut self.labels);
        if labels.is_empty() {
            return Ok(());
        }
        let period = f64::from(ctx.queue.get_timestamp_period());
        let times = &mut self.times;
        fetch(ctx, &self.staging, labels.len() as u64 * 16, |bytes| {
            let ticks = bytes.as_chunks::<8>().0.as_chunks::<2>().0;
            for (label, [from, to]) in labels.into_iter().zip(ticks) {
                let ticks = u64::from_le_bytes(*to).saturating_sub(u64::from_le_bytes(*from));
                let nanoseconds = (ticks as f64 * period) as u64;
                match times.iter_mut().find(|(of, _)| *of == label) {
                    Some((_, time)) => {
                        time.runs += 1;
                        time.nanoseconds += nanoseconds;
                    }
                    None => {
                        let (op, kernel) = (label.0, label.1.name());
                        times.push((label, OpTime { op, kernel, runs: 1, nanoseconds }));
                    }
                }
            }
        })
    }

    /// The times so far, the longest first.
    pub(crate) fn times(&self) -> Vec<OpTime> {
        let mut times: Vec<_> = self.times.iter().map(|(_, time)| time.clone()).collect();
        times.sort_by_key(|time| core::cmp::Reverse(time.nanoseconds));
        times
    }
}
