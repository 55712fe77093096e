//! Images in prompts and sessions, against one pass over everything.

use super::tiny::{self, values};
use super::vision::close;
use crate::vision::{Embed, Features, ImageIds, ImageLayout, expand, place};
use crate::{LlamaError, MemTensors, Pass, SessionState, State, StateOptions, Want};
use alloc::sync::Arc;
use alloc::vec::Vec;
use puna_core::{Device, Elem};
use std::vec;

const IDS: ImageIds = ImageIds { start: 40, end: 41, image: 42, patch: 43, tile_x: 44, tile_y: 45 };

/// A prompt of two images with text around, and its rows: random ones, since the tower is tested elsewhere.
fn prompt() -> (Vec<u32>, Vec<Features>) {
    let layouts =
        [ImageLayout { rows: 1, cols: 2, patches: 2 }, ImageLayout { rows: 1, cols: 1, patches: 3 }];
    let tokens = expand(&[1, 2, 42, 3, 42, 4, 5], &IDS, &layouts).unwrap();
    let features = layouts.iter().zip(500..).map(|(layout, t)| {
        let n = layout.tiles() as usize * layout.patches as usize;
        Features::new(values(t, n * 32, 1.0, 0.0), 32).unwrap()
    });
    (tokens, features.collect())
}

#[test]
fn prompts() {
    let (tokens, features) = prompt();
    let first = [40, 43, 43, 44, 43, 43, 45, 42, 43, 43, 41];
    let second = [40, 42, 43, 43, 43, 41];
    assert_eq!(tokens, [&[1, 2], &first[..], &[3], &second[..], &[4, 5]].concat());
    let embeds = place(&tokens, 100, IDS.patch, &features).unwrap();
    let spans: Vec<_> = embeds.iter().map(|e| (e.at, e.first, e.n)).collect();
    assert_eq!(spans, [(103, 0, 2), (106, 2, 2), (110, 4, 2), (116, 0, 3)]);
    assert!(embeds[3].features == features[1]);
    for (tokens, images) in
        [(&tokens[..], &features[..1]), (&tokens[..6], &features[..]), (&[43][..], &[][..])]
    {
        assert!(matches!(place(tokens, 0, IDS.patch, images), Err(LlamaError::Image { .. })));
    }
    assert!(matches!(expand(&[42, 42], &IDS, &[ImageLayout::new(1, 1)]), Err(LlamaError::Image { .. })));
    let huge = ImageLayout { rows: u32::MAX, cols: u32::MAX, patches: u32::MAX };
    assert!(matches!(expand(&[42], &IDS, &[huge]), Err(LlamaError::OutOfMemory { .. })));
}

/// The tiny text model with an embedding table in which every row of the prompt is a token of its own: what overwriting
/// rows must be equal to.
fn as_tokens(tokens: &[u32], embeds: &[Embed]) -> (MemTensors, crate::Config) {
    let mut config = tiny::golden();
    let mut tensors = tiny::tensors(&config);
    let table = values(0, 48 * 32, 1.0, 0.0);
    let mut rows: Vec<f32> = tokens.iter().flat_map(|&t| table[t as usize * 32..][..32].to_vec()).collect();
    for e in embeds {
        rows[e.at as usize * 32..e.end() as usize * 32].copy_from_slice(e.features.rows(e.first, e.n));
    }
    let head = values(44, 48 * 32, 0.4, 0.0);
    config.vocab_size = tokens.len();
    tensors.f32("model.embed_tokens.weight", &[tokens.len(), 32], &rows);
    tensors.f32("lm_head.weight", &[tokens.len(), 32], &head[..tokens.len() * 32]);
    (tensors, config)
}

const OPTIONS: StateOptions = StateOptions { context: None, batch: 512, kv: Elem::F32 };

fn all_logits(
    llama: &crate::Llama,
    device: &mut dyn Device,
    tokens: &[u32],
    embeds: &[Embed],
    batch: usize,
) -> Vec<Vec<f32>> {
    let mut state = State::new(llama, device, &StateOptions { batch, ..OPTIONS }).unwrap();
    let mut rows = Vec::new();
    let mut keep = |_: u64, row: &[f32]| {
        rows.push(row.to_vec());
        Ok(())
    };
    let mut pass = Pass { logits: Some(&mut keep), embeds, ..Pass::new(Want::All) };
    llama.forward(device, &mut state, tokens, &mut pass).unwrap();
    rows
}

#[test]
fn rows_replace_embeddings_whatever_the_batch() {
    let (tokens, features) = prompt();
    let embeds = place(&tokens, 0, IDS.patch, &features).unwrap();
    let (tensors, config) = as_tokens(&tokens, &embeds);
    let (other, mut device) = tiny::load(&config, &tensors);
    let ids: Vec<u32> = (0..tokens.len() as u32).collect();
    let expected = all_logits(&other, &mut device, &ids, &[], 512);
    let config = tiny::golden();
    let (llama, mut device) = tiny::load(&config, &tiny::tensors(&config));
    for batch in [1, 2, 3, 5, 7, 512] {
        let found = all_logits(&llama, &mut device, &tokens, &embeds, batch);
        for (found, expected) in found.iter().zip(&expected) {
            close("logits", found, expected, 2e-6);
        }
        assert_eq!(found.len(), expected.len());
    }
    // The same tokens without rows are another prompt.
    let plain = all_logits(&llama, &mut device, &tokens, &[], 512);
    assert!(plain.last().unwrap().iter().zip(expected.last().unwrap()).any(|(a, b)| (a - b).abs() > 1e-2));
}

#[test]
fn sessions_keep_the_rows_of_their_images() {
    let (tokens, features) = prompt();
    let embeds = place(&tokens, 0, IDS.patch, &features).unwrap();
    let config = tiny::golden();
    let (llama, mut device) = tiny::load(&config, &tiny::tensors(&config));
    // Three tokens more, one of them a patch that the model came up with: an ordinary token.
    let longer = [&tokens[..], &[7, IDS.patch, 9]].concat();
    let expected = all_logits(&llama, &mut device, &longer, &embeds, 512);
    let llama = Arc::new(llama);
    let new = || SessionState::new(llama.clone(), device.fork().unwrap(), &OPTIONS).unwrap();
    let feed = |session: &mut SessionState, tokens: &[u32], embeds: &[Embed]| {
        session.feed_with(tokens, &mut Pass { embeds, ..Pass::new(Want::Last(1)) }).unwrap();
    };
    let n = tokens.len();
    for cut in 1..n {
        // In two pieces that may cut an image, then on by single tokens.
        let mut session = new();
        let split = |from: usize, to: usize| -> Vec<Embed> {
            let parts = embeds.iter().filter_map(|e| {
                let (start, end) = ((e.at as usize).max(from), (e.end() as usize).min(to));
                let first = e.first + start.saturating_sub(e.at as usize);
                (start < end).then(|| Embed {
                    at: start as u64,
                    first,
                    n: end - start,
                    features: e.features.clone(),
                })
            });
            parts.collect()
        };
        feed(&mut session, &tokens[..cut], &split(0, cut));
        close("first piece", session.logits(None).unwrap(), &expected[cut - 1], 2e-6);
        feed(&mut session, &tokens[cut..], &split(cut, n));
        close("second piece", session.logits(None).unwrap(), &expected[n - 1], 2e-6);
        for (i, &token) in longer.iter().enumerate().skip(n) {
            close("decoded", session.decode(token).unwrap(), &expected[i], 2e-6);
        }
        // Back into the middle of an image, over chunks that are gone, and on with rows again; in a fork too.
        session.truncate(cut);
        close("truncated", session.logits(None).unwrap(), &expected[cut - 1], 2e-6);
        let mut fork = session.fork().unwrap();
        for session in [&mut session, &mut fork] {
            feed(session, &tokens[cut..], &split(cut, n));
            close("again", session.logits(None).unwrap(), &expected[n - 1], 2e-6);
        }
        // What was forgotten is not kept: other tokens at the places of patches are ordinary tokens.
        fork.truncate(2);
        let other: Vec<u32> = (0..9).collect();
        let plain = all_logits(&llama, &mut device.clone(), &[&tokens[..2], &other].concat(), &[], 512);
        close("forgotten", fork.feed(&other, None).unwrap(), plain.last().unwrap(), 2e-6);
    }
    // Rows out of place change nothing.
    let mut session = new();
    session.feed(&tokens[..2], None).unwrap();
    let bad = |e: Embed| vec![e];
    let good = embeds[0].clone();
    for embeds in [
        bad(Embed { at: 1, ..good.clone() }),
        bad(Embed { at: 6, ..good.clone() }),
        bad(Embed { at: u64::MAX, ..good.clone() }),
        bad(Embed { n: 7, ..good.clone() }),
        bad(Embed { first: usize::MAX, ..good.clone() }),
        vec![good.clone(), good.clone()],
        bad(Embed { features: Features::new(vec![0.0; 62], 31).unwrap(), ..good.clone() }),
    ] {
        let mut pass = Pass { embeds: &embeds, ..Pass::new(Want::Last(1)) };
        let error = session.feed_with(&tokens[2..7], &mut pass).unwrap_err();
        assert!(matches!(error, LlamaError::Image { .. }), "{error}");
        assert_eq!(session.tokens(), &tokens[..2]);
    }
    close("unharmed", session.logits(None).unwrap(), &expected[1], 2e-6);
}
