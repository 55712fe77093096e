//! Vocabularies, merges and chat templates that contradict themselves.

use super::{Parts, Refused, assert_clear, options};
use puna::{Cancel, ErrorKind, Message, Model, PromptFormat, Sampling, SessionOptions};
use puna_format::gguf::{Array, Strings, Value};

fn strings<S: AsRef<str>>(strings: impl IntoIterator<Item = S>) -> Value {
    Value::Array(Array::String(Strings::from_strs(strings).unwrap()))
}

const TOKENS: &str = "tokenizer.ggml.tokens";
const MERGES: &str = "tokenizer.ggml.merges";
const TYPES: &str = "tokenizer.ggml.token_type";

#[test]
fn merges_that_disagree_with_the_vocabulary() {
    let mut refused = Refused::new();
    for (what, merge, name) in [("no space", "ab", "ab"), ("one half", "a ", "a "), ("nothing", "", "merge")]
    {
        refused.parts(what, &Parts::tiny().set(MERGES, strings([merge])), &[name]);
    }
    assert_eq!(refused.count, 3);
    // Looking up what merges name takes time that only those who give text should spend.
    for (what, merge, name) in
        [("a result that is no token", "a b", "ab"), ("a half that is no token", "xyz a", "xyz")]
    {
        let bytes = Parts::tiny().set(MERGES, strings([merge])).bytes();
        let model = Model::from_bytes(bytes, &options()).unwrap();
        for _ in 0..2 {
            assert_clear(what, &model.encode("text").unwrap_err(), ErrorKind::BadFile, &[name]);
        }
        let mut session = model.session(&SessionOptions::default()).unwrap();
        session.push_tokens(&[1, 2]).unwrap();
        assert!(session.logits(&Cancel::new()).is_ok(), "{what}");
    }
}

#[test]
fn vocabularies_that_disagree_with_themselves() {
    let mut refused = Refused::new();
    let tiny = Parts::tiny();
    let tokens: Vec<String> =
        tiny.metadata.need::<&Strings>(TOKENS).unwrap().iter().map(String::from).collect();
    refused.parts("no tokens", &Parts::tiny().set(TOKENS, strings([""; 0])), &["token"]);
    refused.parts(
        "tokens without types",
        &Parts::tiny().set(TOKENS, strings(&tokens[..262])),
        &["token_type", "262"],
    );
    let types: Vec<i32> = tiny.metadata.need(TYPES).unwrap();
    refused.parts(
        "types without tokens",
        &Parts::tiny().set(TYPES, types[..10].to_vec()),
        &["token_type", "10"],
    );
    let mut odd = types.clone();
    odd[7] = 99;
    refused.parts("an unknown type", &Parts::tiny().set(TYPES, odd), &["token 7", "99"]);
    refused.parts("scores", &Parts::tiny().set("tokenizer.ggml.scores", vec![0.0f32; 3]), &["scores", "3"]);
    refused.parts("pad", &Parts::tiny().set("tokenizer.ggml.padding_token_id", 999u32), &["999"]);
    assert_eq!(refused.count, 6);
}

/// What has no token is left out, and everything else goes on.
#[test]
fn bytes_without_a_token() {
    let tiny = Parts::tiny();
    let mut tokens: Vec<&str> = tiny.metadata.need::<&Strings>(TOKENS).unwrap().iter().collect();
    assert_eq!(tokens[65], "A");
    tokens[65] = "a hole";
    let model = Model::from_bytes(tiny.clone().set(TOKENS, strings(tokens)).bytes(), &options()).unwrap();
    // SmolLM2's own vocabulary has such holes; as in llama.cpp, what has no token is left out.
    assert_eq!(model.decode(&model.encode("BANANA").unwrap()).unwrap(), "BNN");
}

/// A template is only needed by those who use it, so a bad one spoils nothing else.
#[test]
fn templates_that_fail() {
    for (what, template, names) in [
        ("does not parse", "{% for m in messages %}{{ m.content", &["chat template"][..]),
        ("unknown filter", "{{ messages | frobnicate }}", &["chat template", "frobnicate"]),
        ("raises", "{{ raise_exception('no system prompts here') }}", &["no system prompts here"]),
        (
            "endless",
            "{% for a in range(99999) %}{% for b in range(99999) %}x{% endfor %}{% endfor %}",
            &["chat template"],
        ),
        ("undefined", "{{ nothing.at.all }}", &["chat template"]),
    ] {
        let parts = Parts::tiny().set("tokenizer.chat_template", template);
        let model = Model::from_bytes(parts.bytes(), &options()).unwrap();
        let mut session = model.session(&SessionOptions::default().prompt(PromptFormat::Template)).unwrap();
        let error = session.push(&[Message::user("Hello")]).unwrap_err();
        assert_clear(what, &error, ErrorKind::BadInput, names);
        assert!(session.tokens().is_empty(), "{what}: nothing was added");
        session.push_text("Hello").unwrap();
        assert!(session.logits(&Cancel::new()).is_ok(), "{what}");
        // And the built-in format is still there.
        let mut session = model.session(&SessionOptions::default()).unwrap();
        session.push(&[Message::user("Hello")]).unwrap();
        assert!(session.generate(&Sampling::default()).max_tokens(2).text().is_ok(), "{what}");
    }
}

#[test]
fn a_model_without_words_takes_ids() {
    let mut parts = Parts::tiny();
    for key in ["tokenizer.ggml.model", "tokenizer.ggml.pre", TOKENS, MERGES, TYPES] {
        parts = parts.without(key);
    }
    let model = Model::from_bytes(parts.bytes(), &options()).unwrap();
    assert!(!model.info().has_tokenizer);
    let error = model.encode("x").unwrap_err();
    assert_clear("encode", &error, ErrorKind::Unsupported, &["no tokenizer"]);
    let mut session = model.session(&SessionOptions::default()).unwrap();
    let error = session.push(&[Message::user("x")]).unwrap_err();
    assert_clear("push", &error, ErrorKind::Unsupported, &["no tokenizer"]);
    session.push_tokens(&[1, 2, 3]).unwrap();
    assert_eq!(session.generate(&Sampling::default()).max_tokens(3).ignore_end().count(), 3);
}
