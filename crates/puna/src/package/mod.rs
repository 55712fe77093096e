//! A model's files, understood but not loaded: configuration, tensors, vocabulary, chat template.

#[cfg(feature = "std")]
mod folder;
mod gguf;

#[cfg(all(feature = "std", feature = "tokenizer"))]
pub(crate) use folder::vocabulary;

use crate::error::{Error, Lift};
use crate::{LoadOptions, Phase, Progress};
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use puna_core::{Cancel, Region};
use puna_format::Limits;
use puna_format::gguf::GgufSet;
use puna_llama::weights::{GgufTensors, Names, TensorSource};
use puna_llama::{Config, LayerTable, VisionConfig};

/// Everything a model is made of. Weights are only located.
pub struct Package {
    pub(crate) config: Config,
    pub(crate) name: Option<String>,
    pub(crate) tensors: Tensors,
    /// What the vision tower is, if there is one.
    pub(crate) vision: Option<VisionConfig>,
    /// Its tensors, where they are in a file of their own.
    pub(crate) mmproj: Option<Tensors>,
    #[cfg(feature = "tokenizer")]
    pub(crate) tokenizer: Option<puna_text::Tokenizer>,
    pub(crate) template: Option<String>,
    /// The model's files that are mapped.
    #[cfg(all(feature = "std", unix))]
    pub(crate) maps: Vec<crate::map::Map>,
}

/// The tensors of either kind of model, over the bytes of its files.
pub(crate) enum Tensors {
    Gguf {
        set: GgufSet,
        files: Vec<Region>,
    },
    #[cfg(feature = "std")]
    Safetensors {
        set: puna_format::safetensors::ShardSet,
        files: Vec<Region>,
    },
}

/// How much of a model is stored in one format.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FormatUse {
    /// The format's name, as files write it.
    pub format: String,
    /// Tensors in it.
    pub tensors: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// A tensor as its file lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its name.
    pub name: String,
    /// The format's name.
    pub format: String,
    /// Dimensions, the contiguous one last.
    pub shape: Vec<u64>,
    /// Its bytes.
    pub bytes: u64,
}

impl Tensors {
    /// Runs `f` with the source that models are bound from.
    pub(crate) fn with<R>(&self, f: impl FnOnce(&dyn TensorSource) -> R) -> R {
        match self {
            Tensors::Gguf { set, files } => f(&GgufTensors::new(set, files)),
            #[cfg(feature = "std")]
            Tensors::Safetensors { set, files } => f(&puna_llama::weights::ShardTensors::new(set, files)),
        }
    }

    /// Their names, in the order of their files.
    #[cfg(feature = "std")]
    pub(crate) fn names(&self) -> Vec<&str> {
        match self {
            Tensors::Gguf { set, .. } => gguf::tensor_names(set),
            Tensors::Safetensors { set, .. } => set.tensors.iter().map(|t| t.name.as_str()).collect(),
        }
    }

    pub(crate) fn list(&self) -> Vec<Listed> {
        match self {
            Tensors::Gguf { set, .. } => list_gguf(set.tensors.iter().map(|placed| &placed.tensor)),
            #[cfg(feature = "std")]
            Tensors::Safetensors { set, .. } => {
                let listed = |t: &puna_format::Placed<puna_format::safetensors::StTensor>| Listed {
                    name: t.name.clone(),
                    format: t.dtype.to_string(),
                    shape: t.shape.clone(),
                    bytes: t.range.end - t.range.start,
                };
                set.tensors.iter().map(listed).collect()
            }
        }
    }
}

/// The table of a GGUF file, in the order of other formats: the contiguous dimension last.
pub fn list_gguf<'a>(tensors: impl Iterator<Item = &'a puna_format::gguf::TensorInfo>) -> Vec<Listed> {
    let listed = |t: &puna_format::gguf::TensorInfo| Listed {
        name: t.name.clone(),
        format: t.dtype.to_string(),
        shape: t.shape.iter().rev().copied().collect(),
        bytes: t.n_bytes(),
    };
    tensors.map(listed).collect()
}

/// Formats by the bytes stored in them, the largest first.
pub fn formats(tensors: &[Listed]) -> Vec<FormatUse> {
    let mut uses: Vec<FormatUse> = Vec::new();
    for tensor in tensors {
        match uses.iter_mut().find(|u| u.format == tensor.format) {
            Some(u) => {
                u.tensors += 1;
                u.bytes = u.bytes.saturating_add(tensor.bytes);
            }
            None => uses.push(FormatUse { format: tensor.format.clone(), tensors: 1, bytes: tensor.bytes }),
        }
    }
    uses.sort_by(|a, b| b.bytes.cmp(&a.bytes).then(a.format.cmp(&b.format)));
    uses
}

impl Package {
    /// Opens a GGUF file (any shard of a split one) or a Hugging Face folder.
    ///
    /// # Errors
    /// Whatever is wrong with it, with the file's name.
    #[cfg(feature = "std")]
    pub fn open(path: &std::path::Path, options: &LoadOptions) -> Result<Self, Error> {
        Self::open_for(path, options, false)
    }

    /// As [`open`](Self::open), for a model that is about to run: `ahead`, weights are read meanwhile.
    #[cfg(feature = "std")]
    pub(crate) fn open_for(
        path: &std::path::Path,
        options: &LoadOptions,
        ahead: bool,
    ) -> Result<Self, Error> {
        let watch = Watch { ahead, ..Watch::new(options) };
        let mut package = if path.is_dir() {
            folder::open(path, options, &watch)?
        } else {
            gguf::open(path, options, &watch)?
        };
        if let Some(path) = &options.mmproj {
            gguf::mmproj(&mut package, path, options, &watch)?;
        }
        #[cfg(unix)]
        package.maps.extend(watch.maps.into_inner().into_iter().flatten());
        package.with_mmproj_bytes(options)
    }

    /// Takes the bytes of one GGUF file.
    ///
    /// # Errors
    /// Whatever is wrong with it.
    pub fn from_bytes(bytes: Region, options: &LoadOptions) -> Result<Self, Error> {
        gguf::from_regions(alloc::vec![bytes], options)?.with_mmproj_bytes(options)
    }

    /// Adds the vision tower that was given as bytes, if any, and checks that the tower there is fits the model.
    fn with_mmproj_bytes(mut self, options: &LoadOptions) -> Result<Self, Error> {
        if let Some(bytes) = &options.mmproj_bytes {
            if self.mmproj.is_some() {
                return Err(Error::input("load options: expected mmproj or mmproj_bytes, found both"));
            }
            gguf::tower(&mut self, bytes.0.clone(), options)?;
        }
        match self.vision.as_ref().filter(|v| v.projected != self.config.hidden) {
            Some(VisionConfig { projected, .. }) => {
                let expected = self.config.hidden;
                let message =
                    format_args!("vision tower: expected rows of {expected} values, found {projected}");
                Err(Error::new(crate::ErrorKind::BadFile, message))
            }
            None => Ok(self),
        }
    }

    /// The configuration as it was understood.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The vision tower's configuration, if the model has one.
    pub fn vision(&self) -> Option<&VisionConfig> {
        self.vision.as_ref()
    }

    /// Runs `f` with the source that the vision tower is bound from.
    pub(crate) fn with_vision<R>(&self, f: impl FnOnce(&dyn TensorSource) -> R) -> R {
        self.mmproj.as_ref().unwrap_or(&self.tensors).with(f)
    }

    /// What every layer is.
    ///
    /// # Errors
    /// Tensors and configuration that contradict each other.
    pub fn layers(&self) -> Result<LayerTable, Error> {
        let table = |source: &dyn TensorSource| {
            let names = Names::detect(self.config.architecture, source)?;
            LayerTable::new(&self.config, &names, source)
        };
        self.tensors.with(table).lift()
    }

    /// All tensors in the order of their files, those of the vision tower's own file last.
    pub fn list(&self) -> Vec<Listed> {
        let mut all = self.tensors.list();
        all.extend(self.mmproj.iter().flat_map(Tensors::list));
        all
    }

    /// The model's name, if the file says one.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }
}

/// The caller's ears and stop button while a model is opened.
pub(crate) struct Watch<'a> {
    options: &'a LoadOptions,
    pub(crate) cancel: Cancel,
    /// Whether to read what is needed as soon as it is known where it is.
    #[cfg(feature = "std")]
    ahead: bool,
    /// Files that were mapped.
    #[cfg(feature = "std")]
    maps: std::sync::Mutex<Vec<crate::map::Map>>,
    /// What is being read ahead, until all else is opened.
    #[cfg(all(feature = "std", unix))]
    opening: std::sync::Mutex<Option<crate::ahead::Opening>>,
}

impl<'a> Watch<'a> {
    pub(crate) fn new(options: &'a LoadOptions) -> Self {
        Self {
            options,
            cancel: options.cancel.clone().unwrap_or_default(),
            #[cfg(feature = "std")]
            ahead: false,
            #[cfg(feature = "std")]
            maps: std::sync::Mutex::default(),
            #[cfg(all(feature = "std", unix))]
            opening: std::sync::Mutex::default(),
        }
    }

    pub(crate) fn tell(&self, phase: Phase, done: u64, total: u64) {
        if let Some(progress) = &self.options.progress {
            progress(Progress::new(phase, done, total));
        }
    }

    /// The bytes of a file of weights, mapped or read as the caller wants.
    #[cfg(feature = "std")]
    fn region(&self, path: &std::path::Path, read: impl FnMut(u64)) -> Result<Region, Error> {
        use crate::error::Place;
        let access = self.options.file_access.unwrap_or_default();
        let (region, map) = crate::map::region(path, access, &self.cancel, read).place(path.display())?;
        if let Ok(mut maps) = self.maps.lock() {
            maps.extend(map);
        }
        Ok(region)
    }

    /// Told where a model's tensors are, before all else that there is to read about it.
    #[cfg(feature = "std")]
    fn located(&self, names: &[&str], source: &dyn TensorSource) {
        #[cfg(unix)]
        if let Ok(maps) = self.maps.lock() {
            #[cfg(target_os = "linux")]
            crate::ahead::large_pages(names, source, &maps);
            if self.ahead
                && let Ok(mut opening) = self.opening.lock()
            {
                *opening = Some(crate::ahead::read_ahead(names, source, &maps, &self.cancel));
            }
        }
        #[cfg(not(unix))]
        let _ = (self.ahead, names, source);
    }

    #[cfg(feature = "std")]
    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.cancel.is_cancelled() { Err(Error::cancelled("loading")) } else { Ok(()) }
    }
}

/// The caller's limits, or the default ones.
pub(crate) fn limits(options: &LoadOptions) -> Limits {
    options.limits.clone().unwrap_or_default()
}

/// Overrides with their values parsed. A value that is no JSON is an error that shows how strings are written.
pub(crate) fn overrides(options: &LoadOptions) -> Result<Vec<(String, serde_json::Value)>, Error> {
    let parse = |(key, json): &(String, String)| {
        let value = serde_json::from_str(json).map_err(|e| {
            let quoted = serde_json::Value::String(json.clone());
            Error::input(format_args!(
                "override {key}: expected a value in JSON (text as {quoted}), found {json}: {e}"
            ))
        })?;
        Ok((key.clone(), value))
    };
    options.overrides.iter().map(parse).collect()
}

/// What the vision tower of a folder or of an `mmproj` file is, without its weights; `None` where neither says.
///
/// # Errors
/// Whatever is wrong with the description.
#[cfg(feature = "std")]
pub fn vision_config(
    path: &std::path::Path,
    mmproj: Option<&std::path::Path>,
) -> Result<Option<VisionConfig>, Error> {
    use crate::error::Place;
    match mmproj {
        Some(file) => {
            let read = || {
                let region = crate::map::region(file, crate::FileAccess::Map, &Cancel::new(), |_| {})?.0;
                let gguf = puna_format::gguf::Gguf::read(region.bytes(), &Limits::default()).lift()?;
                VisionConfig::from_gguf(&gguf.metadata).lift()
            };
            read().place(file.display()).map(Some)
        }
        None if path.is_dir() => folder::vision_config(path),
        None => Ok(None),
    }
}

/// The tokenizer of a GGUF file, a Hugging Face folder, a `tokenizer.json` or a rank file, without its model.
///
/// # Errors
/// Whatever is wrong with it; a model without a tokenizer.
#[cfg(feature = "tokenizer")]
pub fn tokenizer(path: &std::path::Path) -> Result<puna_text::Tokenizer, Error> {
    use crate::error::{ErrorKind, Place};
    use puna_format::gguf::Gguf;
    let none = || Error::new(ErrorKind::BadFile, "expected a tokenizer, found none").at(path.display());
    if path.is_dir() {
        return folder::tokenizer(path)?.ok_or_else(none);
    }
    let open = || crate::map::region(path, crate::FileAccess::Map, &Cancel::new(), |_| {});
    let (file, _) = open().place(path.display())?;
    let bytes = file.bytes();
    let found = if Gguf::is_gguf(bytes) {
        Gguf::read(bytes, &Limits::default()).lift().and_then(|gguf| gguf::tokenizer(&gguf.metadata))
    } else if bytes.iter().find(|b| !b.is_ascii_whitespace()) == Some(&b'{') {
        puna_text::Tokenizer::from_json(bytes).lift().map(Some)
    } else {
        puna_text::Tokenizer::from_rank_file(bytes).lift().map(Some)
    };
    found.place(path.display())?.ok_or_else(none)
}
