//! An open model: its weights on a device, its tokenizer, its template. It holds no state of any session.

use crate::error::Error;
#[cfg(feature = "tokenizer")]
use crate::error::Lift;
use crate::load::Loaded;
use crate::options::PromptFormat;
use crate::package::Package;
use crate::{DeviceKind, LoadOptions, ModelInfo, Placement, Session, SessionOptions, placement};
use alloc::boxed::Box;
use alloc::string::ToString;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use puna_core::{Device, Region};
use puna_llama::{Architecture, Llama, Vision};

/// A model, ready to run. Clones share everything and cost nothing; any number of sessions and threads can use one.
///
/// ```
/// # let bytes = puna::tiny::gguf(7)?;
/// use puna::{LoadOptions, Model, SessionOptions};
///
/// let model = Model::from_bytes(bytes, &LoadOptions::default().threads(1))?;
/// assert_eq!(model.info().architecture, "llama4");
/// let elsewhere = model.clone();
/// std::thread::spawn(move || elsewhere.session(&SessionOptions::default()).map(drop)).join().unwrap()?;
/// # Ok::<(), puna::Error>(())
/// ```
#[derive(Clone)]
pub struct Model(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) llama: Arc<Llama>,
    pub(crate) vision: Option<Vision>,
    /// Holds the weights. Sessions compute on forks of it.
    pub(crate) device: Box<dyn Device>,
    pub(crate) info: ModelInfo,
    #[cfg(feature = "tokenizer")]
    pub(crate) tokenizer: Option<puna_text::Tokenizer>,
    #[cfg(feature = "template")]
    pub(crate) template: Option<crate::chat::Template>,
    /// Tokens that end an answer, in ascending order.
    pub(crate) ends: Vec<u32>,
}

impl Model {
    /// Opens a GGUF file (any shard of a split one) or a Hugging Face folder with safetensors files.
    ///
    /// Files are mapped, not read, unless [`LoadOptions::file_access`] says otherwise; see [`FileAccess::Map`] for
    /// what that asks of those who can write to them.
    ///
    /// [`FileAccess::Map`]: crate::FileAccess::Map
    ///
    /// # Errors
    /// A file that cannot be read, breaks its format or belongs to an unknown family of models; refused memory;
    /// [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled).
    #[cfg(feature = "std")]
    pub fn open(path: impl AsRef<std::path::Path>, options: &LoadOptions) -> Result<Model, Error> {
        let path = path.as_ref();
        let (kind, _) = placement::chosen(options);
        let ahead = kind == DeviceKind::Cpu && options.read_ahead == Some(true);
        let package = Package::open_for(path, options, ahead)?;
        crate::error::Place::place(Self::load(package, options), path.display())
    }

    /// Takes the bytes of a whole GGUF file: a `Vec<u8>`, or an `Arc` of anything that has bytes, which is then shared
    /// and not copied. Works without `std`.
    ///
    /// # Errors
    /// As [`Model::open`], but for what only files can have wrong.
    pub fn from_bytes(bytes: impl Into<ModelBytes>, options: &LoadOptions) -> Result<Model, Error> {
        Self::load(Package::from_bytes(bytes.into().0, options)?, options)
    }

    fn load(package: Package, options: &LoadOptions) -> Result<Model, Error> {
        let (kind, placement) = placement::chosen(options);
        let (loaded, fallback) = match Loaded::new(&package, kind, placement, options) {
            Err(why) if options.cpu_fallback == Some(true) && why.kind().is_of_device() => {
                let on_cpu = Loaded::new(&package, DeviceKind::Cpu, Placement::default(), options)?;
                (on_cpu, Some(why.to_string()))
            }
            loaded => (loaded?, None),
        };
        #[cfg(all(feature = "std", unix))]
        if fallback.is_some() && options.read_ahead == Some(true) {
            let cancel = options.cancel.clone().unwrap_or_default();
            let (names, maps) = (package.tensors.names(), &package.maps);
            drop(package.tensors.with(|source| crate::ahead::read_ahead(&names, source, maps, &cancel)));
        }
        let mut info = loaded.info(&package);
        info.fallback = fallback;
        let Loaded { llama, vision, device } = loaded;
        let mut ends = llama.config.eos.clone();
        #[cfg(feature = "tokenizer")]
        ends.extend(package.tokenizer.iter().flat_map(|t| t.stop_ids()));
        ends.sort_unstable();
        ends.dedup();
        Ok(Model(Arc::new(Inner {
            llama: Arc::new(llama),
            vision,
            device,
            info,
            #[cfg(feature = "tokenizer")]
            tokenizer: package.tokenizer,
            #[cfg(feature = "template")]
            template: package.template.as_deref().map(crate::chat::Template::new),
            ends,
        })))
    }

    /// What the model is and how it runs here.
    pub fn info(&self) -> &ModelInfo {
        &self.0.info
    }

    /// Starts a session: an empty conversation with caches of its own.
    ///
    /// # Errors
    /// An option out of range, refused memory.
    pub fn session(&self, options: &SessionOptions) -> Result<Session, Error> {
        Session::new(self, options)
    }

    /// What a model and one session of it will hold in memory, before anything is loaded.
    ///
    /// # Errors
    /// As [`Model::open`] and [`Model::session`].
    #[cfg(feature = "std")]
    pub fn plan(
        path: impl AsRef<std::path::Path>,
        options: &LoadOptions,
        session: &SessionOptions,
    ) -> Result<crate::MemoryPlan, Error> {
        let path = path.as_ref();
        crate::error::Place::place(
            crate::MemoryPlan::new(&Package::open(path, options)?, options, session),
            path.display(),
        )
    }

    /// Tokens that end an answer, in ascending order.
    pub fn end_tokens(&self) -> &[u32] {
        &self.0.ends
    }

    /// The prompt format of sessions that do not choose another.
    pub(crate) fn prompt_format(&self) -> PromptFormat {
        match self.0.llama.config.architecture {
            Architecture::Llama4 => PromptFormat::Llama4,
            _ => PromptFormat::Template,
        }
    }
}

#[cfg(feature = "tokenizer")]
impl Model {
    /// The tokens of a text, special tokens that are spelled out in it read as text, and no BOS before it.
    ///
    /// # Errors
    /// A model without a tokenizer.
    ///
    /// ```
    /// # let model = puna::Model::from_bytes(puna::tiny::gguf(7)?, &puna::LoadOptions::default().threads(1))?;
    /// let ids = model.encode("ä <|eot|>")?;
    /// assert_eq!(model.decode(&ids)?, "ä <|eot|>");
    /// assert!(ids.iter().all(|id| !model.end_tokens().contains(id)));
    /// # Ok::<(), puna::Error>(())
    /// ```
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, Error> {
        self.tokenizer()?.encode(text, puna_text::Special::AsText).lift()
    }

    /// The text of tokens, special tokens left out.
    ///
    /// # Errors
    /// A model without a tokenizer.
    pub fn decode(&self, ids: &[u32]) -> Result<alloc::string::String, Error> {
        Ok(self.tokenizer()?.decode(ids, true))
    }

    /// The token that must stand before a text, if the model expects one.
    pub fn bos(&self) -> Option<u32> {
        self.0.tokenizer.as_ref().filter(|t| t.adds_bos()).and_then(|t| t.bos())
    }

    pub(crate) fn tokenizer(&self) -> Result<&puna_text::Tokenizer, Error> {
        let missing = || Error::unsupported("the model has no tokenizer: it takes and gives token ids only");
        self.0.tokenizer.as_ref().ok_or_else(missing)
    }
}

impl fmt::Debug for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Model").field(&self.0.info).finish()
    }
}

/// The bytes of a GGUF file in memory. Clones share them.
#[derive(Clone)]
pub struct ModelBytes(pub(crate) Region);

impl From<Vec<u8>> for ModelBytes {
    fn from(bytes: Vec<u8>) -> Self {
        ModelBytes(Region::from_vec(bytes))
    }
}

impl From<&'static [u8]> for ModelBytes {
    fn from(bytes: &'static [u8]) -> Self {
        ModelBytes(Region::new(Arc::new(bytes)))
    }
}

impl From<Arc<[u8]>> for ModelBytes {
    fn from(bytes: Arc<[u8]>) -> Self {
        ModelBytes(Region::new(Arc::new(bytes)))
    }
}

impl From<Arc<dyn AsRef<[u8]> + Send + Sync>> for ModelBytes {
    fn from(bytes: Arc<dyn AsRef<[u8]> + Send + Sync>) -> Self {
        ModelBytes(Region::new(bytes))
    }
}
