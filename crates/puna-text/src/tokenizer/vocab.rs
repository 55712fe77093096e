//! The bytes of every token in one arena, so that decoding a token is one look-up without allocation.

use std::fmt::Display;
use std::{format, string::String, vec::Vec};

use ahash::AHashMap;

use crate::TextError;

/// Most tokens a vocabulary may have.
pub(super) const MAX_TOKENS: usize = 1 << 22;
/// Longest text of one token, in bytes.
pub(super) const MAX_TOKEN_BYTES: usize = 1 << 16;

/// What is known of a token besides its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The id has no token.
    Hole,
    /// Comes from text and goes to text.
    Text,
    /// A marker: recognised in text only on request, left out of decoded text on request.
    Special,
}

/// Bytes and kinds of all tokens, by id.
#[derive(Debug, Default)]
pub(super) struct TokenTable {
    bytes: Vec<u8>,
    /// End of each token in `bytes`; a token starts where the one before it ends.
    ends: Vec<u32>,
    kinds: Vec<Kind>,
}

impl TokenTable {
    pub(super) fn with_capacity(tokens: usize) -> Result<Self, TextError> {
        check_count(tokens)?;
        let mut table = Self::default();
        let memory = |_| TextError::OutOfMemory { what: "the vocabulary" };
        table.ends.try_reserve_exact(tokens).map_err(memory)?;
        table.kinds.try_reserve_exact(tokens).map_err(memory)?;
        table.bytes.try_reserve(tokens.saturating_mul(8)).map_err(memory)?;
        Ok(table)
    }

    /// Adds the next token, whose bytes `write` appends.
    pub(super) fn push(&mut self, kind: Kind, write: impl FnOnce(&mut Vec<u8>)) -> Result<(), TextError> {
        check_count(self.ends.len() + 1)?;
        write(&mut self.bytes);
        let limit = u32::MAX as usize;
        let end = u32::try_from(self.bytes.len()).map_err(|_| TextError::TooLarge {
            what: "bytes of a vocabulary",
            limit,
            found: self.bytes.len(),
        })?;
        self.ends.push(end);
        self.kinds.push(kind);
        Ok(())
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn kind(&self, id: u32) -> Kind {
        self.kinds.get(id as usize).copied().unwrap_or(Kind::Hole)
    }

    pub(super) fn bytes(&self, id: u32) -> Option<&[u8]> {
        let index = id as usize;
        let end = *self.ends.get(index)?;
        let start = if index == 0 { 0 } else { *self.ends.get(index - 1)? };
        if self.kind(id) == Kind::Hole { None } else { self.bytes.get(start as usize..end as usize) }
    }
}

/// Texts in one arena.
#[derive(Debug, Default)]
pub(super) struct Texts {
    text: String,
    /// End of each text; it starts where the one before it ends.
    ends: Vec<u32>,
}

impl Texts {
    pub(super) fn new<'a>(texts: impl Iterator<Item = &'a str> + Clone) -> Result<Self, TextError> {
        let memory = |_| TextError::OutOfMemory { what: "the vocabulary" };
        let bytes = texts.clone().fold(0usize, |n, text| n.saturating_add(text.len()));
        if u32::try_from(bytes).is_err() {
            let what = "bytes of a vocabulary";
            return Err(TextError::TooLarge { what, limit: u32::MAX as usize, found: bytes });
        }
        let mut all = Self::default();
        all.text.try_reserve_exact(bytes).map_err(memory)?;
        all.ends.try_reserve_exact(texts.clone().count()).map_err(memory)?;
        for text in texts {
            all.text.push_str(text);
            all.ends.push(all.text.len() as u32);
        }
        Ok(all)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &str> {
        let starts = core::iter::once(0).chain(self.ends.iter().copied());
        starts
            .zip(&self.ends)
            .map(|(start, end)| self.text.get(start as usize..*end as usize).unwrap_or_default())
    }
}

/// Refuses tokens that are there twice, and merges that are not two tokens, with a space between, whose texts make a third:
/// what would otherwise show when the first text is encoded.
pub(super) fn check_merges(ids: &[u32], tokens: &Texts, merges: &Texts) -> Result<(), TextError> {
    let mut known: AHashMap<&str, u32> = AHashMap::new();
    known.try_reserve(ids.len()).map_err(|_| TextError::OutOfMemory { what: "the vocabulary" })?;
    for (text, id) in tokens.iter().zip(ids) {
        if text.len() > MAX_TOKEN_BYTES {
            let what = "bytes of a token";
            return Err(TextError::TooLarge { what, limit: MAX_TOKEN_BYTES, found: text.len() });
        }
        if let Some(before) = known.insert(text, *id) {
            let at = format!("tokens {before} and {id}");
            return Err(TextError::malformed("vocabulary", at, "different texts", text));
        }
    }
    let mut joined = String::new();
    for (at, merge) in merges.iter().enumerate() {
        let refuse = |expected, found: &dyn Display| {
            TextError::malformed("merges", format!("merge {at}"), expected, found)
        };
        let (left, right) = pair(merge).ok_or_else(|| refuse("two tokens with a space between", &merge))?;
        joined.clear();
        joined.push_str(left);
        joined.push_str(right);
        if let Some(missing) = [left, right, &joined].into_iter().find(|text| !known.contains_key(text)) {
            let found = format_args!("{merge} and no token {missing}");
            return Err(refuse("two tokens whose texts make a third", &found));
        }
    }
    Ok(())
}

/// The two texts of a merge. A token may begin with a space.
pub(super) fn pair(merge: &str) -> Option<(&str, &str)> {
    let (space, _) = merge.char_indices().skip(1).find(|(_, c)| *c == ' ')?;
    let (left, right) = (merge.get(..space)?, merge.get(space + 1..)?);
    (!right.is_empty()).then_some((left, right))
}

pub(super) fn check_count(found: usize) -> Result<(), TextError> {
    if found > MAX_TOKENS {
        return Err(TextError::TooLarge { what: "tokens of a vocabulary", limit: MAX_TOKENS, found });
    }
    Ok(())
}
