//! SentencePiece's byte-pair encoding: the neighbours whose union has the best score merge first.
//!
//! Vocabularies of Llama 2's kind store a score for each token and no merges.

use std::{boxed::Box, collections::BinaryHeap, collections::HashMap, format, string::String, vec::Vec};

use super::bpe::{META_SPACE, Prefix};
use crate::TextError;

#[derive(Debug)]
pub(super) struct Spm {
    /// Id and score of each token that text can give.
    tokens: HashMap<Box<str>, (u32, f32)>,
    /// The token of each byte, for characters without a token.
    bytes: [Option<u32>; 256],
    unk: Option<u32>,
    prefix: Prefix,
}

/// A part of the text; parts that were merged away have length 0.
#[derive(Clone, Copy)]
struct Part {
    start: usize,
    len: usize,
    prev: usize,
    next: usize,
}

/// A possible merge of the part at `left` with the next; the best score first, then the leftmost.
#[derive(PartialEq)]
struct Merge {
    score: f32,
    left: usize,
    right: usize,
    len: usize,
}

impl Eq for Merge {}
impl PartialOrd for Merge {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Merge {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.score.total_cmp(&other.score).then(other.left.cmp(&self.left))
    }
}

const NONE: usize = usize::MAX;

impl Spm {
    pub(super) fn new(
        tokens: HashMap<Box<str>, (u32, f32)>,
        bytes: [Option<u32>; 256],
        unk: Option<u32>,
        prefix: Prefix,
    ) -> Self {
        Self { tokens, bytes, unk, prefix }
    }

    pub(super) fn adds_space(&self) -> bool {
        self.prefix != Prefix::Never
    }

    /// Appends the tokens of text without special tokens; `at_start` if no token comes before it.
    pub(super) fn encode(&self, text: &str, at_start: bool, out: &mut Vec<u32>) -> Result<(), TextError> {
        if text.is_empty() {
            return Ok(());
        }
        let mut meta = String::with_capacity(text.len() + 3);
        if self.prefix.applies(at_start) {
            meta.push(META_SPACE);
        }
        meta.extend(text.chars().map(|c| if c == ' ' { META_SPACE } else { c }));

        let mut parts: Vec<Part> = Vec::with_capacity(meta.len());
        for (start, c) in meta.char_indices() {
            let at = parts.len();
            parts.push(Part { start, len: c.len_utf8(), prev: at.wrapping_sub(1), next: at + 1 });
        }
        if let Some(last) = parts.last_mut() {
            last.next = NONE;
        }
        let mut heap = BinaryHeap::with_capacity(parts.len());
        let push = |parts: &[Part], left: usize, heap: &mut BinaryHeap<Merge>| {
            if let Some(l) = parts.get(left)
                && let Some(r) = parts.get(l.next)
                && let Some(&(_, score)) = self.tokens.get(&meta[l.start..r.start + r.len])
            {
                heap.push(Merge { score, left, right: l.next, len: l.len + r.len });
            }
        };
        for left in 0..parts.len() {
            push(&parts, left, &mut heap);
        }
        while let Some(Merge { left, right, len, .. }) = heap.pop() {
            let (l, r) = (parts[left], parts[right]);
            // Parts that have changed since, or were merged into others.
            if l.len == 0 || r.len == 0 || l.next != right || l.len + r.len != len {
                continue;
            }
            parts[left] = Part { len, next: r.next, ..l };
            parts[right].len = 0;
            if let Some(next) = parts.get_mut(r.next) {
                next.prev = left;
            }
            push(&parts, l.prev, &mut heap);
            push(&parts, left, &mut heap);
        }
        for part in parts.iter().filter(|part| part.len > 0) {
            self.push_part(&meta[part.start..part.start + part.len], out)?;
        }
        Ok(())
    }

    fn push_part(&self, part: &str, out: &mut Vec<u32>) -> Result<(), TextError> {
        if let Some(&(id, _)) = self.tokens.get(part) {
            out.push(id);
            return Ok(());
        }
        let bytes = part.bytes().map(|byte| self.bytes[usize::from(byte)]);
        if bytes.clone().all(|id| id.is_some()) {
            out.extend(bytes.flatten());
            return Ok(());
        }
        let unk = self.unk.ok_or_else(|| TextError::Encode {
            message: format!("no token for {part:?}, and neither byte tokens nor an unknown token"),
        })?;
        out.push(unk);
        Ok(())
    }
}
