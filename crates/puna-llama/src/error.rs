//! The one error of this crate: what was asked, what was expected and what was found.

use alloc::string::{String, ToString};
use core::fmt::{self, Display};
use puna_core::DeviceError;
use puna_format::FormatError;

/// Why a model could not be configured, loaded or run. Displays as one line.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum LlamaError {
    /// A configuration value is missing, has the wrong type, or contradicts another.
    Config {
        /// The key, as the file writes it.
        key: String,
        /// What would have been right.
        expected: String,
        /// What was there.
        found: String,
    },
    /// The file is a model of another family.
    Architecture {
        /// The family that the file names.
        found: String,
    },
    /// Something that the configuration asks for and this crate does not compute.
    Unsupported {
        /// The key or tensor.
        what: String,
        /// What is supported.
        expected: String,
        /// What was asked.
        found: String,
    },
    /// A tensor that the configuration needs is not in the file.
    MissingTensor {
        /// Its name, or the names it may have.
        name: String,
    },
    /// A tensor's shape, format or size is not what the configuration says.
    Tensor {
        /// Its name.
        name: String,
        /// What would have been right.
        expected: String,
        /// What was there.
        found: String,
    },
    /// A norm, bias or scale holds a value that is not finite.
    TensorValue {
        /// The tensor's name.
        name: String,
        /// Index of the value.
        index: usize,
        /// The value.
        found: f32,
    },
    /// An image, its pixels, or its place in a prompt is not as it must be.
    Image {
        /// What was looked at.
        what: &'static str,
        /// What would have been right.
        expected: String,
        /// What was there.
        found: String,
    },
    /// The caller asked to stop. What was computed before the last whole batch is kept.
    Cancelled,
    /// No token was given where at least one is needed.
    EmptyPrompt,
    /// A token id is not in the vocabulary.
    TokenRange {
        /// Position of the token in what was given.
        index: usize,
        /// The id.
        token: u32,
        /// Size of the vocabulary.
        vocab_size: usize,
    },
    /// The tokens do not fit in the context. Nothing was fed.
    ContextFull {
        /// Most positions of this session.
        limit: usize,
        /// Positions already used.
        used: usize,
        /// Tokens that were to be added.
        adding: usize,
    },
    /// The model computed logits that are not finite: damaged weights, or activations beyond F32.
    NonFinite {
        /// Position of the token that was fed.
        position: u64,
    },
    /// An allocation of host memory of this many bytes was refused.
    OutOfMemory {
        /// Bytes asked for.
        bytes: u64,
    },
    /// The device refused.
    Device(DeviceError),
    /// The file was refused.
    Format(FormatError),
}

/// The families that [`Config`](crate::Config) maps.
pub const SUPPORTED: &str =
    "llama4 (Scout, Maverick, Guard 4, MobileLLM-R1), llama (dense Llama 2 and 3, SmolLM2)";

impl LlamaError {
    pub(crate) fn config(key: impl Display, expected: impl Display, found: impl Display) -> Self {
        LlamaError::Config { key: key.to_string(), expected: expected.to_string(), found: found.to_string() }
    }

    pub(crate) fn unsupported(what: impl Display, expected: impl Display, found: impl Display) -> Self {
        LlamaError::Unsupported {
            what: what.to_string(),
            expected: expected.to_string(),
            found: found.to_string(),
        }
    }

    pub(crate) fn tensor(name: impl Display, expected: impl Display, found: impl Display) -> Self {
        LlamaError::Tensor {
            name: name.to_string(),
            expected: expected.to_string(),
            found: found.to_string(),
        }
    }

    pub(crate) fn image(what: &'static str, expected: impl Display, found: impl Display) -> Self {
        LlamaError::Image { what, expected: expected.to_string(), found: found.to_string() }
    }

    pub(crate) fn missing(name: impl Display) -> Self {
        LlamaError::MissingTensor { name: name.to_string() }
    }

    pub(crate) fn out_of_memory<T>(n: usize) -> Self {
        LlamaError::OutOfMemory { bytes: (n as u64).saturating_mul(size_of::<T>() as u64) }
    }
}

/// Text of a file or a caller in a message: control characters escaped, and cut where it gets long.
struct Line<'a>(&'a str);

impl Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MOST: usize = 200;
        for (i, c) in self.0.chars().enumerate() {
            match c {
                _ if i == MOST => return f.write_str("…"),
                c if c.is_control() => write!(f, "{}", c.escape_default())?,
                c => fmt::Write::write_char(f, c)?,
            }
        }
        Ok(())
    }
}

impl Display for LlamaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Names and values may come from a file: whatever they are, the message stays one line of bounded length.
        match self {
            LlamaError::Config { key, expected, found } => {
                write!(f, "configuration: {}: expected {expected}, found {}", Line(key), Line(found))
            }
            LlamaError::Architecture { found } => {
                write!(f, "model family {} is not supported; supported are {SUPPORTED}", Line(found))
            }
            LlamaError::Unsupported { what, expected, found } => {
                write!(f, "{}: {} is not supported, expected {expected}", Line(what), Line(found))
            }
            LlamaError::MissingTensor { name } => write!(f, "tensor {} is missing", Line(name)),
            LlamaError::Tensor { name, expected, found } => {
                write!(f, "tensor {}: expected {expected}, found {}", Line(name), Line(found))
            }
            LlamaError::TensorValue { name, index, found } => {
                write!(f, "tensor {}: expected finite values, found {found} at index {index}", Line(name))
            }
            LlamaError::Image { what, expected, found } => {
                write!(f, "{what}: expected {expected}, found {found}")
            }
            LlamaError::Cancelled => f.write_str("cancelled"),
            LlamaError::EmptyPrompt => f.write_str("empty prompt: expected at least one token, found none"),
            LlamaError::TokenRange { index, token, vocab_size } => {
                write!(f, "token {index}: expected an id below {vocab_size}, found {token}")
            }
            LlamaError::ContextFull { limit, used, adding } => {
                write!(f, "context full: expected at most {limit} tokens, found {used} and {adding} more")
            }
            LlamaError::NonFinite { position } => {
                write!(f, "logits at position {position}: expected finite values, found NaN or infinity")
            }
            LlamaError::OutOfMemory { bytes } => write!(f, "out of memory: {bytes} bytes were refused"),
            LlamaError::Device(e) => e.fmt(f),
            LlamaError::Format(e) => e.fmt(f),
        }
    }
}

impl core::error::Error for LlamaError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            LlamaError::Device(e) => Some(e),
            LlamaError::Format(e) => Some(e),
            _ => None,
        }
    }
}

impl From<DeviceError> for LlamaError {
    fn from(e: DeviceError) -> Self {
        match e {
            DeviceError::Cancelled => LlamaError::Cancelled,
            e => LlamaError::Device(e),
        }
    }
}

impl From<FormatError> for LlamaError {
    fn from(e: FormatError) -> Self {
        LlamaError::Format(e)
    }
}

/// A new vector with room for `n`, or a typed refusal.
pub(crate) fn with_capacity<T>(n: usize) -> Result<alloc::vec::Vec<T>, LlamaError> {
    let mut v = alloc::vec::Vec::new();
    v.try_reserve_exact(n).map_err(|_| LlamaError::out_of_memory::<T>(n))?;
    Ok(v)
}
