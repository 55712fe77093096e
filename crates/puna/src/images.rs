//! The images of a session: where their rows go, and their features, computed once.

use crate::error::{Error, Lift};
use alloc::vec::Vec;
use puna_core::{Cancel, Device};
use puna_llama::Vision;
use puna_llama::vision::{Embed, Encode, Features, Image, Tiles, spans};

/// What gives the rows of an image.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    /// Pixels that the tower has yet to see.
    Image(Image),
    /// Rows made before.
    Features(Features),
}

/// Consecutive rows of one image and the places of the tokens they stand for.
#[derive(Clone, Debug)]
struct Span {
    at: usize,
    first: usize,
    n: usize,
    source: Source,
}

/// Cloned with its session; pixels and features are shared.
#[derive(Clone, Debug, Default)]
pub(crate) struct Images {
    spans: Vec<Span>,
    known: Vec<(Image, Features)>,
}

impl Images {
    /// Remembers where the rows of images go among tokens that will stand from place `at` on.
    pub(crate) fn place(
        &mut self,
        ids: &[u32],
        at: usize,
        patch: u32,
        images: &[(Source, usize)],
    ) -> Result<(), Error> {
        let rows: Vec<usize> = images.iter().map(|(_, rows)| *rows).collect();
        for span in spans(ids, at as u64, patch, &rows).lift()? {
            if let Some((source, _)) = images.get(span.image) {
                let (at, first, n) = (span.at as usize, span.first, span.n);
                self.spans.push(Span { at, first, n, source: source.clone() });
            }
        }
        Ok(())
    }

    /// Forgets the places from `n` on.
    pub(crate) fn cut(&mut self, n: usize) {
        self.spans.retain_mut(|span| {
            span.n = span.n.min(n.saturating_sub(span.at));
            span.n > 0
        });
    }

    /// The rows for the places `from .. to`. Images that are not known yet go through the tower now.
    pub(crate) fn embeds(
        &mut self,
        from: usize,
        to: usize,
        vision: Option<&Vision>,
        device: &dyn Device,
        cancel: &Cancel,
    ) -> Result<Vec<Embed>, Error> {
        let mut embeds = Vec::new();
        for i in 0..self.spans.len() {
            let Some(span) = self.spans.get(i).cloned() else { break };
            let (start, end) = (span.at.max(from), (span.at + span.n).min(to));
            if start >= end {
                continue;
            }
            let features = match &span.source {
                Source::Features(features) => features.clone(),
                Source::Image(image) => self.features(image, vision, device, cancel)?,
            };
            let first = span.first + (start - span.at);
            embeds.push(Embed { at: start as u64, first, n: end - start, features });
        }
        Ok(embeds)
    }

    /// The features of an image: those of the same pixels if they were computed before.
    fn features(
        &mut self,
        image: &Image,
        vision: Option<&Vision>,
        device: &dyn Device,
        cancel: &Cancel,
    ) -> Result<Features, Error> {
        if let Some((_, features)) = self.known.iter().find(|(known, _)| known == image) {
            return Ok(features.clone());
        }
        let vision = vision.ok_or_else(no_tower)?;
        let tiles = Tiles::new(image, &vision.config).lift()?;
        let mut device = device.fork().lift()?;
        let mut watch = Encode { cancel: Some(cancel), ..Encode::default() };
        let features = vision.encode(&mut *device, &tiles, &mut watch).lift()?;
        self.known.push((image.clone(), features.clone()));
        Ok(features)
    }
}

/// The features of tiles that are already normalised.
pub(crate) fn encode(
    vision: &Vision,
    device: &dyn Device,
    pixels: &[f32],
    cancel: &Cancel,
) -> Result<Features, Error> {
    let tiles = Tiles::from_pixels(pixels, &vision.config).lift()?;
    let mut device = device.fork().lift()?;
    vision.encode(&mut *device, &tiles, &mut Encode { cancel: Some(cancel), ..Encode::default() }).lift()
}

/// The model cannot see.
pub(crate) fn no_tower() -> Error {
    Error::unsupported(
        "images: the model has no vision tower (a GGUF model keeps it in a file of its own, its mmproj)",
    )
}
