//! The keys of the output that its tensors do not decide: name, tokenizer, chat template.

use crate::Imatrix;
use crate::error::{Error, Lift};
use crate::package::{Package, Tensors};
use puna_format::Limits;
use puna_format::gguf::{Gguf, Metadata};
use puna_llama::convert::mix::Mix;
use std::path::Path;

/// All keys of a GGUF file, or those made of the small files of a folder.
pub(super) fn source(package: &Package, input: &Path, limits: &Limits) -> Result<Metadata, Error> {
    match &package.tensors {
        Tensors::Gguf { files, .. } => {
            let Some(first) = files.first() else { return Ok(Metadata::default()) };
            let mut metadata = Gguf::read(first.bytes(), limits).lift()?.metadata;
            use puna_format::gguf::split::{COUNT_KEY, NO_KEY, TENSORS_KEY};
            [NO_KEY, COUNT_KEY, TENSORS_KEY].iter().for_each(|key| _ = metadata.remove(key));
            Ok(metadata)
        }
        Tensors::Safetensors { .. } => folder(package, input),
    }
}

/// What the written file says of itself: its type and, where another than the source's is wanted, its name.
pub(super) fn written(mix: Mix, name: Option<&str>, metadata: &mut Metadata) {
    metadata.set("general.file_type", mix.file_type());
    metadata.set("general.quantization_version", 2u32);
    if let Some(name) = name {
        metadata.set("general.name", name);
    }
}

/// Says what errors were weighed by, in llama.cpp's keys.
pub(super) fn importance(imatrix: Option<&Imatrix>, metadata: &mut Metadata) {
    let Some(imatrix) = imatrix else { return };
    if let Some(dataset) = imatrix.datasets().next() {
        metadata.set("quantize.imatrix.dataset", dataset);
    }
    metadata.set("quantize.imatrix.entries_count", u32::try_from(imatrix.tensors()).unwrap_or(u32::MAX));
    metadata.set("quantize.imatrix.chunks_count", imatrix.chunks().0);
}

fn folder(package: &Package, folder: &Path) -> Result<Metadata, Error> {
    let mut metadata = Metadata::default();
    if let Some(name) = &package.name {
        metadata.set("general.name", name.as_str());
    }
    #[cfg(feature = "tokenizer")]
    tokenizer(package, folder, &mut metadata)?;
    #[cfg(not(feature = "tokenizer"))]
    let _ = folder;
    Ok(metadata)
}

#[cfg(feature = "tokenizer")]
fn tokenizer(package: &Package, folder: &Path, metadata: &mut Metadata) -> Result<(), Error> {
    use crate::package::vocabulary;
    use puna_format::gguf::{Array, Strings, Value};
    let Some(tokenizer) = &package.tokenizer else { return Ok(()) };
    let Some(mut tables) = vocabulary(folder)? else { return Ok(()) };
    tables.pad(package.config.vocab_size).lift()?;
    let strings = |list: &[std::string::String]| {
        Strings::from_strs(list).lift().map(|strings| Value::Array(Array::String(strings)))
    };
    let mut set = |name: &str, value: Value| metadata.set(std::format!("tokenizer.{name}"), value);
    set("ggml.model", "gpt2".into());
    set("ggml.pre", tables.pre.into());
    set("ggml.tokens", strings(&tables.tokens)?);
    set("ggml.token_type", tables.token_types.clone().into());
    set("ggml.merges", strings(&tables.merges)?);
    set("ggml.add_bos_token", tokenizer.adds_bos().into());
    let named = |names: [&str; 2]| names.into_iter().find_map(|name| tokenizer.special_id(name));
    let ids = [
        ("bos", tokenizer.bos()),
        ("eos", tokenizer.eos()),
        ("eot", named(["<|eot|>", "<|eot_id|>"])),
        ("eom", named(["<|eom|>", "<|eom_id|>"])),
    ];
    for (name, id) in ids.into_iter().filter_map(|(name, id)| id.map(|id| (name, id))) {
        set(&std::format!("ggml.{name}_token_id"), id.into());
    }
    if let Some(template) = &package.template {
        set("chat_template", template.as_str().into());
    }
    Ok(())
}
