//! How a model is written.

use crate::error::Error;
use crate::options::ProgressFn;
use crate::{Imatrix, LoadOptions, Progress};
use puna_llama::convert::mix::Mix;
use std::fmt;
use std::path::PathBuf;
use std::string::String;
use std::sync::Arc;
use std::vec::Vec;

/// How to write a model. Every choice but the type is optional.
#[derive(Clone)]
#[non_exhaustive]
pub struct QuantizeOptions {
    pub(super) mix: Mix,
    /// How the source is read, and on how many threads it is converted. The device does not matter.
    pub load: LoadOptions,
    /// Most bytes of tensors in one file; more are split over several. Default: one file.
    pub split_bytes: Option<u64>,
    /// What the columns of matrices are worth. Default: all the same.
    pub imatrix: Option<Imatrix>,
    /// The name that the written model says of itself. Default: the source's own.
    pub name: Option<String>,
    /// The file that the vision tower is written to. Default: it is left out.
    pub mmproj: Option<PathBuf>,
    /// What its matrices become; as they are where it is `None`.
    pub(super) mmproj_mix: Option<Mix>,
    pub(super) progress: Option<ProgressFn>,
}

/// The types of a tower's matrices.
const TOWER: [Mix; 4] = [Mix::F32, Mix::F16, Mix::BF16, Mix::Q8_0];

impl fmt::Debug for QuantizeOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("QuantizeOptions");
        shown
            .field("type", &self.mix.name())
            .field("load", &self.load)
            .field("split_bytes", &self.split_bytes)
            .field("imatrix", &self.imatrix.as_ref().map(Imatrix::tensors))
            .field("name", &self.name)
            .field("mmproj", &self.mmproj)
            .field("mmproj_type", &self.mmproj_mix.map(Mix::name));
        shown.finish_non_exhaustive()
    }
}

impl QuantizeOptions {
    /// Writes one of the standard mixes of llama.cpp, such as `q4_k_m`, `q8_0` or `bf16`.
    ///
    /// # Errors
    /// A name that is none of them; the error lists them.
    pub fn new(mix: &str) -> Result<Self, Error> {
        let unknown = || {
            let names: Vec<&str> = Mix::names().collect();
            Error::input(format_args!("type: expected one of {}, found {mix}", names.join(", ")))
        };
        let mix = Mix::parse(mix).ok_or_else(unknown)?;
        Ok(Self {
            mix,
            load: LoadOptions::default(),
            split_bytes: None,
            imatrix: None,
            name: None,
            mmproj: None,
            mmproj_mix: None,
            progress: None,
        })
    }

    /// The names of all mixes.
    pub fn types() -> impl Iterator<Item = &'static str> {
        Mix::names()
    }

    /// Says how the source is read.
    #[must_use]
    pub fn load(mut self, load: LoadOptions) -> Self {
        self.load = load;
        self
    }

    /// Splits the output into files of at most this many bytes of tensors, `OUT-00001-of-0000N.gguf`; a tensor is never
    /// split.
    #[must_use]
    pub fn split(mut self, bytes: u64) -> Self {
        self.split_bytes = Some(bytes);
        self
    }

    /// Weighs errors by an importance matrix of the same model, in the formats Q2_K to Q6_K, Q4_0 to Q5_1 and IQ1 to
    /// IQ4. Tensors that it does not know are written without, but for those in IQ1 and IQ2 (and in Q2_K, of the mix
    /// `q2_k_s`), which are refused.
    #[must_use]
    pub fn imatrix(mut self, imatrix: Imatrix) -> Self {
        self.imatrix = Some(imatrix);
        self
    }

    /// Names the written model.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Writes the vision tower too, to a GGUF file of its own (what [`LoadOptions::mmproj`] and llama.cpp take), its
    /// matrices in the formats that they are stored in unless [`mmproj_type`](Self::mmproj_type) says another.
    #[must_use]
    pub fn mmproj(mut self, path: impl Into<PathBuf>) -> Self {
        self.mmproj = Some(path.into());
        self
    }

    /// Writes the matrices of the vision tower as `f32`, `f16`, `bf16` or `q8_0`; norms, biases and positions stay F32.
    ///
    /// # Errors
    /// A name that is none of them.
    pub fn mmproj_type(mut self, name: &str) -> Result<Self, Error> {
        let unknown = || {
            let names: Vec<&str> = Self::mmproj_types().collect();
            Error::input(format_args!("mmproj type: expected one of {}, found {name}", names.join(", ")))
        };
        let mix = Mix::parse(name).filter(|mix| TOWER.contains(mix)).ok_or_else(unknown)?;
        self.mmproj_mix = Some(mix);
        Ok(self)
    }

    /// The names of all types of a vision tower.
    pub fn mmproj_types() -> impl Iterator<Item = &'static str> {
        TOWER.into_iter().map(Mix::name)
    }

    /// Calls `f` as tensors are written, from the calling thread.
    #[must_use]
    pub fn on_progress(mut self, f: impl Fn(Progress) + Send + Sync + 'static) -> Self {
        self.progress = Some(Arc::new(f));
        self
    }
}
