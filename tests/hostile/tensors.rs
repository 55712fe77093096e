//! Tensors that are missing, of a wrong shape or type, or hold numbers that are none.

use super::{Parts, Refused, assert_clear, options};
use puna::{Cancel, ErrorKind, Model, SessionOptions};
use puna_format::gguf::TensorType;

/// What may be absent: without a head of its own, a model uses the embedding table.
const OPTIONAL: &str = "output.weight";

#[test]
fn every_tensor_missing_once() {
    let mut refused = Refused::new();
    for part in Parts::tiny().tensors {
        if part.name == OPTIONAL {
            continue;
        }
        // Without its router a layer counts as dense, and lacks a dense network's tensors.
        let name = match part.name.strip_suffix("ffn_gate_inp.weight") {
            Some(layer) => layer.to_string(),
            None => part.name.clone(),
        };
        refused.parts(&format!("no {}", part.name), &Parts::tiny().without_tensor(&part.name), &[&name]);
    }
    assert!(refused.count >= 40, "{}", refused.count);
}

#[test]
fn every_tensor_in_a_wrong_shape_once() {
    let mut refused = Refused::new();
    for part in Parts::tiny().tensors {
        let mut parts = Parts::tiny();
        let longer = parts.tensor(&part.name);
        let last = longer.ne.len() - 1;
        longer.ne[last] *= 2;
        longer.bytes = longer.bytes.repeat(2);
        refused.parts(&format!("{} twice as long", part.name), &parts, &[&part.name]);
        if part.ne.len() > 1 && part.ne[0] != part.ne[1] {
            let mut parts = Parts::tiny();
            parts.tensor(&part.name).ne.swap(0, 1);
            refused.parts(&format!("{} turned", part.name), &parts, &[&part.name]);
        }
    }
    assert!(refused.count >= 50, "{}", refused.count);
}

#[test]
fn types_that_no_weight_has() {
    let mut refused = Refused::new();
    for name in
        ["token_embd.weight", "blk.0.attn_norm.weight", "blk.2.attn_q.weight", "blk.3.ffn_up_exps.weight"]
    {
        let mut parts = Parts::tiny();
        // I32 is as wide as F32.
        parts.tensor(name).dtype = TensorType::from_gguf_id(26).unwrap();
        refused.parts(&format!("{name} of integers"), &parts, &[name, "I32"]);
    }
    assert_eq!(refused.count, 4);
}

#[test]
fn norms_and_scales_that_are_no_numbers() {
    let mut refused = Refused::new();
    for (name, value) in [
        ("blk.0.attn_norm.weight", f32::NAN),
        ("blk.2.ffn_norm.weight", f32::INFINITY),
        ("output_norm.weight", f32::NEG_INFINITY),
    ] {
        refused.parts(&format!("{value} in {name}"), &Parts::tiny().poke(name, 31, value), &[name, "31"]);
    }
    for (values, name) in [
        (&[1.0, 1.0, f32::NAN, 1.0][..], "rope_freqs.weight"),
        (&[1.0, 1.0, 0.0, 1.0], "RoPE divisor"),
        (&[1.0, 1.0, -2.0, 1.0], "RoPE divisor"),
        (&[1.0, 1.0, 1.0], "RoPE divisors"),
    ] {
        refused.parts("rotary divisors", &Parts::tiny().with_tensor("rope_freqs.weight", values), &[name]);
    }
    let scale = Parts::tiny().with_tensor("blk.0.attn_q.weight_scale", &[f32::NAN; 32]);
    refused.parts("a row scale", &scale, &["blk.0.attn_q.weight_scale"]);
    let scale = Parts::tiny().with_tensor("blk.0.attn_q.weight_scale", &[1.0; 31]);
    refused.parts("too few row scales", &scale, &["blk.0.attn_q.weight_scale", "32", "31"]);
    let bias = Parts::tiny().with_tensor("blk.1.attn_k.bias", &[0.0; 15]);
    refused.parts("a short bias", &bias, &["blk.1.attn_k.bias", "16", "15"]);
    assert_eq!(refused.count, 10);
}

/// Nobody reads all weights to look for NaN, so these show when they are used; the session goes on without them.
#[test]
fn weights_that_are_no_numbers_show_when_they_are_used() {
    let row = 100 * 32;
    for (what, parts) in [
        ("an embedding", Parts::tiny().poke("token_embd.weight", row + 3, f32::NAN)),
        ("an infinite embedding", Parts::tiny().poke("token_embd.weight", row, f32::INFINITY)),
    ] {
        let model = Model::from_bytes(parts.bytes(), &options()).unwrap();
        let mut session = model.session(&SessionOptions::default()).unwrap();
        session.push_tokens(&[1, 2]).unwrap();
        let good = session.logits(&Cancel::new()).unwrap().to_vec();
        session.push_tokens(&[100]).unwrap();
        let error = session.logits(&Cancel::new()).unwrap_err();
        assert_clear(what, &error, ErrorKind::BadFile, &["logits", "position 2"]);
        session.truncate(2);
        assert_eq!(session.logits(&Cancel::new()).unwrap(), good, "{what}");
        session.push_tokens(&[3]).unwrap();
        assert!(session.logits(&Cancel::new()).unwrap().iter().all(|v| v.is_finite()), "{what}");
    }
    // In a matrix that every token meets, nothing can be computed; that is an error too, and not an endless answer.
    for name in ["blk.0.attn_v.weight", "blk.1.ffn_down_shexp.weight", "output.weight"] {
        let model = Model::from_bytes(Parts::tiny().poke(name, 5, f32::NAN).bytes(), &options()).unwrap();
        let mut session = model.session(&SessionOptions::default()).unwrap();
        session.push_tokens(&[1, 2, 3]).unwrap();
        let mut generation = session.generate(&puna::Sampling::default()).max_tokens(5);
        let error = generation.next().unwrap().unwrap_err();
        assert_clear(name, &error, ErrorKind::BadFile, &["logits"]);
    }
}
