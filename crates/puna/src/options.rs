//! What a caller can choose when a model is opened or a session is started.

use crate::{DeviceKind, Placement, Progress};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use puna_core::Cancel;

pub use puna_format::Limits;

/// Whether a kernel may round activations before it multiplies them with quantised weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Activations {
    /// A kernel may quantise activations to int8 or round them to bf16, as other runtimes do.
    #[default]
    Auto,
    /// Activations stay 32-bit floats for every weight format. Slower; what exactness is measured with.
    F32,
}

/// The number format of cached keys and values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KvType {
    /// 16-bit floats.
    #[default]
    F16,
    /// 32-bit floats: twice the memory.
    F32,
}

/// What is called as work goes on; see [`LoadOptions::on_progress`].
pub(crate) type ProgressFn = Arc<dyn Fn(Progress) + Send + Sync>;

/// How to open a model. Every choice is optional.
///
/// ```
/// let options = puna::LoadOptions::default().threads(2).set("llama4.attention.chunk_size", "4096");
/// # let _ = options;
/// ```
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct LoadOptions {
    /// What computes. Default: the processor.
    pub device: Option<DeviceKind>,
    /// Which groups of weights live on that device; the processor has the rest. Default: all on the device. Without a
    /// [`device`](Self#structfield.device), a placement means the GPU.
    pub placement: Option<Placement>,
    /// Whether the processor computes where the GPU that was asked for cannot: there is none, it is too weak, its driver or
    /// its memory refuses. [`ModelInfo::fallback`](crate::ModelInfo) tells of it. Default: it does not, and opening the
    /// model ends with the error.
    pub cpu_fallback: Option<bool>,
    /// Threads that compute, the calling one included. Default: as many as the system lets this program use at once
    /// (without `std`: 1). Results never depend on it.
    pub threads: Option<usize>,
    /// The best instruction set to use, by name, such as `"avx2"` or `"scalar"`; the machine's best when `None`. Where that is
    /// `"amx"`, on Intel's server processors with Linux, the system is asked to let all threads of this process have the 8 KiB of
    /// registers (`arch_prctl`): afterwards it refuses stacks for signals that are too small to save them on. Name
    /// `"avx512 bf16"` if that must not be.
    pub isa: Option<String>,
    /// Whether kernels may round activations. Default: they may.
    pub activations: Option<Activations>,
    /// How the weights come into memory. Default: the file is mapped.
    #[cfg(feature = "std")]
    pub file_access: Option<crate::FileAccess>,
    /// Whether a mapped file is read ahead of its use, by a thread that ends when the weights that every token needs have
    /// been asked for, on Linux when they are there. Default: no thread is started, and a cold file is read page by page. Unix
    /// and the processor only.
    #[cfg(feature = "std")]
    pub read_ahead: Option<bool>,
    /// The GGUF file of the vision tower, where it is not in the model's own.
    #[cfg(feature = "std")]
    pub mmproj: Option<std::path::PathBuf>,
    /// The bytes of that file instead, for models in memory.
    pub mmproj_bytes: Option<crate::ModelBytes>,
    /// Keys of the model's configuration to replace, each with a value in JSON.
    pub overrides: Vec<(String, String)>,
    /// What the file's header may cost.
    pub limits: Option<Limits>,
    pub(crate) progress: Option<ProgressFn>,
    /// Stops the loading when set.
    pub cancel: Option<Cancel>,
    #[cfg(feature = "gpu")]
    pub(crate) shared: Option<crate::device::Shared>,
}

impl LoadOptions {
    /// Chooses what computes.
    #[must_use]
    pub fn device(mut self, device: DeviceKind) -> Self {
        self.device = Some(device);
        self
    }

    /// Chooses which groups of weights live on the device; the processor has the rest.
    #[must_use]
    pub fn placement(mut self, placement: Placement) -> Self {
        self.placement = Some(placement);
        self
    }

    /// Says whether the processor may take over where the GPU that was asked for cannot be used.
    #[must_use]
    pub fn cpu_fallback(mut self, allowed: bool) -> Self {
        self.cpu_fallback = Some(allowed);
        self
    }

    /// Sets the number of threads that compute, the calling one included.
    #[must_use]
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = Some(threads);
        self
    }

    /// Names the best instruction set to use.
    #[must_use]
    pub fn isa(mut self, name: impl Into<String>) -> Self {
        self.isa = Some(name.into());
        self
    }

    /// Says whether kernels may round activations.
    #[must_use]
    pub fn activations(mut self, activations: Activations) -> Self {
        self.activations = Some(activations);
        self
    }

    /// Says how the weights come into memory.
    #[cfg(feature = "std")]
    #[must_use]
    pub fn file_access(mut self, access: crate::FileAccess) -> Self {
        self.file_access = Some(access);
        self
    }

    /// Says whether a mapped file is read ahead of its use.
    #[cfg(feature = "std")]
    #[must_use]
    pub fn read_ahead(mut self, yes: bool) -> Self {
        self.read_ahead = Some(yes);
        self
    }

    /// Names the GGUF file of the vision tower, which goes with a GGUF model that can see.
    #[cfg(feature = "std")]
    #[must_use]
    pub fn mmproj(mut self, path: impl Into<std::path::PathBuf>) -> Self {
        self.mmproj = Some(path.into());
        self
    }

    /// Gives the bytes of the vision tower's GGUF file, for models that are in memory too
    /// ([`Model::from_bytes`](crate::Model::from_bytes)). Works without `std`.
    #[must_use]
    pub fn mmproj_bytes(mut self, bytes: impl Into<crate::ModelBytes>) -> Self {
        self.mmproj_bytes = Some(bytes.into());
        self
    }

    /// Replaces a key of the model's configuration, as GGUF names it, by a value in JSON. Besides the keys of the file
    /// there are those for what GGUF lacks: `llama4.attention.chunk_size`, `.temperature_tuning`,
    /// `.temperature_floor_scale`, `.temperature_scale`, `.qk_norm` and `.no_rope_layers` (a list, 1 = rope).
    #[must_use]
    pub fn set(mut self, key: impl Into<String>, json: impl Into<String>) -> Self {
        self.overrides.push((key.into(), json.into()));
        self
    }

    /// Bounds what the file's header may cost.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = Some(limits);
        self
    }

    /// Calls `f` as loading goes on, from the thread that loads.
    #[must_use]
    pub fn on_progress(mut self, f: impl Fn(Progress) + Send + Sync + 'static) -> Self {
        self.progress = Some(Arc::new(f));
        self
    }

    /// Stops the loading when `cancel` is set; it then ends with [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled).
    #[must_use]
    pub fn cancel(mut self, cancel: Cancel) -> Self {
        self.cancel = Some(cancel);
        self
    }
}

impl fmt::Debug for LoadOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut s = f.debug_struct("LoadOptions");
        s.field("device", &self.device).field("threads", &self.threads).field("isa", &self.isa);
        s.field("activations", &self.activations)
            .field("placement", &self.placement)
            .field("cpu_fallback", &self.cpu_fallback);
        #[cfg(feature = "std")]
        s.field("file_access", &self.file_access)
            .field("read_ahead", &self.read_ahead)
            .field("mmproj", &self.mmproj);
        s.field("overrides", &self.overrides).field("limits", &self.limits).finish_non_exhaustive()
    }
}

/// How to start a session. Every choice is optional.
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct SessionOptions {
    /// The most tokens the session can hold. Default: what the model was made for, at most 8,192. Memory for keys and
    /// values is taken as the conversation grows, not before.
    pub context: Option<usize>,
    /// Tokens of a prompt that go through the model at once. Default: 512. More is faster and takes more memory.
    pub batch: Option<usize>,
    /// The format of cached keys and values. Default: f16.
    pub kv: Option<KvType>,
    /// Which prompt format turns messages into tokens. Default: the model's own.
    pub prompt: Option<PromptFormat>,
    pub(crate) progress: Option<ProgressFn>,
}

/// Which prompt format turns messages into tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PromptFormat {
    /// Llama 4's, as Meta's reference writes it; built in. The default for Llama 4 models.
    Llama4,
    /// The Jinja template inside the model's file. The default for every other model.
    Template,
}

impl SessionOptions {
    /// Sets the most tokens the session can hold.
    #[must_use]
    pub fn context(mut self, tokens: usize) -> Self {
        self.context = Some(tokens);
        self
    }

    /// Sets how many tokens of a prompt go through the model at once.
    #[must_use]
    pub fn batch(mut self, tokens: usize) -> Self {
        self.batch = Some(tokens);
        self
    }

    /// Chooses the format of cached keys and values.
    #[must_use]
    pub fn kv(mut self, kv: KvType) -> Self {
        self.kv = Some(kv);
        self
    }

    /// Chooses the prompt format.
    #[must_use]
    pub fn prompt(mut self, prompt: PromptFormat) -> Self {
        self.prompt = Some(prompt);
        self
    }

    /// Calls `f` after every batch of a prompt and of an image's tiles, from the thread that computes.
    #[must_use]
    pub fn on_progress(mut self, f: impl Fn(Progress) + Send + Sync + 'static) -> Self {
        self.progress = Some(Arc::new(f));
        self
    }
}

impl fmt::Debug for SessionOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut s = f.debug_struct("SessionOptions");
        s.field("context", &self.context).field("batch", &self.batch).field("kv", &self.kv);
        s.field("prompt", &self.prompt).finish_non_exhaustive()
    }
}
