//! Small seeded models, and the logits, hidden states and greedy tokens that transformers computes for them.
//!
//! | name | what it is like |
//! |---|---|
//! | `scout` | experts in every layer, QK-norm, RoPE scaled 16/1/1, chunk 32; flat config, newer keys |
//! | `maverick` | experts in every second layer, no QK-norm, plain RoPE, chunk 32; nested config, older keys |
//! | `dense` | Llama Guard 4: no experts, RoPE everywhere, no chunks |
//! | `odd` | top-2, sizes that are no multiple of anything, experts in layers 1 and 2, chunk 7 |
//! | `tied` | tied embeddings, RoPE scaled 8/1/4, chunk 48 |
//! | `llama3` | `LlamaForCausalLM`: dense, grouped-query attention, half-split RoPE |
//! | `long` | 20,000 tokens with chunk 8192, floor 8192, scale 0.1; F32 only |
//!
//! `tests/goldens/models.py` makes them and says how weights are derived.

mod gguf;
mod huggingface;
mod mmproj;
mod vision;

pub use mmproj::dequantised;
pub use vision::{Off, VisionGolden};

use crate::files::ModelDir;
use crate::seeded;
use puna_core::DType;
use puna_core::quant::{dequantize_row, quantize_row};
use serde_json::Value;
use std::fs;
use std::path::Path;

/// How a model's weights were rounded before transformers ran it, and the file that rounds them so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rounding {
    /// As they are.
    F32,
    /// Every tensor, norms and router too.
    BF16,
    /// Matrices but the router.
    F16,
    /// Matrices but the router, where a row is a whole number of blocks.
    Q8_0,
}

impl Rounding {
    /// All.
    pub const ALL: [Rounding; 4] = [Rounding::F32, Rounding::BF16, Rounding::F16, Rounding::Q8_0];

    fn dtype(self) -> DType {
        match self {
            Rounding::F32 => DType::F32,
            Rounding::BF16 => DType::BF16,
            Rounding::F16 => DType::F16,
            Rounding::Q8_0 => DType::Q8_0,
        }
    }

    fn key(self) -> &'static str {
        match self {
            Rounding::F32 => "f32",
            Rounding::BF16 => "bf16",
            Rounding::F16 => "f16",
            Rounding::Q8_0 => "q8_0",
        }
    }
}

/// A tensor under its Hugging Face name, by the arguments of its formula.
#[derive(Clone, Debug)]
pub struct Seeded {
    /// Its name, in multimodal files with the prefix `language_model.`.
    pub name: String,
    /// Row-major.
    pub shape: Vec<usize>,
    t: u32,
    scale: f64,
    offset: f64,
}

impl Seeded {
    /// The values before any rounding.
    pub fn values(&self) -> Vec<f32> {
        seeded::weights(self.t, self.shape.iter().product(), self.scale, self.offset)
    }
}

/// What transformers computes.
#[derive(Clone, Debug)]
pub struct Expected {
    /// Positions of the prompt that have logits here.
    pub positions: Vec<usize>,
    /// For each of them, `vocab` logits.
    pub logits: Vec<Vec<f32>>,
    /// Positions that have hidden states here.
    pub hidden_positions: Vec<usize>,
    /// For each layer and each of them, the residual stream after the layer.
    pub hidden: Vec<Vec<Vec<f32>>>,
    /// The most likely token after the prompt, and so on. Empty for `long`.
    pub greedy: Vec<u32>,
}

/// A seeded model with everything that is known of it.
#[derive(Clone, Debug)]
pub struct Golden {
    /// Its name.
    pub name: String,
    /// Its `config.json`.
    pub config: Value,
    /// Its tensors.
    pub tensors: Vec<Seeded>,
    /// The tokens it is run on.
    pub prompt: Vec<u32>,
    expected: Vec<(Rounding, Expected)>,
}

impl Golden {
    /// All names but `long`, which takes minutes on a slow device.
    pub const SHORT: [&str; 6] = ["scout", "maverick", "dense", "odd", "tied", "llama3"];

    /// Reads a model's description and numbers.
    ///
    /// # Panics
    /// When there is no such model, or its files are damaged.
    pub fn load(name: &str) -> Golden {
        let file = |ending: &str| {
            let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/goldens/models");
            let path = directory.join(format!("{name}.{ending}"));
            fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
        };
        let json: Value = serde_json::from_slice(&file("json")).expect("a golden's JSON");
        let numbers: Vec<f32> =
            file("bin").chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();

        let config = json["config"].clone();
        let vocab = number(&text_config(&config)["vocab_size"]) as u32;
        let prompt = &json["prompt"];
        let prompt_tokens = seeded::tokens(number(&prompt["t"]) as u32, number(&prompt["n"]), vocab);
        let first = ids(&prompt["first"]);
        assert_eq!(prompt_tokens[..first.len()], first, "{name}: the prompt's formula");

        let tensors = list(&json["tensors"], |tensor| Seeded {
            name: tensor["name"].as_str().expect("a name").into(),
            shape: list(&tensor["shape"], number),
            t: number(&tensor["t"]) as u32,
            scale: tensor["scale"].as_f64().expect("a scale"),
            offset: tensor["offset"].as_f64().expect("an offset"),
        });
        let expected = Rounding::ALL.into_iter().filter_map(|rounding| {
            let json = json["expected"].get(rounding.key())?;
            Some((rounding, Expected::read(json, &numbers)))
        });
        Golden { name: name.into(), config, tensors, prompt: prompt_tokens, expected: expected.collect() }
    }

    /// The roundings that there are expectations for.
    pub fn roundings(&self) -> impl Iterator<Item = Rounding> + '_ {
        self.expected.iter().map(|(rounding, _)| *rounding)
    }

    /// What transformers computes with weights rounded so.
    ///
    /// # Panics
    /// When it was not asked.
    pub fn expected(&self, rounding: Rounding) -> &Expected {
        let found = self.expected.iter().find(|(r, _)| *r == rounding);
        &found.unwrap_or_else(|| panic!("{}: no expectations for {rounding:?}", self.name)).1
    }

    /// The text part of the configuration.
    pub fn text_config(&self) -> &Value {
        text_config(&self.config)
    }

    /// Tokens in the vocabulary.
    pub fn vocab(&self) -> usize {
        number(&self.text_config()["vocab_size"])
    }

    /// The model as one GGUF file, with our explicit keys for what the format does not carry.
    ///
    /// F16 and Q8_0 files hold F32 where [`Rounding`] leaves values alone; a BF16 file holds rounded norms as F32.
    pub fn gguf(&self, rounding: Rounding) -> Vec<u8> {
        gguf::file(self, rounding, |_| ())
    }

    /// The model as one safetensors file; `rounding` is F32 or BF16.
    ///
    /// # Panics
    /// For another rounding, which no folder has.
    pub fn safetensors(&self, rounding: Rounding) -> Vec<u8> {
        huggingface::file(&self.tensors, rounding)
    }

    /// Writes [`gguf`](Self::gguf) to disk; [`ModelDir::path`] is the file.
    pub fn gguf_file(&self, rounding: Rounding) -> ModelDir {
        let name = format!("{}-{}.gguf", self.name, rounding.key());
        let directory = ModelDir::new(&self.name);
        directory.write(&name, &self.gguf(rounding));
        directory.pointing_at(&name)
    }

    /// Writes a Hugging Face folder, `config.json` and `n_shards` safetensors files (with an index if more than one);
    /// [`ModelDir::path`] is the folder.
    ///
    /// # Panics
    /// As [`safetensors`](Self::safetensors).
    pub fn folder(&self, rounding: Rounding, n_shards: usize) -> ModelDir {
        let directory = ModelDir::new(&self.name);
        huggingface::folder(self, rounding, n_shards, &directory);
        directory
    }
}

impl Expected {
    fn read(json: &Value, numbers: &[f32]) -> Expected {
        let array = |json: &Value| {
            let (offset, shape) = (number(&json["offset"]), list(&json["shape"], number));
            let width = *shape.last().expect("a shape");
            let values = &numbers[offset..offset + shape.iter().product::<usize>()];
            values.chunks_exact(width).map(<[f32]>::to_vec).collect::<Vec<_>>()
        };
        let hidden_positions = list(&json["hidden_positions"], number);
        Expected {
            positions: list(&json["positions"], number),
            logits: array(&json["logits"]),
            hidden: array(&json["hidden"]).chunks_exact(hidden_positions.len()).map(<[_]>::to_vec).collect(),
            hidden_positions,
            greedy: json.get("greedy").map(ids).unwrap_or_default(),
        }
    }
}

/// The bytes of `values` in `dtype`, row by row.
fn encode(dtype: DType, values: &[f32], width: usize) -> Vec<u8> {
    let row_bytes = dtype.row_bytes(width).expect("whole blocks");
    let mut bytes = vec![0; values.len() / width * row_bytes];
    for (row, out) in values.chunks_exact(width).zip(bytes.chunks_exact_mut(row_bytes)) {
        quantize_row(dtype, row, None, out).expect("a row of the right length");
    }
    bytes
}

/// `values` as BF16 has them.
fn rounded_to_bf16(values: &[f32]) -> Vec<f32> {
    let bytes = encode(DType::BF16, values, values.len());
    let mut rounded = vec![0.0; values.len()];
    dequantize_row(DType::BF16, &bytes, &mut rounded).expect("a row of the right length");
    rounded
}

fn text_config(config: &Value) -> &Value {
    config.get("text_config").unwrap_or(config)
}

fn number(json: &Value) -> usize {
    json.as_u64().unwrap_or_else(|| panic!("expected a whole number, found {json}")) as usize
}

fn list<T>(json: &Value, item: impl Fn(&Value) -> T) -> Vec<T> {
    json.as_array().unwrap_or_else(|| panic!("expected a list, found {json}")).iter().map(item).collect()
}

fn ids(json: &Value) -> Vec<u32> {
    list(json, |id| number(id) as u32)
}
