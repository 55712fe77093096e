//! Byte-pair merging: of all neighbours that make a token, those of the most urgent pair are joined, the leftmost first,
//! until no neighbours make one.
//!
//! The rules are those of the `tokenizers` crate, which `tests/bpe.rs` holds this against. Pairs are ids here, not texts.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::{boxed::Box, fmt, vec::Vec};

use super::vocab::Vocabulary;
use crate::TextError;

/// Makes a vocabulary and its merges from what is kept of a file.
type Make = Box<dyn FnOnce() -> Result<(Vocabulary, Merges), TextError> + Send>;

/// Which neighbours are merged, and in which order.
#[derive(Debug)]
pub(super) enum Merges {
    /// These, the most urgent first; of pairs that are there twice, the later counts.
    Pairs(Vec<Pair>),
    /// Any two whose texts make a third, the one of the lowest id first: the rule of Meta's rank files.
    ByRank,
}

/// Pieces to tokens.
pub(super) struct Merger {
    whole_pieces: bool,
    tables: OnceLock<Result<Tables, TextError>>,
    /// What `tables` are made from; none once they are.
    source: Mutex<Option<Make>>,
}

struct Tables {
    vocabulary: Vocabulary,
    /// None where ids are the order.
    pairs: Option<Pairs>,
}

/// What every token is merged with: two thirds of the memory of a hash table, and made in less time.
struct Pairs {
    /// Where the pairs of each left token begin in `next`, and of one more.
    starts: Vec<u32>,
    /// By left token, then by right one, then by rank.
    next: Vec<Next>,
}

/// The second token of a pair, the pair's place in the list, and the token that is made.
#[derive(Debug, Clone, Copy, Default)]
struct Next {
    right: u32,
    rank: u32,
    joined: u32,
}

impl fmt::Debug for Merger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Merger").field("whole_pieces", &self.whole_pieces).finish_non_exhaustive()
    }
}

impl Merger {
    pub(super) fn new(whole_pieces: bool, make: Make) -> Self {
        Self { whole_pieces, tables: OnceLock::new(), source: Mutex::new(Some(make)) }
    }

    /// Makes the tables now, unless they are there.
    pub(super) fn prepare(&self) -> Result<(), TextError> {
        self.tables().map(drop)
    }

    fn tables(&self) -> Result<&Tables, TextError> {
        let made = self.tables.get_or_init(|| {
            let source = self.source.lock().unwrap_or_else(PoisonError::into_inner).take();
            let lost = || TextError::Encode { message: "an earlier attempt did not finish".into() };
            let (vocabulary, merges) = source.ok_or_else(lost)?()?;
            Tables::new(vocabulary, merges)
        });
        made.as_ref().map_err(TextError::clone)
    }

    /// Appends the tokens of a piece; characters that are no tokens give none.
    pub(super) fn encode(&self, piece: &str, word: &mut Word, out: &mut Vec<u32>) -> Result<(), TextError> {
        let tables = self.tables()?;
        if self.whole_pieces
            && let Some(id) = tables.vocabulary.id(piece)
        {
            out.push(id);
            return Ok(());
        }
        word.parts.clear();
        for (start, c) in piece.char_indices() {
            let id = tables.vocabulary.id(&piece[start..start + c.len_utf8()]);
            id.into_iter().for_each(|id| word.push(id, start));
        }
        tables.merge(piece, word);
        out.extend(word.ids());
        Ok(())
    }
}

/// Two tokens and the one they make. In a list of them, the most urgent comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pair {
    pub(super) left: u32,
    pub(super) right: u32,
    pub(super) joined: u32,
}

/// One token of a piece while it is merged.
#[derive(Debug, Clone, Copy)]
struct Part {
    id: u32,
    /// Where its text begins in the piece.
    start: usize,
    /// Position of the part before, and of the one behind; [`NONE`] at the ends.
    prev: usize,
    next: usize,
}

const NONE: usize = usize::MAX;
/// The id of a part that was joined to the one before it: no token has it.
const GONE: u32 = u32::MAX;

/// The tokens of a piece, and what merging them needs: kept from piece to piece.
#[derive(Default)]
pub(super) struct Word {
    parts: Vec<Part>,
    /// Rank of a pair and position of its left part; ranks may be out of date.
    queue: BinaryHeap<Reverse<(u32, usize)>>,
}

impl Word {
    fn push(&mut self, id: u32, start: usize) {
        let at = self.parts.len();
        if let Some(last) = self.parts.last_mut() {
            last.next = at;
        }
        self.parts.push(Part { id, start, prev: at.wrapping_sub(1), next: NONE });
    }

    fn ids(&self) -> impl Iterator<Item = u32> {
        self.parts.iter().map(|part| part.id).filter(|&id| id != GONE)
    }
}

impl Pairs {
    fn new(list: &[Pair]) -> Result<Self, TextError> {
        let memory = |_| TextError::OutOfMemory { what: "the merges" };
        let n_left = list.iter().map(|pair| pair.left as usize + 1).max().unwrap_or(0);
        let (mut starts, mut next) = (Vec::new(), Vec::new());
        starts.try_reserve_exact(n_left + 2).map_err(memory)?;
        next.try_reserve_exact(list.len()).map_err(memory)?;
        // A counting sort: the place for a token's next pair stands one behind its start, and ends up where that begins.
        starts.resize(n_left + 2, 0u32);
        list.iter().for_each(|pair| starts[pair.left as usize + 2] += 1);
        (2..starts.len()).for_each(|left| starts[left] += starts[left - 1]);
        next.resize(list.len(), Next::default());
        for (&Pair { left, right, joined }, rank) in list.iter().zip(0..) {
            let place = &mut starts[left as usize + 1];
            next[*place as usize] = Next { right, rank, joined };
            *place += 1;
        }
        starts.pop();
        let mut rest = &mut next[..];
        for ends in starts.windows(2) {
            let (own, others) = core::mem::take(&mut rest).split_at_mut((ends[1] - ends[0]) as usize);
            own.sort_unstable_by_key(|next| (next.right, next.rank));
            rest = others;
        }
        Ok(Self { starts, next })
    }

    fn get(&self, left: u32, right: u32) -> Option<&Next> {
        let left = left as usize;
        let own = self.next.get(*self.starts.get(left)? as usize..*self.starts.get(left + 1)? as usize)?;
        // Of pairs that are there twice, the later counts.
        own.get(..own.partition_point(|next| next.right <= right))?.last().filter(|next| next.right == right)
    }
}

impl Tables {
    fn new(vocabulary: Vocabulary, merges: Merges) -> Result<Self, TextError> {
        let pairs = match merges {
            Merges::Pairs(list) => Some(Pairs::new(&list)?),
            Merges::ByRank => None,
        };
        Ok(Self { vocabulary, pairs })
    }

    /// Rank and token of the part at `left` joined with the one behind it.
    fn joined(&self, piece: &str, parts: &[Part], left: usize) -> Option<(u32, u32)> {
        let first = parts.get(left)?;
        let second = parts.get(first.next)?;
        let Some(pairs) = &self.pairs else {
            let end = parts.get(second.next).map_or(piece.len(), |part| part.start);
            let id = self.vocabulary.id(piece.get(first.start..end)?)?;
            return Some((id, id));
        };
        pairs.get(first.id, second.id).map(|next| (next.rank, next.joined))
    }

    fn merge(&self, piece: &str, word: &mut Word) {
        let Word { parts, queue } = word;
        queue.clear();
        let pairs = (0..parts.len()).filter_map(|at| Some(Reverse((self.joined(piece, parts, at)?.0, at))));
        queue.extend(pairs);
        while let Some(Reverse((rank, at))) = queue.pop() {
            // Either part may have become another one since.
            let Some((_, id)) = self.joined(piece, parts, at).filter(|(now, _)| *now == rank) else {
                continue;
            };
            let Some(&Part { next: right, prev, .. }) = parts.get(at) else { continue };
            let Some(next) = parts.get_mut(right).map(|gone| {
                gone.id = GONE;
                core::mem::replace(&mut gone.next, NONE)
            }) else {
                continue;
            };
            if let Some(behind) = parts.get_mut(next) {
                behind.prev = at;
            }
            if let Some(part) = parts.get_mut(at) {
                (part.id, part.next) = (id, next);
            }
            for left in [prev, at] {
                queue.extend(self.joined(piece, parts, left).map(|(rank, _)| Reverse((rank, left))));
            }
        }
    }
}
