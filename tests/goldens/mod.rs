//! Small models with known answers, through the façade as an application uses it, on every kind of device.

mod gpu;
mod llamacpp;
mod long;
mod placement;
mod quantize;
mod sheet;
mod splits;
mod transformers;
mod vision;

use puna::{Activations, Cancel, DeviceKind, KvType, LoadOptions, Model, Sampling, Session, SessionOptions};
use puna_testkit::compare::assert_close;
use std::ops::ControlFlow;

/// What exactness is measured with.
fn exact(device: DeviceKind) -> LoadOptions {
    LoadOptions::default().device(device).activations(Activations::F32).threads(2)
}

/// An empty session that keeps keys and values in F32.
fn session(model: &Model, context: usize, batch: usize) -> Session {
    model.session(&SessionOptions::default().kv(KvType::F32).context(context).batch(batch)).unwrap()
}

/// Logits of every position, and the residual stream after each layer: `[layer][position]`.
struct Trace {
    logits: Vec<Vec<f32>>,
    hidden: Vec<Vec<Vec<f32>>>,
}

/// Runs `tokens` in pieces of `batch`.
fn trace(model: &Model, tokens: &[u32], batch: usize) -> Trace {
    let mut trace = Trace { logits: Vec::new(), hidden: vec![Vec::new(); model.info().layers] };
    let width = model.info().hidden;
    let mut see_logits = |place: usize, row: &[f32]| {
        assert_eq!(place, trace.logits.len(), "logits come in order");
        trace.logits.push(row.to_vec());
        ControlFlow::Continue(())
    };
    let mut see_hidden = |layer: usize, place: usize, rows: &[f32]| {
        assert_eq!(place, trace.hidden[layer].len(), "hidden states come in order");
        trace.hidden[layer].extend(rows.chunks_exact(width).map(<[f32]>::to_vec));
        ControlFlow::Continue(())
    };
    session(model, tokens.len(), batch)
        .observe(tokens, &Cancel::new(), Some(&mut see_logits), Some(&mut see_hidden))
        .unwrap();
    trace
}

/// The `n` most likely tokens after a prompt.
fn greedy(model: &Model, prompt: &[u32], n: usize) -> Vec<u32> {
    let mut session = session(model, prompt.len() + n, 512);
    session.push_tokens(prompt).unwrap();
    greedy_after(&mut session, n)
}

/// The `n` most likely tokens after what a session holds.
fn greedy_after(session: &mut Session, n: usize) -> Vec<u32> {
    let generation = session.generate(&Sampling::default()).max_tokens(n).ignore_end();
    generation.map(|token| token.unwrap().id()).collect()
}

/// Every position's logits within `tolerance`.
fn assert_same(what: &str, found: &[Vec<f32>], expected: &[Vec<f32>], tolerance: f32) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (position, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert_close(&format!("{what}, position {position}"), found, expected, tolerance);
    }
}
