//! A Llama 4 small enough for documentation and tests: random weights, an alphabet for a vocabulary, no meaning.

use crate::error::{Error, Lift};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use puna_core::DType;
use puna_format::gguf::{Array, GgufWriter, Strings, Value};

const HIDDEN: u64 = 32;
const HEADS: u32 = 4;
const KV_HEADS: u32 = 2;
const HEAD_DIM: u64 = 8;
const LAYERS: u32 = 4;
const EXPERTS: u64 = 4;
const FF: u64 = 32;
const CONTEXT: u32 = 512;

/// The special tokens behind the 256 bytes, with their places.
const SPECIALS: [&str; 7] = [
    "<|begin_of_text|>",
    "<|end_of_text|>",
    "<|header_start|>",
    "<|header_end|>",
    "<|eom|>",
    "<|eot|>",
    "<|finetune_right_pad|>",
];
const BOS: u32 = 256;
const EOT: u32 = 261;

/// The bytes of a GGUF file of architecture `llama4`: four layers, chunks of 16 positions, four experts on every second
/// layer, every byte a token. The same `seed` gives the same file.
///
/// # Errors
/// Only when memory is refused.
pub fn gguf(seed: u64) -> Result<Vec<u8>, Error> {
    let vocab = 256 + SPECIALS.len() as u64;
    let mut file = GgufWriter::new();
    metadata(&mut file)?;
    let (q, kv) = (u64::from(HEADS) * HEAD_DIM, u64::from(KV_HEADS) * HEAD_DIM);
    let mut tensors: Vec<(String, Vec<u64>)> = Vec::new();
    let mut tensor = |name: String, ne: &[u64]| tensors.push((name, ne.to_vec()));
    tensor("token_embd.weight".to_string(), &[HIDDEN, vocab]);
    for layer in 0..LAYERS {
        let mut tensor = |name: &str, ne: &[u64]| tensor(format!("blk.{layer}.{name}.weight"), ne);
        tensor("attn_norm", &[HIDDEN]);
        tensor("attn_q", &[HIDDEN, q]);
        tensor("attn_k", &[HIDDEN, kv]);
        tensor("attn_v", &[HIDDEN, kv]);
        tensor("attn_output", &[q, HIDDEN]);
        tensor("ffn_norm", &[HIDDEN]);
        if layer % 2 == 0 {
            tensor("ffn_gate", &[HIDDEN, FF]);
            tensor("ffn_up", &[HIDDEN, FF]);
            tensor("ffn_down", &[FF, HIDDEN]);
        } else {
            tensor("ffn_gate_inp", &[HIDDEN, EXPERTS]);
            tensor("ffn_gate_exps", &[HIDDEN, FF, EXPERTS]);
            tensor("ffn_up_exps", &[HIDDEN, FF, EXPERTS]);
            tensor("ffn_down_exps", &[FF, HIDDEN, EXPERTS]);
            tensor("ffn_gate_shexp", &[HIDDEN, FF]);
            tensor("ffn_up_shexp", &[HIDDEN, FF]);
            tensor("ffn_down_shexp", &[FF, HIDDEN]);
        }
    }
    tensor("output_norm.weight".to_string(), &[HIDDEN]);
    tensor("output.weight".to_string(), &[HIDDEN, vocab]);

    for (name, ne) in &tensors {
        file.tensor(name, ne, DType::F32).lift()?;
    }
    let mut out = file.start(Vec::new()).lift()?;
    let mut random = Random(seed);
    for (name, ne) in &tensors {
        let n: u64 = ne.iter().product();
        // Norms stay near 1; matrices keep the size of what goes through them.
        let (scale, offset) = if ne.len() == 1 { (0.1, 1.0) } else { (0.4, 0.0) };
        let bytes: Vec<u8> = (0..n).flat_map(|_| (random.next() * scale + offset).to_le_bytes()).collect();
        out.write(name, &bytes).lift()?;
    }
    out.finish().lift()
}

fn metadata(file: &mut GgufWriter) -> Result<(), Error> {
    let mut set = |key: &str, value: Value| file.set(key, value).map(|_| ()).lift();
    set("general.architecture", Value::String("llama4".to_string()))?;
    set("general.name", Value::String("tiny".to_string()))?;
    for (key, value) in [
        ("block_count", LAYERS),
        ("context_length", CONTEXT),
        ("embedding_length", HIDDEN as u32),
        ("feed_forward_length", FF as u32),
        ("expert_feed_forward_length", FF as u32),
        ("attention.head_count", HEADS),
        ("attention.head_count_kv", KV_HEADS),
        ("attention.key_length", HEAD_DIM as u32),
        ("attention.value_length", HEAD_DIM as u32),
        ("attention.chunk_size", 16),
        ("rope.dimension_count", HEAD_DIM as u32),
        ("expert_count", EXPERTS as u32),
        ("expert_used_count", 1),
        ("interleave_moe_layer_step", 2),
        ("vocab_size", 256 + SPECIALS.len() as u32),
    ] {
        set(&format!("llama4.{key}"), Value::U32(value))?;
    }
    set("llama4.attention.layer_norm_rms_epsilon", Value::F32(1e-5))?;
    set("llama4.rope.freq_base", Value::F32(10_000.0))?;

    let bytes = (0..=255u8).map(|byte| byte_char(byte).to_string());
    let tokens = Strings::from_strs(bytes.chain(SPECIALS.map(String::from))).lift()?;
    let kinds = (0..256 + SPECIALS.len()).map(|id| if id < 256 { 1 } else { 3 }).collect();
    // One merge whose result is no token of its own would be an error; one whose parts are the alphabet's is not needed
    // to write: a byte-level vocabulary without merges is a list of bytes.
    set("tokenizer.ggml.model", Value::String("gpt2".to_string()))?;
    set("tokenizer.ggml.pre", Value::String("llama4".to_string()))?;
    set("tokenizer.ggml.tokens", Value::Array(Array::String(tokens)))?;
    set("tokenizer.ggml.token_type", Value::Array(Array::I32(kinds)))?;
    set("tokenizer.ggml.merges", Value::Array(Array::String(Strings::new())))?;
    set("tokenizer.ggml.bos_token_id", Value::U32(BOS))?;
    set("tokenizer.ggml.eos_token_id", Value::U32(EOT))?;
    set("tokenizer.ggml.add_bos_token", Value::Bool(true))
}

/// The character that stands for a byte in byte-level vocabularies (GPT-2's table).
fn byte_char(byte: u8) -> char {
    let printable = |b: u8| matches!(b, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    if printable(byte) {
        return char::from(byte);
    }
    let before = (0..byte).filter(|&b| !printable(b)).count() as u32;
    char::from_u32(256 + before).unwrap_or(char::REPLACEMENT_CHARACTER)
}

/// SplitMix64, as numbers from -1 to 1.
struct Random(u64);

impl Random {
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        (z >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }
}
