//! From flags to a model, its sessions and the sampler's options.

use crate::args::{Activations, FileArgs, Kv, ModelArgs, SamplingArgs};
use crate::failure::{Context, Result};
use crate::progress::{Bars, watched};
use crate::shipped;
use puna::{Dry, FileAccess, KvType, LoadOptions, Model, PromptFormat, Sampling, SessionOptions};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

/// Opens a model as the flags ask, with a progress bar if somebody watches.
pub(crate) fn model(path: &Path, args: &ModelArgs, quiet: bool) -> Result<Model> {
    let mut options = load_options(args);
    if watched(quiet) {
        let bars = Bars::new();
        options = options.on_progress(move |progress| bars.update(progress));
    }
    let model = Model::open(path, &options)?;
    warn(&model);
    Ok(model)
}

/// Says so where the processor stands in for another device.
fn warn(model: &Model) {
    if let Some(why) = &model.info().fallback {
        let _ = writeln!(std::io::stderr(), "warning: running on the processor, since {why}");
    }
}

/// The model that was asked for, or the one inside the command, which then says what it is.
pub(crate) fn model_or_shipped(path: Option<&Path>, args: &ModelArgs, quiet: bool) -> Result<Model> {
    let Some(path) = path else {
        let model = shipped::open(load_options(args))?;
        warn(&model);
        if !quiet {
            let _ = writeln!(std::io::stderr(), "{}", shipped::WHAT);
        }
        return Ok(model);
    };
    model(path, args, quiet)
}

/// The façade's options for these flags.
pub(crate) fn load_options(args: &ModelArgs) -> LoadOptions {
    let mut options = file_options(&args.files).activations(match args.activations {
        Activations::Auto => puna::Activations::Auto,
        Activations::F32 => puna::Activations::F32,
    });
    options.device = args.device;
    options.placement = args.placement.map(|placement| match args.context {
        Some(tokens) => placement.context(tokens),
        None => placement,
    });
    options.cpu_fallback = Some(args.cpu_fallback);
    options.threads = args.threads;
    options = options.read_ahead(true);
    options.isa.clone_from(&args.isa);
    if args.no_mmap {
        options = options.file_access(FileAccess::Read);
    }
    options
}

/// What concerns the files only, for commands that look and do not compute.
pub(crate) fn file_options(args: &FileArgs) -> LoadOptions {
    let mut options = LoadOptions::default();
    options.mmproj.clone_from(&args.mmproj);
    args.overrides.iter().fold(options, |o, (key, value)| o.set(key, value))
}

/// Session options of these flags. `needed` is what the command itself will hold, where it knows.
pub(crate) fn session_options(args: &ModelArgs, needed: Option<usize>, quiet: bool) -> SessionOptions {
    let mut options = SessionOptions::default().kv(match args.kv {
        Kv::F16 => KvType::F16,
        Kv::F32 => KvType::F32,
    });
    options.context = args.context.or(needed);
    options.batch = args.batch;
    if watched(quiet) {
        let bars = Arc::new(Bars::new());
        options = options.on_progress(move |progress| bars.update(progress));
    }
    options
}

/// `--template`.
pub(crate) fn prompt_format(options: SessionOptions, template: bool) -> SessionOptions {
    if template { options.prompt(PromptFormat::Template) } else { options }
}

/// The sampler's options of these flags.
pub(crate) fn sampling(args: &SamplingArgs) -> Sampling {
    let mut s = Sampling::default();
    s.temperature = args.temp;
    s.top_k = args.top_k;
    s.top_p = args.top_p;
    s.min_p = args.min_p;
    s.typical_p = args.typical_p;
    s.repetition_penalty = args.repeat_penalty;
    s.frequency_penalty = args.frequency_penalty;
    s.presence_penalty = args.presence_penalty;
    s.penalty_last_n = args.repeat_last_n;
    s.dry = args.dry_multiplier.map(Dry::new);
    s.logit_bias = (!args.logit_bias.is_empty()).then(|| args.logit_bias.clone());
    s.seed = args.seed;
    s
}

/// The whole of a text file.
pub(crate) fn text_file(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).at(path.display())
}
