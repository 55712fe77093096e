//! Byte-pair encoding by the `tokenizers` crate, behind checks that keep it from panicking.
//!
//! Its tables of strings are most of what a tokenizer holds and most of the time it takes to make one, and only encoding
//! needs them: they are made when the first text is encoded.

use std::sync::{Mutex, OnceLock, PoisonError};
use std::{
    borrow::Cow, boxed::Box, collections::hash_map::Entry, fmt, format, string::String, string::ToString,
    vec::Vec,
};

use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::{Model as _, NormalizedString};

use super::{byte_level, split::Splitter, vocab};
use crate::TextError;

/// A space in vocabularies that are not byte-level.
pub(super) const META_SPACE: char = '\u{2581}';

/// Where a space goes in front of text that has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Prefix {
    Never,
    /// Before the text, unless a special token comes first.
    First,
    /// Before the text and after every special token.
    Every,
}

impl Prefix {
    pub(super) fn applies(self, at_start: bool) -> bool {
        self == Self::Every || self == Self::First && at_start
    }
}

/// How text becomes the characters that are merged.
#[derive(Debug)]
pub(super) enum Form {
    /// Cut into pieces, each written in GPT-2's characters.
    ByteLevel {
        splitter: Splitter,
        /// Compose characters first (Unicode NFC).
        compose: bool,
        prefix_space: bool,
    },
    /// Spaces become [`META_SPACE`].
    MetaSpace {
        prefix: Prefix,
        /// Leave out the prefix where the text begins with a space.
        once: bool,
        /// Cut before every space.
        words: bool,
    },
}

/// What a merge table needs besides tokens and merges.
#[derive(Debug, Default)]
pub(super) struct Options {
    /// A piece that is a token by itself is not built from merges.
    pub(super) whole_pieces: bool,
    pub(super) byte_fallback: bool,
    pub(super) unk: Option<String>,
    pub(super) fuse_unk: bool,
}

/// Tokens with their ids, and pairs to merge, the most urgent first.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    vocab: Vocab,
    /// Bytes of the longest token.
    longest: usize,
    pub(super) merges: Vec<(String, String)>,
}

impl Pieces {
    /// None yet, with room for this many tokens.
    pub(super) fn with_capacity(tokens: usize) -> Result<Self, TextError> {
        vocab::check_count(tokens)?;
        let mut pieces = Self::default();
        pieces.vocab.try_reserve(tokens).map_err(|_| TextError::OutOfMemory { what: "the vocabulary" })?;
        Ok(pieces)
    }

    pub(super) fn push(&mut self, text: String, id: u32) -> Result<(), TextError> {
        self.longest = self.longest.max(text.len());
        if self.longest > vocab::MAX_TOKEN_BYTES {
            let what = "bytes of a token";
            return Err(TextError::TooLarge { what, limit: vocab::MAX_TOKEN_BYTES, found: self.longest });
        }
        match self.vocab.entry(text) {
            Entry::Vacant(entry) => _ = entry.insert(id),
            Entry::Occupied(entry) => {
                let at = format!("tokens {} and {id}", entry.get());
                return Err(TextError::malformed("vocabulary", at, "different texts", entry.key()));
            }
        }
        Ok(())
    }

    fn model(self, options: Options) -> Result<BPE, TextError> {
        // The builder joins a pair in a buffer as long as the longest token before it looks the result up.
        let out_of = |at: usize, (left, right): &(String, String)| {
            let expected = "two tokens whose texts make a third";
            TextError::malformed("merges", format!("merge {at}"), expected, format!("{left} {right}"))
        };
        let too_long =
            |(_, (left, right)): &(usize, &(String, String))| left.len() + right.len() > self.longest;
        if let Some((at, pair)) = self.merges.iter().enumerate().find(too_long) {
            return Err(out_of(at, pair));
        }
        if let Some(unk) = options.unk.as_ref().filter(|unk| !self.vocab.contains_key(unk.as_str())) {
            return Err(TextError::malformed("vocabulary", "unknown token", "one of the tokens", unk));
        }
        let mut builder = BPE::builder()
            .vocab_and_merges(self.vocab, self.merges)
            // The crate's cache lives as long as its thread, not its tokenizer.
            .cache_capacity(0)
            .byte_fallback(options.byte_fallback)
            .fuse_unk(options.fuse_unk)
            .ignore_merges(options.whole_pieces);
        if let Some(unk) = options.unk {
            builder = builder.unk_token(unk);
        }
        builder.build().map_err(|error| {
            let expected = "pairs of tokens whose texts make a third";
            TextError::malformed("merges", "the list of merges", expected, error)
        })
    }
}

/// Makes the pieces of a vocabulary from what is kept of its file.
type Make = Box<dyn FnOnce() -> Result<Pieces, TextError> + Send>;

pub(super) struct Bpe {
    model: OnceLock<Result<BPE, TextError>>,
    /// What `model` is made from; none once it is.
    source: Mutex<Option<(Make, Options)>>,
    form: Form,
}

impl fmt::Debug for Bpe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bpe").field("form", &self.form).field("model", &self.model).finish_non_exhaustive()
    }
}

impl Bpe {
    /// An encoder whose tables are made when the first text is encoded, which is then where their errors appear.
    pub(super) fn new(
        options: Options,
        form: Form,
        make: impl FnOnce() -> Result<Pieces, TextError> + Send + 'static,
    ) -> Self {
        Self { model: OnceLock::new(), source: Mutex::new(Some((Box::new(make), options))), form }
    }

    /// Makes the tables now, unless they are there.
    pub(super) fn model(&self) -> Result<&BPE, TextError> {
        let made = self.model.get_or_init(|| {
            let source = self.source.lock().unwrap_or_else(PoisonError::into_inner).take();
            let lost = || TextError::Encode { message: "an earlier attempt did not finish".into() };
            let (make, options) = source.ok_or_else(lost)?;
            make()?.model(options)
        });
        made.as_ref().map_err(TextError::clone)
    }

    /// Whether decoded text begins with a space that encoding put there.
    pub(super) fn adds_space(&self) -> bool {
        match self.form {
            Form::ByteLevel { prefix_space, .. } => prefix_space,
            Form::MetaSpace { prefix, .. } => prefix != Prefix::Never,
        }
    }

    /// Appends the tokens of text without special tokens; `at_start` if no token comes before it.
    pub(super) fn encode(&self, text: &str, at_start: bool, out: &mut Vec<u32>) -> Result<(), TextError> {
        if text.is_empty() {
            return Ok(());
        }
        let model = self.model()?;
        match &self.form {
            Form::ByteLevel { splitter, compose, prefix_space } => {
                let mut text = Cow::Borrowed(text);
                if *compose && !text.is_ascii() {
                    text = Cow::Owned(NormalizedString::from(&*text).nfc().get().to_string());
                }
                if *prefix_space && !text.starts_with(' ') {
                    text = Cow::Owned(format!(" {text}"));
                }
                let mut chars = String::new();
                splitter.split(&text, &mut |piece| {
                    chars.clear();
                    byte_level::push_chars(piece.as_bytes(), &mut chars);
                    merge(model, &chars, out)
                })
            }
            Form::MetaSpace { prefix, once, words } => {
                let mut meta = String::with_capacity(text.len() + 3);
                if prefix.applies(at_start) && !(*once && text.starts_with([' ', META_SPACE])) {
                    meta.push(META_SPACE);
                }
                meta.extend(text.chars().map(|c| if c == ' ' { META_SPACE } else { c }));
                if !*words {
                    return merge(model, &meta, out);
                }
                let mut start = 0;
                for (at, _) in meta.match_indices(META_SPACE).filter(|(at, _)| *at > 0) {
                    merge(model, &meta[start..at], out)?;
                    start = at;
                }
                merge(model, &meta[start..], out)
            }
        }
    }
}

fn merge(model: &BPE, piece: &str, out: &mut Vec<u32>) -> Result<(), TextError> {
    let tokens = model.tokenize(piece).map_err(|error| TextError::Encode { message: error.to_string() })?;
    out.extend(tokens.iter().map(|token| token.id));
    Ok(())
}
