//! Vocabularies as GGUF files store them (`tokenizer.ggml.*`).

use std::{boxed::Box, collections::HashMap, format, vec::Vec};

use super::added::Added;
use super::bpe::{Bpe, Form, META_SPACE, Prefix};
use super::merge::Merges;
use super::split::{self, Splitter};
use super::spm::Spm;
use super::str_list::StrList;
use super::vocab::{self, Kind, Texts, TokenTable, Vocabulary};
use super::{Engine, Parts, byte_level, byte_token};
use crate::{TextError, special};

const WHAT: &str = "GGUF vocabulary";

/// The `tokenizer.ggml.*` values of a GGUF file, as they are. Fill what is there over [`Default`].
#[derive(Debug, Clone, Copy, Default)]
pub struct GgufVocab<'a> {
    /// `general.architecture`; `llama4` decides the pre-tokenizer where `pre` does not.
    pub architecture: &'a str,
    /// `model`: `gpt2` (byte-level merges) or `llama` (SentencePiece scores).
    pub model: &'a str,
    /// `pre`; empty if absent.
    pub pre: &'a str,
    /// `tokens`, by id.
    pub tokens: StrList<'a>,
    /// `merges`, "left right", the most urgent first.
    pub merges: StrList<'a>,
    /// `token_type`, by id (1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte); empty if absent.
    pub token_types: &'a [i32],
    /// `scores`, by id.
    pub scores: Option<&'a [f32]>,
    /// `bos_token_id`
    pub bos: Option<u32>,
    /// `eos_token_id`
    pub eos: Option<u32>,
    /// `eot_token_id`
    pub eot: Option<u32>,
    /// `eom_token_id`
    pub eom: Option<u32>,
    /// `unknown_token_id`
    pub unk: Option<u32>,
    /// `padding_token_id`
    pub pad: Option<u32>,
    /// `add_bos_token`
    pub add_bos: Option<bool>,
    /// `add_space_prefix`
    pub add_space_prefix: Option<bool>,
}

/// How the pre-tokenizer of a name works.
struct Pre {
    patterns: &'static [&'static str],
    whole_pieces: bool,
    adds_bos: bool,
    meta_cuts: bool,
}

fn pre_tokenizer(vocab: &GgufVocab<'_>) -> Result<Pre, TextError> {
    let pre = |patterns, whole_pieces| Pre { patterns, whole_pieces, adds_bos: false, meta_cuts: false };
    Ok(match vocab.pre {
        "llama4" => Pre { adds_bos: true, meta_cuts: true, ..pre(&[split::O200K], true) },
        // Converters that do not know the pre-tokenizer write "default".
        "default" | "" | "gpt-4o" if vocab.architecture == "llama4" => {
            Pre { adds_bos: true, meta_cuts: true, ..pre(&[split::O200K], true) }
        }
        "gpt-4o" => pre(&[split::O200K], true),
        "llama-bpe" | "llama3" | "llama-v3" => Pre { adds_bos: true, ..pre(&[split::LLAMA3], true) },
        "smaug-bpe" | "dbrx" => pre(&[split::LLAMA3], false),
        "smollm" | "starcoder" | "refact" | "command-r" | "codeshell" => {
            pre(&[split::DIGIT, split::GPT2], false)
        }
        "gpt-2" | "olmo" | "mpt" => pre(&[split::GPT2], false),
        "qwen2" | "stablelm2" => pre(&[split::QWEN2], false),
        "default" | "" => pre(&split::UNSAID, false),
        other => {
            let supported = "llama4, gpt-4o, llama-bpe, llama3, llama-v3, smaug-bpe, dbrx, smollm, starcoder, refact, command-r, codeshell, gpt-2, olmo, mpt, qwen2, stablelm2, default";
            return Err(TextError::unsupported("pre-tokenizer", other, supported));
        }
    })
}

/// The type of a token, as far as this crate tells them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Type {
    Normal,
    Special,
    Added,
    Byte,
}

pub(super) fn read(vocab: &GgufVocab<'_>) -> Result<Parts, TextError> {
    let n = vocab.tokens.len();
    if n == 0 {
        return Err(TextError::malformed(WHAT, "tokens", "at least one", 0));
    }
    for (name, found) in [
        ("token_type", (!vocab.token_types.is_empty()).then_some(vocab.token_types.len())),
        ("scores", vocab.scores.map(<[f32]>::len)),
    ] {
        if let Some(found) = found.filter(|&found| found != n) {
            return Err(TextError::malformed(WHAT, name, format!("{n}, one for each token"), found));
        }
    }
    let named = [vocab.bos, vocab.eos, vocab.eot, vocab.eom, vocab.unk, vocab.pad]
        .into_iter()
        .flatten()
        .find(|&id| id as usize >= n);
    if let Some(id) = named {
        return Err(TextError::malformed(WHAT, "ids of special tokens", format!("ids below {n}"), id));
    }
    let types: Vec<Type> = vocab
        .tokens
        .iter()
        .enumerate()
        .map(|(id, text)| match vocab.token_types.get(id).copied().unwrap_or(1) {
            // Files without types have only names to tell by.
            _ if vocab.token_types.is_empty() && special::ends_answer(text) => Ok(Type::Special),
            2 | 3 => Ok(Type::Special),
            4 => Ok(Type::Added),
            6 => Ok(Type::Byte),
            0 | 1 | 5 => Ok(Type::Normal),
            other => Err(TextError::malformed(WHAT, format!("token_type of token {id}"), "0 to 6", other)),
        })
        .collect::<Result<_, _>>()?;

    let mut added = Vec::new();
    for ((id, text), kind) in (0u32..).zip(vocab.tokens.iter()).zip(&types) {
        if matches!(kind, Type::Special | Type::Added) {
            let special = *kind == Type::Special;
            added.push(Added { text: Box::from(text), id, special, lstrip: false, rstrip: false });
        }
    }
    let (engine, table, adds_bos, meta_cuts) = match vocab.model {
        "gpt2" => {
            let pre = pre_tokenizer(vocab)?;
            (
                Engine::Bpe(Box::new(bytes_bpe(vocab, &types, &pre)?)),
                byte_table(vocab, &types)?,
                pre.adds_bos,
                pre.meta_cuts,
            )
        }
        "llama" => {
            (Engine::Spm(Box::new(sentence_piece(vocab, &types)?)), meta_table(vocab, &types)?, true, false)
        }
        other => return Err(TextError::unsupported("tokenizer model", other, "gpt2, llama")),
    };
    let adds_bos = vocab.add_bos.unwrap_or(adds_bos) && vocab.bos.is_some();
    let stops = [vocab.eot, vocab.eom].into_iter().flatten().collect();
    Ok(Parts { engine, table, added, meta_cuts, bos: vocab.bos, adds_bos, eos: vocab.eos, stops })
}

fn bytes_bpe(file: &GgufVocab<'_>, types: &[Type], pre: &Pre) -> Result<Bpe, TextError> {
    // Special tokens never come out of merges, so that no text can spell one.
    let (mut tokens, mut ids, mut at) = (Texts::default(), Vec::new(), 0);
    ids.try_reserve_exact(types.len()).map_err(|_| TextError::OutOfMemory { what: "the vocabulary" })?;
    for run in types.chunk_by(|a, b| (*a == Type::Special) == (*b == Type::Special)) {
        let range = at..at + run.len();
        at = range.end;
        if run.first() != Some(&Type::Special) {
            ids.extend(range.clone().map(|id| id as u32));
            tokens.extend(file.tokens, range)?;
        }
    }
    if let Some((at, merge)) =
        file.merges.iter().enumerate().find(|(_, merge)| vocab::split_pair(merge).is_none())
    {
        let expected = "two tokens with a space between";
        return Err(TextError::malformed("merges", format!("merge {at}"), expected, merge));
    }
    let mut merges = Texts::default();
    merges.extend(file.merges, 0..file.merges.len())?;
    let splitter = Splitter::known(pre.patterns);
    let form =
        Form::ByteLevel { splitter, compose: false, prefix_space: file.add_space_prefix.unwrap_or(false) };
    // Looking up two tokens for each merge takes longer than all else that is done to load a model from the page cache.
    Ok(Bpe::new(pre.whole_pieces, form, move || {
        let vocabulary = Vocabulary::new(tokens, ids)?;
        let mut pairs = Vec::new();
        let memory = |_| TextError::OutOfMemory { what: "the merges" };
        pairs.try_reserve_exact(merges.len()).map_err(memory)?;
        let mut near = 0;
        for (at, merge) in merges.iter().enumerate() {
            let Some(pair) = vocab::split_pair(merge) else { continue };
            pairs.push(vocabulary.pair(at, pair, &mut near)?);
        }
        Ok((vocabulary, Merges::Pairs(pairs)))
    }))
}

fn byte_table(vocab: &GgufVocab<'_>, types: &[Type]) -> Result<TokenTable, TextError> {
    let mut table = TokenTable::with_capacity(vocab.tokens.len())?;
    for (text, kind) in vocab.tokens.iter().zip(types) {
        let plain = |bytes: &mut Vec<u8>| bytes.extend_from_slice(text.as_bytes());
        match kind {
            Type::Special => table.push(Kind::Special, plain)?,
            Type::Added => table.push(Kind::Text, plain)?,
            Type::Normal | Type::Byte => table.push(Kind::Text, |bytes| {
                if !byte_level::push_bytes(text, bytes) {
                    plain(bytes);
                }
            })?,
        }
    }
    Ok(table.shrink())
}

fn sentence_piece(vocab: &GgufVocab<'_>, types: &[Type]) -> Result<Spm, TextError> {
    let scores =
        vocab.scores.ok_or_else(|| TextError::malformed(WHAT, "scores", "a score for each token", "none"))?;
    let mut tokens: HashMap<Box<str>, (u32, f32)> = HashMap::new();
    tokens.try_reserve(vocab.tokens.len()).map_err(|_| TextError::OutOfMemory { what: "the vocabulary" })?;
    let mut bytes = [None; 256];
    for (((text, id), kind), &score) in vocab.tokens.iter().zip(0u32..).zip(types).zip(scores) {
        if score.is_nan() {
            return Err(TextError::malformed(WHAT, format!("score of token {id}"), "a number", score));
        }
        match kind {
            Type::Normal => {
                if let Some((before, _)) = tokens.insert(Box::from(text), (id, score)) {
                    let at = format!("tokens {before} and {id}");
                    return Err(TextError::malformed(WHAT, at, "different texts", text));
                }
            }
            Type::Byte => {
                let byte = byte_token(text).ok_or_else(|| {
                    TextError::malformed(WHAT, format!("byte token {id}"), "<0x00> to <0xFF>", text)
                })?;
                bytes[usize::from(byte)] = Some(id);
            }
            Type::Special | Type::Added => {}
        }
    }
    let prefix = if vocab.add_space_prefix.unwrap_or(true) { Prefix::Every } else { Prefix::Never };
    Ok(Spm::new(tokens, bytes, vocab.unk, prefix))
}

fn meta_table(vocab: &GgufVocab<'_>, types: &[Type]) -> Result<TokenTable, TextError> {
    let mut table = TokenTable::with_capacity(vocab.tokens.len())?;
    for (text, kind) in vocab.tokens.iter().zip(types) {
        let plain = |bytes: &mut Vec<u8>| bytes.extend_from_slice(text.as_bytes());
        match kind {
            Type::Special => table.push(Kind::Special, plain)?,
            Type::Added => table.push(Kind::Text, plain)?,
            Type::Byte => table.push(Kind::Text, |bytes| bytes.extend(byte_token(text)))?,
            Type::Normal => table.push(Kind::Text, |bytes| {
                bytes.extend_from_slice(text.replace(META_SPACE, " ").as_bytes());
            })?,
        }
    }
    Ok(table.shrink())
}
