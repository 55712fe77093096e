//! Whatever way tokens are fed, taken back or forked, the logits are those of one pass over all of them.

use super::tiny::{self, IDS};
use crate::{Config, Llama, LlamaError, MemTensors, Pass, SessionState, State, StateOptions, Want};
use alloc::sync::Arc;
use alloc::vec::Vec;
use proptest::prelude::*;
use puna_core::{Cancel, Device, Elem, RefDevice};
use std::vec;

const F32: StateOptions = StateOptions { context: None, batch: 512, kv: Elem::F32 };

/// Logits of every position, in one call, with this batch size.
fn full(llama: &Llama, device: &RefDevice, tokens: &[u32], options: &StateOptions) -> Vec<Vec<f32>> {
    let mut device = device.clone();
    let mut state = State::new(llama, &mut device, options).unwrap();
    let mut rows = Vec::new();
    let mut keep = |_: u64, row: &[f32]| {
        rows.push(row.to_vec());
        Ok(())
    };
    let mut pass = Pass { logits: Some(&mut keep), ..Pass::new(Want::All) };
    llama.forward(&mut device, &mut state, tokens, &mut pass).unwrap();
    assert_eq!(state.len(), tokens.len() as u64);
    rows
}

fn session(llama: &Llama, device: &RefDevice, options: &StateOptions) -> SessionState {
    SessionState::new(Arc::new(llama.clone()), device.fork().unwrap(), options).unwrap()
}

fn same(found: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(found.len(), expected.len());
    for (f, e) in found.iter().zip(expected) {
        assert!((f - e).abs() <= tolerance, "expected {e}, found {f}");
    }
}

fn long() -> Vec<u32> {
    (0..23).map(|i| (i * 7 + 3) % 48).collect()
}

/// Shapes that a careless implementation would get wrong.
fn variants() -> Vec<(&'static str, Config)> {
    let base = tiny::golden();
    let odd = Config {
        hidden: 23,
        n_heads: 6,
        n_kv_heads: 3,
        head_dim: 10,
        vocab_size: 51,
        ff_dense: 13,
        ff_expert: 7,
        ff_shared: 9,
        n_experts: 5,
        n_experts_used: 2,
        rope: crate::config::RopeConfig { n_rot: 6, ..base.rope.clone() },
        ..base.clone()
    };
    vec![
        ("golden", base.clone()),
        ("top 2", Config { n_experts_used: 2, ..base.clone() }),
        ("tied", Config { tied_embeddings: true, ..base.clone() }),
        ("odd", odd),
        ("irregular", Config { moe_layers: vec![true, true, false, false], ..base.clone() }),
        ("no chunk", Config { attention_chunk_size: None, ..base.clone() }),
        ("full rope layer", Config { chunked_layers: vec![true, false, true, true], ..base }),
    ]
}

fn model(config: &Config) -> (Llama, RefDevice) {
    tiny::load(config, &tiny::tensors(config))
}

#[test]
fn decoding_equals_the_full_pass() {
    for (name, config) in variants() {
        let (llama, device) = model(&config);
        let expected = full(&llama, &device, &long(), &F32);
        let mut session = session(&llama, &device, &F32);
        same(session.feed(&long()[..6], None).unwrap(), &expected[5], 2e-6);
        for (i, &token) in long().iter().enumerate().skip(6) {
            let found = session.decode(token).unwrap();
            assert!(found.iter().zip(&expected[i]).all(|(a, b)| (a - b).abs() <= 2e-6), "{name} at {i}");
        }
    }
}

/// Large batches have queries for some rows after others, and the inside of wide networks.
#[test]
fn batches_of_hundreds_of_rows_are_the_same_as_small_ones() {
    let wide = Config { ff_dense: 16_384, attention_chunk_size: None, ..tiny::golden() };
    // What attention gives is wider than what it is made of.
    let many_heads = Config { n_heads: 8, ff_dense: 24, ..wide.clone() };
    for config in [wide, many_heads] {
        let (llama, device) = model(&config);
        let tokens: Vec<u32> = (0..300).map(|i| (i * 7 + i * i / 5) % 48).collect();
        let expected = full(&llama, &device, &tokens, &StateOptions { batch: 60, ..F32 });
        let found = full(&llama, &device, &tokens, &F32);
        found.iter().zip(&expected).for_each(|(f, e)| same(f, e, 0.0));
    }
}

#[test]
fn chunked_layers_hold_one_chunk_and_full_layers_everything() {
    let (llama, device) = model(&tiny::golden());
    let mut session = session(&llama, &device, &F32);
    let tokens: Vec<u32> = (0..600).map(|i| i % 48).collect();
    session.feed(&tokens, None).unwrap();
    let position = 2 * 2 * 8 * 4; // keys and values, heads, head size, bytes
    // Three layers with one chunk of 4, one layer with three blocks of 256.
    assert_eq!(session.kv_bytes(), (3 * 4 + 3 * 256) * position);
    let half = StateOptions { kv: Elem::F16, ..F32 };
    let mut session = SessionState::new(Arc::new(llama), device.fork().unwrap(), &half).unwrap();
    session.feed(&tokens, None).unwrap();
    assert_eq!(session.kv_bytes(), (3 * 4 + 3 * 256) * position / 2);
}

#[test]
fn f16_caches_stay_close() {
    let (llama, device) = model(&tiny::golden());
    let expected = full(&llama, &device, &IDS, &F32);
    let found = full(&llama, &device, &IDS, &StateOptions { kv: Elem::F16, ..F32 });
    found.iter().zip(&expected).for_each(|(f, e)| same(f, e, 1e-2));
}

#[test]
fn the_file_decides_which_layers_have_experts() {
    let config = Config { moe_layers: vec![true, true, false, false], ..tiny::golden() };
    let tensors = tiny::tensors(&config);
    // The configuration claims another pattern.
    let (llama, device) = tiny::load(&tiny::golden(), &tensors);
    assert_eq!(llama.config.moe_layers, config.moe_layers);
    let (expected, reference) = tiny::load(&config, &tensors);
    assert_eq!(full(&llama, &device, &IDS, &F32), full(&expected, &reference, &IDS, &F32));
}

#[test]
fn truncation_is_exact() {
    let (llama, device) = model(&tiny::golden());
    let tokens = long();
    for keep in 1..tokens.len() {
        let mut session = session(&llama, &device, &F32);
        session.feed(&tokens, None).unwrap();
        session.truncate(keep);
        assert_eq!(session.tokens(), &tokens[..keep]);
        let other: Vec<u32> = tokens[..keep].iter().copied().chain([1, 2, 3, 4, 5, 6]).collect();
        let expected = full(&llama, &device, &other, &F32);
        same(session.logits(None).unwrap(), &expected[keep - 1], 2e-6);
        same(session.feed(&other[keep..], None).unwrap(), &expected[other.len() - 1], 2e-6);
    }
    let mut session = session(&llama, &device, &F32);
    session.feed(&tokens, None).unwrap();
    session.truncate(0);
    assert!(session.is_empty());
    assert_eq!(session.logits(None), Err(LlamaError::EmptyPrompt));
}

#[test]
fn forks_are_independent() {
    let (llama, device) = model(&tiny::golden());
    let mut one = session(&llama, &device, &F32);
    one.feed(&IDS[..6], None).unwrap();
    let mut two = one.fork().unwrap();
    let expected = full(&llama, &device, &IDS, &F32);
    let mut other = IDS.to_vec();
    other[6..].reverse();
    let reversed = full(&llama, &device, &other, &F32);
    // Step by step in turn, across a chunk boundary.
    for i in 6..IDS.len() {
        same(one.decode(IDS[i]).unwrap(), &expected[i], 2e-6);
        same(two.decode(other[i]).unwrap(), &reversed[i], 2e-6);
    }
    two.truncate(2);
    same(one.logits(None).unwrap(), &expected[10], 0.0);
    drop(one);
    same(two.logits(None).unwrap(), &expected[1], 2e-6);
}

#[test]
fn wrong_input_leaves_the_session_usable() {
    let (llama, device) = model(&tiny::golden());
    let options = StateOptions { context: Some(8), ..F32 };
    let mut session = session(&llama, &device, &options);
    assert_eq!(session.feed(&[], None), Err(LlamaError::EmptyPrompt));
    let range = LlamaError::TokenRange { index: 1, token: 48, vocab_size: 48 };
    assert_eq!(session.feed(&[3, 48], None), Err(range));
    session.feed(&IDS[..6], None).unwrap();
    let full_up = LlamaError::ContextFull { limit: 8, used: 6, adding: 3 };
    assert_eq!(session.feed(&IDS[6..9], None), Err(full_up));
    assert_eq!(session.remaining(), 2);
    let expected = full(&llama, &device, &IDS[..8], &F32);
    same(session.feed(&IDS[6..8], None).unwrap(), &expected[7], 2e-6);
    assert_eq!(session.remaining(), 0);
    assert_eq!(session.decode(1), Err(LlamaError::ContextFull { limit: 8, used: 8, adding: 1 }));
}

#[test]
fn a_cancelled_feed_keeps_whole_batches_and_goes_on() {
    let (llama, device) = model(&tiny::golden());
    let expected = full(&llama, &device, &long(), &F32);
    let mut session = session(&llama, &device, &F32);
    let cancel = Cancel::new();
    let mut stop = |done: usize, _: usize| {
        if done == 8 {
            cancel.cancel();
        }
    };
    let mut pass = Pass { cancel: Some(&cancel), progress: Some(&mut stop), ..Pass::new(Want::Last(1)) };
    assert_eq!(session.feed_with(&long(), &mut pass), Err(LlamaError::Cancelled));
    assert_eq!(session.tokens(), &long()[..8]);
    cancel.reset();
    let rest = long()[8..].to_vec();
    same(session.feed(&rest, Some(&cancel)).unwrap(), &expected[22], 2e-6);
}

#[test]
fn logits_that_are_not_finite_are_an_error_with_a_position() {
    let config = tiny::golden();
    let mut tensors: MemTensors = tiny::tensors(&config);
    let mut values = tiny::values(0, 48 * 32, 1.0, 0.0);
    values[5 * 32] = f32::INFINITY; // the embedding of token 5
    tensors.f32("model.embed_tokens.weight", &[48, 32], &values);
    let (llama, device) = tiny::load(&config, &tensors);
    let mut session = session(&llama, &device, &F32);
    session.feed(&IDS[..3], None).unwrap();
    assert_eq!(session.feed(&[1, 5], None), Err(LlamaError::NonFinite { position: 4 }));
    assert_eq!(session.tokens(), &IDS[..3]);
    let expected = full(&llama, &device, &IDS[..5], &F32);
    same(session.feed(&IDS[3..5], None).unwrap(), &expected[4], 2e-6);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn any_split_into_batches_gives_the_same(
        batch in 1usize..9,
        splits in prop::collection::vec(1usize..9, 1..8),
        which in 0usize..7,
    ) {
        let (_, config) = &variants()[which];
        let (llama, device) = model(config);
        let tokens = long();
        let expected = full(&llama, &device, &tokens, &F32);
        let mut session = session(&llama, &device, &StateOptions { batch, ..F32 });
        let mut at = 0;
        for n in splits.iter().cycle() {
            let end = (at + n).min(tokens.len());
            same(session.feed(&tokens[at..end], None).unwrap(), &expected[end - 1], 1e-5);
            at = end;
            if at == tokens.len() {
                break;
            }
        }
    }

    #[test]
    fn any_history_of_edits_is_exact(edits in prop::collection::vec((0usize..24, 1usize..7), 1..8)) {
        let (llama, device) = model(&tiny::golden());
        let mut session = session(&llama, &device, &StateOptions { batch: 3, ..F32 });
        let mut tokens = Vec::new();
        for (i, (keep, n)) in edits.into_iter().enumerate() {
            session.truncate(keep);
            tokens.truncate(keep);
            let new: Vec<u32> = (0..n).map(|k| ((i * 11 + k * 5 + 1) % 48) as u32).collect();
            tokens.extend_from_slice(&new);
            let expected = full(&llama, &device, &tokens, &F32);
            same(session.feed(&new, None).unwrap(), &expected[tokens.len() - 1], 1e-5);
        }
    }
}
