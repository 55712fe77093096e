//! Tokens by id and by text, each in one arena, so that looking one up allocates nothing.

use std::ops::Range;
use std::{boxed::Box, format, string::String, vec::Vec};

use ahash::RandomState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use super::merge::Pair;
use super::str_list::StrList;
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

    /// Gives back what it has room for and does not need.
    pub(super) fn shrink(mut self) -> Self {
        self.bytes.shrink_to_fit();
        self
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
    /// Adds strings of a list.
    pub(super) fn extend(&mut self, list: StrList<'_>, range: Range<usize>) -> Result<(), TextError> {
        let memory = |_| TextError::OutOfMemory { what: "the vocabulary" };
        self.ends.try_reserve_exact(range.len()).map_err(memory)?;
        let StrList::Joined { text, ends } = list else {
            return range.filter_map(|i| list.get(i)).try_for_each(|text| self.push(text));
        };
        let start = range.start.checked_sub(1).and_then(|before| ends.get(before)).copied().unwrap_or(0);
        let ends = ends.get(range).unwrap_or_default();
        let end = ends.last().copied().unwrap_or(start);
        let text = text.get(start as usize..end as usize).unwrap_or_default();
        let before = self.text_end(text.len())? - text.len() as u32;
        self.text.try_reserve_exact(text.len()).map_err(memory)?;
        self.text.push_str(text);
        self.ends.extend(ends.iter().map(|end| end.wrapping_sub(start).wrapping_add(before)));
        Ok(())
    }

    /// Where the text ends with so many bytes more.
    fn text_end(&self, more: usize) -> Result<u32, TextError> {
        let found = self.text.len().saturating_add(more);
        let limit = u32::MAX as usize;
        let too_large = |_| TextError::TooLarge { what: "bytes of a vocabulary", limit, found };
        u32::try_from(found).map_err(too_large)
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &str> {
        let starts = core::iter::once(0).chain(self.ends.iter().copied());
        let texts = starts.zip(&self.ends).map(|(start, end)| self.text.get(start as usize..*end as usize));
        texts.map(Option::unwrap_or_default)
    }

    fn push(&mut self, text: &str) -> Result<(), TextError> {
        let end = self.text_end(text.len())?;
        self.text.try_reserve(text.len()).map_err(|_| TextError::OutOfMemory { what: "the vocabulary" })?;
        self.text.push_str(text);
        self.ends.push(end);
        Ok(())
    }

    fn get(&self, index: u32) -> Option<&str> {
        let index = index as usize;
        let end = *self.ends.get(index)?;
        let start = if index == 0 { 0 } else { *self.ends.get(index - 1)? };
        self.text.get(start as usize..end as usize)
    }
}

/// Characters below this are looked up without hashing: all that stand for bytes.
const DIRECT: usize = 0x144;

/// The tokens that merging makes and starts from, by their texts.
#[derive(Debug)]
pub(super) struct Vocabulary {
    texts: Texts,
    /// The id of each text.
    ids: Vec<u32>,
    /// Positions in `texts`, by the hash of what is there.
    index: HashTable<u32>,
    /// Positions of single characters.
    direct: Box<[Option<u32>; DIRECT]>,
    /// Seeded: the texts come from a file.
    hasher: RandomState,
}

impl Vocabulary {
    /// None yet, with room for this many tokens.
    pub(super) fn with_capacity(tokens: usize) -> Result<Self, TextError> {
        check_count(tokens)?;
        let (mut texts, mut ids, mut index) = (Texts::default(), Vec::new(), HashTable::new());
        let refused = || TextError::OutOfMemory { what: "the vocabulary" };
        ids.try_reserve_exact(tokens).map_err(|_| refused())?;
        texts.ends.try_reserve_exact(tokens).map_err(|_| refused())?;
        texts.text.try_reserve(tokens.saturating_mul(8)).map_err(|_| refused())?;
        index.try_reserve(tokens, |_| 0).map_err(|_| refused())?;
        Ok(Self { texts, ids, index, direct: Box::new([None; DIRECT]), hasher: RandomState::new() })
    }

    /// Of these texts, which must differ, and the id of each.
    pub(super) fn new(texts: Texts, ids: Vec<u32>) -> Result<Self, TextError> {
        let mut index = HashTable::new();
        let refused = |_| TextError::OutOfMemory { what: "the vocabulary" };
        index.try_reserve(ids.len(), |_| 0).map_err(refused)?;
        let direct = Box::new([None; DIRECT]);
        let mut all = Self { texts, ids, index, direct, hasher: RandomState::new() };
        (0..all.ids.len()).try_for_each(|at| all.enter(at))?;
        Ok(all)
    }

    /// Adds a token; its text must be new.
    pub(super) fn push(&mut self, text: &str, id: u32) -> Result<(), TextError> {
        self.ids.push(id);
        self.texts.push(text)?;
        self.enter(self.ids.len() - 1)
    }

    /// Makes a token be found.
    fn enter(&mut self, at: usize) -> Result<(), TextError> {
        let Self { texts, ids, index, direct, hasher } = self;
        check_count(at + 1)?;
        let (at, id) = (at as u32, ids.get(at).copied().unwrap_or_default());
        let text = texts.get(at).unwrap_or_default();
        if text.len() > MAX_TOKEN_BYTES {
            let what = "bytes of a token";
            return Err(TextError::TooLarge { what, limit: MAX_TOKEN_BYTES, found: text.len() });
        }
        let same = |&at: &u32| texts.get(at) == Some(text);
        let hash = |at: &u32| hasher.hash_one(texts.get(*at));
        match index.entry(hasher.hash_one(Some(text)), same, hash) {
            Entry::Vacant(entry) => _ = entry.insert(at),
            Entry::Occupied(entry) => {
                let before = ids.get(*entry.get() as usize).copied().unwrap_or_default();
                let at = format!("tokens {before} and {id}");
                return Err(TextError::malformed("vocabulary", at, "different texts", text));
            }
        }
        if let Some(place) = single(text).and_then(|c| direct.get_mut(c)) {
            *place = Some(at);
        }
        Ok(())
    }

    fn find(&self, text: &str) -> Option<u32> {
        if let Some(place) = single(text).and_then(|c| self.direct.get(c)) {
            return *place;
        }
        let same = |&at: &u32| self.texts.get(at) == Some(text);
        self.index.find(self.hasher.hash_one(Some(text)), same).copied()
    }

    /// The id of a text.
    pub(super) fn id(&self, text: &str) -> Option<u32> {
        self.ids.get(self.find(text)? as usize).copied()
    }

    /// Two tokens that are merged, and the token they make, by id. `at` is the place in the list of merges; `guess` a
    /// position near which the token they make is looked for first, and is left where it was.
    pub(super) fn pair(
        &self,
        at: usize,
        (left, right): (&str, &str),
        guess: &mut u32,
    ) -> Result<Pair, TextError> {
        let refuse = |missing: &str| {
            let found = format_args!("{left} {right} and no token {missing}");
            let expected = "two tokens whose texts make a third";
            TextError::malformed("merges", format!("merge {at}"), expected, found)
        };
        let known = |text| self.id(text).ok_or_else(|| refuse(text));
        let (first, second) = (known(left)?, known(right)?);
        // Merges come in the order of the tokens they make, in most files one or several for each.
        let is_joined = |at: &u32| {
            self.texts.get(*at).and_then(|text| text.strip_prefix(left)).is_some_and(|rest| rest == right)
        };
        let near = (*guess..guess.saturating_add(3)).find(is_joined);
        let found = near.or_else(|| self.find(&format!("{left}{right}")));
        *guess = found.ok_or_else(|| refuse(&format!("{left}{right}")))?;
        let joined = self.ids.get(*guess as usize).copied().unwrap_or_default();
        Ok(Pair { left: first, right: second, joined })
    }
}

/// The character that a text consists of.
fn single(text: &str) -> Option<usize> {
    let mut chars = text.chars();
    chars.next().filter(|_| chars.next().is_none()).map(|c| c as usize)
}

/// The two texts of a merge. A token may begin with a space.
pub(super) fn split_pair(merge: &str) -> Option<(&str, &str)> {
    // No byte of a longer character is a space.
    let space = 1 + merge.as_bytes().get(1..)?.iter().position(|&byte| byte == b' ')?;
    let (left, right) = (merge.get(..space)?, merge.get(space + 1..)?);
    (!right.is_empty()).then_some((left, right))
}

pub(super) fn check_count(found: usize) -> Result<(), TextError> {
    if found > MAX_TOKENS {
        return Err(TextError::TooLarge { what: "tokens of a vocabulary", limit: MAX_TOKENS, found });
    }
    Ok(())
}
