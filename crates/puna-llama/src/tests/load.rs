//! What loading refuses, what it tells, and what the plan counts.

use super::tiny;
use crate::weights::LoadProgress;
use crate::{Config, Llama, LlamaError, LoadWatch, MemTensors, StateOptions, TensorSource, plan};
use alloc::format;
use alloc::vec::Vec;
use puna_core::{Cancel, DType, Elem, RefDevice};

fn load(config: &Config, tensors: &MemTensors) -> Result<Llama, LlamaError> {
    Llama::load(config.clone(), tensors, &mut RefDevice::new(), &mut LoadWatch::default())
}

#[test]
fn every_tensor_is_needed_and_named_when_missing() {
    let config = tiny::golden();
    let tensors = tiny::tensors(&config);
    for (name, _) in tensors.iter() {
        let mut less = tensors.clone();
        less.remove(name);
        let error = load(&config, &less).unwrap_err();
        // Without its router a layer is dense, and without a fused tensor its experts may be separate ones.
        let expected = match name {
            n if n.ends_with("router.weight") => n.replace("router", "gate_proj"),
            n if n.ends_with("gate_up_proj") => {
                n.replace("experts.gate_up_proj", "experts.0.gate_proj.weight")
            }
            n if n.ends_with("embed_tokens.weight") => {
                "token_embd.weight (GGUF) or model.embed_tokens.weight (Hugging Face)".into()
            }
            n => n.into(),
        };
        assert_eq!(error, LlamaError::MissingTensor { name: expected });
    }
}

#[test]
fn every_shape_is_checked() {
    let config = tiny::golden();
    let tensors = tiny::tensors(&config);
    for (name, t) in tensors.iter() {
        for axis in 0..t.shape.len() {
            let mut other = tensors.clone();
            let mut shape = t.shape.clone();
            shape[axis] += 1;
            let n = shape.iter().product();
            other.f32(name, &shape, &alloc::vec![0.0; n]);
            match load(&config, &other).unwrap_err() {
                LlamaError::Tensor { name: at, expected, found } => {
                    assert_eq!(at, name);
                    assert_ne!(expected, found);
                }
                e => panic!("{name}: {e}"),
            }
        }
        // A region that does not hold the shape's bytes.
        let mut short = tensors.clone();
        short.insert(name, DType::F32, &t.shape, alloc::vec![0; t.region.len() - 4]);
        assert!(matches!(load(&config, &short), Err(LlamaError::Tensor { name: at, .. }) if at == name));
    }
}

#[test]
fn vectors_are_finite() {
    let config = tiny::golden();
    for (name, value) in [
        ("model.norm.weight", f32::NAN),
        ("model.layers.2.input_layernorm.weight", f32::INFINITY),
        ("model.layers.0.post_attention_layernorm.weight", f32::NEG_INFINITY),
    ] {
        let mut tensors = tiny::tensors(&config);
        let mut values = [1.0; 32];
        values[7] = value;
        tensors.f32(name, &[32], &values);
        let error = load(&config, &tensors).unwrap_err();
        assert!(
            matches!(&error, LlamaError::TensorValue { name: at, index: 7, .. } if at == name),
            "{error}"
        );
    }
    let mut tensors = tiny::tensors(&config);
    tensors.f32("model.layers.1.self_attn.q_proj.weight_scale", &[32, 1], &[f32::NAN; 32]);
    let error = load(&config, &tensors).unwrap_err();
    assert_eq!(
        format!("{error}"),
        "tensor model.layers.1.self_attn.q_proj.weight_scale: expected finite values, found NaN at index 0"
    );
    let mut tensors = tiny::tensors(&config);
    tensors.f32("rope_freqs.weight", &[4], &[1.0, 0.0, 1.0, 1.0]);
    assert!(matches!(load(&config, &tensors), Err(LlamaError::Config { .. })));
}

#[test]
fn formats_that_cannot_be_are_refused() {
    let config = tiny::golden();
    let mut tensors = tiny::tensors(&config);
    // A fused expert tensor in [in, out] order cannot have blocks.
    let bytes = alloc::vec![0; 4 * 32 * 34];
    tensors.insert("model.layers.1.feed_forward.experts.gate_up_proj", DType::Q8_0, &[4, 32, 32], bytes);
    assert!(matches!(load(&config, &tensors), Err(LlamaError::Tensor { .. })));
    // Rows of 24 are no whole blocks of 32.
    let mut tensors = tiny::tensors(&config);
    tensors.insert(
        "model.layers.0.feed_forward.down_proj.weight",
        DType::Q8_0,
        &[32, 24],
        alloc::vec![0; 816],
    );
    assert!(matches!(load(&config, &tensors), Err(LlamaError::Tensor { .. })));
    // A router where the configuration has no experts.
    let dense =
        Config { n_experts: 0, n_experts_used: 0, moe_layers: alloc::vec![false; 4], ..config.clone() };
    assert!(matches!(load(&dense, &tiny::tensors(&config)), Err(LlamaError::Tensor { .. })));
    // Far more layers than tensors.
    let mut many = config;
    many.n_layers = 4000;
    many.rope_layers = alloc::vec![true; 4000];
    many.chunked_layers = alloc::vec![true; 4000];
    many.moe_layers = alloc::vec![false; 4000];
    let name = "model.layers.3999.input_layernorm.weight".into();
    assert_eq!(load(&many, &tiny::tensors(&tiny::golden())).unwrap_err(), LlamaError::MissingTensor { name });
}

#[test]
fn a_load_tells_its_progress_and_can_be_cancelled() {
    let config = tiny::golden();
    let tensors = tiny::tensors(&config);
    let cancel = Cancel::new();
    let mut seen: Vec<LoadProgress> = Vec::new();
    let mut progress = |p: LoadProgress| {
        seen.push(p);
        if p.tensors == 10 {
            cancel.cancel();
        }
    };
    let mut watch = LoadWatch { cancel: Some(&cancel), progress: Some(&mut progress) };
    let result = Llama::load(config, &tensors, &mut RefDevice::new(), &mut watch);
    assert_eq!(result.unwrap_err(), LlamaError::Cancelled);
    assert_eq!(seen.len(), 10);
    assert!(seen.iter().all(|p| p.total_bytes == tensors.total_bytes() && p.bytes < p.total_bytes));
    assert!(seen.is_sorted_by_key(|p| p.bytes));
}

#[test]
fn the_plan_counts_bytes() {
    let config = tiny::golden();
    let tensors = tiny::tensors(&config);
    let options = StateOptions { context: Some(1000), batch: 16, kv: Elem::F16 };
    let plan = plan(config, &tensors, &options).unwrap();
    // All tensors and four rotary frequencies.
    assert_eq!(plan.weight_bytes, tensors.total_bytes() + 16);
    // Three layers with a chunk of 4, one with four blocks of 256; 32 values of two bytes a position.
    assert_eq!(plan.kv_bytes, (3 * 4 + 4 * 256) * 32 * 2);
    // Residual and normed: 32 each; query, key and value, wider than the inner 24: 64; one pick; one row of logits. The shared
    // expert's pick for one row.
    assert_eq!(plan.scratch_bytes, (16 * (2 * 32 + 64) + 16 * 2 + 48 + 2) * 4);
    let matrices: usize = 48 * 32 // head
        + 4 * 2 * (32 * 32 + 16 * 32) // attention
        + 2 * 3 * 24 * 32 // dense
        + 2 * (4 * 32 + 2 * 3 * 16 * 32); // router, shared and one routed expert
    assert_eq!(plan.weight_bytes_per_token, (matrices + 32) as u64 * 4);
    // Position 999 is the last of its chunk.
    assert_eq!(plan.kv_bytes_per_token, (3 * 4 + 1000) * 32 * 2);
}
