//! The dimensions of the released models, and of one small enough for a test.

use puna_core::ops::{Pairs, Temperature};
use puna_llama::config::{CHUNK_SIZE, NO_ROPE_INTERVAL, RopeConfig, RopeScaling};
use puna_llama::{Architecture, Config};

/// A model to take the dimensions from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Like {
    /// Llama 4 Scout: 16 experts on every layer.
    Scout,
    /// Llama 4 Maverick: 128 experts on every second layer, no QK-norm.
    Maverick,
    /// All kinds of layers, in kilobytes.
    Tiny,
}

impl Like {
    /// The model of a name.
    pub fn parse(name: &str) -> Option<Like> {
        [Like::Scout, Like::Maverick, Like::Tiny].into_iter().find(|like| like.name() == name)
    }

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Like::Scout => "scout",
            Like::Maverick => "maverick",
            Like::Tiny => "tiny",
        }
    }

    /// Ordinary tokens; Llama 4's 2048 special ones come after them.
    pub(super) const fn ranks(self) -> u32 {
        match self {
            Like::Scout | Like::Maverick => puna_text::special::LLAMA4_RANKS,
            Like::Tiny => 512,
        }
    }

    /// Pieces in a pool of values: for real dimensions a million values, so that rows share few.
    pub(super) const fn pieces(self) -> u32 {
        match self {
            Like::Scout | Like::Maverick => 4096,
            Like::Tiny => 128,
        }
    }

    /// The configuration of `layers` of its layers, with experts on every `moe_step`-th.
    pub fn config(self, layers: usize, moe_step: Option<usize>) -> Config {
        let every = |step: usize| (1..=layers).map(move |i| step != 0 && i.is_multiple_of(step));
        let rope_layers: Vec<bool> = every(NO_ROPE_INTERVAL).map(|nope| !nope).collect();
        let bos = self.ranks();
        let scout = Config {
            architecture: Architecture::Llama4,
            n_layers: layers,
            hidden: 5120,
            n_heads: 40,
            n_kv_heads: 8,
            head_dim: 128,
            vocab_size: (self.ranks() + puna_text::special::LLAMA4_SPECIALS) as usize,
            context_length: 10_485_760,
            rms_eps: 1e-5,
            rope: RopeConfig {
                theta: 500_000.0,
                n_rot: 128,
                pairs: Pairs::Interleaved,
                scaling: RopeScaling::Llama3 { factor: 16.0, low: 1.0, high: 1.0, original: 8192.0 },
            },
            chunked_layers: rope_layers.clone(),
            rope_layers,
            attention_chunk_size: Some(CHUNK_SIZE),
            qk_norm: true,
            temperature: Some(Temperature { floor_scale: 8192.0, scale: 0.1 }),
            n_experts: 16,
            n_experts_used: 1,
            moe_layers: every(moe_step.unwrap_or(1)).collect(),
            ff_dense: 16384,
            ff_expert: 8192,
            ff_shared: 8192,
            tied_embeddings: false,
            attention_bias: false,
            bos: Some(bos),
            // Ends of a text, a turn and a message.
            eos: vec![bos + 1, bos + 8, bos + 7],
        };
        let plain = RopeConfig { scaling: RopeScaling::None, ..scout.rope.clone() };
        match self {
            Like::Scout => scout,
            Like::Maverick => Config {
                context_length: 1_048_576,
                rope: plain,
                qk_norm: false,
                n_experts: 128,
                moe_layers: every(moe_step.unwrap_or(2)).collect(),
                ..scout
            },
            Like::Tiny => Config {
                hidden: 256,
                n_heads: 4,
                n_kv_heads: 2,
                head_dim: 64,
                context_length: 4096,
                rope: RopeConfig { n_rot: 64, ..scout.rope.clone() },
                attention_chunk_size: Some(16),
                n_experts: 4,
                moe_layers: every(moe_step.unwrap_or(2)).collect(),
                ff_dense: 512,
                ff_expert: 256,
                ff_shared: 256,
                ..scout
            },
        }
    }
}
