//! The golden model that sees as a pair of GGUF files: its text and, in an `mmproj` file, its vision tower.

use super::{Golden, Rounding, Seeded, VisionGolden, gguf, list, number, rounded_to_bf16};
use crate::files::ModelDir;
use puna_core::DType;
use puna_core::quant::dequantize_row;
use puna_format::Limits;
use puna_format::gguf::{Array, Gguf, GgufWriter, Strings, Value};

/// How the pair's vocabulary spells the golden's ordinary tokens from 3 on: one printable character each.
const LETTERS: &str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.,!?:;-+*/=0123456789 \n";

impl VisionGolden {
    /// Writes the pair as `text.gguf`, which is [`ModelDir::path`], and `mmproj.gguf`. `norm2` is the name of a layer's
    /// second norm: converters write `ln2` or `attn_post_norm`.
    pub fn gguf_pair(&self, rounding: Rounding, norm2: &str) -> ModelDir {
        let directory = ModelDir::new("vision-pair");
        directory.write("text.gguf", &self.text_gguf(rounding));
        directory.write("mmproj.gguf", &self.mmproj(rounding, norm2));
        directory.pointing_at("text.gguf")
    }

    /// The text part, with a tokenizer whose ordinary tokens are single characters.
    pub fn text_gguf(&self, rounding: Rounding) -> Vec<u8> {
        let (text, _): (Vec<_>, Vec<_>) = self.seeded().into_iter().partition(is_text);
        let config = self.config.clone();
        let golden =
            Golden { name: "vision".into(), config, tensors: text, prompt: Vec::new(), expected: Vec::new() };
        gguf::file(&golden, rounding, |writer| self.tokenizer(writer))
    }

    /// The vision tower.
    ///
    /// # Panics
    /// Never, unless the golden's description is damaged.
    pub fn mmproj(&self, rounding: Rounding, norm2: &str) -> Vec<u8> {
        let mut writer = GgufWriter::new();
        self.metadata(&mut writer);
        let tower = self.seeded().into_iter().filter(|tensor| !is_text(tensor));
        let tensors: Vec<_> = tower.map(|tensor| self.convert(&tensor, rounding, norm2)).collect();
        gguf::write(writer, &tensors)
    }

    fn seeded(&self) -> Vec<Seeded> {
        list(&self.json["tensors"], |spec| Seeded {
            name: spec["name"].as_str().expect("a name").into(),
            shape: list(&spec["shape"], number),
            t: number(&spec["t"]) as u32,
            scale: spec["scale"].as_f64().expect("a scale"),
            offset: spec["offset"].as_f64().expect("an offset"),
        })
    }

    fn metadata(&self, writer: &mut GgufWriter) {
        let vision = &self.config["vision_config"];
        let mut set = |key: &str, value: Value| writer.set(key, value).map(drop).expect("a key");
        set("general.architecture", "clip".into());
        set("general.type", "mmproj".into());
        set("clip.has_vision_encoder", Value::Bool(true));
        set("clip.projector_type", "llama4".into());
        set("clip.use_gelu", Value::Bool(true));
        for (key, name) in [
            ("image_size", "image_size"),
            ("patch_size", "patch_size"),
            ("embedding_length", "hidden_size"),
            ("feed_forward_length", "intermediate_size"),
            ("block_count", "num_hidden_layers"),
            ("attention.head_count", "num_attention_heads"),
        ] {
            set(&format!("clip.vision.{key}"), Value::U32(number(&vision[name]) as u32));
        }
        let hidden = number(&self.config["text_config"]["hidden_size"]) as u32;
        set("clip.vision.projection_dim", Value::U32(hidden));
        set("clip.vision.attention.layer_norm_epsilon", Value::F32(1e-5));
        set("clip.vision.projector.scale_factor", Value::U32(2));
        for key in ["image_mean", "image_std"] {
            set(&format!("clip.vision.{key}"), Value::Array(Array::F32(vec![0.5; 3])));
        }
    }

    fn convert(&self, tensor: &Seeded, rounding: Rounding, norm2: &str) -> gguf::Stored {
        const NAMES: [(&str, &str); 17] = [
            ("vision_model.patch_embedding.linear", "v.patch_embd"),
            ("vision_model.class_embedding", "v.class_embd"),
            ("vision_model.positional_embedding_vlm", "v.position_embd.weight"),
            ("vision_model.layernorm_pre", "v.pre_ln"),
            ("vision_model.layernorm_post", "v.post_ln"),
            ("vision_model.model.layers.", "v.blk."),
            ("vision_model.vision_adapter.mlp.fc1", "mm.model.mlp.1"),
            ("vision_model.vision_adapter.mlp.fc2", "mm.model.mlp.2"),
            ("multi_modal_projector.linear_1", "mm.model.fc"),
            ("input_layernorm", "ln1"),
            ("post_attention_layernorm", "NORM2"),
            ("self_attn.q_proj", "attn_q"),
            ("self_attn.k_proj", "attn_k"),
            ("self_attn.v_proj", "attn_v"),
            ("self_attn.o_proj", "attn_out"),
            ("mlp.fc1", "ffn_up"),
            ("mlp.fc2", "ffn_down"),
        ];
        let name = NAMES.iter().fold(tensor.name.clone(), |name, (hf, gguf)| name.replace(hf, gguf));
        let name = name.replace("NORM2", norm2);
        let mut values = tensor.values();
        if rounding == Rounding::BF16 {
            values = rounded_to_bf16(&values);
        }
        let plain = tensor.shape.len() < 2 || name.starts_with("v.position");
        let dtype = if plain { DType::F32 } else { rounding.dtype() };
        // Converters write the patch embedding as the convolution it is.
        let patch = number(&self.config["vision_config"]["patch_size"]);
        let shape = match name.starts_with("v.patch") {
            true => vec![tensor.shape[0], 3, patch, patch],
            false => tensor.shape.clone(),
        };
        gguf::stored(name, &shape, &values, dtype)
    }

    /// A byte-level vocabulary without merges: a character, a token.
    fn tokenizer(&self, writer: &mut GgufWriter) {
        let vocab = number(&self.config["text_config"]["vocab_size"]);
        let mut tokens: Vec<String> = (0..vocab).map(|id| format!("<|reserved_{id}|>")).collect();
        let mut kinds = vec![3; vocab];
        for (id, letter) in (3..).zip(LETTERS.chars()) {
            // Byte-level vocabularies shift what cannot be printed.
            tokens[id] = match letter {
                ' ' => "Ġ".into(),
                '\n' => "Ċ".into(),
                letter => letter.to_string(),
            };
            kinds[id] = 1;
        }
        let ids = self.ids;
        for (id, name) in [
            (1, "<|begin_of_text|>"),
            (2, "<|eot|>"),
            (ids.start, "<|image_start|>"),
            (ids.end, "<|image_end|>"),
            (ids.image, "<|image|>"),
            (ids.patch, "<|patch|>"),
            (ids.tile_x, "<|tile_x_separator|>"),
            (ids.tile_y, "<|tile_y_separator|>"),
            (93, "<|header_start|>"),
            (94, "<|header_end|>"),
            (95, "<|eom|>"),
        ] {
            tokens[id as usize] = name.into();
        }
        let mut set = |key: &str, value: Value| {
            writer.set(&format!("tokenizer.ggml.{key}"), value).map(drop).expect("a key");
        };
        set("model", "gpt2".into());
        set("pre", "llama4".into());
        set("tokens", Value::Array(Array::String(Strings::from_strs(&tokens).expect("strings"))));
        set("token_type", Value::Array(Array::I32(kinds)));
        set("merges", Value::Array(Array::String(Strings::new())));
        set("bos_token_id", Value::U32(1));
        set("eos_token_id", Value::U32(2));
        set("add_bos_token", Value::Bool(true));
    }

    /// A case as text with a placeholder for each image, in the pair's vocabulary.
    ///
    /// # Panics
    /// When there is no such case.
    pub fn text(&self, case: &str) -> String {
        let (ids, letters) = (self.prompt(case).0, LETTERS.chars().collect::<Vec<_>>());
        let mut text = String::new();
        let mut inside = false;
        // BOS is the tokenizer's to add.
        for id in ids.into_iter().skip(1) {
            inside |= id == self.ids.start;
            if !inside {
                text.push(letters[id as usize - 3]);
            } else if id == self.ids.end {
                text.push_str("<|image|>");
                inside = false;
            }
        }
        text
    }
}

fn is_text(tensor: &Seeded) -> bool {
    tensor.name.starts_with("language_model.")
}

/// A GGUF file with every tensor as the 32-bit floats that it means.
///
/// # Panics
/// When the file is damaged.
pub fn dequantised(file: &[u8]) -> Vec<u8> {
    let gguf = Gguf::read(file, &Limits::default()).expect("a GGUF file");
    let tensors = gguf.tensors.iter().map(|t| {
        let dtype = t.dtype.as_dtype().expect("a weight format");
        let shape: Vec<usize> = t.shape.iter().rev().map(|&n| n as usize).collect();
        let mut values = vec![0.0; shape.iter().product()];
        let width = *shape.last().expect("a shape");
        let bytes = &file[t.range.start as usize..t.range.end as usize];
        let rows = bytes.chunks_exact(dtype.row_bytes(width).expect("whole blocks"));
        for (row, out) in rows.zip(values.chunks_exact_mut(width)) {
            dequantize_row(dtype, row, out).expect("a row of the right length");
        }
        gguf::stored(t.name.clone(), &shape, &values, DType::F32)
    });
    let tensors: Vec<_> = tensors.collect();
    gguf::write(GgufWriter::with_metadata(gguf.metadata.clone()), &tensors)
}
