//! What can go wrong with text: each error says what was expected, what was found and where.

use alloc::string::{String, ToString};
use core::fmt;

/// An error of this crate.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum TextError {
    /// A tokenizer file, vocabulary, template or message list breaks its own format.
    Malformed {
        /// The kind of input, e.g. "rank file".
        what: &'static str,
        /// Line, entry or key at fault.
        at: String,
        /// What belongs there.
        expected: String,
        /// What is there, shortened.
        found: String,
    },
    /// A valid input that needs something this crate does not do.
    Unsupported {
        /// The property, e.g. "tokenizer model".
        what: &'static str,
        /// Its value.
        found: String,
        /// The values that work.
        supported: &'static str,
    },
    /// A count or length past a limit.
    TooLarge {
        /// What is counted.
        what: &'static str,
        /// The largest value accepted.
        limit: usize,
        /// The value met.
        found: usize,
    },
    /// The prompt format needs a special token that this vocabulary lacks.
    MissingToken {
        /// The token's text, e.g. `<|header_start|>`.
        name: String,
    },
    /// The model's chat template cannot be compiled or refuses the conversation.
    Template {
        /// The template engine's words.
        message: String,
        /// 1-based line of the template, 0 if unknown.
        line: usize,
    },
    /// The tokenizer failed on a text.
    Encode {
        /// The reason.
        message: String,
    },
    /// An image's size or pixels are not as they must be.
    Image {
        /// What was looked at.
        what: &'static str,
        /// What would have been right.
        expected: String,
        /// What was there.
        found: String,
    },
    /// Memory for a text or vocabulary could not be had.
    OutOfMemory {
        /// What it was for.
        what: &'static str,
    },
}

impl TextError {
    pub(crate) fn malformed(
        what: &'static str,
        at: impl fmt::Display,
        expected: impl Into<String>,
        found: impl fmt::Display,
    ) -> Self {
        Self::Malformed { what, at: clip(at), expected: expected.into(), found: clip(found) }
    }

    #[cfg(feature = "tokenizer")]
    pub(crate) fn unsupported(what: &'static str, found: impl fmt::Display, supported: &'static str) -> Self {
        Self::Unsupported { what, found: clip(found), supported }
    }

    pub(crate) fn image(what: &'static str, expected: impl Into<String>, found: impl fmt::Display) -> Self {
        Self::Image { what, expected: expected.into(), found: found.to_string() }
    }

    pub(crate) fn missing(name: &str) -> Self {
        Self::MissingToken { name: name.to_string() }
    }
}

/// At most 80 characters of untrusted text, so that an error stays one readable line.
fn clip(value: impl fmt::Display) -> String {
    struct Clip {
        out: String,
        left: usize,
    }
    impl fmt::Write for Clip {
        fn write_str(&mut self, s: &str) -> fmt::Result {
            for c in s.chars() {
                if self.left == 0 {
                    self.out.push('…');
                    return Err(fmt::Error);
                }
                self.left -= 1;
                if c.is_control() { self.out.extend(c.escape_default()) } else { self.out.push(c) }
            }
            Ok(())
        }
    }
    let mut clip = Clip { out: String::new(), left: 80 };
    // An error here only says that the text was longer than the clip.
    let _ = fmt::write(&mut clip, format_args!("{value}"));
    clip.out
}

impl fmt::Display for TextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed { what, at, expected, found } => {
                write!(f, "{what}: {at}: expected {expected}, found {found}")
            }
            Self::Unsupported { what, found, supported } => {
                write!(f, "{what} \"{found}\" is not supported; supported: {supported}")
            }
            Self::TooLarge { what, limit, found } => write!(f, "{what}: at most {limit}, found {found}"),
            Self::MissingToken { name } => write!(f, "the vocabulary has no special token {name}"),
            Self::Template { message, line: 0 } => write!(f, "chat template: {message}"),
            Self::Template { message, line } => write!(f, "chat template, line {line}: {message}"),
            Self::Encode { message } => write!(f, "tokenizer: {message}"),
            Self::Image { what, expected, found } => write!(f, "{what}: expected {expected}, found {found}"),
            Self::OutOfMemory { what } => write!(f, "out of memory for {what}"),
        }
    }
}

impl core::error::Error for TextError {}
