//! [`Route`](crate::ops::Route), scalar.

use super::{MatData, matmul};
use crate::ops::Picks;
use crate::quant::QuantError;
use alloc::vec;

/// For each row the `top_k` largest logits, largest first, with their sigmoids; or one less, and `always` with 1.
pub fn route(
    x: &[f32],
    router: &MatData<'_>,
    always: Option<u32>,
    top_k: usize,
    ids: &mut [u32],
    scores: &mut [f32],
) -> Result<(), QuantError> {
    let (n_in, n_experts) = (router.mat.n_in, router.mat.n_out);
    let mut logits = vec![0.0; n_experts];
    let picks = ids.chunks_exact_mut(top_k).zip(scores.chunks_exact_mut(top_k));
    for (x, (ids, scores)) in x.chunks_exact(n_in).zip(picks) {
        matmul(x, router, None, &mut logits, false)?;
        let (ids, scores) = Picks::of_router(always, ids, scores);
        choose(&logits, ids, scores);
    }
    Ok(())
}

/// The largest of one row's logits, as many as there are `ids`, largest first, and their sigmoids.
pub fn choose(logits: &[f32], ids: &mut [u32], scores: &mut [f32]) {
    let mut taken = vec![false; logits.len()];
    for (id, score) in ids.iter_mut().zip(scores) {
        let mut best = None;
        for (e, &logit) in logits.iter().enumerate() {
            let logit = if logit.is_nan() { f32::NEG_INFINITY } else { logit };
            if !taken[e] && best.is_none_or(|(_, b)| logit > b) {
                best = Some((e, logit));
            }
        }
        if let Some((e, logit)) = best {
            taken[e] = true;
            *id = e as u32;
            *score = (1.0 / (1.0 + libm::exp(-f64::from(logit)))) as f32;
        }
    }
}
