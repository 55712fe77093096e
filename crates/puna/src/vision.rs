//! How images come into prompts: from pixels to the tokens that stand for them and the rows that take their places.

use crate::error::{Error, Lift};
use crate::images::{self, Source};
use crate::{Image, Model, Session};
use alloc::vec::Vec;
use puna_core::Cancel;
use puna_llama::vision::Canvas;
#[cfg(feature = "tokenizer")]
use puna_llama::vision::ImageIds;
use puna_llama::vision::{Encode, Features, Image as Pixels, Tiles};

/// Images in prompt order, each with the number of its rows.
type Sources = Vec<(Source, usize)>;

#[cfg(feature = "tokenizer")]
impl Model {
    /// The ids of an image's tokens, where the vocabulary has them all.
    #[doc(hidden)]
    pub fn image_tokens(&self) -> Option<ImageIds> {
        self.image_ids().ok()
    }

    fn image_ids(&self) -> Result<ImageIds, Error> {
        let tokenizer = self.tokenizer()?;
        let missing = || Error::unsupported("images: the vocabulary lacks their special tokens");
        ImageIds::find(|name| tokenizer.special_id(name)).ok_or_else(missing)
    }

    /// Messages with their pictures replaced by layouts, and the pictures with the rows they will have.
    pub(crate) fn see(&self, messages: &[crate::Message]) -> Result<(Vec<crate::Message>, Sources), Error> {
        let (mut messages, mut sources) = (messages.to_vec(), Vec::new());
        for part in messages.iter_mut().flat_map(|message| &mut message.content) {
            if let crate::Part::Picture(image) = part {
                let layout = self.image_layout(image.width(), image.height())?;
                sources.push(source(image, layout));
                *part = crate::Part::Image(layout);
            }
        }
        Ok((messages, sources))
    }

    /// The tokens of a text whose `<|image|>` placeholders stand for images.
    pub(crate) fn prompt_with(
        &self,
        text: &str,
        pictures: &[Image],
        first: bool,
    ) -> Result<(Vec<u32>, Sources), Error> {
        if self.0.vision.is_none() && !pictures.is_empty() {
            return Err(images::no_tower());
        }
        let (tokenizer, token_ids) = (self.tokenizer()?, self.image_ids()?);
        let mut ids: Vec<u32> = self.bos().filter(|_| first).into_iter().collect();
        for (i, piece) in text.split(puna_text::special::IMAGE).enumerate() {
            if i > 0 {
                ids.push(token_ids.image);
            }
            tokenizer.encode_into(piece, puna_text::Special::AsText, &mut ids).lift()?;
        }
        let (mut layouts, mut sources) = (Vec::new(), Vec::new());
        for image in pictures {
            let layout = self.image_layout(image.width(), image.height())?;
            sources.push(source(&image.0, layout));
            layouts.push(layout);
        }
        Ok((puna_llama::vision::expand(&ids, &token_ids, &layouts).lift()?, sources))
    }
}

impl Model {
    /// How an image of this size is cut into tiles, and so how many tokens it takes.
    ///
    /// # Errors
    /// A model without a vision tower; a side of 0.
    pub fn image_layout(&self, width: usize, height: usize) -> Result<puna_text::chat::ImageLayout, Error> {
        let config = &self.0.vision.as_ref().ok_or_else(images::no_tower)?.config;
        if width == 0 || height == 0 {
            return Err(Error::input(format_args!("image: expected a size, found {width} x {height}")));
        }
        Ok(layout(config, width, height))
    }

    /// An image as the vision tower takes it.
    ///
    /// # Errors
    /// A model without a tower; refused memory.
    #[doc(hidden)]
    pub fn image_tiles(&self, image: &Image) -> Result<Tiles, Error> {
        let vision = self.0.vision.as_ref().ok_or_else(images::no_tower)?;
        Tiles::new(&image.0, &vision.config).lift()
    }

    /// Runs the vision tower.
    ///
    /// # Errors
    /// A model without a tower; cancelled, refused memory, a device that failed; weights that give no finite features.
    #[doc(hidden)]
    pub fn encode_tiles(&self, tiles: &Tiles, watch: &mut Encode<'_>) -> Result<Features, Error> {
        let vision = self.0.vision.as_ref().ok_or_else(images::no_tower)?;
        let mut device = self.0.device.fork().lift()?;
        vision.encode(&mut *device, tiles, watch).lift()
    }

    /// The token whose embedding gives way to rows of images.
    fn patch_token(&self) -> Result<u32, Error> {
        #[cfg(feature = "tokenizer")]
        if let Ok(ids) = self.image_ids() {
            return Ok(ids.patch);
        }
        let said = self.0.vision.as_ref().and_then(|vision| vision.config.patch_token);
        // Without a tokenizer and a configuration that says it, only the released vocabulary tells.
        let llama4 = || self.0.info.vocab == puna_text::special::LLAMA4_VOCAB as usize;
        let said = said.or_else(|| llama4().then_some(puna_text::special::LLAMA4_PATCH));
        said.ok_or_else(|| Error::unsupported("images: the id of <|patch|> is not known"))
    }
}

impl Session {
    /// How many images this session and those it was forked from ran through the vision tower: an image that came again
    /// was not.
    #[doc(hidden)]
    pub fn images_encoded(&self) -> u64 {
        self.images.encoded
    }

    /// Checks tokens that come next, and remembers which of them stand for images.
    pub(crate) fn place(&mut self, ids: &[u32], images: &[(Source, usize)]) -> Result<(), Error> {
        self.check_tokens(ids, self.tokens.len())?;
        if images.is_empty() {
            return Ok(());
        }
        let patch = self.model.patch_token()?;
        self.images.place(ids, self.tokens.len(), patch, images)
    }

    /// Adds tokens as they are, the `<|patch|>` tokens among which stand for `images` in order: each takes as many as its
    /// [layout](Model::image_layout) says.
    ///
    /// # Errors
    /// [`ErrorKind::BadInput`](crate::ErrorKind::BadInput) for another number of `<|patch|>` tokens; a model without a
    /// vision tower; and as [`push_tokens`](Self::push_tokens). Nothing is added then.
    pub fn push_tokens_with(&mut self, ids: &[u32], images: &[Image]) -> Result<(), Error> {
        let mut sources = Sources::new();
        for image in images {
            sources.push(source(&image.0, self.model.image_layout(image.width(), image.height())?));
        }
        self.check_tokens(ids, self.tokens.len())?;
        self.reserve_more(ids.len())?;
        self.place(ids, &sources)?;
        self.append(ids)
    }

    /// Adds a text in which each `<|image|>` stands for the next of `images`. Other special tokens that are spelled out
    /// in it are read as text; BOS comes first where [`push_text`](Self::push_text) would put it.
    ///
    /// # Errors
    /// [`ErrorKind::BadInput`](crate::ErrorKind::BadInput) when there are not as many placeholders as images; a model
    /// without a vision tower; and as [`push_text`](Self::push_text). Nothing is added then.
    #[cfg(feature = "tokenizer")]
    pub fn push_text_with(&mut self, text: &str, images: &[Image]) -> Result<(), Error> {
        let ids = self.place_prompt(text, images)?;
        self.append(&ids)
    }

    /// The tokens of [`push_text_with`](Self::push_text_with), which must come next: where their images go is known.
    #[cfg(feature = "tokenizer")]
    #[doc(hidden)]
    pub fn place_prompt(&mut self, text: &str, images: &[Image]) -> Result<Vec<u32>, Error> {
        let (ids, sources) = self.model.prompt_with(text, images, self.tokens.is_empty())?;
        self.reserve_more(ids.len())?;
        self.place(&ids, &sources)?;
        Ok(ids)
    }

    /// Says that the `<|patch|>` tokens among `ids`, which must come next, stand for these tiles: `[n, 3, size, size]`,
    /// already normalised. They go through the vision tower now.
    ///
    /// # Errors
    /// A model without a tower; pixels that are no whole tiles; another number of patches than the tiles have rows.
    #[doc(hidden)]
    pub fn place_pixels(&mut self, ids: &[u32], pixels: &[f32], cancel: &Cancel) -> Result<(), Error> {
        let tiles = self.model.0.vision.as_ref().ok_or_else(images::no_tower)?;
        let tiles = Tiles::from_pixels(pixels, &tiles.config).lift()?;
        let patch = self.model.patch_token()?;
        let mut watch = Encode { cancel: Some(cancel), ..Encode::default() };
        let features = self.model.encode_tiles(&tiles, &mut watch)?;
        let rows = features.n_rows();
        self.images.place(ids, self.tokens.len(), patch, &[(Source::Features(features), rows)])
    }
}

/// An image and the rows it will have.
fn source(image: &Pixels, layout: puna_text::chat::ImageLayout) -> (Source, usize) {
    (Source::Image(image.clone()), layout.tiles() as usize * layout.patches as usize)
}

/// The layout of an image on its canvas.
fn layout(config: &puna_llama::VisionConfig, width: usize, height: usize) -> puna_text::chat::ImageLayout {
    let canvas = Canvas::choose(width, height, config.image_size, config.max_tiles);
    // At most 64 tiles of 65,536 rows.
    puna_text::chat::ImageLayout {
        rows: canvas.rows as u32,
        cols: canvas.cols as u32,
        patches: config.tile_features() as u32,
    }
}
