//! The one error of the façade: what was wrong, where, what was expected and what was found, in one line.

use alloc::boxed::Box;
use alloc::string::{String, ToString};
use core::fmt::{self, Display};
use puna_core::DeviceError;
use puna_format::FormatError;
use puna_llama::sample::SampleError;
use puna_text::TextError;

/// What went wrong, for programs that act on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A file could not be opened, mapped or read.
    Io,
    /// A file breaks the rules of its format, or its parts contradict each other.
    BadFile,
    /// A valid file or request that needs something this library does not do.
    Unsupported,
    /// An argument of the caller: a token past the vocabulary, an empty prompt, an option out of range.
    BadInput,
    /// The context is full: truncate the session, or open one with a larger context.
    ContextFull,
    /// Somebody asked to stop. The session or model is as it was before the interrupted step.
    Cancelled,
    /// A limit of the caller's [`Limits`](crate::Limits) was reached.
    Limit,
    /// Memory was refused. What existed before stays usable.
    OutOfMemory,
    /// The device was lost or its driver failed; the model must be opened again, on this device or another.
    Device,
    /// There is no such device: no GPU at all, or none of that index.
    NoDevice,
    /// The device lacks something that puna cannot do without.
    WeakDevice,
    /// The device is there and its driver refused to open it.
    DeviceRefused,
}

/// Why something could not be done. Displays as one line.
///
/// One pointer wide, so that a `Result` of a small value stays small.
///
/// ```
/// let error = puna::Model::from_bytes(vec![0; 100], &puna::LoadOptions::default()).unwrap_err();
/// assert_eq!(error.kind(), puna::ErrorKind::BadFile);
/// assert!(!error.to_string().contains('\n'));
/// ```
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    place: Option<String>,
    cause: Cause,
}

/// What lies beneath; never public, so that no other crate's types are promised.
pub(crate) enum Cause {
    Message(String),
    Format(FormatError),
    Text(TextError),
    Device(DeviceError),
    Llama(puna_llama::LlamaError),
    Sample(SampleError),
    #[cfg(feature = "gpu")]
    Gpu(puna_gpu::OpenError),
    #[cfg(feature = "std")]
    Io(std::io::Error),
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Display) -> Self {
        Error(Box::new(Inner { kind, place: None, cause: Cause::Message(message.to_string()) }))
    }

    pub(crate) fn of(cause: impl Into<Cause>) -> Self {
        let cause = cause.into();
        Error(Box::new(Inner { kind: cause.kind(), place: None, cause }))
    }

    pub(crate) fn input(message: impl Display) -> Self {
        Error::new(ErrorKind::BadInput, message)
    }

    pub(crate) fn unsupported(message: impl Display) -> Self {
        Error::new(ErrorKind::Unsupported, message)
    }

    #[cfg(feature = "std")]
    pub(crate) fn cancelled(what: &str) -> Self {
        Error::new(ErrorKind::Cancelled, format_args!("{what} was cancelled"))
    }

    #[cfg(feature = "std")]
    /// The same error with the file or argument it happened in; a place already named is kept.
    pub(crate) fn at(mut self, place: impl Display) -> Self {
        self.0.place.get_or_insert_with(|| place.to_string());
        self
    }

    /// What kind of error this is.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }
}

impl Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.0.place {
            write!(f, "{place}: ")?;
        }
        match &self.0.cause {
            Cause::Message(message) => f.write_str(message),
            Cause::Format(e) => e.fmt(f),
            Cause::Text(e) => e.fmt(f),
            Cause::Device(e) => e.fmt(f),
            Cause::Llama(e) => e.fmt(f),
            Cause::Sample(e) => e.fmt(f),
            #[cfg(feature = "gpu")]
            Cause::Gpu(e) => e.fmt(f),
            #[cfg(feature = "std")]
            Cause::Io(e) => e.fmt(f),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Error({:?}: {self})", self.0.kind)
    }
}

impl core::error::Error for Error {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match &self.0.cause {
            Cause::Message(_) => None,
            Cause::Format(e) => Some(e),
            Cause::Text(e) => Some(e),
            Cause::Device(e) => Some(e),
            Cause::Llama(e) => Some(e),
            Cause::Sample(e) => Some(e),
            #[cfg(feature = "gpu")]
            Cause::Gpu(e) => Some(e),
            #[cfg(feature = "std")]
            Cause::Io(e) => Some(e),
        }
    }
}

/// Turns the errors of the crates below into this one, where `?` alone would make them part of the public API.
pub(crate) trait Lift<T> {
    /// The same result with the façade's error.
    fn lift(self) -> Result<T, Error>;
}

impl<T, E: Into<Cause>> Lift<T> for Result<T, E> {
    fn lift(self) -> Result<T, Error> {
        self.map_err(Error::of)
    }
}

/// Adds where it happened.
#[cfg(feature = "std")]
pub(crate) trait Place<T> {
    /// The same result; an error says that it happened at `place`.
    fn place(self, place: impl Display) -> Result<T, Error>;
}

#[cfg(feature = "std")]
impl<T> Place<T> for Result<T, Error> {
    fn place(self, place: impl Display) -> Result<T, Error> {
        self.map_err(|e| e.at(place))
    }
}

macro_rules! cause {
    ($($variant:ident: $ty:ty),*) => {$(
        impl From<$ty> for Cause {
            fn from(e: $ty) -> Self {
                Cause::$variant(e)
            }
        }
    )*};
}
cause!(Format: FormatError, Text: TextError, Device: DeviceError, Llama: puna_llama::LlamaError, Sample: SampleError);
#[cfg(feature = "std")]
cause!(Io: std::io::Error);
#[cfg(feature = "gpu")]
cause!(Gpu: puna_gpu::OpenError);

impl Cause {
    fn kind(&self) -> ErrorKind {
        match self {
            Cause::Message(_) => ErrorKind::BadInput,
            Cause::Format(e) => format_kind(e.kind()),
            Cause::Text(e) => text_kind(e),
            Cause::Device(e) => device_kind(e),
            Cause::Llama(e) => llama_kind(e),
            Cause::Sample(SampleError::OutOfMemory) => ErrorKind::OutOfMemory,
            Cause::Sample(SampleError::NotFinite { .. }) => ErrorKind::BadFile,
            Cause::Sample(_) => ErrorKind::BadInput,
            #[cfg(feature = "gpu")]
            Cause::Gpu(e) => gpu_kind(e),
            #[cfg(feature = "std")]
            Cause::Io(e) if e.kind() == std::io::ErrorKind::OutOfMemory => ErrorKind::OutOfMemory,
            #[cfg(feature = "std")]
            Cause::Io(_) => ErrorKind::Io,
        }
    }
}

fn format_kind(kind: puna_format::ErrorKind) -> ErrorKind {
    use puna_format::ErrorKind as F;
    match kind {
        F::Io => ErrorKind::Io,
        F::Unsupported => ErrorKind::Unsupported,
        F::Limit => ErrorKind::Limit,
        F::OutOfMemory => ErrorKind::OutOfMemory,
        _ => ErrorKind::BadFile,
    }
}

fn text_kind(e: &TextError) -> ErrorKind {
    match e {
        TextError::Unsupported { .. } => ErrorKind::Unsupported,
        TextError::TooLarge { .. } => ErrorKind::Limit,
        TextError::OutOfMemory { .. } => ErrorKind::OutOfMemory,
        TextError::Template { .. } | TextError::Encode { .. } | TextError::Image { .. } => {
            ErrorKind::BadInput
        }
        _ => ErrorKind::BadFile,
    }
}

fn device_kind(e: &DeviceError) -> ErrorKind {
    match e {
        DeviceError::OutOfMemory { .. } => ErrorKind::OutOfMemory,
        DeviceError::Range { .. } => ErrorKind::BadInput,
        DeviceError::Cancelled => ErrorKind::Cancelled,
        DeviceError::Unsupported { .. } | DeviceError::NoKernel { .. } => ErrorKind::Unsupported,
        _ => ErrorKind::Device,
    }
}

#[cfg(feature = "gpu")]
fn gpu_kind(e: &puna_gpu::OpenError) -> ErrorKind {
    use puna_gpu::OpenError as O;
    match e {
        O::NoAdapter { .. } => ErrorKind::NoDevice,
        O::TooWeak { .. } => ErrorKind::WeakDevice,
        _ => ErrorKind::DeviceRefused,
    }
}

fn llama_kind(e: &puna_llama::LlamaError) -> ErrorKind {
    use puna_llama::LlamaError as L;
    match e {
        L::Architecture { .. } | L::Unsupported { .. } => ErrorKind::Unsupported,
        L::EmptyPrompt | L::TokenRange { .. } | L::Image { .. } => ErrorKind::BadInput,
        L::Cancelled => ErrorKind::Cancelled,
        L::ContextFull { .. } => ErrorKind::ContextFull,
        L::OutOfMemory { .. } => ErrorKind::OutOfMemory,
        L::Device(e) => device_kind(e),
        L::Format(e) => format_kind(e.kind()),
        _ => ErrorKind::BadFile,
    }
}
