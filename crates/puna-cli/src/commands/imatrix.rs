//! `puna imatrix`: which weights of a model matter, measured over a text.

use crate::args::ImatrixArgs;
use crate::failure::{Failure, Result};
use crate::load::{model, text_file};
use crate::output;
use crate::progress::{Bars, watched};
use puna::{Cancel, ImatrixOptions};
use serde_json::json;

pub(crate) fn run(args: &ImatrixArgs, quiet: bool) -> Result<()> {
    let cancel = Cancel::new();
    let stop = cancel.clone();
    ctrlc::set_handler(move || stop.cancel()).map_err(|e| Failure::new(format_args!("Ctrl-C: {e}")))?;
    let text = text_file(&args.file)?;
    let model = model(&args.model, &args.options, quiet)?;
    let dataset = args.file.file_name().unwrap_or_default().to_string_lossy();
    let mut options = ImatrixOptions::default().chunk_size(args.ctx).dataset(dataset).cancel(cancel);
    (options.chunks, options.head) = (args.chunks, args.process_output);
    if watched(quiet) {
        let bars = Bars::new();
        options = options.on_progress(move |p| bars.update(p));
    }
    let imatrix = model.imatrix(&text, &options)?;
    imatrix.save(&args.out)?;
    let (tensors, (chunks, size)) = (imatrix.tensors(), imatrix.chunks());
    if args.json {
        return output::json(&json!({
            "file": args.out, "tensors": tensors, "chunks": chunks, "chunk_size": size,
        }));
    }
    let out = args.out.display();
    output::text(&format!("{out}: {tensors} tensors from {chunks} chunks of {size} tokens\n"))
}
