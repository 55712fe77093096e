//! What a vision tower is: its dimensions and constants, mapped from a file and checked once.

use crate::config::{MAX_LAYERS, MAX_WIDTH};
use crate::{LlamaError, Result};
use alloc::format;
use puna_format::gguf::Metadata;
use puna_format::json::{Object, Value as Json};

/// Most tiles of an image, without the one that shows it whole.
pub const MAX_TILES: usize = 64;
/// Most patches along a side of a tile.
pub const MAX_GRID: usize = 256;

/// A vision tower's configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct VisionConfig {
    /// Width of the tower.
    pub hidden: usize,
    /// Layers.
    pub n_layers: usize,
    /// Heads.
    pub n_heads: usize,
    /// Inner width of a layer's feed-forward network.
    pub n_ff: usize,
    /// Pixels along a side of a tile.
    pub image_size: usize,
    /// Pixels along a side of a patch.
    pub patch_size: usize,
    /// Patches along a side of a square that becomes one row.
    pub shuffle: usize,
    /// Epsilon of every layer norm.
    pub norm_eps: f32,
    /// Base of the wavelengths of the rotary embedding.
    pub rope_theta: f64,
    /// Width between the adapter's two matrices, where the file's configuration says it; tensors know it too.
    pub adapter_inner: Option<usize>,
    /// Width of the adapter's output, likewise.
    pub adapter_out: Option<usize>,
    /// Width of the text model's residual stream.
    pub projected: usize,
    /// Most tiles of an image, without the one that shows it whole.
    pub max_tiles: usize,
    /// Subtracted from each channel of pixels in 0 to 1.
    pub mean: [f32; 3],
    /// What each channel is then divided by.
    pub std: [f32; 3],
    /// The token whose embedding is replaced, where the file's configuration says it.
    pub patch_token: Option<u32>,
}

/// Tiles of the released models.
const TILES: usize = 16;

impl VisionConfig {
    /// Maps the `vision_config` of a parsed multimodal `config.json`; `None` for a text model.
    ///
    /// # Errors
    /// A missing or contradictory key, a feature that is not computed.
    pub fn from_hf(config: &Json) -> Result<Option<VisionConfig>> {
        let root = Object::root(config)?;
        let Some(vision) = root.object("vision_config")? else { return Ok(None) };
        let text = root.object("text_config")?;
        let text = text.ok_or_else(|| LlamaError::config("text_config", "an object", "nothing"))?;
        if let Some(act) = vision.find::<&str>("hidden_act")?.filter(|&act| act != "gelu") {
            return Err(LlamaError::unsupported(vision.path("hidden_act"), "gelu", act));
        }
        if let Some(n) = vision.find::<usize>("num_channels")?.filter(|&n| n != 3) {
            return Err(LlamaError::unsupported(vision.path("num_channels"), "3", n));
        }
        if vision.find::<bool>("multi_modal_projector_bias")? == Some(true) {
            return Err(LlamaError::unsupported(vision.path("multi_modal_projector_bias"), "false", true));
        }
        if let Some(how) =
            vision.find::<&str>("vision_feature_select_strategy")?.filter(|&how| how != "default")
        {
            return Err(LlamaError::unsupported(
                vision.path("vision_feature_select_strategy"),
                "default",
                how,
            ));
        }
        let ratio = vision.find("pixel_shuffle_ratio")?.unwrap_or(0.5);
        let shuffle = whole_inverse(ratio).ok_or_else(|| {
            LlamaError::config(vision.path("pixel_shuffle_ratio"), "1 divided by a whole number", ratio)
        })?;
        let rope = vision.object("rope_parameters")?;
        let theta = rope.as_ref().map(|rope| rope.find("rope_theta")).transpose()?.flatten();
        let theta = theta.map_or_else(|| vision.find("rope_theta"), |theta| Ok(Some(theta)))?;
        let config = VisionConfig {
            hidden: vision.need("hidden_size")?,
            n_layers: vision.need("num_hidden_layers")?,
            n_heads: vision.need("num_attention_heads")?,
            n_ff: vision.need("intermediate_size")?,
            image_size: vision.need("image_size")?,
            patch_size: vision.need("patch_size")?,
            shuffle,
            norm_eps: vision.find("norm_eps")?.unwrap_or(1e-5),
            rope_theta: theta.unwrap_or(10000.0),
            adapter_inner: vision.find("projector_input_dim")?,
            adapter_out: vision.find("projector_output_dim")?,
            projected: text.need("hidden_size")?,
            max_tiles: TILES,
            mean: [0.5; 3],
            std: [0.5; 3],
            patch_token: root.find("image_token_index")?,
        };
        config.validate()?;
        Ok(Some(config))
    }

    /// Lets a folder's `preprocessor_config.json` say how images are cut and normalised.
    ///
    /// # Errors
    /// Values of the wrong type or out of range.
    pub fn apply_preprocessor(&mut self, json: &Json) -> Result<()> {
        let root = Object::root(json)?;
        self.max_tiles = root.find("max_patches")?.unwrap_or(self.max_tiles);
        let three = |key: &str, or: [f32; 3]| -> Result<[f32; 3]> {
            let Some(list) = root.find::<alloc::vec::Vec<f32>>(key)? else { return Ok(or) };
            <[f32; 3]>::try_from(list.as_slice()).map_err(|_| root.bad(key, "3 numbers", list.len()).into())
        };
        self.mean = three("image_mean", self.mean)?;
        self.std = three("image_std", self.std)?;
        self.validate()
    }

    /// Maps the metadata of an `mmproj` GGUF file.
    ///
    /// # Errors
    /// A file of another kind, a missing or contradictory key.
    pub fn from_gguf(metadata: &Metadata) -> Result<VisionConfig> {
        let kind = |key: &str, expected: &str| match metadata.find::<&str>(key)? {
            Some(found) if found == expected => Ok(()),
            found => Err(LlamaError::config(key, expected, found.unwrap_or("nothing"))),
        };
        kind("general.architecture", "clip")?;
        // Newer files name the projector of each encoder.
        let own = metadata.get("clip.vision.projector_type").is_some();
        kind(if own { "clip.vision.projector_type" } else { "clip.projector_type" }, "llama4")?;
        let size = |name: &str| Ok::<usize, LlamaError>(metadata.need(&format!("clip.vision.{name}"))?);
        let three = |name: &str| {
            let key = format!("clip.vision.{name}");
            let Some(list) = metadata.find::<alloc::vec::Vec<f32>>(&key)? else { return Ok([0.5; 3]) };
            <[f32; 3]>::try_from(list.as_slice())
                .map_err(|_| LlamaError::config(&key, "3 numbers", list.len()))
        };
        let config = VisionConfig {
            hidden: size("embedding_length")?,
            n_layers: size("block_count")?,
            n_heads: size("attention.head_count")?,
            n_ff: size("feed_forward_length")?,
            image_size: size("image_size")?,
            patch_size: size("patch_size")?,
            shuffle: metadata.find("clip.vision.projector.scale_factor")?.unwrap_or(2),
            norm_eps: metadata.find("clip.vision.attention.layer_norm_epsilon")?.unwrap_or(1e-5),
            rope_theta: metadata.find("clip.vision.rope.freq_base")?.unwrap_or(10000.0),
            adapter_inner: None,
            adapter_out: None,
            projected: size("projection_dim")?,
            max_tiles: TILES,
            mean: three("image_mean")?,
            std: three("image_std")?,
            patch_token: None,
        };
        config.validate()?;
        Ok(config)
    }

    /// Values of one head.
    pub fn head_dim(&self) -> usize {
        self.hidden / self.n_heads
    }

    /// Patches along a side of a tile.
    pub fn grid(&self) -> usize {
        self.image_size / self.patch_size
    }

    /// Rows of the tower for one tile: its patches and a class token.
    pub fn tile_rows(&self) -> usize {
        self.grid() * self.grid() + 1
    }

    /// Rows that the text model gets for one tile.
    pub fn tile_features(&self) -> usize {
        let side = self.grid() / self.shuffle;
        side * side
    }

    /// Proves the configuration usable: after this, nothing checks its numbers again.
    ///
    /// # Errors
    /// [`LlamaError::Config`] naming the first value at fault.
    pub fn validate(&self) -> Result<()> {
        let within = |key: &str, n: usize, max: usize| match (1..=max).contains(&n) {
            true => Ok(()),
            false => Err(LlamaError::config(key, format!("1 to {max}"), n)),
        };
        let divides = |key: &str, n: usize, of: usize| match of.is_multiple_of(n) {
            true => Ok(()),
            false => Err(LlamaError::config(key, format!("a divisor of {of}"), n)),
        };
        within("vision layers", self.n_layers, MAX_LAYERS)?;
        within("vision hidden size", self.hidden, MAX_WIDTH)?;
        within("vision heads", self.n_heads, self.hidden)?;
        divides("vision heads", self.n_heads, self.hidden)?;
        if !self.head_dim().is_multiple_of(4) {
            return Err(LlamaError::config("vision head size", "a multiple of 4", self.head_dim()));
        }
        within("vision feed-forward width", self.n_ff, MAX_WIDTH)?;
        within("projected width", self.projected, MAX_WIDTH)?;
        within("patch size", self.patch_size, 1 << 10)?;
        within("tile size", self.image_size, 1 << 14)?;
        divides("patch size", self.patch_size, self.image_size)?;
        within("patches along a tile", self.grid(), MAX_GRID)?;
        within("pixel shuffle factor", self.shuffle, self.grid())?;
        divides("pixel shuffle factor", self.shuffle, self.grid())?;
        within("shuffled width", self.hidden.saturating_mul(self.shuffle * self.shuffle), MAX_WIDTH)?;
        within("tiles of an image", self.max_tiles, MAX_TILES)?;
        for (key, n) in [("adapter width", self.adapter_inner), ("adapter output", self.adapter_out)] {
            n.map_or(Ok(()), |n| within(key, n, MAX_WIDTH))?;
        }
        let positive = |key: &str, x: f64| match x.is_finite() && x > 0.0 {
            true => Ok(()),
            false => Err(LlamaError::config(key, "a finite number above 0", x)),
        };
        positive("vision norm epsilon", self.norm_eps.into())?;
        positive("vision RoPE theta", self.rope_theta)?;
        self.std.iter().try_for_each(|&v| positive("image std", v.into()))?;
        match self.mean.iter().find(|v| !v.is_finite()) {
            Some(v) => Err(LlamaError::config("image mean", "finite numbers", v)),
            None => Ok(()),
        }
    }
}

/// `n` if the ratio is `1 / n`.
fn whole_inverse(ratio: f64) -> Option<usize> {
    let n = libm::round(1.0 / ratio);
    (ratio > 0.0 && n <= MAX_GRID as f64 && libm::fabs(1.0 / ratio - n) < 1e-6).then_some(n as usize)
}
