//! Byte-pair encoding: text in the characters of a vocabulary, cut into pieces, each merged by itself.

use std::{borrow::Cow, boxed::Box, format, string::String, string::ToString, vec::Vec};

use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::{Model as _, NormalizedString};

use super::merge::{Merger, Merges, Word};
use super::vocab::Vocabulary;
use super::{byte_level, split::Splitter};
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

/// What becomes of characters that are no tokens, and of pieces that are.
#[derive(Debug, Default)]
pub(super) struct Options {
    /// A piece that is a token by itself is not built from merges.
    pub(super) whole_pieces: bool,
    pub(super) byte_fallback: bool,
    pub(super) unk: Option<String>,
    pub(super) fuse_unk: bool,
}

/// What merges the characters of a piece.
#[derive(Debug)]
enum Tables {
    /// Ours: ready in a tenth of the time, which the large vocabularies need; knows no unknown characters.
    Own(Box<Merger>),
    /// The `tokenizers` crate, whose rules for unknown characters are the only statement of what they are.
    Crate(Box<BPE>),
}

#[derive(Debug)]
pub(super) struct Bpe {
    form: Form,
    tables: Tables,
}

impl Bpe {
    /// An encoder that leaves out characters which are no tokens. Its tables are made when the first text is encoded, which
    /// is then where the errors of `make` appear.
    pub(super) fn new(
        whole_pieces: bool,
        form: Form,
        make: impl FnOnce() -> Result<(Vocabulary, Merges), TextError> + Send + 'static,
    ) -> Self {
        Self { form, tables: Tables::Own(Box::new(Merger::new(whole_pieces, Box::new(make)))) }
    }

    /// An encoder of the `tokenizers` crate. Tokens must differ, merges be pairs of them whose texts make a third, and the
    /// unknown token be one of them: what the crate would answer with a panic is checked before.
    pub(super) fn with_unknown(
        tokens: Vocab,
        merges: Vec<(String, String)>,
        options: Options,
        form: Form,
    ) -> Result<Self, TextError> {
        let mut builder = BPE::builder()
            .vocab_and_merges(tokens, merges)
            // The crate's cache lives as long as its thread, not its tokenizer.
            .cache_capacity(0)
            .byte_fallback(options.byte_fallback)
            .fuse_unk(options.fuse_unk)
            .ignore_merges(options.whole_pieces);
        if let Some(unk) = options.unk {
            builder = builder.unk_token(unk);
        }
        let model = builder.build().map_err(|error| {
            let expected = "pairs of tokens whose texts make a third";
            TextError::malformed("merges", "the list of merges", expected, error)
        })?;
        Ok(Self { form, tables: Tables::Crate(Box::new(model)) })
    }

    /// Makes the tables now, unless they are there.
    pub(super) fn prepare(&self) -> Result<(), TextError> {
        if let Form::ByteLevel { splitter, .. } = &self.form {
            splitter.prepare()?;
        }
        match &self.tables {
            Tables::Own(merger) => merger.prepare(),
            Tables::Crate(_) => Ok(()),
        }
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
        let mut word = Word::default();
        let mut merge = |piece: &str| self.tables.piece(piece, &mut word, out);
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
                    merge(&chars)
                })
            }
            Form::MetaSpace { prefix, once, words } => {
                let mut meta = String::with_capacity(text.len() + 3);
                if prefix.applies(at_start) && !(*once && text.starts_with([' ', META_SPACE])) {
                    meta.push(META_SPACE);
                }
                meta.extend(text.chars().map(|c| if c == ' ' { META_SPACE } else { c }));
                if !*words {
                    return merge(&meta);
                }
                let mut start = 0;
                for (at, _) in meta.match_indices(META_SPACE).filter(|(at, _)| *at > 0) {
                    merge(&meta[start..at])?;
                    start = at;
                }
                merge(&meta[start..])
            }
        }
    }
}

impl Tables {
    /// Appends the tokens of one piece.
    fn piece(&self, piece: &str, word: &mut Word, out: &mut Vec<u32>) -> Result<(), TextError> {
        match self {
            Self::Own(merger) => merger.encode(piece, word, out),
            Self::Crate(model) => {
                let tokens = model.tokenize(piece);
                let tokens = tokens.map_err(|error| TextError::Encode { message: error.to_string() })?;
                out.extend(tokens.iter().map(|token| token.id));
                Ok(())
            }
        }
    }
}
