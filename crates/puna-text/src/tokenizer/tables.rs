//! A vocabulary on its way into a GGUF file.

use std::{format, string::String, vec::Vec};

use super::{hf, ranks, vocab};
use crate::TextError;

/// The `tokenizer.ggml.*` tables of a byte-level vocabulary that comes from another kind of file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VocabTables {
    /// `pre`
    pub pre: &'static str,
    /// `tokens`, by id.
    pub tokens: Vec<String>,
    /// `token_type`, by id (1 normal, 3 control, 4 user-defined, 5 unused).
    pub token_types: Vec<i32>,
    /// `merges`, the most urgent first.
    pub merges: Vec<String>,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum TokenType {
    Normal = 1,
    Control = 3,
    User = 4,
    Unused = 5,
}

impl VocabTables {
    /// Takes a Hugging Face `tokenizer.json`.
    ///
    /// # Errors
    /// Whatever is wrong with it; a pre-tokenizer that GGUF has no name for.
    pub fn from_json(json: &[u8]) -> Result<Self, TextError> {
        hf::tables(json)
    }

    /// Takes Meta's `tokenizer.model`.
    ///
    /// # Errors
    /// Whatever is wrong with it.
    pub fn from_rank_file(data: &[u8]) -> Result<Self, TextError> {
        ranks::tables(data)
    }

    pub(super) fn new(pre: &'static str) -> Self {
        Self { pre, tokens: Vec::new(), token_types: Vec::new(), merges: Vec::new() }
    }

    /// Adds unused tokens until there are `n`: a model may have more logits than its tokenizer has tokens.
    ///
    /// # Errors
    /// [`TextError::TooLarge`]
    pub fn pad(&mut self, n: usize) -> Result<(), TextError> {
        vocab::check_count(n)?;
        while self.tokens.len() < n {
            self.tokens.push(format!("[PAD{}]", self.tokens.len()));
            self.token_types.push(TokenType::Unused as i32);
        }
        Ok(())
    }

    pub(super) fn set(&mut self, id: u32, text: String, kind: TokenType) -> Result<(), TextError> {
        let index = id as usize;
        self.pad(index + 1)?;
        if let (Some(token), Some(of)) = (self.tokens.get_mut(index), self.token_types.get_mut(index)) {
            (*token, *of) = (text, kind as i32);
        }
        Ok(())
    }
}
