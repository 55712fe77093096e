//! `puna logits`: the logits of every position, and the residual stream after every layer, as NumPy files.

use crate::args::{LogitsArgs, token_ids};
use crate::failure::{Context, Failure, Result};
use crate::image::open;
use crate::load::{model, session_options};
use crate::npy::{NpyWriter, read};
use puna::{Cancel, Model, Session};
use std::io;
use std::ops::ControlFlow;
use std::path::Path;

pub(crate) fn run(args: &LogitsArgs, quiet: bool) -> Result<()> {
    let model = model(&args.model, &args.options, quiet)?;
    let info = model.info();
    let (mut session, ids) = prompt(&model, args, quiet)?;
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

/// A session and the tokens to run through it. It knows already which of them take rows of images.
fn prompt(model: &Model, args: &LogitsArgs, quiet: bool) -> Result<(Session, Vec<u32>)> {
    let session = |needed| model.session(&session_options(&args.options, Some(needed), quiet));
    if let Some(text) = &args.prompt {
        let images = open(&args.images)?;
        if images.is_empty() {
            let ids: Vec<u32> = model.bos().into_iter().chain(model.encode(text)?).collect();
            return Ok((session(ids.len())?, ids));
        }
        let mut needed = model.encode(text)?.len() + 1;
        for image in &images {
            needed += model.image_layout(image.width(), image.height())?.n_tokens() as usize;
        }
        let mut session = session(needed)?;
        let ids = session.place_prompt(text, &images)?;
        return Ok((session, ids));
    }
    let ids = token_ids(args.tokens.as_deref(), args.tokens_file.as_deref())?;
    if ids.is_empty() {
        return Err(Failure::new("tokens: expected at least one id, found none"));
    }
    let mut session = session(ids.len())?;
    if let Some(path) = &args.pixels {
        let tile = model.info().vision.map(|vision| vision.tile as u64);
        let pixels = read(path, |shape| match (shape, tile) {
            ([_, 3, h, w], Some(tile)) => *h == tile && *w == tile,
            // Without a tower the session's own refusal says more.
            (_, tile) => tile.is_none(),
        });
        let pixels = pixels.at(path.display())?;
        session.place_pixels(&ids, &pixels, &Cancel::new())?;
    }
    Ok((session, ids))
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
