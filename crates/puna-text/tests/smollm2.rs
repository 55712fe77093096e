//! SmolLM2's vocabulary against llama.cpp, its chat template and others against Hugging Face's template engine.
#![cfg(all(feature = "tokenizer", feature = "template"))]
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, unreachable_pub, dead_code, reason = "test code")]

mod common;
#[path = "common/gguf.rs"]
mod gguf;

use std::collections::BTreeMap;

use common::{golden, golden_file, ids, model};
use puna_text::chat::parse_messages;
use puna_text::{
    ChatTemplate, GgufVocab, Json, JsonStyle, Special, StrList, TemplateInput, TextError, Tokenizer,
};

fn metadata() -> BTreeMap<String, gguf::Value> {
    gguf::metadata(&model("smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"))
}

fn tokenizer(metadata: &BTreeMap<String, gguf::Value>) -> Tokenizer {
    let key = |name: &str| &metadata[&format!("tokenizer.ggml.{name}")];
    let texts = |name: &str| -> Vec<&str> { key(name).list().iter().map(gguf::Value::text).collect() };
    let id = |name: &str| Some(key(name).number() as u32);
    let types: Vec<i32> = key("token_type").list().iter().map(|kind| kind.number() as i32).collect();
    Tokenizer::from_gguf_parts(&GgufVocab {
        architecture: metadata["general.architecture"].text(),
        model: key("model").text(),
        pre: key("pre").text(),
        tokens: StrList::Each(&texts("tokens")),
        merges: StrList::Each(&texts("merges")),
        token_types: &types,
        bos: id("bos_token_id"),
        eos: id("eos_token_id"),
        unk: id("unknown_token_id"),
        pad: id("padding_token_id"),
        add_bos: Some(key("add_bos_token").number() != 0.0),
        ..GgufVocab::default()
    })
    .unwrap()
}

#[test]
fn strings_equal_llama_cpp() {
    let tokenizer = tokenizer(&metadata());
    assert_eq!((tokenizer.vocab_size(), tokenizer.bos(), tokenizer.adds_bos()), (49_152, Some(1), false));
    assert_eq!((tokenizer.eos(), tokenizer.stop_ids()), (Some(2), &[0, 2][..]));
    for entry in golden("smollm2.json")["plain"].as_array().unwrap() {
        let text = entry["text"].as_str().unwrap();
        assert_eq!(tokenizer.encode(text, Special::AsText).unwrap(), ids(&entry["ids"]), "{text:?}");
    }
    let chat = "<|im_start|>user\nHi<|im_end|>\n";
    let ids = tokenizer.encode(chat, Special::Recognize).unwrap();
    assert_eq!((ids[0], ids[ids.len() - 2]), (1, 2));
    assert_eq!(tokenizer.decode(&ids, false), chat);
    assert_eq!(tokenizer.decode(&ids, true), "user\nHi\n");
    assert!(!tokenizer.encode(chat, Special::AsText).unwrap().iter().any(|&id| tokenizer.is_special(id)));
}

#[test]
fn templates_equal_hugging_face() {
    let metadata = metadata();
    let golden = Json::parse(&golden_file("templates.json")).unwrap();
    let text = |json: &Json, key: &str| json.get(key).and_then(Json::as_str).map(String::from);
    let mut templates = BTreeMap::new();
    let smollm2 = metadata["tokenizer.chat_template"].text();
    templates.insert("smollm2".to_owned(), ChatTemplate::new(smollm2).unwrap());
    for source in golden.get("sources").unwrap().as_array().unwrap() {
        let template = ChatTemplate::new(&text(source, "source").unwrap()).unwrap();
        templates.insert(text(source, "name").unwrap(), template);
    }
    let cases = golden.get("cases").unwrap().as_array().unwrap();
    assert!(cases.len() >= 30);
    for case in cases {
        let messages = case.get("messages").unwrap().dump(JsonStyle::default());
        let messages = parse_messages(messages.as_bytes()).unwrap();
        let variables = match case.get("variables") {
            Some(Json::Object(entries)) => {
                entries.iter().map(|(key, value)| (key.as_str(), value.clone())).collect()
            }
            _ => Vec::new(),
        };
        let found = templates[&text(case, "template").unwrap()].render(&TemplateInput {
            messages: &messages,
            bos_token: "<|begin_of_text|>",
            eos_token: "<|eot|>",
            add_generation_prompt: case.get("generation") == Some(&Json::Bool(true)),
            tools: case.get("tools").and_then(Json::as_array).unwrap_or_default(),
            variables: &variables,
            ..TemplateInput::default()
        });
        match text(case, "prompt") {
            Some(prompt) => assert_eq!(found.unwrap(), prompt, "{case:?}"),
            None => assert!(matches!(found, Err(TextError::Template { .. })), "{found:?}"),
        }
    }
}
