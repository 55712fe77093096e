//! Byte-pair encoding by the `tokenizers` crate, behind checks that keep it from panicking.

use std::{borrow::Cow, collections::hash_map::Entry, format, string::String, string::ToString, vec::Vec};

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

#[derive(Debug)]
pub(super) struct Bpe {
    model: BPE,
    form: Form,
}

impl Bpe {
    /// Tokens with their ids, and pairs to merge, the most urgent first.
    pub(super) fn new(
        tokens: impl Iterator<Item = (String, u32)>,
        merges: Vec<(String, String)>,
        options: Options,
        form: Form,
    ) -> Result<Self, TextError> {
        let expected = tokens.size_hint().0;
        vocab::check_count(expected)?;
        let mut table = Vocab::default();
        table.try_reserve(expected).map_err(|_| TextError::OutOfMemory { what: "the vocabulary" })?;
        let mut longest = 0;
        for (text, id) in tokens {
            longest = longest.max(text.len());
            match table.entry(text) {
                Entry::Vacant(entry) => _ = entry.insert(id),
                Entry::Occupied(entry) => {
                    let at = format!("tokens {} and {id}", entry.get());
                    return Err(TextError::malformed("vocabulary", at, "different texts", entry.key()));
                }
            }
        }
        if longest > vocab::MAX_TOKEN_BYTES {
            let what = "bytes of a token";
            return Err(TextError::TooLarge { what, limit: vocab::MAX_TOKEN_BYTES, found: longest });
        }
        // The builder joins a pair in a buffer as long as the longest token before it looks the result up.
        let out_of = |at: usize, (left, right): &(String, String)| {
            let expected = "two tokens whose texts make a third";
            TextError::malformed("merges", format!("merge {at}"), expected, format!("{left} {right}"))
        };
        if let Some((at, pair)) = merges.iter().enumerate().find(|(_, (l, r))| l.len() + r.len() > longest) {
            return Err(out_of(at, pair));
        }
        if let Some(unk) = options.unk.as_ref().filter(|unk| !table.contains_key(unk.as_str())) {
            return Err(TextError::malformed("vocabulary", "unknown token", "one of the tokens", unk));
        }
        let mut builder = BPE::builder()
            .vocab_and_merges(table, merges)
            // The crate's cache lives as long as its thread, not its tokenizer.
            .cache_capacity(0)
            .byte_fallback(options.byte_fallback)
            .fuse_unk(options.fuse_unk)
            .ignore_merges(options.whole_pieces);
        if let Some(unk) = options.unk {
            builder = builder.unk_token(unk);
        }
        let model = builder.build().map_err(|error| {
            TextError::malformed(
                "merges",
                "the list of merges",
                "pairs of tokens whose texts make a third",
                error,
            )
        })?;
        Ok(Self { model, form })
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
                    self.merge(&chars, out)
                })
            }
            Form::MetaSpace { prefix, once, words } => {
                let mut meta = String::with_capacity(text.len() + 3);
                if prefix.applies(at_start) && !(*once && text.starts_with([' ', META_SPACE])) {
                    meta.push(META_SPACE);
                }
                meta.extend(text.chars().map(|c| if c == ' ' { META_SPACE } else { c }));
                if !*words {
                    return self.merge(&meta, out);
                }
                let mut start = 0;
                for (at, _) in meta.match_indices(META_SPACE).filter(|(at, _)| *at > 0) {
                    self.merge(&meta[start..at], out)?;
                    start = at;
                }
                self.merge(&meta[start..], out)
            }
        }
    }

    fn merge(&self, piece: &str, out: &mut Vec<u32>) -> Result<(), TextError> {
        let tokens =
            self.model.tokenize(piece).map_err(|error| TextError::Encode { message: error.to_string() })?;
        out.extend(tokens.iter().map(|token| token.id));
        Ok(())
    }
}
