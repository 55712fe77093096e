//! Why a GPU could not be opened.

use core::fmt;

/// Why a GPU could not be opened. Once it is open, errors are [`puna_core::DeviceError`]s.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OpenError {
    /// There is no adapter at all, or none with the index asked for.
    NoAdapter {
        /// The index asked for.
        asked: Option<usize>,
        /// How many adapters there are, or what the system says about there being none.
        found: String,
    },
    /// The adapter has no compute shaders, or limits below WebGPU's defaults.
    TooWeak {
        /// The adapter's name.
        adapter: String,
        /// What it lacks.
        lacks: String,
    },
    /// The driver refused to open the adapter.
    Refused {
        /// The adapter's name.
        adapter: String,
        /// What the driver says.
        reason: String,
    },
    /// No tier of kernels, or not the one asked for, computes what it should.
    NoTier {
        /// What went wrong in each.
        tried: String,
    },
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoAdapter { asked: Some(index), found } => write!(f, "no GPU has index {index}: {found}"),
            Self::NoAdapter { asked: None, found } => write!(f, "no GPU was found: {found}"),
            Self::TooWeak { adapter, lacks } => write!(f, "{adapter} cannot be used: it lacks {lacks}"),
            Self::Refused { adapter, reason } => write!(f, "{adapter} could not be opened: {reason}"),
            Self::NoTier { tried } => write!(f, "no tier of kernels works: {tried}"),
        }
    }
}

impl core::error::Error for OpenError {}
