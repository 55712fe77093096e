//! A vision tower of the released size, of seeded weights.
//!
//! All layers have the same values, each in memory of its own: what counts for speed is that they are read. A tensor's
//! values are those of the formula that the goldens use; `benches/peers/vision_torch.py` makes the same.

use puna_core::quant::quantize_row;
use puna_core::{DType, Device, Region};
use puna_llama::vision::Tiles;
use puna_llama::{LoadWatch, MemTensors, Vision, VisionConfig};
use puna_testkit::seeded::weights;

/// The tower of Scout and Maverick, with as many layers as asked for.
pub(crate) fn config(n_layers: usize) -> VisionConfig {
    VisionConfig {
        hidden: 1408,
        n_layers,
        n_heads: 16,
        n_ff: 5632,
        image_size: 336,
        patch_size: 14,
        shuffle: 2,
        norm_eps: 1e-5,
        rope_theta: 10_000.0,
        adapter_inner: Some(4096),
        adapter_out: Some(4096),
        projected: 5120,
        max_tiles: 16,
        mean: [0.5; 3],
        std: [0.5; 3],
        patch_token: None,
    }
}

/// Operations of one tile, two to a multiply-add: in products with weights, and in attention.
pub(crate) fn operations(c: &VisionConfig) -> (f64, f64) {
    let (rows, features) = (c.tile_rows(), c.tile_features());
    let layer = rows * (4 * c.hidden * c.hidden + 2 * c.hidden * c.n_ff);
    let patches = (rows - 1) * 3 * c.patch_size * c.patch_size * c.hidden;
    let [inner, out] = [c.adapter_inner, c.adapter_out].map(Option::unwrap);
    let shuffled = c.hidden * c.shuffle * c.shuffle;
    let adapter = features * (shuffled * inner + inner * out + out * c.projected);
    let weights = c.n_layers * layer + patches + adapter;
    (2.0 * weights as f64, (4 * c.n_layers * rows * rows * c.hidden) as f64)
}

/// The tower's tensors with all matrices in `dtype`, but those that have no whole blocks in BF16.
pub(crate) struct Tensors(MemTensors);

impl Tensors {
    /// Makes them.
    pub(crate) fn new(c: &VisionConfig, dtype: DType) -> Tensors {
        let mut all = MemTensors::new();
        let mut t = 0;
        // Values of about the size of a trained tower's.
        let matrix = |t: u32, n_out: usize, n_in: usize| {
            let dtype = if n_in.is_multiple_of(dtype.block_len()) { dtype } else { DType::BF16 };
            let values = weights(t, n_out * n_in, 1.5 / (n_in as f64).sqrt(), 0.0);
            let mut bytes = vec![0; dtype.row_bytes(n_in).unwrap() * n_out];
            let rows = bytes.chunks_exact_mut(dtype.row_bytes(n_in).unwrap());
            rows.zip(values.chunks_exact(n_in))
                .for_each(|(to, row)| quantize_row(dtype, row, None, to).unwrap());
            (dtype, [n_out, n_in], bytes)
        };
        let mut put = |all: &mut MemTensors, name: &str, n_out: usize, n_in: usize, copies: usize| {
            t += 1;
            let (dtype, shape, bytes) = matrix(t, n_out, n_in);
            for i in 0..copies {
                all.insert(name.replace("{}", &i.to_string()), dtype, &shape, bytes.clone());
            }
        };
        let (h, p, n) = (c.hidden, 3 * c.patch_size * c.patch_size, c.n_layers);
        let [inner, out] = [c.adapter_inner, c.adapter_out].map(Option::unwrap);
        put(&mut all, "vision_model.patch_embedding.linear.weight", h, p, 1);
        for name in ["q", "k", "v", "o"] {
            put(&mut all, &format!("vision_model.model.layers.{{}}.self_attn.{name}_proj.weight"), h, h, n);
        }
        put(&mut all, "vision_model.model.layers.{}.mlp.fc1.weight", c.n_ff, h, n);
        put(&mut all, "vision_model.model.layers.{}.mlp.fc2.weight", h, c.n_ff, n);
        put(&mut all, "vision_model.vision_adapter.mlp.fc1.weight", inner, h * c.shuffle * c.shuffle, 1);
        put(&mut all, "vision_model.vision_adapter.mlp.fc2.weight", out, inner, 1);
        put(&mut all, "multi_modal_projector.linear_1.weight", c.projected, out, 1);

        let mut t = 100;
        let mut put = |name: &str, shape: &[usize], scale: f64, offset: f64, copies: usize| {
            t += 1;
            let values = weights(t, shape.iter().product(), scale, offset);
            (0..copies).for_each(|i| _ = all.f32(name.replace("{}", &i.to_string()), shape, &values));
        };
        put("vision_model.class_embedding", &[h], 0.5, 0.0, 1);
        put("vision_model.positional_embedding_vlm", &[c.tile_rows(), h], 0.5, 0.0, 1);
        for name in ["q", "k", "v", "o"] {
            put(&format!("vision_model.model.layers.{{}}.self_attn.{name}_proj.bias"), &[h], 0.1, 0.0, n);
        }
        put("vision_model.model.layers.{}.mlp.fc1.bias", &[c.n_ff], 0.1, 0.0, n);
        put("vision_model.model.layers.{}.mlp.fc2.bias", &[h], 0.1, 0.0, n);
        for (name, copies) in [
            ("vision_model.layernorm_pre", 1),
            ("vision_model.layernorm_post", 1),
            ("vision_model.model.layers.{}.input_layernorm", n),
            ("vision_model.model.layers.{}.post_attention_layernorm", n),
        ] {
            put(&format!("{name}.weight"), &[h], 0.2, 1.0, copies);
            put(&format!("{name}.bias"), &[h], 0.1, 0.0, copies);
        }
        Tensors(all)
    }

    /// The tower on a device, which shares the bytes.
    pub(crate) fn load(&self, config: &VisionConfig, device: &mut dyn Device) -> Vision {
        Vision::load(config.clone(), &self.0, device, &mut LoadWatch::default()).unwrap()
    }

    /// Bytes of all tensors.
    pub(crate) fn bytes(&self) -> usize {
        self.0.iter().map(|(_, t)| Region::bytes(&t.region).len()).sum()
    }
}

/// `n` seeded tiles.
pub(crate) fn tiles(config: &VisionConfig, n: usize) -> Tiles {
    let pixels = weights(1000, n * 3 * config.image_size * config.image_size, 1.0, 0.0);
    Tiles::from_pixels(&pixels, config).unwrap()
}
