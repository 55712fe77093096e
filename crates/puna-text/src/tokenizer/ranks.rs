//! Meta's `tokenizer.model`: a line for each token, its bytes in base64 and its merge rank.

use std::{boxed::Box, format, string::String, vec, vec::Vec};

use ahash::AHashMap;

use super::added::Added;
use super::bpe::{Bpe, Form};
use super::merge::{Merges, Pair};
use super::split::{self, Splitter};
use super::tables::{TokenType, VocabTables};
use super::vocab::{self, Kind, TokenTable, Vocabulary};
use super::{Engine, Parts, byte_level};
use crate::{TextError, special};

const WHAT: &str = "rank file";
/// Longest token, in bytes: bounds the work of finding its merge. Meta's longest has 128.
const MAX_TOKEN: usize = 256;

/// Reads a rank file and puts the family's special tokens behind its ranks: Llama 3's behind 128,000, else Llama 4's.
pub(super) fn read(data: &[u8]) -> Result<Parts, TextError> {
    let tokens = parse(data)?;
    let ranks = tokens.len() as u32;
    let llama3 = ranks == special::LLAMA3_RANKS;
    let pattern = if llama3 { split::LLAMA3 } else { split::O200K };
    let names = special::all(if llama3 { special::llama3 } else { special::llama4 });

    let mut table = TokenTable::with_capacity(tokens.len() + special::LLAMA4_SPECIALS as usize)?;
    for token in &tokens {
        table.push(Kind::Text, |bytes| bytes.extend_from_slice(token))?;
    }
    let mut added = Vec::new();
    for (id, name) in (ranks..).zip(names) {
        table.push(Kind::Special, |bytes| bytes.extend_from_slice(name.as_bytes()))?;
        added.push(Added { text: name.into(), id, special: true, lstrip: false, rstrip: false });
    }

    check(&tokens)?;
    let form = Form::ByteLevel { splitter: Splitter::new(&[pattern])?, compose: false, prefix_space: false };
    let engine = Engine::Bpe(Box::new(Bpe::new(true, form, move || {
        let mut vocabulary = Vocabulary::with_capacity(tokens.len())?;
        let mut text = String::new();
        for (token, rank) in tokens.iter().zip(0..) {
            text.clear();
            byte_level::push_chars(token, &mut text);
            vocabulary.push(&text, rank)?;
        }
        Ok((vocabulary, Merges::ByRank))
    })));
    Ok(Parts {
        engine,
        table,
        added,
        meta_cuts: true,
        bos: Some(ranks),
        adds_bos: true,
        eos: Some(ranks + 1),
        stops: Vec::new(),
    })
}

/// The vocabulary as GGUF stores it.
pub(super) fn tables(data: &[u8]) -> Result<VocabTables, TextError> {
    let tokens = parse(data)?;
    check(&tokens)?;
    let ranks = tokens.len() as u32;
    let llama3 = ranks == special::LLAMA3_RANKS;
    let mut tables = VocabTables::new(if llama3 { "llama-bpe" } else { "llama4" });
    for (token, id) in tokens.iter().zip(0..) {
        tables.set(id, chars(token), TokenType::Normal)?;
    }
    let names = special::all(if llama3 { special::llama3 } else { special::llama4 });
    for (id, name) in (ranks..).zip(names) {
        tables.set(id, name, TokenType::Control)?;
    }
    let text = |rank: u32| tokens.get(rank as usize).map(|token| chars(token)).unwrap_or_default();
    let merges = pairs(&tokens)?;
    tables.merges = merges.iter().map(|pair| format!("{} {}", text(pair.left), text(pair.right))).collect();
    Ok(tables)
}

fn chars(token: &[u8]) -> String {
    let mut text = String::with_capacity(token.len() * 2);
    byte_level::push_chars(token, &mut text);
    text
}

/// Tokens by rank: every rank from 0 on once, every token once, every single byte among them.
fn parse(data: &[u8]) -> Result<Vec<Vec<u8>>, TextError> {
    let mut tokens: Vec<Vec<u8>> = Vec::new();
    let mut unordered: Vec<(u32, Vec<u8>)> = Vec::new();
    for (number, line) in data.split(|&byte| byte == b'\n').enumerate() {
        let line = line.trim_ascii();
        if line.is_empty() {
            continue;
        }
        let at = || format!("line {}", number + 1);
        let shown = || String::from_utf8_lossy(line).into_owned();
        let mut fields = line.split(u8::is_ascii_whitespace).filter(|field| !field.is_empty());
        let (Some(text), Some(rank), None) = (fields.next(), fields.next(), fields.next()) else {
            return Err(TextError::malformed(WHAT, at(), "base64 and a rank", shown()));
        };
        let token = base64(text).filter(|token| !token.is_empty());
        let token = token.ok_or_else(|| TextError::malformed(WHAT, at(), "a token in base64", shown()))?;
        if token.len() > MAX_TOKEN {
            return Err(TextError::TooLarge {
                what: "bytes of a token",
                limit: MAX_TOKEN,
                found: token.len(),
            });
        }
        let rank = core::str::from_utf8(rank).ok().and_then(|rank| rank.parse::<u32>().ok());
        let rank = rank.ok_or_else(|| TextError::malformed(WHAT, at(), "a rank", shown()))?;
        vocab::check_count(tokens.len() + unordered.len() + 1)?;
        if rank as usize == tokens.len() {
            tokens.push(token);
        } else {
            unordered.push((rank, token));
        }
    }
    unordered.sort_unstable_by_key(|(rank, _)| *rank);
    for (rank, token) in unordered {
        if rank as usize != tokens.len() {
            let expected = format!("rank {} once, as ranks are contiguous", tokens.len());
            return Err(TextError::malformed(WHAT, "ranks", expected, format!("rank {rank}")));
        }
        tokens.push(token);
    }
    Ok(tokens)
}

/// Every token is there once, and every byte is one.
fn check(tokens: &[Vec<u8>]) -> Result<(), TextError> {
    let mut known: AHashMap<&[u8], u32> = AHashMap::new();
    known.try_reserve(tokens.len()).map_err(|_| TextError::OutOfMemory { what: "the vocabulary" })?;
    for (token, rank) in tokens.iter().zip(0..) {
        if let Some(before) = known.insert(token, rank) {
            let at = format!("ranks {before} and {rank}");
            return Err(TextError::malformed(WHAT, at, "different tokens", chars(token)));
        }
    }
    match (0..=255u8).find(|byte| !known.contains_key(&[*byte][..])) {
        Some(byte) => {
            Err(TextError::malformed(WHAT, "tokens", format!("one of byte {byte:#04x} alone"), "none"))
        }
        None => Ok(()),
    }
}

/// Standard base64 with padding.
fn base64(text: &[u8]) -> Option<Vec<u8>> {
    let padding = text.iter().rev().take_while(|&&c| c == b'=').count();
    if !text.len().is_multiple_of(4) || padding > 2 {
        return None;
    }
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    for group in text[..text.len() - padding].chunks(4) {
        let mut bits = 0u32;
        for i in 0..4 {
            let value = match group.get(i) {
                Some(c @ b'A'..=b'Z') => c - b'A',
                Some(c @ b'a'..=b'z') => c - b'a' + 26,
                Some(c @ b'0'..=b'9') => c - b'0' + 52,
                Some(b'+') => 62,
                Some(b'/') => 63,
                None => 0,
                Some(_) => return None,
            };
            bits = bits << 6 | u32::from(value);
        }
        let [_, bytes @ ..] = bits.to_be_bytes();
        let (whole, unused) = bytes.split_at(group.len() * 3 / 4);
        if unused.iter().any(|&byte| byte != 0) {
            return None;
        }
        out.extend_from_slice(whole);
    }
    Some(out)
}

/// The pair that makes each token of several bytes, in order of rank.
///
/// Inside the text of a token, merging by rank goes the same way wherever the text stands, as long as no merge reaches
/// across its ends. So the last two parts that merging meets in the token alone are the only two that ever make it, and
/// one pair for each token is the whole of rank merging. A token that merging never reaches has no pair: it is found
/// only as a whole piece.
fn pairs(tokens: &[Vec<u8>]) -> Result<Vec<Pair>, TextError> {
    let ranks = Ranks::new(tokens)?;
    let mut scratch = Vec::new();
    let pairs = tokens.iter().zip(0..).filter_map(|(token, joined)| {
        let (left, right) = token.split_at(last_cut(token, &ranks, &mut scratch)?);
        Some(Pair { left: ranks.get(left), right: ranks.get(right), joined })
    });
    Ok(pairs.collect())
}

/// No token.
const NONE: u32 = u32::MAX;

/// The rank of each token; those of two bytes, which are asked for most, without hashing.
struct Ranks<'t> {
    pairs: Vec<u32>,
    others: AHashMap<&'t [u8], u32>,
}

impl<'t> Ranks<'t> {
    fn new(tokens: &'t [Vec<u8>]) -> Result<Self, TextError> {
        let mut ranks = Self { pairs: vec![NONE; 1 << 16], others: AHashMap::new() };
        ranks
            .others
            .try_reserve(tokens.len())
            .map_err(|_| TextError::OutOfMemory { what: "the vocabulary" })?;
        for (token, rank) in tokens.iter().zip(0..) {
            match token[..] {
                [a, b] => ranks.pairs[usize::from(u16::from_be_bytes([a, b]))] = rank,
                _ => _ = ranks.others.insert(token, rank),
            }
        }
        Ok(ranks)
    }

    fn get(&self, token: &[u8]) -> u32 {
        match *token {
            [a, b] => self.pairs[usize::from(u16::from_be_bytes([a, b]))],
            _ => self.others.get(token).copied().unwrap_or(NONE),
        }
    }
}

/// Where merging by rank cuts the token into its last two parts; `None` for one byte, or if it gets stuck before.
fn last_cut(token: &[u8], ranks: &Ranks<'_>, parts: &mut Vec<(usize, u32)>) -> Option<usize> {
    let rank = |from: usize, to: usize| token.get(from..to).map_or(NONE, |pair| ranks.get(pair));
    // Start of each part, and the rank of that part joined with the next.
    parts.clear();
    parts.extend((0..token.len()).map(|at| (at, rank(at, at + 2))));
    let end = |parts: &[(usize, u32)], i: usize| parts.get(i).map_or(token.len(), |part| part.0);
    while parts.len() > 2 {
        let (i, &(start, lowest)) = parts.iter().enumerate().min_by_key(|(_, part)| part.1)?;
        if lowest == NONE {
            return None;
        }
        parts.remove(i + 1);
        if parts.len() == 2 {
            break;
        }
        parts[i].1 = if i + 1 < parts.len() { rank(start, end(parts, i + 2)) } else { NONE };
        if i > 0 {
            let before = parts[i - 1].0;
            parts[i - 1].1 = rank(before, end(parts, i + 1));
        }
    }
    parts.get(1).map(|part| part.0)
}
