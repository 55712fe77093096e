//! `puna perplexity`: over a text, with the windows and the arithmetic of llama.cpp, so that figures compare.

use crate::args::PerplexityArgs;
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
    let sum = score(&model, &ids, args, quiet)?;
    let (perplexity, stderr) = sum.figures();
    let windows = ids.len() / ctx;
    if args.json {
        return output::json(&json!({
            "perplexity": perplexity, "stderr": stderr, "tokens": sum.n, "windows": windows,
        }));
    }
    output::text(&format!(
        "perplexity {perplexity:.4} +/- {stderr:.4} over {} tokens in {windows} windows\n",
        sum.n
    ))
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

/// Each window begins anew, with BOS in place of its first token where the model expects one. Of each, the second half
/// is scored: the logits at positions `ctx / 2` to `ctx - 2` against the tokens that follow them.
fn score(model: &Model, ids: &[u32], args: &PerplexityArgs, quiet: bool) -> Result<Sum> {
    let ctx = args.ctx;
    // The windows have a bar of their own; prompts need none.
    let mut session = model.session(&session_options(&args.options, Some(ctx), true))?;
    let bar = if watched(quiet) { ProgressBar::new((ids.len() / ctx) as u64) } else { ProgressBar::hidden() };
    if let Ok(style) = ProgressStyle::with_template(" windows [{bar:40}] {pos}/{len} {msg} {eta}") {
        bar.set_style(style.progress_chars("=> "));
    }
    let (cancel, first) = (Cancel::new(), ctx / 2);
    let mut sum = Sum::default();
    for window in ids.chunks_exact(ctx) {
        let mut window = window.to_vec();
        if let (Some(bos), Some(start)) = (model.bos(), window.first_mut()) {
            *start = bos;
        }
        session.truncate(0);
        session.push_tokens(window.get(..first).unwrap_or_default())?;
        session.prefill(&cancel)?;
        let scored = window.get(first..ctx - 1).unwrap_or_default();
        session.score(scored, &cancel, |place, logits| {
            if let Some(&next) = window.get(place + 1) {
                sum.add(negative_log_likelihood(logits, next));
            }
            ControlFlow::Continue(())
        })?;
        bar.inc(1);
        bar.set_message(format!("{:.4}", sum.figures().0));
    }
    bar.finish_and_clear();
    Ok(sum)
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
}
