//! Meta's cuts of long input, which change the tokens of texts that hold very long runs.
//!
//! Its tokenizers cut text into pieces of 400,000 characters, and those where more than 25,000 characters in a row are
//! all white space or all not; each piece is then encoded by itself.

const MAX_CHARS: usize = 400_000;
const MAX_RUN: usize = 25_000;

/// The pieces of a text, at least one; together they are the text.
pub(super) fn pieces(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    // Counts restart only at a cut by length: a cut inside a run keeps what it knew of the run.
    let mut in_block = 0;
    let mut run = 0;
    let mut run_is_white = None;
    std::iter::from_fn(move || {
        let text = rest?;
        for (at, c) in text.char_indices() {
            if in_block == MAX_CHARS {
                (in_block, run, run_is_white) = (0, 0, None);
                rest = Some(&text[at..]);
                return Some(&text[..at]);
            }
            let white = is_python_space(c);
            if run_is_white.is_some_and(|before| before != white) {
                run = 0;
            } else if run == MAX_RUN {
                run = 0;
                rest = Some(&text[at..]);
                return Some(&text[..at]);
            }
            run_is_white = Some(white);
            run += 1;
            in_block += 1;
        }
        rest = None;
        Some(text)
    })
}

/// Python's `str.isspace`: white space of Unicode, and the four separators of ASCII.
fn is_python_space(c: char) -> bool {
    c.is_whitespace() || matches!(c, '\x1C'..='\x1F')
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{string::String, vec::Vec};

    fn lengths(text: &str) -> Vec<usize> {
        pieces(text).map(|piece| piece.chars().count()).collect()
    }

    #[test]
    fn cuts_are_where_python_cuts() {
        assert_eq!(lengths(""), [0]);
        assert_eq!(lengths(&"é".repeat(25_000)), [25_000]);
        assert_eq!(lengths(&"é".repeat(60_000)), [25_000, 25_000, 10_000]);
        assert_eq!(lengths(&(" ".repeat(30_000) + &"a".repeat(25_000))), [25_000, 30_000]);
        assert_eq!(lengths(&"ab ".repeat(200_000)), [400_000, 200_000]);
        let text = String::from("x\x1C").repeat(30_000);
        assert_eq!(lengths(&text), [60_000]);
    }
}
