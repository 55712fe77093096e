//! From tiles to features: patch embedding, encoder, pixel shuffle, adapter and projector.

use super::weights::Norm;
use super::{Features, Tiles, Vision, VisionConfig, VisionLayer, zeros};
use crate::error::with_capacity;
use crate::weights::Linear;
use crate::{LlamaError, Result};
use puna_core::ops::{AddRows, AttendAll, Gelu, LayerNorm, MatMul, PixelShuffle, Rope2d};
use puna_core::{Buf, Cancel, Device, Elem, Mat, Op, Rows};

/// Sees rows at a stage of the tower; its error ends the encoding.
pub type Observe<'a> = dyn FnMut(Stage, &[f32]) -> Result<()> + 'a;

/// What an encoding listens to and tells, and how many tiles it takes at once.
#[derive(Default)]
pub struct Encode<'a> {
    /// Tiles encoded at once; `None` means 1. More need more memory, and on a CPU they are a little slower: the rows of
    /// one tile are enough to make reading the weights cheap, and those of four leave the caches.
    pub batch: Option<usize>,
    /// Looked at before each layer.
    pub cancel: Option<&'a Cancel>,
    /// Called after each batch: tiles encoded, tiles in all.
    pub progress: Option<&'a mut dyn FnMut(usize, usize)>,
    /// Called with each batch's rows at these stages of the tower.
    pub observe: Option<&'a mut Observe<'a>>,
}

/// Where in the tower an observer looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Patch embedding, before positions: `[tiles, grid² + 1, hidden]`, the last row of each tile zero.
    Patches,
    /// After the encoder's last norm, the class token included: `[tiles, grid² + 1, hidden]`.
    Encoded,
    /// After the adapter: `[tiles, tile_features, adapter_out]`.
    Adapted,
}

/// The buffers of one encoding, for batches of `tiles`.
struct Scratch {
    config: VisionConfig,
    pixels: Buf,
    h: Buf,
    normed: Buf,
    q: Buf,
    k: Buf,
    v: Buf,
    attended: Buf,
    /// Inside of the feed-forward network, and what the pixel shuffle gives.
    inner: Buf,
    adapter: [Buf; 2],
    out: Buf,
}

impl Scratch {
    fn new(config: &VisionConfig, tiles: usize, device: &mut dyn Device) -> Result<Scratch> {
        let (rows, features) = (tiles * config.tile_rows(), tiles * config.tile_features());
        let shuffled = features.saturating_mul(config.hidden * config.shuffle * config.shuffle);
        let hidden = rows.saturating_mul(config.hidden);
        let width = |width: Option<usize>| features.saturating_mul(width.unwrap_or(0));
        let lens = [
            rows.saturating_mul(3 * config.patch_size * config.patch_size),
            hidden,
            hidden,
            hidden,
            hidden,
            hidden,
            hidden,
            rows.saturating_mul(config.n_ff).max(shuffled),
            width(config.adapter_inner),
            width(config.adapter_out),
            features.saturating_mul(config.projected),
        ];
        let mut bufs = [Buf(0); 11];
        for (i, len) in lens.into_iter().enumerate() {
            match device.alloc(Elem::F32, len) {
                Ok(buf) => bufs[i] = buf,
                Err(e) => {
                    bufs.iter().take(i).for_each(|&buf| device.free(buf));
                    return Err(e.into());
                }
            }
        }
        let [pixels, h, normed, q, k, v, attended, inner, a, b, out] = bufs;
        let config = config.clone();
        Ok(Scratch { config, pixels, h, normed, q, k, v, attended, inner, adapter: [a, b], out })
    }

    fn free(self, device: &mut dyn Device) {
        let Scratch { config: _, pixels, h, normed, q, k, v, attended, inner, adapter: [a, b], out } = self;
        for buf in [pixels, h, normed, q, k, v, attended, inner, a, b, out] {
            device.free(buf);
        }
    }

    /// Rows of the tower's width for `tiles` tiles.
    fn rows(&self, buf: Buf, tiles: usize) -> Rows {
        Rows::new(buf, tiles * self.config.tile_rows(), self.config.hidden)
    }
}

impl Vision {
    /// Encodes all tiles of an image: `tile_features` rows a tile, as wide as the text model's residual stream.
    ///
    /// # Errors
    /// Tiles of another size than the tower's, no tiles; cancelled; out of memory, a device that failed; features that
    /// are not finite. The device has no buffer more than before.
    pub fn encode(&self, device: &mut dyn Device, tiles: &Tiles, watch: &mut Encode<'_>) -> Result<Features> {
        if tiles.size != self.config.image_size || tiles.is_empty() {
            let (expected, found) = (self.config.image_size, tiles.size);
            return Err(LlamaError::image("tiles", alloc::format!("some, of {expected} pixels"), found));
        }
        let batch = watch.batch.unwrap_or(1).clamp(1, tiles.len());
        let scratch = Scratch::new(&self.config, batch, device)?;
        let features = self.encode_in(device, &scratch, tiles, batch, watch);
        scratch.free(device);
        let features = features?;
        match features.values().iter().all(|v| v.is_finite()) {
            true => Ok(features),
            false => Err(LlamaError::image("image features", "finite values", "NaN or infinity")),
        }
    }

    fn encode_in(
        &self,
        device: &mut dyn Device,
        s: &Scratch,
        tiles: &Tiles,
        batch: usize,
        watch: &mut Encode<'_>,
    ) -> Result<Features> {
        let tile = self.config.tile_features() * self.config.projected;
        let mut features = zeros(tiles.len().saturating_mul(tile))?;
        let mut pixels = with_capacity(batch.saturating_mul(self.config.tile_rows() * self.patch.n_in))?;
        for (b, out) in features.chunks_mut(batch * tile).enumerate() {
            let (first, n) = (b * batch, out.len() / tile);
            pixels.clear();
            (first..first + n).for_each(|tile| tiles.patches(tile, self.config.patch_size, &mut pixels));
            device.write(s.pixels, 0, &pixels)?;
            self.encoder(device, s, n, watch)?;
            let projected = self.adapter(device, s, n, watch)?;
            device.read(&projected, out)?;
            if let Some(progress) = &mut watch.progress {
                progress(first + n, tiles.len());
            }
        }
        Features::new(features, self.config.projected)
    }

    /// Patches to encoded patches, in `s.normed`.
    fn encoder(
        &self,
        device: &mut dyn Device,
        s: &Scratch,
        tiles: usize,
        watch: &mut Encode<'_>,
    ) -> Result<()> {
        let (h, normed) = (s.rows(s.h, tiles), s.rows(s.normed, tiles));
        let pixels = Rows::new(s.pixels, h.n_rows, self.patch.n_in);
        issue(device, MatMul { x: pixels, w: &self.patch, bias: None, out: normed, add: false })?;
        see(device, normed, Stage::Patches, watch)?;
        issue(device, AddRows { x: normed, table: self.positions })?;
        self.norm(device, normed, self.norm_pre, h)?;
        for layer in &self.layers {
            if watch.cancel.is_some_and(|c| c.is_cancelled()) {
                return Err(LlamaError::Cancelled);
            }
            self.layer(device, s, layer, tiles)?;
        }
        self.norm(device, h, self.norm_post, normed)?;
        see(device, normed, Stage::Encoded, watch)
    }

    /// `h += o(attention(norm1(h)))`, then `h += fc2(gelu(fc1(norm2(h))))`.
    fn layer(&self, device: &mut dyn Device, s: &Scratch, w: &VisionLayer, tiles: usize) -> Result<()> {
        let (h, x) = (s.rows(s.h, tiles), s.rows(s.normed, tiles));
        let [q, k, v, out] = [s.q, s.k, s.v, s.attended].map(|buf| s.rows(buf, tiles));
        self.norm(device, h, w.norm1, x)?;
        for (linear_, out) in [(&w.q, q), (&w.k, k), (&w.v, v)] {
            linear(device, x, linear_, out, false)?;
        }
        let grid = self.config.grid();
        issue(device, Rope2d { x: q, grid, inv_freq: self.inv_freq })?;
        issue(device, Rope2d { x: k, grid, inv_freq: self.inv_freq })?;
        let (group, head_dim) = (self.config.tile_rows(), self.config.head_dim());
        let scale = 1.0 / libm::sqrtf(head_dim as f32);
        issue(device, AttendAll { q, k, v, out, group, head_dim, scale })?;
        linear(device, out, &w.o, h, true)?;

        self.norm(device, h, w.norm2, x)?;
        let inner = Rows::new(s.inner, h.n_rows, w.fc1.w.n_out);
        linear(device, x, &w.fc1, inner, false)?;
        issue(device, Gelu { x: inner })?;
        linear(device, inner, &w.fc2, h, true)
    }

    /// Encoded patches in `s.normed` to rows of the text model's width. The activation follows both matrices.
    fn adapter(
        &self,
        device: &mut dyn Device,
        s: &Scratch,
        tiles: usize,
        watch: &mut Encode<'_>,
    ) -> Result<Rows> {
        let n = tiles * self.config.tile_features();
        let (grid, factor) = (self.config.grid(), self.config.shuffle);
        let mut x = Rows::new(s.inner, n, self.config.hidden * factor * factor);
        issue(device, PixelShuffle { x: s.rows(s.normed, tiles), grid, factor, out: x })?;
        for (w, buf) in self.adapter.iter().zip(s.adapter) {
            let out = Rows::new(buf, n, w.n_out);
            product(device, x, w, out)?;
            issue(device, Gelu { x: out })?;
            x = out;
        }
        see(device, x, Stage::Adapted, watch)?;
        let out = Rows::new(s.out, n, self.config.projected);
        product(device, x, &self.projector, out)?;
        Ok(out)
    }

    fn norm(&self, device: &mut dyn Device, x: Rows, norm: Norm, out: Rows) -> Result<()> {
        let Norm { weight, bias } = norm;
        issue(device, LayerNorm { x, weight, bias, eps: self.config.norm_eps, out })
    }
}

fn issue<'a>(device: &mut dyn Device, op: impl Into<Op<'a>>) -> Result<()> {
    Ok(device.issue(&op.into())?)
}

fn linear(device: &mut dyn Device, x: Rows, linear: &Linear, out: Rows, add: bool) -> Result<()> {
    issue(device, MatMul { x, w: &linear.w, bias: linear.bias, out, add })
}

fn product(device: &mut dyn Device, x: Rows, w: &Mat, out: Rows) -> Result<()> {
    issue(device, MatMul { x, w, bias: None, out, add: false })
}

/// Reads rows for an observer, if there is one.
fn see(device: &mut dyn Device, rows: Rows, stage: Stage, watch: &mut Encode<'_>) -> Result<()> {
    let Some(observe) = &mut watch.observe else { return Ok(()) };
    let mut values = zeros(rows.len())?;
    device.read(&rows, &mut values)?;
    observe(stage, &values)
}
