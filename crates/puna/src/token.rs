//! One generated token, with its text held inside so that decoding allocates nothing.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

/// A generated token.
#[derive(Clone, PartialEq)]
pub struct Token {
    pub(crate) id: u32,
    pub(crate) is_end: bool,
    pub(crate) logprob: Option<f32>,
    pub(crate) text: Text,
    pub(crate) top_logprobs: Vec<(u32, f32)>,
}

impl Token {
    /// The token's id in the vocabulary.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// The text that became complete with this token: always whole characters, and nothing that may be the beginning
    /// of a stop string. It can be empty, and the next token's text then holds what is missing here.
    pub fn text(&self) -> &str {
        self.text.as_str()
    }

    /// Whether this token ends the answer. It has no text of its own, and its text is what was held back until now.
    pub fn is_end(&self) -> bool {
        self.is_end
    }

    /// The natural logarithm of the token's probability under the model itself, before penalties, truncation and
    /// temperature. Present when [`Sampling::logprobs`](crate::Sampling#structfield.logprobs) is set.
    pub fn logprob(&self) -> Option<f32> {
        self.logprob
    }

    /// The most likely tokens in this place and their log-probabilities, as many as
    /// [`Sampling::logprobs`](crate::Sampling#structfield.logprobs) asks for, the most likely first.
    pub fn top_logprobs(&self) -> &[(u32, f32)] {
        &self.top_logprobs
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut s = f.debug_struct("Token");
        s.field("id", &self.id).field("text", &self.text());
        if let Some(logprob) = self.logprob {
            s.field("logprob", &logprob);
        }
        s.finish_non_exhaustive()
    }
}

/// Longest text kept without an allocation; nearly every token of a vocabulary is shorter.
const INLINE: usize = 46;

/// A short text inside the value, or a long one on the heap.
#[derive(Clone)]
pub(crate) enum Text {
    Inline { len: u8, bytes: [u8; INLINE] },
    Heap(String),
}

impl Text {
    pub(crate) fn as_str(&self) -> &str {
        match self {
            // What was copied in was a whole `str`, so this never falls back.
            Text::Inline { len, bytes } => {
                bytes.get(..usize::from(*len)).and_then(|b| core::str::from_utf8(b).ok()).unwrap_or_default()
            }
            Text::Heap(text) => text,
        }
    }

    /// Adds to the end.
    pub(crate) fn push_str(&mut self, more: &str) {
        match self {
            Text::Heap(text) => text.push_str(more),
            Text::Inline { len, bytes } => {
                let start = usize::from(*len);
                match bytes.get_mut(start..start + more.len()) {
                    Some(free) => {
                        free.copy_from_slice(more.as_bytes());
                        *len += more.len() as u8;
                    }
                    None => {
                        let mut text = String::from(self.as_str());
                        text.push_str(more);
                        *self = Text::Heap(text);
                    }
                }
            }
        }
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        let mut new = Text::Inline { len: 0, bytes: [0; INLINE] };
        new.push_str(text);
        new
    }
}

impl PartialEq for Text {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_kept_whatever_its_length() {
        for n in [0, 1, INLINE - 1, INLINE, INLINE + 1, 1000] {
            let text = "ü".repeat(n / 2) + &"x".repeat(n % 2);
            let mut kept = Text::from(text.as_str());
            assert_eq!(kept.as_str(), text);
            kept.push_str("é!");
            assert_eq!(kept.as_str(), text.clone() + "é!");
            assert_eq!(matches!(kept, Text::Inline { .. }), n + 3 <= INLINE);
        }
    }
}
