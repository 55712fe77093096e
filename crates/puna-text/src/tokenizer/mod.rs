//! Tokenizers of the Llama family: text to token ids and back.

mod added;
mod bpe;
mod byte_level;
mod gguf;
mod guard;
mod hf;
mod hf_config;
mod merge;
mod ranks;
mod split;
mod spm;
mod str_list;
mod tables;
#[cfg(test)]
mod tests;
mod vocab;

use std::{boxed::Box, string::String, vec::Vec};

use added::{Added, AddedTokens};
pub use gguf::GgufVocab;
pub use hf_config::HfTokenizerConfig;
pub use str_list::StrList;
pub use tables::VocabTables;
use vocab::{Kind, TokenTable};

use crate::{TextError, chat::Encoder, special};

/// What to make of special tokens that are spelled out in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Special {
    /// They are text like any other: right for whatever a user or a tool says.
    #[default]
    AsText,
    /// They become their ids: right for a rendered template.
    Recognize,
}

/// A tokenizer. Immutable, `Send` and `Sync`: one serves any number of sessions.
///
/// The tables that only encoding needs are made when the first text is encoded, or by [`prepare`](Self::prepare). Tokens
/// that are there twice and merges that make no token show only then, and from then on, in a vocabulary of a GGUF file.
#[derive(Debug)]
pub struct Tokenizer {
    engine: Engine,
    table: TokenTable,
    added: AddedTokens,
    /// Cut long input as Meta's tokenizers do.
    meta_cuts: bool,
    bos: Option<u32>,
    adds_bos: bool,
    eos: Option<u32>,
    stops: Vec<u32>,
}

#[derive(Debug)]
enum Engine {
    Bpe(Box<bpe::Bpe>),
    Spm(Box<spm::Spm>),
}

/// What a file format gives; [`Tokenizer`] is made of it.
struct Parts {
    engine: Engine,
    table: TokenTable,
    added: Vec<Added>,
    meta_cuts: bool,
    bos: Option<u32>,
    adds_bos: bool,
    eos: Option<u32>,
    /// Ends of an answer besides `eos` and those known by name.
    stops: Vec<u32>,
}

impl Tokenizer {
    /// Reads a Hugging Face `tokenizer.json` with a byte-pair model.
    ///
    /// Which token ends an answer is in other files: see [`configure`](Self::configure).
    pub fn from_json(json: &[u8]) -> Result<Self, TextError> {
        Self::from_parts(hf::read(json)?)
    }

    /// Reads Meta's `tokenizer.model` (base64 and rank on each line), and adds the special tokens that its code adds:
    /// Llama 3's to a file of 128,000 ranks, Llama 4's to any other.
    pub fn from_rank_file(data: &[u8]) -> Result<Self, TextError> {
        Self::from_parts(ranks::read(data)?)
    }

    /// Takes the vocabulary of a GGUF file.
    pub fn from_gguf_parts(vocab: &GgufVocab<'_>) -> Result<Self, TextError> {
        Self::from_parts(gguf::read(vocab)?)
    }

    fn from_parts(parts: Parts) -> Result<Self, TextError> {
        let added = AddedTokens::new(parts.added)?;
        let by_name = added.iter().filter(|token| token.special && special::ends_answer(&token.text));
        let mut stops: Vec<u32> = by_name.map(|token| token.id).chain(parts.eos).chain(parts.stops).collect();
        stops.sort_unstable();
        stops.dedup();
        Ok(Self {
            engine: parts.engine,
            table: parts.table,
            added,
            meta_cuts: parts.meta_cuts,
            bos: parts.bos,
            adds_bos: parts.adds_bos,
            eos: parts.eos,
            stops,
        })
    }

    /// Takes over what `tokenizer_config.json` says of BOS and EOS; names that the vocabulary lacks are errors.
    pub fn configure(&mut self, config: &HfTokenizerConfig) -> Result<(), TextError> {
        let id = |name: &String| self.special_id(name).ok_or_else(|| TextError::missing(name));
        let bos = config.bos_token.as_ref().map(id).transpose()?;
        let eos = config.eos_token.as_ref().map(id).transpose()?;
        self.bos = bos.or(self.bos);
        self.adds_bos = config.add_bos_token.unwrap_or(self.adds_bos) && self.bos.is_some();
        if let Some(eos) = eos {
            self.eos = Some(eos);
            self.add_stops(&[eos]);
        }
        Ok(())
    }

    /// Adds ids that end an answer, e.g. `eos_token_id` of `generation_config.json`.
    pub fn add_stops(&mut self, ids: &[u32]) {
        self.stops.extend_from_slice(ids);
        self.stops.sort_unstable();
        self.stops.dedup();
    }

    /// Makes now what encoding needs, instead of when the first text is encoded.
    ///
    /// # Errors
    /// Refused memory, and what is wrong with merges; the same again from every later encoding.
    pub fn prepare(&self) -> Result<(), TextError> {
        match &self.engine {
            Engine::Bpe(bpe) => bpe.prepare(),
            Engine::Spm(_) => Ok(()),
        }
    }

    /// The token ids of a text. No BOS is added, whatever the file says: see [`adds_bos`](Self::adds_bos).
    pub fn encode(&self, text: &str, special: Special) -> Result<Vec<u32>, TextError> {
        let mut out = Vec::new();
        self.encode_into(text, special, &mut out)?;
        Ok(out)
    }

    /// [`encode`](Self::encode) onto the end of `out`.
    pub fn encode_into(&self, text: &str, special: Special, out: &mut Vec<u32>) -> Result<(), TextError> {
        if !self.meta_cuts {
            return self.encode_piece(text, special, out);
        }
        guard::pieces(text).try_for_each(|piece| self.encode_piece(piece, special, out))
    }

    fn encode_piece(&self, text: &str, special: Special, out: &mut Vec<u32>) -> Result<(), TextError> {
        let mut done = 0;
        while let Some(found) = self.added.find(text, done, special == Special::Recognize) {
            self.encode_text(&text[done..found.start], done == 0, out)?;
            out.push(found.id);
            done = found.end;
        }
        self.encode_text(&text[done..], done == 0, out)
    }

    /// The text between special tokens.
    fn encode_text(&self, text: &str, at_start: bool, out: &mut Vec<u32>) -> Result<(), TextError> {
        match &self.engine {
            Engine::Bpe(bpe) => bpe.encode(text, at_start, out),
            Engine::Spm(spm) => spm.encode(text, at_start, out),
        }
    }

    /// The text of tokens; bytes that are no UTF-8 become U+FFFD, ids without a token nothing.
    pub fn decode(&self, ids: &[u32], skip_special: bool) -> String {
        let mut bytes = Vec::new();
        for &id in ids.iter().filter(|&&id| !(skip_special && self.is_special(id))) {
            bytes.extend_from_slice(self.token_bytes(id).unwrap_or_default());
        }
        // The space that encoding puts before the text, unless special tokens stand there.
        let text = match bytes.split_first() {
            Some((b' ', rest))
                if self.adds_space()
                    && ids.first().is_some_and(|&id| skip_special || !self.is_special(id)) =>
            {
                rest
            }
            _ => &bytes,
        };
        String::from_utf8_lossy(text).into_owned()
    }

    fn adds_space(&self) -> bool {
        match &self.engine {
            Engine::Bpe(bpe) => bpe.adds_space(),
            Engine::Spm(spm) => spm.adds_space(),
        }
    }

    /// The bytes of one token, a special token's text included; `None` for ids that name no token.
    pub fn token_bytes(&self, id: u32) -> Option<&[u8]> {
        self.table.bytes(id)
    }

    /// Whether an id is a special token: a marker that no text gives.
    pub fn is_special(&self, id: u32) -> bool {
        self.table.kind(id) == Kind::Special
    }

    /// The id of a special or added token.
    pub fn special_id(&self, name: &str) -> Option<u32> {
        self.added.id(name)
    }

    /// One more than the highest id that names a token. A model may have more logits.
    pub fn vocab_size(&self) -> usize {
        self.table.len()
    }

    /// The token that begins a text.
    pub fn bos(&self) -> Option<u32> {
        self.bos
    }

    /// Whether the model expects a BOS before a text.
    pub fn adds_bos(&self) -> bool {
        self.adds_bos
    }

    /// The token that ends a text, as the file says.
    pub fn eos(&self) -> Option<u32> {
        self.eos
    }

    /// All tokens that end an answer, in ascending order: EOS, and those known by name, as `<|eot|>` and `<|eom|>`.
    pub fn stop_ids(&self) -> &[u32] {
        &self.stops
    }
}

impl Encoder for Tokenizer {
    fn encode_text(&self, text: &str, out: &mut Vec<u32>) -> Result<(), TextError> {
        self.encode_into(text, Special::AsText, out)
    }

    fn special_id(&self, name: &str) -> Option<u32> {
        self.special_id(name)
    }
}

/// The byte of a token `<0x00>` to `<0xFF>`.
fn byte_token(text: &str) -> Option<u8> {
    let digits = text.strip_prefix("<0x")?.strip_suffix('>')?;
    if digits.len() == 2 { u8::from_str_radix(digits, 16).ok() } else { None }
}
