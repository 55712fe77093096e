//! `puna tokenize`: text or messages to token ids.

use crate::args::TokenizeArgs;
use crate::failure::{Context, Failure, Result};
use crate::load::text_file;
use crate::output;
use puna_llama::vision::Canvas;
use puna_text::chat::{ImageLayout, ImageSource, Llama4Prompt, Part, parse_messages_with};
use puna_text::{Special, Tokenizer};
use serde_json::json;

pub(crate) fn run(args: &TokenizeArgs) -> Result<()> {
    let tokenizer = puna::internal::tokenizer(&args.tokenizer)?;
    let print = |ids: Vec<u32>| output::json(&json!(ids));
    if let Some(path) = &args.messages {
        let file = std::fs::read(path).at(path.display())?;
        let cut = Cut::of(args)?;
        let messages =
            parse_messages_with(&file, &mut |image| cut.layout(image).map(Part::Image)).at(path.display())?;
        return print(Llama4Prompt::new().encode(&tokenizer, &messages, true)?);
    }
    if let Some(path) = &args.jsonl {
        for (i, line) in text_file(path)?.lines().enumerate() {
            let text: String =
                serde_json::from_str(line).at(format_args!("{}, line {}", path.display(), i + 1))?;
            print(encode(&tokenizer, &text, args)?)?;
        }
        return Ok(());
    }
    let text = match (&args.text, &args.file) {
        (Some(text), _) => text.clone(),
        (None, Some(path)) => text_file(path)?,
        (None, None) => return Err(Failure::usage("expected --text, --file, --jsonl or --messages")),
    };
    print(encode(&tokenizer, &text, args)?)
}

/// How images are cut into tiles.
struct Cut {
    tile: usize,
    max_tiles: usize,
    patches: u32,
}

impl Cut {
    /// As the folder or the vision tower says, or else as the released models do it.
    fn of(args: &TokenizeArgs) -> Result<Cut> {
        let found = puna::internal::vision_config(&args.tokenizer, args.mmproj.as_deref())?;
        Ok(found.map_or(Cut { tile: 336, max_tiles: 16, patches: 144 }, |config| Cut {
            tile: config.image_size,
            max_tiles: config.max_tiles,
            patches: config.tile_features() as u32,
        }))
    }

    fn layout(&self, image: ImageSource<'_>) -> std::result::Result<ImageLayout, String> {
        let (width, height) = match image {
            ImageSource::Path(path) => {
                let image = puna::Image::open(path).map_err(|e| e.to_string())?;
                (image.width(), image.height())
            }
            ImageSource::Size(width, height) => (width, height),
        };
        let canvas = Canvas::choose(width, height, self.tile, self.max_tiles);
        Ok(ImageLayout { rows: canvas.rows as u32, cols: canvas.cols as u32, patches: self.patches })
    }
}

fn encode(tokenizer: &Tokenizer, text: &str, args: &TokenizeArgs) -> Result<Vec<u32>> {
    let mut ids = Vec::new();
    if args.bos {
        let missing = "--bos: the tokenizer has no token that begins a text";
        ids.push(tokenizer.bos().ok_or_else(|| Failure::new(missing))?);
    }
    let special = if args.special { Special::Recognize } else { Special::AsText };
    tokenizer.encode_into(text, special, &mut ids)?;
    Ok(ids)
}
