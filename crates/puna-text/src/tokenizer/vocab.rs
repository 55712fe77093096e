//! The bytes of every token in one arena, so that decoding a token is one look-up without allocation.

use std::vec::Vec;

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

pub(super) fn check_count(found: usize) -> Result<(), TextError> {
    if found > MAX_TOKENS {
        return Err(TextError::TooLarge { what: "tokens of a vocabulary", limit: MAX_TOKENS, found });
    }
    Ok(())
}
