//! `puna quantize`: a model written as GGUF in another mix of formats.

use crate::args::QuantizeArgs;
use crate::failure::{Failure, Result};
use crate::output::{self, size, table};
use crate::progress::{Bars, watched};
use puna::{Cancel, Imatrix, LoadOptions, QuantizeOptions};
use serde_json::json;

pub(crate) fn run(args: &QuantizeArgs, quiet: bool) -> Result<()> {
    let cancel = Cancel::new();
    let stop = cancel.clone();
    ctrlc::set_handler(move || stop.cancel()).map_err(|e| Failure::new(format_args!("Ctrl-C: {e}")))?;
    let load = LoadOptions::default().cancel(cancel);
    let mut load = args.overrides.iter().fold(load, |o, (key, value)| o.set(key, value));
    load.threads = args.threads;
    load.mmproj.clone_from(&args.mmproj);
    let mut options = QuantizeOptions::new(&args.mix)?.load(load);
    options.split_bytes = args.split;
    options.imatrix = args.imatrix.as_ref().map(Imatrix::open).transpose()?;
    options.name.clone_from(&args.name);
    options.mmproj.clone_from(&args.mmproj_out);
    if let Some(name) = &args.mmproj_type {
        options = options.mmproj_type(name)?;
    }
    if watched(quiet) {
        let bars = Bars::new();
        options = options.on_progress(move |p| bars.update(p));
    }
    let done = puna::quantize(&args.input, &args.output, &options)?;
    if args.json {
        let formats = done
            .formats
            .iter()
            .map(|f| json!({ "format": f.format, "tensors": f.tensors, "bytes": f.bytes }));
        return output::json(&json!({
            "files": done.files,
            "mmproj": done.mmproj,
            "bytes": done.bytes,
            "bits_per_weight": done.bits,
            "formats": formats.collect::<Vec<_>>(),
        }));
    }
    let rows: Vec<Vec<String>> = done
        .formats
        .iter()
        .map(|f| vec![f.format.clone(), format!("{} tensors", f.tensors), size(f.bytes)])
        .collect();
    let files =
        done.files.iter().chain(&done.mmproj).map(|file| format!("{}\n", file.display())).collect::<String>();
    let sum = format!("  {}, {:.2} bits a weight\n", size(done.bytes), done.bits);
    output::text(&(files + &table(&rows) + &sum))
}
