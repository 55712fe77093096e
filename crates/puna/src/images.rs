//! The images of a session: where their rows go, and their features, computed once.

use crate::error::{Error, Lift};
use crate::options::ProgressFn;
use crate::{Phase, Progress};
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

/// What looks at images, and who listens and can stop it.
#[derive(Clone, Copy)]
pub(crate) struct Eyes<'a> {
    pub(crate) vision: Option<&'a Vision>,
    pub(crate) device: &'a dyn Device,
    pub(crate) cancel: &'a Cancel,
    pub(crate) progress: Option<&'a ProgressFn>,
}

/// Bytes of pixels and features that a session keeps so that an image that comes again need not be encoded again.
/// A released model's largest image takes 50 MB of them.
const KNOWN_BYTES: usize = 256 << 20;

/// Cloned with its session; pixels and features are shared.
#[derive(Clone, Debug, Default)]
pub(crate) struct Images {
    /// Rows of tokens that wait, in order. The session's state keeps those of tokens that went through the model.
    spans: Vec<Span>,
    /// Images encoded before, the one used last at the end.
    known: Vec<(Image, Features)>,
    /// How often the tower was run.
    pub(crate) encoded: u64,
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

    /// Forgets rows of places before `n`: their tokens have gone through the model.
    pub(crate) fn fed(&mut self, n: usize) {
        if self.spans.first().is_some_and(|span| span.at < n) {
            self.spans.retain(|span| span.at + span.n > n);
        }
    }

    /// The rows for the places `from .. to`. Images that are not known yet go through the tower now.
    pub(crate) fn embeds(&mut self, from: usize, to: usize, eyes: Eyes<'_>) -> Result<Vec<Embed>, Error> {
        let mut embeds = Vec::new();
        for i in 0..self.spans.len() {
            let Some(span) = self.spans.get(i).filter(|span| span.at < to) else { break };
            let (start, end) = (span.at.max(from), (span.at + span.n).min(to));
            if start >= end {
                continue;
            }
            let span = span.clone();
            let features = match &span.source {
                Source::Features(features) => features.clone(),
                Source::Image(image) => self.features(image, eyes)?,
            };
            // Its other rows will be asked for too, and by then it may no longer be among the known.
            if let Some(span) = self.spans.get_mut(i) {
                span.source = Source::Features(features.clone());
            }
            let first = span.first + (start - span.at);
            embeds.push(Embed { at: start as u64, first, n: end - start, features });
        }
        Ok(embeds)
    }

    /// The features of an image: those of the same pixels if they were computed before.
    fn features(&mut self, image: &Image, eyes: Eyes<'_>) -> Result<Features, Error> {
        if let Some(i) = self.known.iter().position(|(known, _)| known == image) {
            self.known.get_mut(i..).unwrap_or_default().rotate_left(1);
            if let Some((_, features)) = self.known.last() {
                return Ok(features.clone());
            }
        }
        let vision = eyes.vision.ok_or_else(no_tower)?;
        let tiles = Tiles::new(image, &vision.config).lift()?;
        let mut device = eyes.device.fork().lift()?;
        let mut tell = |done: usize, total: usize| {
            if let Some(progress) = eyes.progress {
                progress(Progress::new(Phase::Image, done as u64, total as u64));
            }
        };
        let mut watch = Encode { cancel: Some(eyes.cancel), progress: Some(&mut tell), ..Encode::default() };
        let features = vision.encode(&mut *device, &tiles, &mut watch).lift()?;
        self.encoded += 1;
        self.known.push((image.clone(), features.clone()));
        self.forget_old(KNOWN_BYTES);
        Ok(features)
    }

    /// Forgets the images used longest ago until the rest takes at most `limit` bytes.
    fn forget_old(&mut self, limit: usize) {
        let mut room = limit;
        let mut fits = |(image, features): &&(Image, Features)| {
            let bytes = image.rgb().len().saturating_add(features.values().len().saturating_mul(4));
            let left = room.checked_sub(bytes);
            room = left.unwrap_or(0);
            left.is_some()
        };
        let keep = self.known.iter().rev().take_while(|known| fits(known)).count();
        self.known.drain(..self.known.len() - keep);
    }
}

/// The model cannot see.
pub(crate) fn no_tower() -> Error {
    Error::unsupported(
        "images: the model has no vision tower (a GGUF model keeps it in a file of its own, its mmproj)",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_used_longest_ago_are_forgotten() {
        let mut images = Images::default();
        let image = |v: u8| Image::luma8(2, 1, &[v, v]).unwrap();
        for v in 0..5 {
            // 6 bytes of pixels and 16 of features.
            images.known.push((image(v), Features::new(alloc::vec![f32::from(v); 4], 4).unwrap()));
        }
        images.forget_old(5 * 22);
        assert_eq!(images.known.len(), 5);
        let (device, cancel) = (puna_core::RefDevice::new(), Cancel::new());
        let eyes = Eyes { vision: None, device: &device, cancel: &cancel, progress: None };
        let again = images.features(&image(1), eyes).unwrap();
        assert_eq!(again.values(), [1.0; 4]);
        images.forget_old(2 * 22 + 21);
        assert_eq!(images.known.iter().map(|(image, _)| image.rgb()[0]).collect::<Vec<_>>(), [4, 1]);
        images.forget_old(3);
        assert!(images.known.is_empty());
    }
}
