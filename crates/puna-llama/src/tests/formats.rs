//! One model in every way that files store it gives the same logits.

use super::tiny::{self, IDS};
use crate::weights::Tensor;
use crate::{Architecture, Config, MemTensors, Pass, State, StateOptions, TensorSource, Want};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use puna_core::ops::Pairs;
use puna_core::quant::{dequantize_row, quantize_row};
use puna_core::{DType, Elem};

fn logits(config: &Config, tensors: &MemTensors) -> Vec<f32> {
    let (llama, mut device) = tiny::load(config, tensors);
    let options = StateOptions { kv: Elem::F32, ..StateOptions::default() };
    let mut state = State::new(&llama, &mut device, &options).unwrap();
    let mut rows = Vec::new();
    let mut keep = |_: u64, row: &[f32]| {
        rows.extend_from_slice(row);
        Ok(())
    };
    let mut pass = Pass { logits: Some(&mut keep), ..Pass::new(Want::All) };
    llama.forward(&mut device, &mut state, &IDS, &mut pass).unwrap();
    rows
}

fn assert_same(found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len());
    let apart = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(apart <= 2e-6, "{apart}");
}

fn floats(tensor: &Tensor) -> Vec<f32> {
    let mut values = alloc::vec![0.0; tensor.shape.iter().product()];
    dequantize_row(tensor.dtype, tensor.region.bytes(), &mut values).unwrap();
    values
}

/// A copy with every tensor renamed and rewritten by `f`.
fn map(tensors: &MemTensors, mut f: impl FnMut(&str, &Tensor, &mut MemTensors)) -> MemTensors {
    let mut out = MemTensors::new();
    tensors.iter().for_each(|(name, tensor)| f(name, tensor, &mut out));
    out
}

fn copy(name: &str, tensor: &Tensor, out: &mut MemTensors) {
    out.insert(name, tensor.dtype, &tensor.shape, tensor.region.bytes().to_vec());
}

/// Expert `e` of an `[E, in, out]` tensor, columns `from ..`, as `[out, in]`.
fn transposed(values: &[f32], [n_in, n_out]: [usize; 2], e: usize, from: usize, n: usize) -> Vec<f32> {
    let at = |i: usize, o: usize| values[(e * n_in + i) * n_out + o];
    (from..from + n).flat_map(|o| (0..n_in).map(move |i| (i, o))).map(|(i, o)| at(i, o)).collect()
}

/// GGUF's name of a Hugging Face tensor that is stored alike.
fn gguf_name(name: &str) -> String {
    let parts = [
        ("model.layers.", "blk."),
        ("model.embed_tokens", "token_embd"),
        ("model.norm", "output_norm"),
        ("lm_head", "output"),
        ("input_layernorm", "attn_norm"),
        ("self_attn.q_proj", "attn_q"),
        ("self_attn.k_proj", "attn_k"),
        ("self_attn.v_proj", "attn_v"),
        ("self_attn.o_proj", "attn_output"),
        ("post_attention_layernorm", "ffn_norm"),
        ("feed_forward.router", "ffn_gate_inp"),
        ("feed_forward.shared_expert.gate_proj", "ffn_gate_shexp"),
        ("feed_forward.shared_expert.up_proj", "ffn_up_shexp"),
        ("feed_forward.shared_expert.down_proj", "ffn_down_shexp"),
        ("feed_forward.gate_proj", "ffn_gate"),
        ("feed_forward.up_proj", "ffn_up"),
        ("feed_forward.down_proj", "ffn_down"),
        ("mlp.gate_proj", "ffn_gate"),
        ("mlp.up_proj", "ffn_up"),
        ("mlp.down_proj", "ffn_down"),
    ];
    parts.iter().fold(name.to_string(), |name, (hf, gguf)| name.replace(hf, gguf))
}

/// The golden model as GGUF stores it, gate and up of the experts in one tensor or two.
fn as_gguf(tensors: &MemTensors, fused: bool) -> MemTensors {
    map(tensors, |name, t, out| {
        let name = gguf_name(name);
        let experts = |from, n| -> Vec<f32> {
            let (values, dims) = (floats(t), [t.shape[1], t.shape[2]]);
            (0..t.shape[0]).flat_map(|e| transposed(&values, dims, e, from, n)).collect()
        };
        if let Some(layer) = name.strip_suffix(".feed_forward.experts.gate_up_proj") {
            if fused {
                out.f32(format!("{layer}.ffn_gate_up_exps.weight"), &[4, 32, 32], &experts(0, 32));
            } else {
                out.f32(format!("{layer}.ffn_gate_exps.weight"), &[4, 16, 32], &experts(0, 16));
                out.f32(format!("{layer}.ffn_up_exps.weight"), &[4, 16, 32], &experts(16, 16));
            }
        } else if let Some(layer) = name.strip_suffix(".feed_forward.experts.down_proj") {
            out.f32(format!("{layer}.ffn_down_exps.weight"), &[4, 32, 16], &experts(0, 32));
        } else {
            copy(&name, t, out);
        }
    })
}

#[test]
fn prefixes_of_hugging_face_folders() {
    let config = tiny::golden();
    let tensors = tiny::tensors(&config);
    let expected = logits(&config, &tensors);
    for (prefix, head) in [
        ("language_model.model.", "language_model.lm_head.weight"),
        ("model.language_model.", "lm_head.weight"),
        ("", "lm_head.weight"),
    ] {
        let renamed = map(&tensors, |name, t, out| match name.strip_prefix("model.") {
            Some(rest) => copy(&format!("{prefix}{rest}"), t, out),
            None => copy(head, t, out),
        });
        assert_eq!(logits(&config, &renamed), expected, "{prefix}");
    }
}

#[test]
fn gguf_names_and_fused_tensors() {
    let config = tiny::golden();
    let tensors = tiny::tensors(&config);
    let expected = logits(&config, &tensors);
    assert_same(&logits(&config, &as_gguf(&tensors, false)), &expected);
    assert_same(&logits(&config, &as_gguf(&tensors, true)), &expected);

    let mut fused = as_gguf(&tensors, false);
    for layer in 0..4 {
        let parts = ["q", "k", "v"].map(|p| fused.remove(&format!("blk.{layer}.attn_{p}.weight")).unwrap());
        let all: Vec<f32> = parts.iter().flat_map(floats).collect();
        fused.f32(format!("blk.{layer}.attn_qkv.weight"), &[64, 32], &all);
    }
    assert_same(&logits(&config, &fused), &expected);
}

#[test]
fn rope_divisors_of_a_gguf_file_win() {
    let mut config = tiny::golden();
    let mut tensors = as_gguf(&tiny::tensors(&config), false);
    tensors.f32("rope_freqs.weight", &[4], &[1.0, 2.0, 4.0, 4.0]);
    let found = logits(&config, &tensors);
    tensors.remove("rope_freqs.weight");
    config.rope.scaling = crate::config::RopeScaling::Divisors([1.0, 2.0, 4.0, 4.0].to_vec());
    assert_eq!(found, logits(&config, &tensors));
    config.rope.scaling = crate::config::RopeScaling::None;
    assert_ne!(found, logits(&config, &tensors));
}

/// Every expert matrix a tensor of its own, written by `write(name, values of one row after the other, shape)`.
fn separate(
    tensors: &MemTensors,
    mut write: impl FnMut(String, &[f32], [usize; 2], &mut MemTensors),
) -> MemTensors {
    map(tensors, |name, t, out| {
        let Some(layer) =
            name.strip_suffix("gate_up_proj").or_else(|| name.strip_suffix("experts.down_proj"))
        else {
            return copy(name, t, out);
        };
        let (layer, values) = (layer.trim_end_matches("experts."), floats(t));
        for e in 0..4 {
            let mut part = |part: &str, n_in: usize, n_out: usize, from: usize, n: usize| {
                let matrix = transposed(&values, [n_in, n_out], e, from, n);
                write(format!("{layer}experts.{e}.{part}_proj.weight"), &matrix, [n, n_in], out);
            };
            if name.ends_with("gate_up_proj") {
                part("gate", 32, 32, 0, 16);
                part("up", 32, 32, 16, 16);
            } else {
                part("down", 16, 32, 0, 32);
            }
        }
    })
}

#[test]
fn experts_as_separate_tensors() {
    let config = tiny::golden();
    let tensors = tiny::tensors(&config);
    let separate = separate(&tensors, |name, values, shape, out| {
        out.f32(name, &shape, values);
    });
    assert_same(&logits(&config, &separate), &logits(&config, &tensors));
}

/// Rounds a matrix to FP8 with one BF16 scale a row.
fn to_f8(values: &[f32], width: usize) -> (Vec<u8>, Vec<u8>) {
    let (mut bytes, mut scales) = (Vec::new(), Vec::new());
    for row in values.chunks_exact(width) {
        let largest = row.iter().fold(0.0f32, |m, v| m.max(v.abs()));
        let scale = half::bf16::from_f32(largest / 400.0);
        let scaled: Vec<f32> = row.iter().map(|v| v / scale.to_f32()).collect();
        let mut out = alloc::vec![0; width];
        quantize_row(DType::F8E4M3, &scaled, None, &mut out).unwrap();
        bytes.extend(out);
        scales.extend(scale.to_le_bytes());
    }
    (bytes, scales)
}

/// What FP8 with row scales stands for.
fn from_f8(bytes: &[u8], scales: &[u8], width: usize) -> Vec<f32> {
    let mut values = alloc::vec![0.0; bytes.len()];
    dequantize_row(DType::F8E4M3, bytes, &mut values).unwrap();
    for (row, scale) in values.chunks_exact_mut(width).zip(scales.chunks_exact(2)) {
        let scale = half::bf16::from_le_bytes([scale[0], scale[1]]).to_f32();
        row.iter_mut().for_each(|v| *v *= scale);
    }
    values
}

#[test]
fn fp8_experts_with_row_scales() {
    let config = tiny::golden();
    let tensors = tiny::tensors(&config);
    let fp8 = separate(&tensors, |name, values, shape, out| {
        let (bytes, scales) = to_f8(values, shape[1]);
        out.insert(format!("{name}_scale"), DType::BF16, &[shape[0], 1], scales);
        out.insert(name, DType::F8E4M3, &shape, bytes);
    });
    let plain = separate(&tensors, |name, values, shape, out| {
        let (bytes, scales) = to_f8(values, shape[1]);
        out.f32(name, &shape, &from_f8(&bytes, &scales, shape[1]));
    });
    assert_same(&logits(&config, &fp8), &logits(&config, &plain));
}

#[test]
fn fp8_experts_fused_with_output_scales() {
    let config = tiny::golden();
    let tensors = tiny::tensors(&config);
    let scale = |e: usize, o: usize| 0.001 + 0.0001 * e as f32 + 0.00003 * o as f32;
    let (mut fp8, mut plain) = (MemTensors::new(), MemTensors::new());
    for (name, t) in tensors.iter() {
        if !name.contains(".experts.") {
            copy(name, t, &mut fp8);
            copy(name, t, &mut plain);
            continue;
        }
        let [n_in, n_out] = [t.shape[1], t.shape[2]];
        let column = |k: usize| scale(k / (n_in * n_out), k % n_out);
        let scaled: Vec<f32> = floats(t).iter().enumerate().map(|(k, v)| v / column(k)).collect();
        let mut bytes = alloc::vec![0; scaled.len()];
        quantize_row(DType::F8E4M3, &scaled, None, &mut bytes).unwrap();
        let mut values = alloc::vec![0.0; scaled.len()];
        dequantize_row(DType::F8E4M3, &bytes, &mut values).unwrap();
        values.iter_mut().enumerate().for_each(|(k, v)| *v *= column(k));
        plain.f32(name, &t.shape, &values);
        fp8.insert(name, DType::F8E4M3, &t.shape, bytes);
        let scales: Vec<f32> = (0..4).flat_map(|e| (0..n_out).map(move |o| scale(e, o))).collect();
        let shape = if name.ends_with("down_proj") { [4, n_out, 1] } else { [4, 1, n_out] };
        fp8.f32(format!("{name}_scale"), &shape, &scales);
    }
    assert_same(&logits(&config, &fp8), &logits(&config, &plain));
}

#[test]
fn blocks_and_half_floats() {
    let config = tiny::golden();
    let tensors = as_gguf(&tiny::tensors(&config), false);
    for dtype in [DType::F16, DType::BF16, DType::Q8_0, DType::Q4_0] {
        // Rows of 16 and 24 stay F32, as a file would have them.
        let fits =
            |t: &Tensor| t.shape.len() > 1 && t.shape.last().is_some_and(|n| n % dtype.block_len() == 0);
        let quantized = map(&tensors, |name, t, out| {
            if !fits(t) {
                return copy(name, t, out);
            }
            let values = floats(t);
            let mut bytes = alloc::vec![0; dtype.row_bytes(values.len()).unwrap()];
            quantize_row(dtype, &values, None, &mut bytes).unwrap();
            out.insert(name, dtype, &t.shape, bytes);
        });
        let plain = map(&quantized, |name, t, out| {
            out.f32(name, &t.shape, &floats(t));
        });
        assert_same(&logits(&config, &quantized), &logits(&config, &plain));
    }
}

#[test]
fn llama_rows_are_permuted_in_gguf_and_not_in_folders() {
    let mut config = Config {
        architecture: Architecture::Llama,
        rope_layers: alloc::vec![true; 4],
        chunked_layers: alloc::vec![false; 4],
        attention_chunk_size: None,
        qk_norm: false,
        temperature: None,
        n_experts: 0,
        n_experts_used: 0,
        moe_layers: alloc::vec![false; 4],
        ff_expert: 0,
        ff_shared: 0,
        attention_bias: true,
        ..tiny::golden()
    };
    config.rope.pairs = Pairs::Half;
    let mut folder = tiny::tensors(&config);
    for layer in 0..4 {
        for (i, (proj, n)) in [("q", 32), ("k", 16), ("v", 16), ("o", 32)].into_iter().enumerate() {
            let name = format!("model.layers.{layer}.self_attn.{proj}_proj.bias");
            folder.f32(name, &[n], &tiny::values(90 + i as u32, n, 0.3, 0.0));
        }
    }
    let expected = logits(&config, &folder);
    // Row 2j of a head in the file is row j of the folder, row 2j + 1 is row j + d/2.
    let gguf = map(&folder, |name, t, out| {
        if !(name.contains("q_proj") || name.contains("k_proj")) {
            return copy(&gguf_name(name), t, out);
        }
        let (values, width) = (floats(t), t.shape.get(1).copied().unwrap_or(1));
        let row = |r: usize| {
            let (head, at) = (r / 8, r % 8);
            let from = head * 8 + at / 2 + (at % 2) * 4;
            values[from * width..(from + 1) * width].to_vec()
        };
        let permuted: Vec<f32> = (0..t.shape[0]).flat_map(row).collect();
        out.f32(gguf_name(name), &t.shape, &permuted);
    });
    assert!(gguf.contains("blk.3.attn_k.bias"));
    config.rope.pairs = Pairs::Interleaved;
    assert_same(&logits(&config, &gguf), &expected);
    assert_ne!(logits(&config, &folder), expected);
}
