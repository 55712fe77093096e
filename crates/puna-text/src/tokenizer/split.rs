//! Pre-tokenizers: cut text into the pieces inside which tokens are merged, in time linear in the text.
//!
//! The published patterns end in `|\s+(?!\S)|\s+`: a run of white space leaves its last character to the word that
//! follows. Nothing else in them needs look-ahead, so a linear engine matches `|\s+` and the last character is given
//! back afterwards.

use std::sync::OnceLock;
use std::vec::Vec;

use regex::{Regex, RegexBuilder};

use crate::TextError;

/// Llama 4 and GPT-4o.
pub(super) const O200K: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// Llama 3.
pub(super) const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// Qwen 2.
pub(super) const QWEN2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// GPT-2.
pub(super) const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
/// Each digit by itself; before [`GPT2`], SmolLM's way.
pub(super) const DIGIT: &str = r"\p{N}";
/// What llama.cpp does where a file does not say: punctuation, then [`GPT2`], then digits in threes.
pub(super) const UNSAID: [&str; 4] = [r"[\p{P}$+<=>^~|]+", GPT2, r"\p{N}+", "[0-9][0-9][0-9]"];

/// Most patterns applied one after another.
const MAX_STAGES: usize = 16;
/// Compiled size of one pattern, in bytes.
const MAX_PATTERN: usize = 16 << 20;

/// Patterns applied one after another: each cuts what the one before it left.
#[derive(Debug)]
pub(super) struct Splitter {
    /// What `stages` are made of where nothing has been cut yet.
    patterns: &'static [&'static str],
    stages: OnceLock<Result<Vec<Stage>, TextError>>,
}

#[derive(Debug)]
pub(super) struct Stage {
    regex: Regex,
    /// The group that matches the white space which gives its last character back.
    white: Option<usize>,
}

impl Splitter {
    pub(super) fn new(patterns: &[&str]) -> Result<Self, TextError> {
        if patterns.len() > MAX_STAGES {
            let what = "pre-tokenizer patterns";
            return Err(TextError::TooLarge { what, limit: MAX_STAGES, found: patterns.len() });
        }
        Ok(Self { patterns: &[], stages: OnceLock::from(Ok(stages(patterns)?)) })
    }

    /// Of patterns of this crate, which are compiled when the first text is cut: a tenth of the time that it takes to load a
    /// model from the page cache.
    pub(super) fn known(patterns: &'static [&'static str]) -> Self {
        Self { patterns, stages: OnceLock::new() }
    }

    /// Compiles the patterns now, unless they are.
    pub(super) fn prepare(&self) -> Result<&[Stage], TextError> {
        let stages = self.stages.get_or_init(|| stages(self.patterns));
        stages.as_deref().map_err(TextError::clone)
    }

    /// Calls `each` with the pieces of `text` in order; together they are the text.
    pub(super) fn split(
        &self,
        text: &str,
        each: &mut dyn FnMut(&str) -> Result<(), TextError>,
    ) -> Result<(), TextError> {
        run(self.prepare()?, text, each)
    }
}

fn stages(patterns: &[&str]) -> Result<Vec<Stage>, TextError> {
    patterns.iter().map(|pattern| Stage::new(pattern)).collect()
}

fn run(
    stages: &[Stage],
    text: &str,
    each: &mut dyn FnMut(&str) -> Result<(), TextError>,
) -> Result<(), TextError> {
    let Some((stage, rest)) = stages.split_first() else {
        return if text.is_empty() { Ok(()) } else { each(text) };
    };
    let mut done = 0;
    while let Some((start, end)) = stage.next(text, done) {
        run(rest, &text[done..start], each)?;
        run(rest, &text[start..end], each)?;
        done = end;
    }
    run(rest, &text[done..], each)
}

impl Stage {
    fn new(pattern: &str) -> Result<Self, TextError> {
        let ends = [r"|\s+(?!\S)|\s+", r"|\s+(?!\S)"];
        let stripped = ends.iter().find_map(|end| pattern.strip_suffix(end));
        let linear = stripped.unwrap_or(pattern);
        let supported =
            r"patterns without look-around other than a final |\s+(?!\S)|\s+, and without possessive groups";
        let refuse = || TextError::unsupported("pre-tokenizer pattern", pattern, supported);
        if ["(?=", "(?!", "(?<=", "(?<!", "(?>", "++", "*+", "?+"].iter().any(|part| linear.contains(part)) {
            return Err(refuse());
        }
        let source = match stripped {
            Some(linear) => std::format!(r"{linear}|(\s+)"),
            None => linear.into(),
        };
        let regex = RegexBuilder::new(&source).size_limit(MAX_PATTERN).build().map_err(|_| refuse())?;
        let white = stripped.map(|_| regex.captures_len() - 1);
        Ok(Self { regex, white })
    }

    /// The next match from byte `from` on; never empty.
    fn next(&self, text: &str, from: usize) -> Option<(usize, usize)> {
        let found = self.regex.find_at(text, from).filter(|found| !found.is_empty())?;
        let (start, mut end) = (found.start(), found.end());
        if let Some(group) = self.white
            && let Some(last) = found.as_str().chars().next_back()
            && last.is_whitespace()
            && end < text.len()
            && end - start > last.len_utf8()
        {
            // Rare enough to ask which alternative matched: runs of white space before a word.
            let mut slots = self.regex.capture_locations();
            self.regex.captures_read_at(&mut slots, text, start);
            if slots.get(group).is_some() {
                end -= last.len_utf8();
            }
        }
        Some((start, end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::String;

    fn pieces(patterns: &[&str], text: &str) -> Vec<String> {
        let mut out = Vec::new();
        let mut each = |piece: &str| {
            out.push(String::from(piece));
            Ok(())
        };
        Splitter::new(patterns).unwrap().split(text, &mut each).unwrap();
        out
    }

    #[test]
    fn white_space_leaves_its_last_character_to_the_word() {
        assert_eq!(pieces(&[O200K], "a   b"), ["a", "  ", " b"]);
        assert_eq!(pieces(&[O200K], "a \n  b  "), ["a", " \n", " ", " b", "  "]);
        assert_eq!(pieces(&[O200K], "  \n1"), ["  \n", "1"]);
        assert_eq!(pieces(&[GPT2], "a \n b\n\nc"), ["a", " \n", " b", "\n", "\n", "c"]);
        assert_eq!(pieces(&[DIGIT, GPT2], "x  12 y"), ["x", "  ", "1", "2", " y"]);
        assert_eq!(pieces(&[O200K], "\u{3000}\u{3000}語"), ["\u{3000}", "\u{3000}語"]);
        assert_eq!(pieces(&UNSAID, "ab. 1234567x"), ["ab", ".", " ", "123", "456", "7", "x"]);
        assert!(pieces(&[O200K], "").is_empty());
    }

    #[test]
    fn look_around_and_bombs_are_refused() {
        for pattern in [r"(?<=a)b", r"\p{L}++", "(", r"(\w{1000}){1000}", r"a(?=b)|\s+(?!\S)|\s+"] {
            assert!(matches!(Splitter::new(&[pattern]), Err(TextError::Unsupported { .. })), "{pattern}");
        }
    }
}
