//! `puna vision`: how images are cut into tiles and placed in a prompt, and what the vision tower makes of them.

use crate::args::VisionArgs;
use crate::failure::{Context, Failure, Result};
use crate::image::open;
use crate::load::model;
use crate::npy::NpyWriter;
use crate::output::{self, table};
use puna::{Image, ImageLayout, Model};
use puna_llama::vision::{Canvas, Encode, Stage, Tiles};
use puna_text::special::{IMAGE, IMAGE_END, IMAGE_START, PATCH, TILE_X_SEPARATOR, TILE_Y_SEPARATOR};
use serde_json::{Value, json};
use std::path::PathBuf;

/// An image and how it is cut up.
struct Cut {
    image: Image,
    canvas: Canvas,
    layout: ImageLayout,
}

pub(crate) fn run(args: &VisionArgs, quiet: bool) -> Result<()> {
    let images = open(&args.images)?;
    let model = model(&args.model, &args.options, quiet)?;
    let missing = "the model has no vision tower (a GGUF model keeps it in a file of its own: --mmproj FILE)";
    let tower = model.info().vision.ok_or_else(|| Failure::new(missing))?;
    let cut = |image: Image| {
        let layout = model.image_layout(image.width(), image.height())?;
        let canvas = Canvas::choose(image.width(), image.height(), tower.tile, tower.max_tiles);
        Ok(Cut { image, canvas, layout })
    };
    let cuts = images.into_iter().map(cut).collect::<Result<Vec<Cut>>>()?;
    write(&model, &cuts, args)?;
    match args.json {
        true => output::json(&as_json(&model, args, &cuts)),
        false => output::text(&as_text(args, &cuts)),
    }
}

/// Writes the files that were asked for, tile by tile; without any of features the tower is not run.
fn write(model: &Model, cuts: &[Cut], args: &VisionArgs) -> Result<()> {
    let info = model.info();
    let Some(tower) = info.vision else { return Ok(()) };
    let n: u64 = cuts.iter().map(|cut| cut.layout.tiles()).sum();
    let (tile, tokens) = (tower.tile as u64, tower.tile_tokens as u64);
    let mut pixels = Output::create(args.out_pixels.as_ref(), &[n, 3, tile, tile])?;
    let mut adapted = Output::create(args.out_features.as_ref(), &[n, tokens, tower.adapter as u64])?;
    let mut projected = Output::create(args.out_projected.as_ref(), &[n, tokens, info.hidden as u64])?;
    for cut in cuts {
        let tiles = model.image_tiles(&cut.image)?;
        pixels.write(&tiles.pixels)?;
        if adapted.0.is_some() || projected.0.is_some() {
            encode(model, &tiles, &mut adapted, &mut projected)?;
        }
    }
    [pixels, adapted, projected].into_iter().try_for_each(Output::finish)
}

fn encode(model: &Model, tiles: &Tiles, adapted: &mut Output<'_>, projected: &mut Output<'_>) -> Result<()> {
    let mut failed = Ok(());
    let mut observe = |stage, rows: &[f32]| {
        if stage == Stage::Adapted && failed.is_ok() {
            failed = adapted.write(rows);
        }
        Ok(())
    };
    let mut watch = Encode { observe: Some(&mut observe), ..Encode::default() };
    let features = model.encode_tiles(tiles, &mut watch)?;
    failed?;
    projected.write(features.values())
}

/// A file that may not have been asked for.
struct Output<'a>(Option<(&'a PathBuf, NpyWriter)>);

impl<'a> Output<'a> {
    fn create(path: Option<&'a PathBuf>, shape: &[u64]) -> Result<Self> {
        let Some(path) = path else { return Ok(Output(None)) };
        Ok(Output(Some((path, NpyWriter::create(path, shape).at(path.display())?))))
    }

    fn write(&mut self, values: &[f32]) -> Result<()> {
        match &mut self.0 {
            Some((path, file)) => file.write(values).at(path.display()),
            None => Ok(()),
        }
    }

    fn finish(self) -> Result<()> {
        match self.0 {
            Some((path, file)) => file.finish().at(path.display()),
            None => Ok(()),
        }
    }
}

fn as_json(model: &Model, args: &VisionArgs, cuts: &[Cut]) -> Value {
    let one = |(path, cut): (&PathBuf, &Cut)| {
        json!({
            "path": path.display().to_string(),
            "width": cut.image.width(),
            "height": cut.image.height(),
            "canvas": [cut.canvas.rows, cut.canvas.cols],
            "rows": cut.canvas.rows,
            "cols": cut.canvas.cols,
            "resized": [cut.canvas.height, cut.canvas.width],
            "tiles": cut.layout.tiles(),
            "tokens": cut.layout.n_tokens(),
            "layout": runs(cut.layout),
        })
    };
    let tower = model.info().vision;
    let ids = model.image_tokens().map(|ids| {
        json!({
            IMAGE_START: ids.start, IMAGE_END: ids.end, IMAGE: ids.image, PATCH: ids.patch,
            TILE_X_SEPARATOR: ids.tile_x, TILE_Y_SEPARATOR: ids.tile_y,
        })
    });
    json!({
        "tile": tower.map(|t| t.tile),
        "tile_tokens": tower.map(|t| t.tile_tokens),
        "max_tiles": tower.map(|t| t.max_tiles),
        "tiles": cuts.iter().map(|cut| cut.layout.tiles()).sum::<u64>(),
        "tokens": cuts.iter().map(|cut| cut.layout.n_tokens()).sum::<u64>(),
        "token_ids": ids,
        "images": args.images.iter().zip(cuts).map(one).collect::<Vec<_>>(),
    })
}

/// The tokens of an image as runs: name and how often it comes in a row.
fn runs(layout: ImageLayout) -> Vec<(&'static str, u64)> {
    let mut runs: Vec<(&'static str, u64)> = Vec::new();
    for name in layout.tokens() {
        match runs.last_mut().filter(|(last, _)| *last == name) {
            Some((_, n)) => *n += 1,
            None => runs.push((name, 1)),
        }
    }
    runs
}

fn as_text(args: &VisionArgs, cuts: &[Cut]) -> String {
    let mut rows = vec![["image", "size", "canvas", "resized", "tiles", "tokens"].map(String::from).to_vec()];
    rows.extend(args.images.iter().zip(cuts).map(|(path, cut)| {
        vec![
            path.display().to_string(),
            format!("{} x {}", cut.image.width(), cut.image.height()),
            format!("{} rows x {} columns", cut.canvas.rows, cut.canvas.cols),
            format!("{} x {}", cut.canvas.width, cut.canvas.height),
            cut.layout.tiles().to_string(),
            cut.layout.n_tokens().to_string(),
        ]
    }));
    table(&rows)
}
