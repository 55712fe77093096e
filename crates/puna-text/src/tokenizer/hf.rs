//! Hugging Face `tokenizer.json`, as far as byte-pair models of the Llama family use it.

use std::{
    borrow::Cow, boxed::Box, collections::BTreeMap, collections::HashMap, fmt, format, string::String,
    vec::Vec,
};

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};

use super::added::Added;
use super::bpe::{Bpe, Form, META_SPACE, Options, Prefix};
use super::merge::Merges;
use super::split::{self, Splitter};
use super::tables::{TokenType, VocabTables};
use super::vocab::{self, Kind, TokenTable, Vocabulary};
use super::{Engine, Parts, byte_level, byte_token};
use crate::{Json, TextError, json, special};

const WHAT: &str = "tokenizer.json";

#[derive(Deserialize)]
struct Probe<'a> {
    #[serde(borrow)]
    model: ProbeModel<'a>,
}

#[derive(Deserialize)]
struct ProbeModel<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct File<'a> {
    #[serde(default)]
    added_tokens: Vec<AddedEntry>,
    normalizer: Option<Json>,
    pre_tokenizer: Option<Json>,
    post_processor: Option<Json>,
    #[serde(borrow)]
    model: Model<'a>,
}

#[derive(Deserialize)]
struct AddedEntry {
    id: u32,
    content: String,
    #[serde(default)]
    special: bool,
    #[serde(default)]
    lstrip: bool,
    #[serde(default)]
    rstrip: bool,
    #[serde(default)]
    single_word: bool,
}

#[derive(Deserialize)]
struct Model<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<Cow<'a, str>>,
    #[serde(borrow)]
    vocab: VocabEntries<'a>,
    #[serde(borrow)]
    merges: Vec<Merge<'a>>,
    unk_token: Option<String>,
    continuing_subword_prefix: Option<String>,
    end_of_word_suffix: Option<String>,
    fuse_unk: Option<bool>,
    byte_fallback: Option<bool>,
    ignore_merges: Option<bool>,
}

/// A text of the file, copied only if it is written with escapes: there are a million of them.
struct Text<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Text<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }
            fn visit_str<E>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.into())))
            }
        }
        deserializer.deserialize_str(Any)
    }
}

/// Tokens and ids in the order of the file, repeated keys included.
struct VocabEntries<'a>(Vec<(Cow<'a, str>, u32)>);

impl<'de: 'a, 'a> Deserialize<'de> for VocabEntries<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = VocabEntries<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of tokens and their ids")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<VocabEntries<'de>, A::Error> {
                let mut entries = Vec::new();
                while let Some((Text(text), id)) = map.next_entry()? {
                    entries.push((text, id));
                }
                Ok(VocabEntries(entries))
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

/// A pair to merge: `["left", "right"]`, or "left right" in older files.
struct Merge<'a>(Cow<'a, str>, Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Merge<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pair;
        impl<'de> Visitor<'de> for Pair {
            type Value = Merge<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a pair of tokens, or two tokens with a space between")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Merge<'de>, E> {
                match text.split_once(' ') {
                    Some((left, right)) if !right.contains(' ') => {
                        Ok(Merge(Cow::Owned(left.into()), Cow::Owned(right.into())))
                    }
                    _ => Err(E::invalid_value(serde::de::Unexpected::Str(text), &self)),
                }
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Merge<'de>, A::Error> {
                let pair = (seq.next_element()?, seq.next_element()?, seq.next_element::<Text<'de>>()?);
                match pair {
                    (Some(Text(left)), Some(Text(right)), None) => Ok(Merge(left, right)),
                    _ => Err(serde::de::Error::invalid_length(0, &self)),
                }
            }
        }
        deserializer.deserialize_any(Pair)
    }
}

fn parse(data: &[u8]) -> Result<File<'_>, TextError> {
    let file: Result<File<'_>, _> = serde_json::from_slice(data);
    // Models of other types have other fields, so that the type is looked for in what could not be read, too.
    let kind = match &file {
        Ok(file) => file.model.kind.clone(),
        Err(_) => serde_json::from_slice::<Probe<'_>>(data).ok().and_then(|probe| probe.model.kind),
    };
    if let Some(kind) = kind.filter(|kind| kind != "BPE") {
        return Err(TextError::unsupported("tokenizer model", kind, "BPE"));
    }
    file.map_err(|error| json::parse_error(WHAT, &error))
}

/// The vocabulary as GGUF stores it. Its pre-tokenizer must be one that GGUF has a name for.
pub(super) fn tables(data: &[u8]) -> Result<VocabTables, TextError> {
    // Whatever could be wrong with the file.
    let read = read(data)?;
    let file = parse(data)?;
    let steps = Steps::read(file.normalizer.as_ref(), file.pre_tokenizer.as_ref())?;
    let patterns: Vec<&str> = steps.patterns.iter().map(String::as_str).collect();
    let supported = "byte-level ones that GGUF names: llama4, llama-bpe, qwen2, smollm, gpt-2";
    let pre = match patterns[..] {
        _ if !matches!(steps.form()?, Form::ByteLevel { compose: false, .. }) => None,
        [split::O200K] if read.meta_cuts => Some("llama4"),
        [split::O200K] => Some("gpt-4o"),
        [split::LLAMA3] => Some("llama-bpe"),
        [split::QWEN2] => Some("qwen2"),
        [split::DIGIT, split::GPT2] => Some("smollm"),
        [split::GPT2] => Some("gpt-2"),
        _ => None,
    };
    let pre =
        pre.ok_or_else(|| TextError::unsupported("pre-tokenizer", patterns.join(" then "), supported))?;
    let mut tables = VocabTables::new(pre);
    for (text, id) in file.model.vocab.0 {
        tables.set(id, text.into_owned(), TokenType::Normal)?;
    }
    for token in file.added_tokens {
        tables.set(
            token.id,
            token.content,
            if token.special { TokenType::Control } else { TokenType::User },
        )?;
    }
    tables.merges =
        file.model.merges.into_iter().map(|Merge(left, right)| format!("{left} {right}")).collect();
    Ok(tables)
}

pub(super) fn read(data: &[u8]) -> Result<Parts, TextError> {
    let file = parse(data)?;
    let model = file.model;
    for (name, value) in [
        ("continuing_subword_prefix", &model.continuing_subword_prefix),
        ("end_of_word_suffix", &model.end_of_word_suffix),
    ] {
        if let Some(value) = value.as_ref().filter(|value| !value.is_empty()) {
            return Err(TextError::unsupported(name, value, "none"));
        }
    }
    if let Some(token) = file.added_tokens.iter().find(|token| token.single_word) {
        return Err(TextError::unsupported("single_word of added token", &token.content, "false"));
    }

    let steps = Steps::read(file.normalizer.as_ref(), file.pre_tokenizer.as_ref())?;
    let form = steps.form()?;
    let bytes = matches!(form, Form::ByteLevel { .. });
    let byte_fallback = model.byte_fallback.unwrap_or(false);
    let table = table(&model.vocab.0, &file.added_tokens, bytes, byte_fallback)?;

    // Special tokens never come out of merges, so that no text can spell one.
    let added: HashMap<&str, &AddedEntry> =
        file.added_tokens.iter().map(|token| (token.content.as_str(), token)).collect();
    let mut tokens = model.vocab.0;
    for (text, id) in &tokens {
        if let Some(token) = added.get(&**text).filter(|token| token.id != *id) {
            let at = format!("added_tokens, {text:?}");
            return Err(TextError::malformed(WHAT, at, format!("id {id}, as in vocab"), token.id));
        }
    }
    tokens.retain(|(text, _)| {
        !added.get(&**text).is_some_and(|token| token.special) || model.unk_token.as_deref() == Some(text)
    });
    let mut vocabulary = Vocabulary::with_capacity(tokens.len())?;
    tokens.iter().try_for_each(|(text, id)| vocabulary.push(text, *id))?;
    let mut near = 0;
    let merges = model.merges.iter().enumerate();
    let pairs = merges.map(|(at, Merge(left, right))| vocabulary.pair(at, (left, right), &mut near));
    let pairs = pairs.collect::<Result<Vec<_>, _>>()?;
    if let Some(unk) = model.unk_token.as_ref().filter(|unk| vocabulary.id(unk).is_none()) {
        return Err(TextError::malformed("vocabulary", "unknown token", "one of the tokens", unk));
    }
    let whole_pieces = model.ignore_merges.unwrap_or(false);
    // Where every byte is a token, none is ever unknown.
    let knows_all = bytes && (0..=255).all(|byte| vocabulary.id(&byte_level::char(byte)).is_some());
    let bpe = if knows_all || model.unk_token.is_none() && !byte_fallback {
        drop(tokens);
        Bpe::new(whole_pieces, form, move || Ok((vocabulary, Merges::Pairs(pairs))))
    } else {
        drop((vocabulary, pairs));
        let merges = model.merges.into_iter().map(|Merge(l, r)| (l.into_owned(), r.into_owned())).collect();
        let fuse_unk = model.fuse_unk.unwrap_or(false);
        let options = Options { whole_pieces, byte_fallback, unk: model.unk_token, fuse_unk };
        let tokens = tokens.into_iter().map(|(text, id)| (text.into_owned(), id)).collect();
        Bpe::with_unknown(tokens, merges, options, form)?
    };
    let engine = Engine::Bpe(Box::new(bpe));

    let id = |name: &str| file.added_tokens.iter().find(|token| token.content == name).map(|token| token.id);
    let template = file.post_processor.as_ref().and_then(leading_special);
    let bos =
        template.or([special::BEGIN_OF_TEXT, "<s>"].into_iter().find(|name| id(name).is_some())).and_then(id);
    let meta_cuts = steps.patterns == [split::O200K] && id(special::HEADER_START).is_some();
    let added = file.added_tokens.into_iter().map(|token| Added {
        text: token.content.into(),
        id: token.id,
        special: token.special,
        lstrip: token.lstrip,
        rstrip: token.rstrip,
    });
    let adds_bos = template.is_some() && bos.is_some();
    Ok(Parts {
        engine,
        table,
        added: added.collect(),
        meta_cuts,
        bos,
        adds_bos,
        eos: None,
        stops: Vec::new(),
    })
}

/// All tokens by id; ids without a token are holes.
fn table(
    tokens: &[(Cow<'_, str>, u32)],
    added: &[AddedEntry],
    bytes: bool,
    byte_fallback: bool,
) -> Result<TokenTable, TextError> {
    let mut by_id: BTreeMap<u32, (&str, Option<bool>)> = BTreeMap::new();
    for (text, id) in tokens {
        if let Some((before, _)) = by_id.insert(*id, (text, None)) {
            let at = format!("vocab, id {id}");
            return Err(TextError::malformed(WHAT, at, "one token", format!("{before:?} and {text:?}")));
        }
    }
    for token in added {
        match by_id.insert(token.id, (&token.content, Some(token.special))) {
            Some((before, _)) if before != token.content => {
                let at = format!("added_tokens, id {}", token.id);
                return Err(TextError::malformed(WHAT, at, format!("{before:?}"), &token.content));
            }
            _ => {}
        }
    }
    let n = by_id.last_key_value().map_or(0, |(&id, _)| id as usize + 1);
    vocab::check_count(n)?;
    let mut table = TokenTable::with_capacity(n)?;
    for (id, (text, added)) in by_id {
        while table.len() < id as usize {
            table.push(Kind::Hole, |_| {})?;
        }
        let kind = if added == Some(true) { Kind::Special } else { Kind::Text };
        table.push(kind, |out| match added {
            None if bytes && byte_level::push_bytes(text, out) => {}
            None if !bytes => match byte_token(text).filter(|_| byte_fallback) {
                Some(byte) => out.push(byte),
                None => out.extend_from_slice(text.replace(META_SPACE, " ").as_bytes()),
            },
            _ => out.extend_from_slice(text.as_bytes()),
        })?;
    }
    Ok(table)
}

/// What the normalizer and the pre-tokenizer do, in order.
#[derive(Default)]
struct Steps {
    compose: bool,
    prepend: bool,
    escape: bool,
    patterns: Vec<String>,
    /// Byte-level, and whether it adds a space.
    bytes: Option<bool>,
    /// Metaspace: its prefix, and whether it cuts words.
    meta: Option<(Prefix, bool)>,
}

impl Steps {
    fn read(normalizer: Option<&Json>, pre_tokenizer: Option<&Json>) -> Result<Self, TextError> {
        let mut steps = Self::default();
        if let Some(json) = normalizer {
            steps.normalizer(json)?;
        }
        if let Some(json) = pre_tokenizer {
            steps.pre_tokenizer(json)?;
        }
        Ok(steps)
    }

    fn normalizer(&mut self, json: &Json) -> Result<(), TextError> {
        let refuse = || {
            let supported = "NFC, Prepend of ▁, Replace of a space by ▁, and sequences of these";
            Err(TextError::unsupported("normalizer", json.dump(json::JsonStyle::default()), supported))
        };
        let text = |key| json.get(key).and_then(Json::as_str);
        match text("type") {
            Some("Sequence") => items(json, "normalizers")?.iter().try_for_each(|item| self.normalizer(item)),
            Some("NFC") => {
                self.compose = true;
                Ok(())
            }
            Some("Prepend") if text("prepend") == Some("▁") && !self.escape => {
                self.prepend = true;
                Ok(())
            }
            Some("Replace") => {
                let from =
                    json.get("pattern").and_then(|pattern| pattern.get("String")).and_then(Json::as_str);
                if from != Some(" ") || text("content") != Some("▁") {
                    return refuse();
                }
                self.escape = true;
                Ok(())
            }
            _ => refuse(),
        }
    }

    fn pre_tokenizer(&mut self, json: &Json) -> Result<(), TextError> {
        let refuse = || {
            let supported = "Split (isolated), Digits, ByteLevel, Metaspace, and sequences of these";
            Err(TextError::unsupported("pre-tokenizer", json.dump(json::JsonStyle::default()), supported))
        };
        let flag = |key, default| match json.get(key) {
            Some(Json::Bool(value)) => *value,
            _ => default,
        };
        if self.bytes.is_some() || self.meta.is_some() {
            // Both change the text, so that a pattern after them means something else.
            return refuse();
        }
        match json.get("type").and_then(Json::as_str) {
            Some("Sequence") => {
                return items(json, "pretokenizers")?.iter().try_for_each(|item| self.pre_tokenizer(item));
            }
            Some("Split") => {
                let pattern = json.get("pattern");
                let part = |key| pattern.and_then(|pattern| pattern.get(key)).and_then(Json::as_str);
                let pattern = match (part("Regex"), part("String")) {
                    (Some(regex), _) => String::from(regex),
                    (None, Some(text)) if !text.is_empty() => regex::escape(text),
                    _ => return refuse(),
                };
                let covers =
                    [split::O200K, split::LLAMA3, split::QWEN2, split::GPT2].contains(&pattern.as_str());
                match json.get("behavior").and_then(Json::as_str) {
                    Some("Isolated") => {}
                    Some("Removed") if flag("invert", false) && covers => {}
                    _ => return refuse(),
                }
                self.patterns.push(pattern);
            }
            Some("Digits") => {
                let each = flag("individual_digits", false);
                self.patterns.push(if each { split::DIGIT.into() } else { format!("{}+", split::DIGIT) });
            }
            Some("ByteLevel") => {
                let prefix_space = flag("add_prefix_space", true);
                if prefix_space && !self.patterns.is_empty() {
                    return refuse();
                }
                if flag("use_regex", true) {
                    self.patterns.push(split::GPT2.into());
                }
                self.bytes = Some(prefix_space);
            }
            Some("Metaspace") if self.patterns.is_empty() => {
                let prefix = match json.get("prepend_scheme").and_then(Json::as_str) {
                    Some("never") => Prefix::Never,
                    Some("first") => Prefix::First,
                    Some("always") => Prefix::Every,
                    None if flag("add_prefix_space", true) => Prefix::Every,
                    None => Prefix::Never,
                    Some(_) => return refuse(),
                };
                if json.get("replacement").and_then(Json::as_str) != Some("▁") {
                    return refuse();
                }
                self.meta = Some((prefix, flag("split", true)));
            }
            _ => return refuse(),
        }
        Ok(())
    }

    fn form(&self) -> Result<Form, TextError> {
        let patterns: Vec<&str> = self.patterns.iter().map(String::as_str).collect();
        match (self.bytes, self.meta) {
            (Some(prefix_space), _) if !self.prepend && !self.escape => Ok(Form::ByteLevel {
                splitter: Splitter::new(&patterns)?,
                compose: self.compose,
                prefix_space,
            }),
            (None, Some((prefix, words))) if !self.prepend && !self.compose => {
                Ok(Form::MetaSpace { prefix, once: true, words })
            }
            (None, None) if self.escape && !self.compose && patterns.is_empty() => {
                let prefix = if self.prepend { Prefix::Every } else { Prefix::Never };
                Ok(Form::MetaSpace { prefix, once: false, words: false })
            }
            _ => {
                let supported = "ByteLevel, Metaspace, or a normalizer that writes spaces as ▁";
                Err(TextError::unsupported(
                    "combination of normalizer and pre-tokenizer",
                    "this one",
                    supported,
                ))
            }
        }
    }
}

fn items<'j>(json: &'j Json, key: &str) -> Result<&'j [Json], TextError> {
    let found = json.get(key);
    found
        .and_then(Json::as_array)
        .ok_or_else(|| TextError::malformed(WHAT, key, "an array", found.map_or("nothing", Json::kind)))
}

/// The special token that a template puts before a single text.
fn leading_special(processor: &Json) -> Option<&str> {
    match processor.get("type")?.as_str()? {
        "Sequence" => processor.get("processors")?.as_array()?.iter().find_map(leading_special),
        "TemplateProcessing" => {
            processor.get("single")?.as_array()?.first()?.get("SpecialToken")?.get("id")?.as_str()
        }
        _ => None,
    }
}
