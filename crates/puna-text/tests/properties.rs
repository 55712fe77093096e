//! What must hold for any input.
#![cfg(all(feature = "tokenizer", feature = "template"))]
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, unreachable_pub, dead_code, reason = "test code")]

mod common;

use std::sync::OnceLock;

use proptest::collection::vec;
use proptest::prelude::*;
use puna_text::chat::{Llama4Prompt, Message, Role, parse_messages, parse_tool_calls};
use puna_text::{ChatTemplate, Json, Special, StreamDecoder, TemplateInput, Tokenizer};

fn llama4() -> &'static Tokenizer {
    static TOKENIZER: OnceLock<Tokenizer> = OnceLock::new();
    TOKENIZER.get_or_init(|| Tokenizer::from_rank_file(&common::model("llama4/tokenizer.model")).unwrap())
}

/// Bytes that are often, but not always, pieces of UTF-8.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        any::<char>().prop_map(|c| c.to_string().into_bytes()),
        any::<char>().prop_map(|c| c.to_string().into_bytes()[..1].to_vec()),
        vec(any::<u8>(), 0..4),
        vec(0x80u8..=0xF8, 0..6),
    ];
    vec(piece, 0..20).prop_map(|pieces| pieces.concat())
}

/// Text with what tokenizers look at: spaces, line ends, digits, marks, markers.
fn text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        ".*",
        "[ \t\r\n\u{a0}\u{3000}]{0,8}",
        "[a-zA-Z'\u{300}-\u{305}é日🦙0-9 ]{0,20}",
        Just("<|eot|>".to_owned()),
        Just("<|header_start|>".to_owned()),
    ];
    vec(piece, 0..6).prop_map(|pieces| pieces.concat())
}

proptest! {
    // A failing input belongs into a test of its own, not into a file beside this one.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_stream_in_any_pieces_equals_the_whole(bytes in bytes(), cuts in vec(0usize..64, 0..10)) {
        let mut decoder = StreamDecoder::new();
        let (mut out, mut rest) = (String::new(), &bytes[..]);
        for cut in cuts {
            let (piece, after) = rest.split_at(cut.min(rest.len()));
            out.push_str(decoder.push(piece));
            // Nothing is kept back but the start of one character, and nothing is given up early.
            prop_assert!(String::from_utf8_lossy(&bytes).starts_with(&out));
            rest = after;
        }
        out.push_str(decoder.push(rest));
        out.push_str(decoder.flush());
        prop_assert_eq!(out, String::from_utf8_lossy(&bytes));
        prop_assert!(!decoder.is_pending());
    }

    #[test]
    fn decoding_gives_the_text_back(text in text()) {
        for special in [Special::AsText, Special::Recognize] {
            let ids = llama4().encode(&text, special).unwrap();
            prop_assert_eq!(&llama4().decode(&ids, false), &text);
            let mut decoder = StreamDecoder::new();
            let mut streamed = String::new();
            for &id in &ids {
                streamed.push_str(decoder.push(llama4().token_bytes(id).unwrap()));
            }
            prop_assert_eq!(&streamed, &text);
        }
    }

    #[test]
    fn no_text_spells_a_special_token(text in text()) {
        let ids = llama4().encode(&text, Special::AsText).unwrap();
        prop_assert!(ids.iter().all(|&id| !llama4().is_special(id)));
        let message = Message::user(text);
        let ids = Llama4Prompt::new().encode(llama4(), &[message], false).unwrap();
        prop_assert_eq!(ids.iter().filter(|&&id| llama4().is_special(id)).count(), 4);
    }

    #[test]
    fn conversations_grow_by_any_portions(texts in vec(text(), 1..6), cut in 0usize..6) {
        let roles = [Role::System, Role::User, Role::Assistant, Role::Tool];
        let messages: Vec<_> = texts.into_iter().zip(roles.iter().cycle()).map(|(t, &r)| Message::new(r, t)).collect();
        let prompt = Llama4Prompt::new();
        let (before, after) = messages.split_at(cut.min(messages.len()));
        let mut pushed = prompt.encode_turns(llama4(), before, true, false).unwrap();
        pushed.extend(prompt.encode_turns(llama4(), after, false, true).unwrap());
        prop_assert_eq!(pushed, prompt.encode(llama4(), &messages, true).unwrap());
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in bytes(), text in text()) {
        let _ = Tokenizer::from_rank_file(&bytes);
        let _ = Tokenizer::from_json(&bytes);
        let _ = parse_messages(&bytes);
        let _ = Json::parse(&bytes);
        let _ = parse_tool_calls(&text);
        if let Ok(template) = ChatTemplate::new(&text) {
            let _ = template.render(&TemplateInput::default());
        }
    }

    #[test]
    fn answers_that_look_like_calls_are_read_or_refused(answer in r#"[\[\]{}():,;="'a-c0-9.\\ -]{0,60}"#) {
        let _ = parse_tool_calls(&answer);
    }

    #[test]
    fn templates_of_odd_tags_are_read_or_refused(source in r#"(\{%|%\}|\{\{|\}\}|-| |for|in|if|set|x|messages|generation|\||tojson|\(|\)|[0-9]|\.|'|\[|\]|\*){0,40}"#) {
        if let Ok(template) = ChatTemplate::new(&source) {
            let _ = template.render(&TemplateInput { messages: &[Message::user("x")], ..TemplateInput::default() });
        }
    }
}
