//! GGUF models: one file or several, mapped or in memory.

use super::{Package, Tensors, limits, overrides};
use crate::LoadOptions;
use crate::error::{Error, Lift};
use alloc::string::String;
use alloc::vec::Vec;
use puna_core::Region;
use puna_format::gguf::{Gguf, GgufSet};
use puna_llama::Config;
use puna_llama::config::override_metadata;
use puna_llama::weights::GgufTensors;

/// Reads the headers of a model's files, given in order.
pub(super) fn from_regions(files: Vec<Region>, options: &LoadOptions) -> Result<Package, Error> {
    let limits = limits(options);
    let headers =
        files.iter().map(|file| Gguf::read(file.bytes(), &limits).lift()).collect::<Result<_, _>>()?;
    package(GgufSet::join(headers, &limits).lift()?, files, options)
}

/// Names of the tensors, in the order of their files.
#[cfg(feature = "std")]
pub(super) fn tensor_names(set: &GgufSet) -> Vec<&str> {
    set.tensors.iter().map(|placed| placed.tensor.name.as_str()).collect()
}

fn package(mut set: GgufSet, files: Vec<Region>, options: &LoadOptions) -> Result<Package, Error> {
    override_metadata(&mut set.metadata, &overrides(options)?).lift()?;
    let config = Config::from_gguf(&set.metadata, &GgufTensors::new(&set, &files)).lift()?;
    let text = |key: &str| set.metadata.find::<&str>(key).lift().map(|found| found.map(String::from));
    let (name, template) = (text("general.name")?, text("tokenizer.chat_template")?);
    #[cfg(feature = "tokenizer")]
    let tokenizer = tokenizer(&set.metadata)?;
    // The vocabulary has been taken over; its strings need not stay for as long as the model does.
    for key in [
        "tokenizer.ggml.tokens",
        "tokenizer.ggml.merges",
        "tokenizer.ggml.scores",
        "tokenizer.ggml.token_type",
    ] {
        set.metadata.remove(key);
    }
    Ok(Package {
        config,
        name,
        tensors: Tensors::Gguf { set, files },
        vision: None,
        mmproj: None,
        #[cfg(feature = "tokenizer")]
        tokenizer,
        template,
        #[cfg(all(feature = "std", unix))]
        maps: Vec::new(),
    })
}

/// The tokenizer inside the metadata, if there is one.
#[cfg(feature = "tokenizer")]
pub(crate) fn tokenizer(
    metadata: &puna_format::gguf::Metadata,
) -> Result<Option<puna_text::Tokenizer>, Error> {
    use puna_format::gguf::{FromValue, Strings};
    use puna_text::StrList;
    const PREFIX: &str = "tokenizer.ggml.";
    fn find<'a, T: FromValue<'a>>(
        metadata: &'a puna_format::gguf::Metadata,
        name: &str,
    ) -> Result<Option<T>, Error> {
        metadata.find::<T>(&(String::from(PREFIX) + name)).lift()
    }
    fn strings(found: Option<&Strings>) -> StrList<'_> {
        found.map(Strings::parts).map(|(text, ends)| StrList::Joined { text, ends }).unwrap_or_default()
    }
    let Some(model) = find::<&str>(metadata, "model")?.filter(|model| *model != "none") else {
        return Ok(None);
    };
    let tokens = strings(find(metadata, "tokens")?);
    let merges = strings(find(metadata, "merges")?);
    let token_types = find::<Vec<i32>>(metadata, "token_type")?.unwrap_or_default();
    let scores = find::<Vec<f32>>(metadata, "scores")?;
    let vocab = puna_text::GgufVocab {
        architecture: metadata.find("general.architecture").lift()?.unwrap_or_default(),
        model,
        pre: find(metadata, "pre")?.unwrap_or_default(),
        tokens,
        merges,
        token_types: &token_types,
        scores: scores.as_deref(),
        bos: find(metadata, "bos_token_id")?,
        eos: find(metadata, "eos_token_id")?,
        eot: find(metadata, "eot_token_id")?,
        eom: find(metadata, "eom_token_id")?,
        unk: find(metadata, "unknown_token_id")?,
        pad: find(metadata, "padding_token_id")?,
        add_bos: find(metadata, "add_bos_token")?,
        add_space_prefix: find(metadata, "add_space_prefix")?,
    };
    puna_text::Tokenizer::from_gguf_parts(&vocab).lift().map(Some)
}

/// Maps or reads the file at `path` and, if it is one of several, the others.
#[cfg(feature = "std")]
pub(super) fn open(
    path: &std::path::Path,
    options: &LoadOptions,
    watch: &super::Watch<'_>,
) -> Result<Package, Error> {
    use crate::error::Place;
    use crate::{ErrorKind, Phase};

    let limits = limits(options);
    let names = siblings(path, &limits)?;
    let sizes = names.iter().map(|path| Ok(std::fs::metadata(path).lift().place(path.display())?.len()));
    let total: u64 = sizes.collect::<Result<Vec<_>, Error>>()?.iter().sum();
    let mut files = Vec::new();
    let mut headers = Vec::new();
    let mut before = 0;
    for path in &names {
        watch.check()?;
        let read = |bytes| watch.tell(Phase::Read, before + bytes, total);
        let file = watch.region(path, read)?;
        let header = Gguf::read(file.bytes(), &limits).lift().map_err(|e| {
            let unknown = e.kind() == ErrorKind::BadFile && !Gguf::is_gguf(file.bytes());
            let hint = "expected a GGUF file or a Hugging Face folder, found neither";
            if unknown { Error::new(ErrorKind::BadFile, hint) } else { e }
        });
        headers.push(header.place(path.display())?);
        before += file.len() as u64;
        files.push(file);
    }
    let join = || {
        let set = GgufSet::join(headers, &limits).lift()?;
        watch.located(&tensor_names(&set), &GgufTensors::new(&set, &files));
        package(set, files, options)
    };
    join().place(path.display())
}

/// Adds the vision tower of an `mmproj` file.
#[cfg(feature = "std")]
pub(super) fn mmproj(
    package: &mut Package,
    path: &std::path::Path,
    options: &LoadOptions,
    watch: &super::Watch<'_>,
) -> Result<(), Error> {
    use crate::error::Place;
    let file = watch.region(path, |_| {})?;
    tower(package, file, options).place(path.display())
}

/// Adds the vision tower in the bytes of a GGUF file.
pub(super) fn tower(package: &mut Package, file: Region, options: &LoadOptions) -> Result<(), Error> {
    let limits = limits(options);
    let set = GgufSet::join(alloc::vec![Gguf::read(file.bytes(), &limits).lift()?], &limits).lift()?;
    package.vision = Some(puna_llama::VisionConfig::from_gguf(&set.metadata).lift()?);
    package.mmproj = Some(Tensors::Gguf { set, files: alloc::vec![file] });
    Ok(())
}

/// The paths of all files of the model that `path` belongs to.
#[cfg(feature = "std")]
fn siblings(path: &std::path::Path, limits: &puna_format::Limits) -> Result<Vec<std::path::PathBuf>, Error> {
    let name = path.file_name().and_then(|name| name.to_str());
    match name.and_then(puna_format::gguf::split::parse_name) {
        Some(split) => {
            Ok(split.siblings(limits).lift()?.into_iter().map(|name| path.with_file_name(name)).collect())
        }
        None => Ok(alloc::vec![path.to_path_buf()]),
    }
}
