//! `puna bench --image WxH`: how long the vision tower takes for an image of that size.

use crate::args::{BenchArgs, ModelArgs};
use crate::failure::Result;
use crate::load::{load_options, session_options};
use crate::output::{self, median, table};
use puna::{Image, Model};
use puna_llama::vision::Encode;
use serde_json::json;
use std::time::Instant;

/// Medians of seconds with one number of threads.
struct Figures {
    threads: usize,
    /// Resizing, cutting and normalising.
    prepare: f64,
    /// The tower, over all tiles.
    encode: f64,
}

pub(crate) fn run(args: &BenchArgs, (width, height): (usize, usize), threads: &[usize]) -> Result<()> {
    let options = session_options(&args.options, None, true);
    let plan = Model::plan(&args.model, &load_options(&args.options), &options)?;
    // Every pixel has its value; what they show does not matter to the time.
    let pixels: Vec<u8> = (0..width.saturating_mul(height).saturating_mul(3).min(1 << 30))
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 9) as u8)
        .collect();
    let image = Image::rgb8(width, height, &pixels)?;
    let mut layout = None;
    let mut results = Vec::new();
    for &threads in threads {
        let options = ModelArgs { threads: Some(threads), ..args.options.clone() };
        let model = Model::open(&args.model, &load_options(&options))?;
        layout = Some(model.image_layout(width, height)?);
        let (mut prepare, mut encode) = (Vec::new(), Vec::new());
        // The round before the first brings the weights into memory.
        for round in 0..=args.rounds {
            let clock = Instant::now();
            let tiles = model.image_tiles(&image)?;
            let prepare_s = clock.elapsed().as_secs_f64();
            let clock = Instant::now();
            model.encode_tiles(&tiles, &mut Encode::default())?;
            if round > 0 {
                prepare.push(prepare_s);
                encode.push(clock.elapsed().as_secs_f64());
            }
        }
        results.push(Figures { threads, prepare: median(&mut prepare), encode: median(&mut encode) });
    }
    let (tiles, tokens) = layout.map_or((1, 0), |layout| (layout.tiles(), layout.n_tokens()));
    let (per_tile, n) = (plan.multiply_adds_per_tile, tiles as f64);
    let gmacs = |f: &Figures| per_tile as f64 * n / f.encode / 1e9;
    if args.json {
        let one = |f: &Figures| {
            json!({
                "threads": f.threads,
                "prepare_s": f.prepare,
                "encode_s": f.encode,
                "image_s": f.prepare + f.encode,
                "tile_s": f.encode / n,
                "tiles_per_s": n / f.encode,
                "multiply_adds_g_per_s": gmacs(f),
            })
        };
        return output::json(&json!({
            "model": args.model.display().to_string(),
            "image": [width, height],
            "tiles": tiles,
            "tokens": tokens,
            "rounds": args.rounds,
            "multiply_adds_per_tile": per_tile,
            "results": results.iter().map(one).collect::<Vec<_>>(),
        }));
    }
    let head = ["threads", "whole image", "preparing", "a tile", "tiles", "products"];
    let mut rows = vec![head.map(String::from).to_vec()];
    rows.extend(results.iter().map(|f| {
        vec![
            f.threads.to_string(),
            format!("{:.3} s", f.prepare + f.encode),
            format!("{:.3} s", f.prepare),
            format!("{:.4} s", f.encode / n),
            format!("{:.2} /s", n / f.encode),
            format!("{:.1} G/s", gmacs(f)),
        ]
    }));
    output::text(&format!(
        "{}: {width} x {height}, {tiles} tiles, {tokens} tokens, medians of {} rounds\n\n{}",
        args.model.display(),
        args.rounds,
        table(&rows)
    ))
}
