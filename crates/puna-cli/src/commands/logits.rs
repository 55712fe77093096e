//! `puna logits`: the logits of every position, and the residual stream after every layer, as NumPy files.

use crate::args::{LogitsArgs, token_ids};
use crate::failure::{Context, Failure, Result};
use crate::load::{model, session_options};
use crate::npy::NpyWriter;
use puna::Cancel;
use std::io;
use std::ops::ControlFlow;
use std::path::Path;

pub(crate) fn run(args: &LogitsArgs, quiet: bool) -> Result<()> {
    let ids = token_ids(args.tokens.as_deref(), args.tokens_file.as_deref())?;
    if ids.is_empty() {
        return Err(Failure::new("tokens: expected at least one id, found none"));
    }
    let model = model(&args.model, &args.options, quiet)?;
    let info = model.info();
    let mut session = model.session(&session_options(&args.options, Some(ids.len()), quiet))?;
    let n = args.last.unwrap_or(ids.len()).min(ids.len());
    let (before, scored) = ids.split_at(ids.len() - n);
    let out = args.out.display();
    let mut npy = NpyWriter::create(&args.out, &[n as u64, info.vocab as u64]).at(&out)?;
    let mut layers = match &args.hidden {
        Some(dir) => Some(layer_files(dir, info.layers, [ids.len() as u64, info.hidden as u64])?),
        None => None,
    };

    // What a callback met ends the pass, and is told afterwards.
    let (mut logits_error, mut hidden_error) = (None, None);
    let mut see_hidden = |layer: usize, _place: usize, rows: &[f32]| {
        let file = layers.as_mut().and_then(|files| files.get_mut(layer));
        keep(file.map_or(Ok(()), |file| file.write(rows)), &mut hidden_error)
    };
    let mut see_logits = |_place: usize, row: &[f32]| keep(npy.write(row), &mut logits_error);
    let cancel = Cancel::new();
    for (ids, logits) in [(before, None), (scored, Some(&mut see_logits))] {
        let hidden = args.hidden.as_ref().map(|_| &mut see_hidden as &mut dyn FnMut(_, _, &[f32]) -> _);
        session.observe(ids, &cancel, logits.map(|see| see as &mut dyn FnMut(_, &[f32]) -> _), hidden)?;
    }
    if let Some(e) = logits_error {
        return Err(e).at(&out);
    }
    if let (Some(e), Some(dir)) = (hidden_error, &args.hidden) {
        return Err(e).at(dir.display());
    }
    npy.finish().at(&out)?;
    layers.into_iter().flatten().try_for_each(NpyWriter::finish).at("--hidden")
}

fn layer_files(dir: &Path, n: usize, shape: [u64; 2]) -> Result<Vec<NpyWriter>> {
    std::fs::create_dir_all(dir).at(dir.display())?;
    let file = |i| {
        let path = dir.join(format!("layer_{i:02}.npy"));
        NpyWriter::create(&path, &shape).at(path.display())
    };
    (0..n).map(file).collect()
}

fn keep(result: io::Result<()>, error: &mut Option<io::Error>) -> ControlFlow<()> {
    match result {
        Ok(()) => ControlFlow::Continue(()),
        Err(e) => {
            *error = Some(e);
            ControlFlow::Break(())
        }
    }
}
