//! Small models with weights from a hash, in Hugging Face's names and shapes.

use crate::config::{RopeConfig, RopeScaling};
use crate::{Architecture, Config, Llama, LoadWatch, MemTensors};
use alloc::format;
use alloc::vec;
use alloc::vec::Vec;
use puna_core::RefDevice;
use puna_core::ops::{Pairs, Temperature};

/// The generator that the golden values were made with.
fn hash(mut x: u32) -> u32 {
    x ^= x >> 16;
    x = x.wrapping_mul(0x7feb_352d);
    x ^= x >> 15;
    x = x.wrapping_mul(0x846c_a68b);
    x ^ (x >> 16)
}

pub(crate) fn weight(t: u32, k: u32, scale: f64, offset: f64) -> f32 {
    let h = hash(t.wrapping_mul(1_000_003).wrapping_add(k));
    ((f64::from(h) / 4_294_967_296.0 - 0.5) * 2.0 * scale + offset) as f32
}

pub(crate) fn values(t: u32, n: usize, scale: f64, offset: f64) -> Vec<f32> {
    (0..n as u32).map(|k| weight(t, k, scale, offset)).collect()
}

/// The configuration of the published golden.
pub(crate) fn golden() -> Config {
    Config {
        architecture: Architecture::Llama4,
        n_layers: 4,
        hidden: 32,
        n_heads: 4,
        n_kv_heads: 2,
        head_dim: 8,
        vocab_size: 48,
        context_length: 4096,
        rms_eps: 1e-5,
        rope: RopeConfig { theta: 10000.0, n_rot: 8, pairs: Pairs::Interleaved, scaling: RopeScaling::None },
        rope_layers: vec![true, true, true, false],
        chunked_layers: vec![true, true, true, false],
        attention_chunk_size: Some(4),
        qk_norm: true,
        temperature: Some(Temperature { floor_scale: 4.0, scale: 0.1 }),
        n_experts: 4,
        n_experts_used: 1,
        moe_layers: vec![false, true, false, true],
        ff_dense: 24,
        ff_expert: 16,
        ff_shared: 16,
        tied_embeddings: false,
        attention_bias: false,
        bos: None,
        eos: vec![],
    }
}

pub(crate) const IDS: [u32; 11] = [3, 10, 17, 24, 31, 38, 45, 4, 11, 18, 25];

/// Hash weights for any configuration, numbered as in the golden: one tensor after the other.
pub(crate) fn tensors(c: &Config) -> MemTensors {
    let mut m = MemTensors::new();
    let mut t = 0;
    let mut add = |name: &str, shape: &[usize], scale: f64, offset: f64| {
        m.f32(name, shape, &values(t, shape.iter().product(), scale, offset));
        t += 1;
    };
    let (d, q, kv) = (c.hidden, c.n_heads * c.head_dim, c.n_kv_heads * c.head_dim);
    add("model.embed_tokens.weight", &[c.vocab_size, d], 1.0, 0.0);
    for (i, &moe) in c.moe_layers.iter().enumerate() {
        let mut add = |name: &str, shape: &[usize], scale, offset| {
            add(&format!("model.layers.{i}.{name}"), shape, scale, offset);
        };
        let mlp = if c.architecture == Architecture::Llama { "mlp" } else { "feed_forward" };
        add("input_layernorm.weight", &[d], 0.2, 1.0);
        add("self_attn.q_proj.weight", &[q, d], 0.4, 0.0);
        add("self_attn.k_proj.weight", &[kv, d], 0.4, 0.0);
        add("self_attn.v_proj.weight", &[kv, d], 0.4, 0.0);
        add("self_attn.o_proj.weight", &[d, q], 0.4, 0.0);
        add("post_attention_layernorm.weight", &[d], 0.2, 1.0);
        let (prefix, width) = if moe {
            add("feed_forward.router.weight", &[c.n_experts, d], 1.0, 0.0);
            add("feed_forward.experts.gate_up_proj", &[c.n_experts, d, 2 * c.ff_expert], 0.4, 0.0);
            add("feed_forward.experts.down_proj", &[c.n_experts, c.ff_expert, d], 0.4, 0.0);
            (format!("{mlp}.shared_expert"), c.ff_shared)
        } else {
            (mlp.into(), c.ff_dense)
        };
        add(&format!("{prefix}.gate_proj.weight"), &[width, d], 0.4, 0.0);
        add(&format!("{prefix}.up_proj.weight"), &[width, d], 0.4, 0.0);
        add(&format!("{prefix}.down_proj.weight"), &[d, width], 0.4, 0.0);
    }
    add("model.norm.weight", &[d], 0.2, 1.0);
    if !c.tied_embeddings {
        add("lm_head.weight", &[c.vocab_size, d], 0.4, 0.0);
    }
    m
}

/// The model on the reference device.
pub(crate) fn load(config: &Config, tensors: &MemTensors) -> (Llama, RefDevice) {
    let mut device = RefDevice::new();
    let llama = Llama::load(config.clone(), tensors, &mut device, &mut LoadWatch::default()).unwrap();
    (llama, device)
}
