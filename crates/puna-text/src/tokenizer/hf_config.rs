//! What Hugging Face's `tokenizer_config.json` says beside `tokenizer.json`.

use std::string::String;

use crate::{Json, TextError};

/// BOS, EOS and chat template of a `tokenizer_config.json`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HfTokenizerConfig {
    /// `bos_token`
    pub bos_token: Option<String>,
    /// `eos_token`
    pub eos_token: Option<String>,
    /// `add_bos_token`
    pub add_bos_token: Option<bool>,
    /// `chat_template`; the one named "default" if there are several.
    pub chat_template: Option<String>,
}

impl HfTokenizerConfig {
    /// Reads the file; keys that are not asked for are passed over.
    pub fn parse(json: &[u8]) -> Result<Self, TextError> {
        let json = Json::parse(json)?;
        if !matches!(json, Json::Object(_)) {
            return Err(TextError::malformed("tokenizer_config.json", "top level", "an object", json.kind()));
        }
        // A token is its text, or an object with the text as `content`.
        let token = |key| {
            let value = json.get(key)?;
            value.as_str().or_else(|| value.get("content")?.as_str()).map(String::from)
        };
        let chat_template = json.get("chat_template").and_then(|value| match value.as_array() {
            None => value.as_str(),
            Some(list) => {
                let named = |item: &&Json| item.get("name").and_then(Json::as_str) == Some("default");
                list.iter().find(named)?.get("template")?.as_str()
            }
        });
        Ok(Self {
            bos_token: token("bos_token"),
            eos_token: token("eos_token"),
            add_bos_token: match json.get("add_bos_token") {
                Some(Json::Bool(value)) => Some(*value),
                _ => None,
            },
            chat_template: chat_template.map(String::from),
        })
    }
}
