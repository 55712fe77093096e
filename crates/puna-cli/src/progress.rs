//! Progress bars on stderr, for people who watch.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use puna::{Phase, Progress};
use std::io::{IsTerminal, stderr};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Bars appear only after this time: nobody needs one for work that is done at once.
const PATIENCE: Duration = Duration::from_millis(400);

/// Shows phases of work as bars, one after the other. Shows nothing when stderr is no terminal.
pub(crate) struct Bars(Mutex<Option<Shown>>);

struct Shown {
    phase: Phase,
    since: Instant,
    bar: Option<ProgressBar>,
}

/// Whether somebody watches stderr.
pub(crate) fn watched(quiet: bool) -> bool {
    !quiet && stderr().is_terminal()
}

impl Bars {
    pub(crate) fn new() -> Self {
        Bars(Mutex::new(None))
    }

    /// Takes the news of a [`puna`] call.
    pub(crate) fn update(&self, progress: Progress) {
        // A poisoned lock means that a panic is under way; a bar more or less does not matter then.
        let Ok(mut shown) = self.0.lock() else { return };
        if shown.as_ref().is_none_or(|s| s.phase != progress.phase) {
            clear(shown.take());
            *shown = Some(Shown { phase: progress.phase, since: Instant::now(), bar: None });
        }
        let Some(current) = shown.as_mut() else { return };
        if progress.done >= progress.total {
            clear(shown.take());
            return;
        }
        if current.bar.is_none() && current.since.elapsed() > PATIENCE {
            current.bar = Some(bar(progress));
        }
        if let Some(bar) = &current.bar {
            bar.set_position(progress.done);
        }
    }
}

fn clear(shown: Option<Shown>) {
    if let Some(bar) = shown.and_then(|s| s.bar) {
        bar.finish_and_clear();
    }
}

fn bar(progress: Progress) -> ProgressBar {
    let (name, unit) = match progress.phase {
        Phase::Read => ("reading", "{bytes}/{total_bytes} {bytes_per_sec}"),
        Phase::Weights => ("loading", "{bytes}/{total_bytes} {bytes_per_sec}"),
        Phase::Kernels => ("compiling", "{pos}/{len} kernels"),
        Phase::Write => ("writing", "{bytes}/{total_bytes} {bytes_per_sec}"),
        Phase::Image => ("image", "{pos}/{len} tiles"),
        Phase::Prefill => ("prompt", "{pos}/{len} tokens {per_sec}"),
        _ => ("working", "{pos}/{len}"),
    };
    let bar = ProgressBar::with_draw_target(Some(progress.total), ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template(&format!("{name:>9} [{{bar:40}}] {unit} {{eta}}"));
    if let Ok(style) = style {
        bar.set_style(style.progress_chars("=> "));
    }
    bar
}
