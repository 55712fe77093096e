//! Lists of hundreds of thousands of strings as a file reader has them.

use std::vec::Vec;

/// Strings in order. The default is none.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum StrList<'a> {
    /// Each by itself.
    Each(&'a [&'a str]),
    /// One after the other in one piece, which a vocabulary of 200,000 is read from several times as fast.
    Joined {
        /// The piece.
        text: &'a str,
        /// Where in it each string ends, in ascending order. What is not a range of whole characters is empty.
        ends: &'a [u32],
    },
}

impl Default for StrList<'_> {
    fn default() -> Self {
        Self::Each(&[])
    }
}

impl<'a> From<&'a [&'a str]> for StrList<'a> {
    fn from(strs: &'a [&'a str]) -> Self {
        Self::Each(strs)
    }
}

impl<'a> From<&'a Vec<&'a str>> for StrList<'a> {
    fn from(strs: &'a Vec<&'a str>) -> Self {
        Self::Each(strs)
    }
}

impl<'a> StrList<'a> {
    /// The number of strings.
    pub fn len(&self) -> usize {
        match self {
            Self::Each(strs) => strs.len(),
            Self::Joined { ends, .. } => ends.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// String number `i`.
    pub fn get(&self, i: usize) -> Option<&'a str> {
        match *self {
            Self::Each(strs) => strs.get(i).copied(),
            Self::Joined { text, ends } => {
                let end = *ends.get(i)? as usize;
                let start =
                    i.checked_sub(1).and_then(|before| ends.get(before)).map_or(0, |&start| start as usize);
                Some(text.get(start..end).unwrap_or_default())
            }
        }
    }

    /// The strings in order.
    pub fn iter(&self) -> impl Iterator<Item = &'a str> + Clone + use<'a> {
        let list = *self;
        (0..list.len()).map(move |i| list.get(i).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokenizer::vocab::Texts;

    #[test]
    fn both_ways_are_the_same_list() {
        let each = ["a", "", "\u{e9}t\u{e9}", "b c"];
        let text = each.concat();
        let ends: Vec<u32> = each
            .iter()
            .scan(0, |n, s| {
                *n += s.len() as u32;
                Some(*n)
            })
            .collect();
        let lists = [StrList::Each(&each), StrList::Joined { text: &text, ends: &ends }];
        for list in lists {
            assert_eq!((list.len(), list.is_empty()), (4, false));
            assert!(list.iter().eq(each));
            assert_eq!((list.get(2), list.get(4)), (Some(each[2]), None));
            let mut texts = Texts::default();
            texts.extend(list, 2..4).unwrap();
            texts.extend(list, 0..1).unwrap();
            texts.extend(list, 3..3).unwrap();
            assert!(texts.iter().eq(["\u{e9}t\u{e9}", "b c", "a"]));
        }
    }

    /// Nothing in the type keeps a caller from such.
    #[test]
    fn ends_that_are_wrong_are_empty_strings() {
        let ends = [3, 1, 9, u32::MAX, 2];
        let list = StrList::Joined { text: "\u{e9}abc", ends: &ends };
        assert!(list.iter().eq(["\u{e9}a", "", "", "", ""]));
        for range in [0..5, 1..3, 2..4, 4..5, 3..9] {
            let mut texts = Texts::default();
            texts.extend(list, range).unwrap();
            assert!(texts.iter().all(|text| text.len() <= 5));
        }
    }
}
