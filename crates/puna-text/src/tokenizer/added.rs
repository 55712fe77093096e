//! Tokens that are found in text before anything else: special tokens, and those a user added.

use std::{boxed::Box, string::String, vec::Vec};

use crate::TextError;

/// Longest text of an added token, in bytes: bounds the work at each position of a text.
const MAX_BYTES: usize = 1024;

/// One added token.
#[derive(Debug, Clone)]
pub(super) struct Added {
    pub(super) text: Box<str>,
    pub(super) id: u32,
    /// Found only if special tokens are recognised.
    pub(super) special: bool,
    /// Takes white space before it along.
    pub(super) lstrip: bool,
    /// Takes white space after it along.
    pub(super) rstrip: bool,
}

/// A match: the text before it ends at `start`, the text after it starts at `end`.
pub(super) struct Match {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) id: u32,
}

/// All added tokens, sorted by text.
#[derive(Debug)]
pub(super) struct AddedTokens {
    sorted: Vec<Added>,
    /// Whether any token, or any that is not special, begins with a byte.
    first: [(bool, bool); 256],
}

impl AddedTokens {
    /// Tokens of an empty text are left out.
    pub(super) fn new(mut tokens: Vec<Added>) -> Result<Self, TextError> {
        tokens.retain(|token| !token.text.is_empty());
        tokens.sort_by(|a, b| a.text.cmp(&b.text));
        let mut first = [(false, false); 256];
        for token in &tokens {
            if token.text.len() > MAX_BYTES {
                let what = "bytes of a special or added token";
                return Err(TextError::TooLarge { what, limit: MAX_BYTES, found: token.text.len() });
            }
            if let Some(&byte) = token.text.as_bytes().first() {
                first[usize::from(byte)].0 = true;
                first[usize::from(byte)].1 |= !token.special;
            }
        }
        if let Some(pair) = tokens.windows(2).find(|pair| pair[0].text == pair[1].text) {
            let at = std::format!("ids {} and {}", pair[0].id, pair[1].id);
            return Err(TextError::malformed(
                "vocabulary",
                at,
                "different texts",
                String::from(&*pair[0].text),
            ));
        }
        Ok(Self { sorted: tokens, first })
    }

    /// The id of a token that is special or added.
    pub(super) fn id(&self, text: &str) -> Option<u32> {
        let at = self.sorted.binary_search_by(|token| (*token.text).cmp(text)).ok()?;
        self.sorted.get(at).map(|token| token.id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Added> {
        self.sorted.iter()
    }

    /// The first token in `text` from byte `from` on, the longest if several start there.
    pub(super) fn find(&self, text: &str, from: usize, special: bool) -> Option<Match> {
        let bytes = text.as_bytes();
        for (start, &byte) in bytes.iter().enumerate().skip(from) {
            let (any, plain) = self.first[usize::from(byte)];
            if (if special { any } else { plain })
                && let Some(token) = self.longest_at(&bytes[start..], special)
            {
                let mut found = Match { start, end: start + token.text.len(), id: token.id };
                if token.lstrip {
                    found.start = from + text[from..start].trim_end().len();
                }
                if token.rstrip {
                    found.end = text.len() - text[found.end..].trim_start().len();
                }
                return Some(found);
            }
        }
        None
    }

    /// Walks the sorted texts as a trie: at each byte, the range of tokens that agree with the text so far.
    fn longest_at(&self, text: &[u8], special: bool) -> Option<&Added> {
        let mut range = &self.sorted[..];
        let mut longest = None;
        for (depth, &byte) in text.iter().enumerate() {
            let at = |token: &Added| token.text.as_bytes().get(depth).copied();
            let low = range.partition_point(|token| at(token) < Some(byte));
            let high = range.partition_point(|token| at(token) <= Some(byte));
            range = &range[low..high];
            let Some(shortest) = range.first() else { break };
            if shortest.text.len() == depth + 1 && (special || !shortest.special) {
                longest = Some(shortest);
            }
        }
        longest
    }
}
