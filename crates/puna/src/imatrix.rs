//! Importance matrices: made from a model and a text, kept in files that llama.cpp reads and writes too.

use crate::error::{Error, Lift, Place};
use crate::{Cancel, FileAccess, Limits};
use puna_format::WriteSink;
use std::fs::{self, File};
use std::io::BufWriter;
use std::path::Path;
use std::string::String;

#[cfg(feature = "tokenizer")]
use crate::{Model, Phase, Progress, options::ProgressFn};

/// What the columns of a model's matrices are worth: [`QuantizeOptions::imatrix`](crate::QuantizeOptions::imatrix) spends
/// the bits where they matter most.
#[derive(Clone, Debug, PartialEq)]
pub struct Imatrix(pub(crate) puna_llama::Imatrix);

impl Imatrix {
    /// Reads a file that [`Imatrix::save`] or llama.cpp's `llama-imatrix` wrote, as GGUF or in its old binary format
    /// (`.dat`).
    ///
    /// # Errors
    /// A file that cannot be read or is no importance matrix.
    pub fn open(path: impl AsRef<Path>) -> Result<Imatrix, Error> {
        let path = path.as_ref();
        let file =
            crate::map::region(path, FileAccess::Read, &Cancel::new(), |_| {}).place(path.display())?.0;
        let read = puna_llama::Imatrix::read(&file, &Limits::default()).lift();
        read.place(path.display()).map(Imatrix)
    }

    /// Writes it as a file that llama.cpp's `llama-quantize` reads too. The file has its name once it is whole.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        let path = path.as_ref();
        let mut partial = path.to_path_buf().into_os_string();
        partial.push(".partial");
        let write = || -> Result<(), Error> {
            let sink = WriteSink(BufWriter::new(File::create(&partial).lift()?));
            let file = self.0.write(sink).lift()?.0.into_inner().map_err(|e| e.into_error()).lift()?;
            file.sync_all().lift()?;
            fs::rename(&partial, path).lift()
        };
        let written = write().place(path.display());
        if written.is_err() {
            // Where nothing was created there is nothing to remove.
            _ = fs::remove_file(&partial);
        }
        written
    }

    /// Tensors that it knows.
    pub fn tensors(&self) -> usize {
        self.0.len()
    }

    /// Chunks of text that it was made from, and tokens of each.
    pub fn chunks(&self) -> (u32, u32) {
        (self.0.chunks, self.0.chunk_size)
    }

    /// What it was made from, for people.
    pub fn datasets(&self) -> impl Iterator<Item = &str> {
        self.0.datasets.iter().map(String::as_str)
    }
}

/// How a text is read for an importance matrix. Every choice is optional.
#[cfg(feature = "tokenizer")]
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct ImatrixOptions {
    /// Tokens that are read at once, from an empty context. Default: 512, as in llama.cpp.
    pub chunk_size: Option<usize>,
    /// The most chunks to read. Default: all of the text but a last partial one.
    pub chunks: Option<usize>,
    /// Whether the head is watched too. Default: only the layers, as in llama.cpp.
    pub head: bool,
    /// What is read, for people: noted in the file.
    pub dataset: Option<String>,
    /// Stops the reading when set.
    pub cancel: Option<Cancel>,
    progress: Option<ProgressFn>,
}

#[cfg(feature = "tokenizer")]
impl ImatrixOptions {
    /// Sets how many tokens are read at once.
    #[must_use]
    pub fn chunk_size(mut self, tokens: usize) -> Self {
        self.chunk_size = Some(tokens);
        self
    }

    /// Reads no more than the first `chunks` chunks.
    #[must_use]
    pub fn chunks(mut self, chunks: usize) -> Self {
        self.chunks = Some(chunks);
        self
    }

    /// Notes what is read.
    #[must_use]
    pub fn dataset(mut self, name: impl Into<String>) -> Self {
        self.dataset = Some(name.into());
        self
    }

    /// Stops the reading when `cancel` is set.
    #[must_use]
    pub fn cancel(mut self, cancel: Cancel) -> Self {
        self.cancel = Some(cancel);
        self
    }

    /// Calls `f` after each chunk, from the calling thread.
    #[must_use]
    pub fn on_progress(mut self, f: impl Fn(Progress) + Send + Sync + 'static) -> Self {
        self.progress = Some(alloc::sync::Arc::new(f));
        self
    }
}

#[cfg(feature = "tokenizer")]
impl core::fmt::Debug for ImatrixOptions {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let mut shown = f.debug_struct("ImatrixOptions");
        shown.field("chunk_size", &self.chunk_size).field("chunks", &self.chunks).field("head", &self.head);
        shown.field("dataset", &self.dataset).finish_non_exhaustive()
    }
}

#[cfg(feature = "tokenizer")]
impl Model {
    /// Lets the model read a text, in chunks from an empty context, each with BOS in place of its first token where the
    /// model expects one, and sums the squares of the activations that meet each column of its matrices.
    ///
    /// ```
    /// # let model = puna::Model::from_bytes(puna::tiny::gguf(7)?, &puna::LoadOptions::default().threads(1))?;
    /// let options = puna::ImatrixOptions::default().chunk_size(16);
    /// let imatrix = model.imatrix("Some text, as like as can be to what the model will read and write.", &options)?;
    /// assert_eq!(imatrix.chunks(), (4, 16));
    /// # Ok::<(), puna::Error>(())
    /// ```
    ///
    /// # Errors
    /// A model without a tokenizer, a text shorter than a chunk, activations that are not finite, refused memory;
    /// [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled).
    pub fn imatrix(&self, text: &str, options: &ImatrixOptions) -> Result<Imatrix, Error> {
        let mut tokens: alloc::vec::Vec<u32> = self.bos().into_iter().collect();
        tokens.extend(self.encode(text)?);
        let size = options.chunk_size.unwrap_or(512);
        if size == 0 || tokens.len() < size {
            let found = tokens.len();
            let message = format_args!("text: expected at least one chunk of {size} tokens, found {found}");
            return Err(Error::input(message));
        }
        let mut tell = |done: usize, total: usize| {
            if let Some(progress) = &options.progress {
                progress(Progress::new(Phase::Prefill, (done * size) as u64, (total * size) as u64));
            }
        };
        let text = puna_llama::imatrix::Chunks {
            tokens: &tokens,
            size,
            most: options.chunks,
            bos: self.bos(),
            head: options.head,
        };
        let mut listen =
            puna_llama::imatrix::Listen { cancel: options.cancel.as_ref(), progress: Some(&mut tell) };
        let mut device = self.0.device.fork().lift()?;
        let made = puna_llama::Imatrix::collect(&self.0.llama, &mut *device, text, &mut listen);
        let mut made = made.lift()?;
        made.datasets.extend(options.dataset.clone());
        Ok(Imatrix(made))
    }
}
