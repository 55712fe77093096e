//! Hugging Face folders: `config.json`, safetensors files, a tokenizer, and the small files around them.

use super::{Package, Tensors, Watch, limits, overrides};
use crate::error::{Error, ErrorKind, Lift, Place};
use crate::{LoadOptions, Phase};
use puna_format::safetensors::{INDEX_FILE, SINGLE_FILE, SafeTensors, ShardIndex, ShardSet};
use puna_format::{Limits, json};
use puna_llama::{Config, VisionConfig};
use std::fs;
use std::path::Path;
use std::string::{String, ToString};
use std::vec::Vec;

/// The largest file that is read as a whole (tokenizers are some tens of MB).
const MAX_SMALL_FILE: u64 = 256 << 20;

pub(super) fn open(folder: &Path, options: &LoadOptions, watch: &Watch<'_>) -> Result<Package, Error> {
    let limits = limits(options);
    let parsed = match small_file(folder, "config.json")? {
        Some(bytes) => json::parse(&bytes, &limits).lift().place(folder.join("config.json").display())?,
        None => return Err(no_model(folder)),
    };
    let config = Config::from_hf(&parsed, &overrides(options)?).lift();
    let mut config = config.place(folder.join("config.json").display())?;
    for id in generation_eos(folder, &limits)? {
        if !config.eos.contains(&id) {
            config.eos.push(id);
        }
    }
    let tensors = tensors(folder, &limits, watch)?;
    tensors.with(|source| watch.located(&tensors.names(), source));
    let vision = vision(folder, &parsed, &tensors, &limits)?;
    let settings = settings(folder)?;
    let template = match template_file(folder)? {
        Some(template) => Some(template),
        None => settings.as_ref().and_then(|s| s.template.clone()),
    };
    #[cfg(feature = "tokenizer")]
    let tokenizer = tokenizer(folder)?;
    let name = folder.file_name().map(|name| name.to_string_lossy().into_owned());
    Ok(Package {
        config,
        name,
        tensors,
        vision,
        mmproj: None,
        #[cfg(feature = "tokenizer")]
        tokenizer,
        template,
        #[cfg(unix)]
        maps: Vec::new(),
    })
}

/// The vision tower, where the weights have one: text-only exports may still describe it.
fn vision(
    folder: &Path,
    config: &json::Value,
    tensors: &Tensors,
    limits: &Limits,
) -> Result<Option<VisionConfig>, Error> {
    if !tensors.with(|source| puna_llama::vision::is_in(source)) {
        return Ok(None);
    }
    described(folder, config, limits)
}

/// What a folder without looking at its weights says of a vision tower.
pub(super) fn vision_config(folder: &Path) -> Result<Option<VisionConfig>, Error> {
    let Some(bytes) = small_file(folder, "config.json")? else { return Ok(None) };
    let limits = Limits::default();
    let config = json::parse(&bytes, &limits).lift().place(folder.join("config.json").display())?;
    described(folder, &config, &limits)
}

/// `vision_config` of `config.json`, and what `preprocessor_config.json` adds to it.
fn described(folder: &Path, config: &json::Value, limits: &Limits) -> Result<Option<VisionConfig>, Error> {
    const PREPROCESSOR: &str = "preprocessor_config.json";
    let vision = VisionConfig::from_hf(config).lift().place(folder.join("config.json").display())?;
    let Some(mut vision) = vision else { return Ok(None) };
    if let Some(bytes) = small_file(folder, PREPROCESSOR)? {
        let apply =
            json::parse(&bytes, limits).lift().and_then(|json| vision.apply_preprocessor(&json).lift());
        apply.place(folder.join(PREPROCESSOR).display())?;
    }
    Ok(Some(vision))
}

/// The whole of a small file, or `None` if there is none.
fn small_file(folder: &Path, name: &str) -> Result<Option<Vec<u8>>, Error> {
    let path = folder.join(name);
    let len = match fs::metadata(&path) {
        Ok(metadata) => metadata.len(),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e).lift().place(path.display()),
    };
    if len > MAX_SMALL_FILE {
        let message = format_args!("expected at most {MAX_SMALL_FILE} bytes, found {len}");
        return Err(Error::new(ErrorKind::Limit, message).at(path.display()));
    }
    fs::read(&path).lift().place(path.display()).map(Some)
}

fn no_model(folder: &Path) -> Error {
    let is_gguf = |entry: &fs::DirEntry| entry.path().extension().is_some_and(|e| e == "gguf");
    let gguf = fs::read_dir(folder).ok().and_then(|list| list.flatten().find(is_gguf));
    let hint = match gguf {
        Some(entry) => std::format!("; name the GGUF file in it: {}", entry.path().display()),
        None => String::new(),
    };
    Error::new(ErrorKind::BadFile, std::format!("expected config.json in the folder, found none{hint}"))
        .at(folder.display())
}

/// Maps or reads the weight files.
fn tensors(folder: &Path, limits: &Limits, watch: &Watch<'_>) -> Result<Tensors, Error> {
    let index = match small_file(folder, INDEX_FILE)? {
        Some(bytes) => {
            Some(ShardIndex::parse(&bytes, limits).lift().place(folder.join(INDEX_FILE).display())?)
        }
        None => None,
    };
    let single = [String::from(SINGLE_FILE)];
    let names = index.as_ref().map_or(&single[..], |index| &index.files);
    let sizes = names.iter().map(|name| {
        let path = folder.join(name);
        Ok(fs::metadata(&path).lift().place(path.display())?.len())
    });
    let total: u64 = sizes.collect::<Result<Vec<_>, Error>>()?.iter().sum();
    let (mut files, mut headers, mut before) = (Vec::new(), Vec::new(), 0);
    for name in names {
        watch.check()?;
        let path = folder.join(name);
        let read = |bytes| watch.tell(Phase::Read, before + bytes, total);
        let file = watch.region(&path, read)?;
        headers.push(SafeTensors::read(file.bytes(), limits).lift().place(path.display())?);
        before += file.len() as u64;
        files.push(file);
    }
    let set = match index {
        Some(index) => ShardSet::join(&index, &headers).lift().place(folder.join(INDEX_FILE).display())?,
        None => {
            let Some(header) = headers.pop() else { return Err(no_model(folder)) };
            ShardSet::single(header).lift().place(folder.join(SINGLE_FILE).display())?
        }
    };
    Ok(Tensors::Safetensors { set, files })
}

/// `eos_token_id` of `generation_config.json`: a number or a list.
fn generation_eos(folder: &Path, limits: &Limits) -> Result<Vec<u32>, Error> {
    const NAME: &str = "generation_config.json";
    let Some(bytes) = small_file(folder, NAME)? else { return Ok(Vec::new()) };
    let place = folder.join(NAME);
    let value = json::parse(&bytes, limits).lift().place(place.display())?;
    let root = json::Object::root(&value).lift().place(place.display())?;
    match root.get("eos_token_id") {
        None => Ok(Vec::new()),
        Some(list) if list.is_array() => root.need::<Vec<u32>>("eos_token_id").lift().place(place.display()),
        Some(_) => Ok(std::vec![root.need::<u32>("eos_token_id").lift().place(place.display())?]),
    }
}

/// What `tokenizer_config.json` says.
struct Settings {
    template: Option<String>,
    #[cfg(feature = "tokenizer")]
    config: puna_text::HfTokenizerConfig,
}

#[cfg(feature = "tokenizer")]
fn settings(folder: &Path) -> Result<Option<Settings>, Error> {
    const NAME: &str = "tokenizer_config.json";
    let Some(bytes) = small_file(folder, NAME)? else { return Ok(None) };
    let config = puna_text::HfTokenizerConfig::parse(&bytes).lift().place(folder.join(NAME).display())?;
    Ok(Some(Settings { template: config.chat_template.clone(), config }))
}

#[cfg(not(feature = "tokenizer"))]
fn settings(_folder: &Path) -> Result<Option<Settings>, Error> {
    Ok(None)
}

/// A chat template in a file of its own.
fn template_file(folder: &Path) -> Result<Option<String>, Error> {
    for name in ["chat_template.jinja", "chat_template.json"] {
        let Some(bytes) = small_file(folder, name)? else { continue };
        let place = folder.join(name);
        let text = String::from_utf8(bytes).map_err(|e| {
            Error::new(ErrorKind::BadFile, format_args!("expected UTF-8, found {e}")).at(place.display())
        })?;
        if !name.ends_with(".json") {
            return Ok(Some(text));
        }
        let value = json::parse(text.as_bytes(), &Limits::default()).lift().place(place.display())?;
        let root = json::Object::root(&value).lift().place(place.display())?;
        return root
            .find::<&str>("chat_template")
            .lift()
            .place(place.display())
            .map(|t| t.map(|t| t.to_string()));
    }
    Ok(None)
}

/// The tokenizer of a folder: `tokenizer.json`, or Meta's `tokenizer.model`.
#[cfg(feature = "tokenizer")]
pub(crate) fn tokenizer(folder: &Path) -> Result<Option<puna_text::Tokenizer>, Error> {
    use puna_text::Tokenizer;
    let mut tokenizer = if let Some(bytes) = small_file(folder, "tokenizer.json")? {
        Tokenizer::from_json(&bytes).lift().place(folder.join("tokenizer.json").display())?
    } else if let Some(bytes) = small_file(folder, "tokenizer.model")? {
        Tokenizer::from_rank_file(&bytes).lift().place(folder.join("tokenizer.model").display())?
    } else {
        return Ok(None);
    };
    if let Some(settings) = settings(folder)? {
        tokenizer.configure(&settings.config).lift().place(folder.join("tokenizer_config.json").display())?;
    }
    Ok(Some(tokenizer))
}

/// The vocabulary of a folder as GGUF would hold it.
#[cfg(feature = "tokenizer")]
pub(crate) fn vocabulary(folder: &Path) -> Result<Option<puna_text::VocabTables>, Error> {
    use puna_text::VocabTables;
    if let Some(bytes) = small_file(folder, "tokenizer.json")? {
        VocabTables::from_json(&bytes).lift().place(folder.join("tokenizer.json").display()).map(Some)
    } else if let Some(bytes) = small_file(folder, "tokenizer.model")? {
        VocabTables::from_rank_file(&bytes).lift().place(folder.join("tokenizer.model").display()).map(Some)
    } else {
        Ok(None)
    }
}
