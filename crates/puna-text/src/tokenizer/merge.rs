//! Byte-pair merging: of all neighbours that make a token, those of the most urgent pair are joined, the leftmost first,
//! until no neighbours make one.
//!
//! The rules are those of the `tokenizers` crate, which `tests/bpe.rs` holds this against. Pairs are ids here, not texts.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::{boxed::Box, fmt, vec::Vec};

use ahash::RandomState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

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

/// The list of merges, and where each pair is in it.
///
/// For 242 thousand merges this is 5.5 MB where a map that holds the pairs themselves took 8.9. Sorted by left token and searched
/// for the right one they took 3.7, and encoding 4 MB of English a fifth longer.
struct Pairs {
    list: Vec<Pair>,
    /// Places in `list`, by the hash of the two tokens there.
    index: HashTable<u32>,
    /// Seeded: the pairs come from a file.
    hasher: RandomState,
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

impl Pair {
    fn key(&self) -> u64 {
        u64::from(self.left) << 32 | u64::from(self.right)
    }
}

impl Pairs {
    fn new(list: Vec<Pair>) -> Result<Self, TextError> {
        let hasher = RandomState::new();
        let mut index = HashTable::new();
        index.try_reserve(list.len(), |_| 0).map_err(|_| TextError::OutOfMemory { what: "the merges" })?;
        let key = |at: &u32| list.get(*at as usize).map_or(0, Pair::key);
        for at in 0..list.len() as u32 {
            let hash = |at: &u32| hasher.hash_one(key(at));
            match index.entry(hash(&at), |other| key(other) == key(&at), hash) {
                Entry::Vacant(entry) => _ = entry.insert(at),
                Entry::Occupied(mut entry) => *entry.get_mut() = at,
            }
        }
        Ok(Self { list, index, hasher })
    }

    /// The place of a pair, and the token it makes.
    fn get(&self, left: u32, right: u32) -> Option<(u32, u32)> {
        let key = Pair { left, right, joined: 0 }.key();
        let is_it = |&at: &u32| self.list.get(at as usize).is_some_and(|pair| pair.key() == key);
        let at = *self.index.find(self.hasher.hash_one(key), is_it)?;
        Some((at, self.list.get(at as usize)?.joined))
    }
}

impl Tables {
    fn new(vocabulary: Vocabulary, merges: Merges) -> Result<Self, TextError> {
        let pairs = match merges {
            Merges::Pairs(list) => Some(Pairs::new(list)?),
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
        pairs.get(first.id, second.id)
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
