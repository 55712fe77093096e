//! Turns the bytes of tokens into text as they come, never splitting a character.

use alloc::{string::String, vec::Vec};

/// Bytes of buffer taken at the first token: longer than any token of the vocabularies we know.
const ROOM: usize = 256;

/// Decodes a stream of bytes as UTF-8, lossily, piece by piece.
///
/// A character whose bytes arrive in several pieces is given out with the piece that completes it. A byte that can no
/// longer become part of a character is given out as U+FFFD, as soon as that is certain. All pieces together, with
/// [`flush`](Self::flush), equal [`String::from_utf8_lossy`] of all bytes together.
///
/// ```
/// let mut decoder = puna_text::StreamDecoder::new();
/// assert_eq!(decoder.push(b"caf\xC3"), "caf");
/// assert_eq!(decoder.push(b"\xA9"), "é");
/// assert_eq!(decoder.push(b"\xF0\x9F"), "");
/// assert_eq!(decoder.flush(), "\u{FFFD}");
/// ```
#[derive(Debug, Clone, Default)]
pub struct StreamDecoder {
    /// The start of a character whose rest has not come, at most 3 bytes between calls.
    pending: Vec<u8>,
    text: String,
}

impl StreamDecoder {
    /// A decoder that has seen nothing.
    pub const fn new() -> Self {
        Self { pending: Vec::new(), text: String::new() }
    }

    /// Takes the bytes of a token and returns the text that is now complete; the text lives until the next call.
    ///
    /// Nothing is allocated after the first call, unless a token is longer than all before it and than 256 bytes.
    pub fn push(&mut self, bytes: &[u8]) -> &str {
        self.text.clear();
        if self.text.capacity() == 0 {
            self.text.reserve(ROOM);
            self.pending.reserve(ROOM);
        }
        self.pending.extend_from_slice(bytes);
        let mut done = 0;
        for chunk in self.pending.utf8_chunks() {
            self.text.push_str(chunk.valid());
            done += chunk.valid().len();
            let invalid = chunk.invalid();
            if done + invalid.len() == self.pending.len() && may_continue(invalid) {
                break;
            }
            done += invalid.len();
            if !invalid.is_empty() {
                self.text.push(char::REPLACEMENT_CHARACTER);
            }
        }
        self.pending.drain(..done);
        &self.text
    }

    /// Ends the stream: an unfinished character becomes U+FFFD. The decoder can be used again.
    pub fn flush(&mut self) -> &str {
        self.text.clear();
        if !self.pending.is_empty() {
            self.pending.clear();
            self.text.push(char::REPLACEMENT_CHARACTER);
        }
        &self.text
    }

    /// Whether the start of a character is waiting for its rest.
    pub fn is_pending(&self) -> bool {
        !self.pending.is_empty()
    }
}

/// Whether more bytes could make these into a character, i.e. they are incomplete and not wrong.
fn may_continue(bytes: &[u8]) -> bool {
    matches!(core::str::from_utf8(bytes), Err(error) if error.error_len().is_none())
}
