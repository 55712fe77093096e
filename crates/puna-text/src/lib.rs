//! Text in and out of a Llama: tokenizers, streaming decode, the Llama 4 prompt format and Jinja chat templates.
//!
//! [`chat`], [`special`], [`StreamDecoder`] and [`Json`] need only `alloc`. Feature `tokenizer` adds [`Tokenizer`]
//! (GGUF vocabularies, Hugging Face `tokenizer.json`, Meta's rank files), feature `template` adds [`ChatTemplate`];
//! both need `std`.
//!
//! Text that comes from a user is encoded with special tokens read as plain text; markers of a prompt are put in by id.
#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        reason = "a failed assumption in a test should stop it"
    )
)]
extern crate alloc;
#[cfg(any(test, feature = "tokenizer", feature = "template"))]
extern crate std;

pub mod chat;
mod error;
mod json;
pub mod special;
mod stream;
#[cfg(feature = "template")]
mod template;
#[cfg(feature = "tokenizer")]
mod tokenizer;

pub use error::TextError;
pub use json::{Json, JsonStyle};
pub use stream::StreamDecoder;
#[cfg(feature = "template")]
pub use template::{ChatTemplate, TemplateInput};
#[cfg(feature = "tokenizer")]
pub use tokenizer::{GgufVocab, HfTokenizerConfig, Special, StrList, Tokenizer, VocabTables};
