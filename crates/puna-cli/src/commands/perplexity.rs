//! `puna perplexity`: over a text, with the windows and the arithmetic of llama.cpp, so that figures compare.

use crate::args::{Activations, ModelArgs, PerplexityArgs};
use crate::failure::{Failure, Result};
use crate::load::{model, session_options, text_file};
use crate::output;
use crate::progress::watched;
use indicatif::{ProgressBar, ProgressStyle};
use puna::{Cancel, Model};
use serde_json::json;
use std::ops::ControlFlow;

pub(crate) fn run(args: &PerplexityArgs, quiet: bool) -> Result<()> {
    let ctx = args.ctx;
    if ctx < 4 {
        return Err(Failure::usage(format_args!("--ctx: expected 4 or more, found {ctx}")));
    }
    let text = text_file(&args.file)?;
    let model = model(&args.model, &args.options, quiet)?;
    let mut ids: Vec<u32> = model.bos().into_iter().collect();
    ids.extend(model.encode(&text)?);
    if ids.len() < 2 * ctx {
        let found = ids.len();
        return Err(Failure::new(format_args!(
            "{}: expected at least two windows of {ctx} tokens, found {found} tokens",
            args.file.display()
        )));
    }
    // What others are held against rounds nothing.
    let exact = ModelArgs { activations: Activations::F32, ..args.options.clone() };
    let against = args.against.as_ref().map(|path| crate::load::model(path, &exact, quiet)).transpose()?;
    if let Some(other) = against.as_ref().filter(|other| other.info().vocab != model.info().vocab) {
        return Err(Failure::new(format_args!(
            "--against: expected a model of {} tokens, found {}",
            model.info().vocab,
            other.info().vocab
        )));
    }
    let (sum, divergence) = score(&model, against.as_ref(), &ids, args, quiet)?;
    let (perplexity, stderr) = sum.figures();
    let windows = ids.len() / ctx;
    if args.json {
        let mut object = json!({
            "perplexity": perplexity, "stderr": stderr, "tokens": sum.n, "windows": windows,
        });
        if let (Some(d), Some(object)) = (divergence, object.as_object_mut()) {
            object.insert("against".into(), d.json());
        }
        return output::json(&object);
    }
    let divergence = divergence.map(|d| d.text()).unwrap_or_default();
    output::text(&format!(
        "perplexity {perplexity:.4} +/- {stderr:.4} over {} tokens in {windows} windows\n{divergence}",
        sum.n
    ))
}

/// How far a model's distributions are from those of another.
#[derive(Default)]
struct Divergence {
    /// Of the other model.
    sum: Sum,
    /// Sum and largest of the Kullback-Leibler divergences from the other model's distribution, in nats.
    kl: f64,
    most: f64,
    /// Positions with the same most likely token.
    same: u64,
}

impl Divergence {
    /// Adds one position: the logits of both, and the token that follows.
    fn add(&mut self, logits: &[f32], other: &[f32], next: u32) {
        let (norm, other_norm) = (log_sum(logits), log_sum(other));
        let terms = logits.iter().zip(other).map(|(l, o)| {
            let log_p = f64::from(*o) - other_norm;
            // What never happens costs nothing, whatever the other says of it.
            if log_p.exp() > 0.0 { log_p.exp() * (log_p - (f64::from(*l) - norm)) } else { 0.0 }
        });
        // Rounding may leave a little less than 0.
        let kl = terms.sum::<f64>().max(0.0);
        self.kl += kl;
        self.most = self.most.max(kl);
        self.same += u64::from(top(logits) == top(other));
        self.sum.add(negative_log_likelihood(other, next));
    }

    fn figures(&self) -> (f64, f64, f64) {
        let n = self.sum.n.max(1) as f64;
        (self.sum.figures().0, self.kl / n, self.same as f64 / n)
    }

    fn json(&self) -> serde_json::Value {
        let (perplexity, mean, same) = self.figures();
        json!({ "perplexity": perplexity, "kl_mean": mean, "kl_max": self.most, "same_top": same })
    }

    fn text(&self) -> String {
        let (perplexity, mean, same) = self.figures();
        format!(
            "against {perplexity:.4}: divergence {mean:.3e} on average, {:.3e} at most; the same most likely token at \
             {:.2} % of positions\n",
            self.most,
            100.0 * same
        )
    }
}

/// ln Σ eˡ
fn log_sum(logits: &[f32]) -> f64 {
    let max = f64::from(logits.iter().copied().fold(f32::MIN, f32::max));
    max + logits.iter().map(|&l| (f64::from(l) - max).exp()).sum::<f64>().ln()
}

/// The position of the largest, the first of equals.
fn top(logits: &[f32]) -> usize {
    let larger = |best: (usize, f32), (i, &l): (usize, &f32)| if l > best.1 { (i, l) } else { best };
    logits.iter().enumerate().fold((0, f32::MIN), larger).0
}

/// Negative log-likelihoods, summed.
#[derive(Default)]
struct Sum {
    n: u64,
    nll: f64,
    nll2: f64,
}

impl Sum {
    fn add(&mut self, nll: f64) {
        self.n += 1;
        self.nll += nll;
        self.nll2 += nll * nll;
    }

    /// The perplexity and its standard error.
    fn figures(&self) -> (f64, f64) {
        let n = self.n as f64;
        let mean = self.nll / n;
        let variance = self.nll2 / n - mean * mean;
        let error = if variance > 0.0 && self.n > 1 { (variance / (n - 1.0)).sqrt() } else { 0.0 };
        (mean.exp(), error * mean.exp())
    }
}

/// Positions whose logits are kept at once, to be compared.
const PIECE: usize = 16;

/// Each window begins anew, with BOS in place of its first token where the model expects one. Of each, the second half
/// is scored: the logits at positions `ctx / 2` to `ctx - 2` against the tokens that follow them.
fn score(
    model: &Model,
    against: Option<&Model>,
    ids: &[u32],
    args: &PerplexityArgs,
    quiet: bool,
) -> Result<(Sum, Option<Divergence>)> {
    let ctx = args.ctx;
    // The windows have a bar of their own; prompts need none.
    let options = session_options(&args.options, Some(ctx), true);
    let mut session = model.session(&options)?;
    let mut other = against.map(|model| model.session(&options)).transpose()?;
    let mut divergence = against.map(|_| Divergence::default());
    let bar = if watched(quiet) { ProgressBar::new((ids.len() / ctx) as u64) } else { ProgressBar::hidden() };
    if let Ok(style) = ProgressStyle::with_template(" windows [{bar:40}] {pos}/{len} {msg} {eta}") {
        bar.set_style(style.progress_chars("=> "));
    }
    let (cancel, first) = (Cancel::new(), ctx / 2);
    let mut sum = Sum::default();
    let mut kept: Vec<Vec<f32>> = Vec::new();
    for window in ids.chunks_exact(ctx) {
        let mut window = window.to_vec();
        if let (Some(bos), Some(start)) = (model.bos(), window.first_mut()) {
            *start = bos;
        }
        for session in [Some(&mut session), other.as_mut()].into_iter().flatten() {
            session.truncate(0);
            session.push_tokens(window.get(..first).unwrap_or_default())?;
            session.prefill(&cancel)?;
        }
        let scored = window.get(first..ctx - 1).unwrap_or_default();
        for piece in scored.chunks(if other.is_some() { PIECE } else { ctx }) {
            kept.clear();
            if let Some(other) = &mut other {
                other.score(piece, &cancel, |_, logits| {
                    kept.push(logits.to_vec());
                    ControlFlow::Continue(())
                })?;
            }
            let mut others = kept.iter();
            session.score(piece, &cancel, |place, logits| {
                if let Some(&next) = window.get(place + 1) {
                    sum.add(negative_log_likelihood(logits, next));
                    if let (Some(divergence), Some(other)) = (&mut divergence, others.next()) {
                        divergence.add(logits, other, next);
                    }
                }
                ControlFlow::Continue(())
            })?;
        }
        bar.inc(1);
        bar.set_message(format!("{:.4}", sum.figures().0));
    }
    bar.finish_and_clear();
    Ok((sum, divergence))
}

/// How unlikely a token is, in nats.
pub(super) fn negative_log_likelihood(logits: &[f32], id: u32) -> f64 {
    let max = logits.iter().copied().fold(f32::MIN, f32::max);
    let total: f64 = logits.iter().map(|&l| f64::from((l - max).exp())).sum();
    let logit = logits.get(id as usize).copied().unwrap_or(f32::NEG_INFINITY);
    total.ln() - f64::from(logit - max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn even_odds_have_a_perplexity_of_their_number_and_no_error() {
        let mut sum = Sum::default();
        for id in 0..4 {
            sum.add(negative_log_likelihood(&[1.5; 4], id));
        }
        let (perplexity, stderr) = sum.figures();
        assert!((perplexity - 4.0).abs() < 1e-6 && stderr < 1e-6, "{perplexity} {stderr}");
    }

    #[test]
    fn a_shift_of_all_logits_is_no_divergence_and_another_distribution_is() {
        let mut divergence = Divergence::default();
        divergence.add(&[1.0, 2.0, 3.0], &[-4.0, -3.0, -2.0], 1);
        assert!(divergence.most < 1e-12 && divergence.same == 1);
        // Even odds held against 3 : 1.
        divergence.add(&[0.0, 0.0], &[3f32.ln(), 0.0], 0);
        let expected = 0.75 * (0.75f64 / 0.5).ln() + 0.25 * (0.25f64 / 0.5).ln();
        assert!((divergence.most - expected).abs() < 1e-7, "{} {expected}", divergence.most);
        assert!((divergence.kl - expected).abs() < 1e-7 && divergence.same == 2);
        divergence.add(&[0.0, 1.0], &[1.0, 0.0], 0);
        assert_eq!((divergence.same, divergence.sum.n), (2, 3));
    }
}
