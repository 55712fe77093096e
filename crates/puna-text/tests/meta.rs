//! Strings and chats against Meta's own Python code, on Meta's own tokenizer files.
#![cfg(feature = "tokenizer")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    missing_docs,
    unreachable_pub,
    reason = "test code"
)]

mod common;

use std::collections::HashMap;
use std::sync::OnceLock;
use std::time::Instant;

use common::{golden, golden_file, ids, model};
use puna_text::chat::{ImageLayout, Llama4Prompt, Message, Part, Role, ToolFormat, parse_messages};
use puna_text::{GgufVocab, Json, JsonStyle, Special, StrList, Tokenizer, VocabTables};
use serde_json::Value;

const O200K: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";

fn llama4() -> &'static Tokenizer {
    static TOKENIZER: OnceLock<Tokenizer> = OnceLock::new();
    TOKENIZER.get_or_init(|| {
        let file = model("llama4/tokenizer.model");
        let start = Instant::now();
        let tokenizer = Tokenizer::from_rank_file(&file).unwrap();
        eprintln!("Llama 4's tokenizer took {:?} to build", start.elapsed());
        tokenizer
    })
}

fn fnv1a64(ids: &[u32]) -> String {
    let bytes = ids.iter().flat_map(|id| id.to_le_bytes());
    let hash =
        bytes.fold(0xcbf29ce484222325u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100000001b3));
    format!("{hash:016x}")
}

fn agrees(tokenizer: &Tokenizer, entries: &Value, special: Special) {
    for entry in entries.as_array().unwrap() {
        let text = entry["text"].as_str().unwrap();
        match entry["times"].as_u64() {
            None => {
                let found = tokenizer.encode(text, special).unwrap();
                assert_eq!(found, ids(&entry["ids"]), "{text:?}");
                assert_eq!(tokenizer.decode(&found, false), text);
            }
            Some(times) => {
                let text = text.repeat(times as usize);
                let found = tokenizer.encode(&text, special).unwrap();
                assert_eq!(found.len() as u64, entry["count"], "{}", entry);
                assert_eq!(fnv1a64(&found), entry["fnv1a64"], "{}", entry);
                assert_eq!(tokenizer.decode(&found, false), text);
            }
        }
    }
}

#[test]
fn strings_equal_llama_4() {
    let golden = golden("llama4.json");
    assert!(golden["plain"].as_array().unwrap().len() >= 300);
    agrees(llama4(), &golden["plain"], Special::AsText);
    agrees(llama4(), &golden["recognised"], Special::Recognize);
}

#[test]
fn strings_equal_llama_3() {
    let tokenizer = Tokenizer::from_rank_file(&model("llama3/tokenizer.model")).unwrap();
    assert_eq!(tokenizer.vocab_size(), 128_256);
    assert_eq!(tokenizer.stop_ids(), [128_001, 128_008, 128_009]);
    agrees(&tokenizer, &golden("llama3.json")["plain"], Special::AsText);
}

#[test]
fn ids_are_those_of_the_specification() {
    let tokenizer = llama4();
    assert_eq!(
        (tokenizer.vocab_size(), tokenizer.bos(), tokenizer.adds_bos()),
        (202_048, Some(200_000), true)
    );
    assert_eq!(tokenizer.stop_ids(), [200_001, 200_007, 200_008]);
    for (text, expected) in [
        ("Hello, world!", &[19873, 24, 3817, 13][..]),
        ("hello world", &[25681, 3817]),
        (
            "The quick brown fox jumps over the lazy dog.",
            &[954, 7202, 27756, 92637, 67072, 1278, 290, 37463, 10877, 26],
        ),
        (" I'm he's WE'LL don't", &[8542, 36633, 39986, 19, 10962, 5863]),
        ("1234567890 3.14159", &[7235, 19596, 30054, 28, 220, 31, 26, 13944, 3933]),
        ("    indented\n\n\tcode()\n", &[277, 1747, 21565, 368, 106572, 1286]),
        ("été naïve Straße", &[14503, 1181, 164301, 69029]),
        ("ПриветМир Привет", &[10815, 3524, 181424, 6920, 3524]),
        ("日本語のテキスト", &[21764, 16728, 1169, 169866]),
        (
            "👩\u{200d}👩\u{200d}👧 🦙🦙",
            &[65906, 115, 12817, 65906, 115, 12817, 65906, 113, 9522, 112, 247, 172394, 247],
        ),
        ("https://example.com/a/b?x=1", &[2271, 1050, 15860, 1127, 11159, 4790, 43, 100, 41, 29]),
        ("\r\n\r\n//comment", &[57966, 405, 13929]),
        ("a\u{301}e\u{308}", &[77, 7908, 81, 50508]),
        ("user", &[1556]),
        ("assistant", &[140680]),
        ("system", &[15651]),
        ("ipython", &[607, 6934]),
        ("\n\n", &[368]),
        ("safe", &[60411]),
        ("unsafe\nS9", &[72110, 198, 63, 37]),
        ("S1,S10", &[63, 29, 36001, 580]),
    ] {
        assert_eq!(tokenizer.encode(text, Special::AsText).unwrap(), expected, "{text:?}");
    }
    let chat = [Message::system("You are a helpful assistant"), Message::user("Hi")];
    assert_eq!(
        Llama4Prompt::new().encode(tokenizer, &chat, true).unwrap(),
        [
            200000, 200005, 15651, 200006, 368, 4662, 583, 262, 19933, 43910, 200008, 200005, 1556, 200006,
            368, 25181, 200008, 200005, 140680, 200006, 368
        ]
    );
}

#[test]
fn chats_equal_meta_s_chat_format() {
    // Arguments of tools keep their order in our own JSON.
    let golden = Json::parse(&golden_file("chats.json")).unwrap();
    assert!(golden.as_array().unwrap().len() >= 12);
    for chat in golden.as_array().unwrap() {
        let json = chat.get("messages").unwrap().dump(JsonStyle::default());
        let messages = parse_messages(json.as_bytes()).unwrap();
        let format = match chat.get("tool_format").unwrap().as_str() {
            Some("json") => ToolFormat::Json,
            Some("function_tag") => ToolFormat::FunctionTag,
            Some("python_list") => ToolFormat::PythonList,
            other => panic!("{other:?}"),
        };
        let prompt = Llama4Prompt::new().with_tool_format(format);
        let whole = prompt.encode(llama4(), &messages, true).unwrap();
        let ids = chat.get("ids").unwrap().as_array().unwrap().iter();
        let expected: Vec<Json> = whole.iter().map(|&id| Json::Int(id.into())).collect();
        assert!(ids.eq(&expected), "{json}");

        // Message by message gives the same ids.
        let mut pushed = Vec::new();
        for (i, message) in messages.iter().enumerate() {
            let last = i + 1 == messages.len();
            pushed
                .extend(prompt.encode_turns(llama4(), std::slice::from_ref(message), i == 0, last).unwrap());
        }
        assert_eq!(pushed, whole);
    }
}

#[test]
fn images_take_the_tokens_of_their_layout() {
    let (rows, cols) = (2, 3);
    let image = ImageLayout::new(rows, cols);
    let message = Message::from_parts(Role::User, vec![Part::Image(image), Part::Text("What?".into())]);
    let ids = Llama4Prompt::new().encode_turns(llama4(), &[message], false, false).unwrap();
    let tiles = 144 * (rows * cols + 1) + rows * (cols - 1) + rows + 3;
    assert_eq!(u64::from(tiles), image.n_tokens());
    let text = llama4().encode("What?", Special::AsText).unwrap();
    assert_eq!(ids.len(), 4 + tiles as usize + text.len() + 1);
    let inside = &ids[4..4 + tiles as usize];
    assert_eq!((inside[0], inside[145], inside[145 + 145 + 145]), (200_080, 200_084, 200_085));
    assert_eq!(inside[inside.len() - 146..][0], 200_090);
    assert_eq!(inside.iter().filter(|&&id| id == 200_092).count(), 144 * 7);

    let single: Vec<_> = ImageLayout::new(1, 1).tokens().collect();
    assert_eq!(single.len(), 147);
    assert_eq!(
        (single[0], single[1], single[2], single[146]),
        ("<|image_start|>", "<|image|>", "<|patch|>", "<|image_end|>")
    );
}

/// The text of a token in byte-level vocabularies: printable Latin-1 stands for itself, other bytes for U+0100 and up.
fn byte_level(token: &[u8]) -> String {
    let plain = |b: u8| matches!(b, 0x21..=0x7E | 0xA1..=0xAC | 0xAE..=0xFF);
    let char_of = |b: u8| match plain(b) {
        true => char::from(b),
        false => char::from_u32(0x100 + (0..b).filter(|&b| !plain(b)).count() as u32).unwrap(),
    };
    token.iter().map(|&b| char_of(b)).collect()
}

/// Hugging Face's converter writes every pair of tokens whose texts make a third as a merge, about 439,000 of them; we
/// keep one for each token. Both must give the same ids, as must the three kinds of file.
#[test]
fn files_with_all_merges_give_the_ids_of_the_rank_file() {
    let vocab_size = llama4().vocab_size() as u32;
    let bytes: Vec<&[u8]> = (0..200_000).map(|id| llama4().token_bytes(id).unwrap()).collect();
    let ranks: HashMap<&[u8], usize> = bytes.iter().enumerate().map(|(rank, token)| (*token, rank)).collect();
    let mut tokens: Vec<String> = bytes.iter().map(|token| byte_level(token)).collect();
    let mut merges = Vec::new();
    for token in &bytes {
        let cuts = (1..token.len()).map(|at| token.split_at(at));
        let mut pairs: Vec<(usize, usize)> =
            cuts.filter_map(|(l, r)| Some((*ranks.get(l)?, *ranks.get(r)?))).collect();
        pairs.sort_unstable();
        merges.extend(pairs.iter().map(|&(l, r)| format!("{} {}", tokens[l], tokens[r])));
    }
    assert!(merges.len() > 400_000);
    tokens.extend(
        (200_000..vocab_size)
            .map(|id| String::from_utf8(llama4().token_bytes(id).unwrap().to_vec()).unwrap()),
    );
    let types: Vec<i32> = (0..vocab_size).map(|id| if id < 200_000 { 1 } else { 3 }).collect();

    let token_refs: Vec<&str> = tokens.iter().map(String::as_str).collect();
    let merge_refs: Vec<&str> = merges.iter().map(String::as_str).collect();
    let start = Instant::now();
    let gguf = Tokenizer::from_gguf_parts(&GgufVocab {
        architecture: "llama4",
        model: "gpt2",
        pre: "default",
        tokens: StrList::Each(&token_refs),
        merges: StrList::Each(&merge_refs),
        token_types: &types,
        bos: Some(200_000),
        eos: Some(200_008),
        ..GgufVocab::default()
    })
    .unwrap();
    let read = start.elapsed();
    gguf.prepare().unwrap();
    let ready = start.elapsed();
    eprintln!(
        "GGUF: {} tokens and {} merges read in {read:?}, ready after {ready:?}",
        tokens.len(),
        merges.len()
    );

    let added = (200_000..vocab_size).map(|id| {
        serde_json::json!({"id": id, "content": tokens[id as usize], "special": true, "single_word": false, "normalized": false})
    });
    let vocab: serde_json::Map<String, Value> =
        tokens[..200_000].iter().zip(0u32..).map(|(token, id)| (token.clone(), id.into())).collect();
    let json = serde_json::json!({
        "version": "1.0",
        "added_tokens": added.collect::<Vec<_>>(),
        "normalizer": null,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": O200K}, "behavior": "Isolated", "invert": false},
            {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false}
        ]},
        "post_processor": {"type": "Sequence", "processors": [
            {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": false, "use_regex": true},
            {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<|begin_of_text|>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}], "pair": [], "special_tokens": {}}
        ]},
        "decoder": {"type": "ByteLevel"},
        "model": {"type": "BPE", "vocab": vocab, "merges": merges.iter().map(|m| m.split_once(' ').unwrap()).collect::<Vec<_>>(), "ignore_merges": true, "byte_fallback": false}
    });
    let json = serde_json::to_vec(&json).unwrap();
    let start = Instant::now();
    let hf = Tokenizer::from_json(&json).unwrap();
    eprintln!("tokenizer.json of {} bytes took {:?}", json.len(), start.elapsed());

    let golden = golden("llama4.json");
    for tokenizer in [&gguf, &hf] {
        agrees(tokenizer, &golden["plain"], Special::AsText);
        agrees(tokenizer, &golden["recognised"], Special::Recognize);
        assert_eq!((tokenizer.bos(), tokenizer.adds_bos()), (Some(200_000), true));
        assert_eq!(tokenizer.stop_ids(), [200_001, 200_007, 200_008]);
        assert_eq!(tokenizer.vocab_size(), 202_048);
        assert!((0..vocab_size).all(|id| tokenizer.token_bytes(id) == llama4().token_bytes(id)));
    }
}

#[test]
fn building_and_long_texts_take_little_time() {
    let file = model("llama4/tokenizer.model");
    let start = Instant::now();
    let tokenizer = Tokenizer::from_rank_file(&file).unwrap();
    let read = start.elapsed();
    tokenizer.prepare().unwrap();
    let ready = start.elapsed();
    let mut texts = Vec::from([
        "a".repeat(2_000_000),
        " ".repeat(2_000_000),
        "\n ".repeat(1_000_000),
        "<|".repeat(1_000_000),
    ]);
    texts.push("The llama's 12 kids, who'd eaten 3.5 kg of grass, slept well.\n".repeat(32_000));
    eprintln!("read in {read:?}, ready after {ready:?}");
    for text in &texts {
        let start = Instant::now();
        let ids = tokenizer.encode(text, Special::Recognize).unwrap();
        let elapsed = start.elapsed();
        eprintln!("{} MB, {} tokens: {elapsed:?}", text.len() as f32 / 1e6, ids.len());
        // Generous: a linear encoder needs about a second in a slow build on a busy machine, a quadratic one hours.
        assert!(elapsed.as_secs() < 60);
    }
}

/// The rank file as a GGUF vocabulary is the same tokenizer.
#[test]
fn a_rank_file_becomes_a_gguf_vocabulary() {
    let file = model("llama4/tokenizer.model");
    let tables = VocabTables::from_rank_file(&file).unwrap();
    let tokens: Vec<&str> = tables.tokens.iter().map(String::as_str).collect();
    let merges: Vec<&str> = tables.merges.iter().map(String::as_str).collect();
    let gguf = Tokenizer::from_gguf_parts(&GgufVocab {
        architecture: "llama4",
        model: "gpt2",
        pre: tables.pre,
        tokens: StrList::Each(&tokens),
        merges: StrList::Each(&merges),
        token_types: &tables.token_types,
        bos: Some(200_000),
        eos: Some(200_001),
        ..GgufVocab::default()
    })
    .unwrap();
    let ranks = llama4();
    let text = "The 1st of 12345 naïve 日本語 texts,\n\n  with <|eot|> in it\u{a0}🎉";
    for special in [Special::AsText, Special::Recognize] {
        assert_eq!(gguf.encode(text, special), ranks.encode(text, special));
    }
    assert_eq!((gguf.stop_ids(), gguf.vocab_size()), (ranks.stop_ids(), ranks.vocab_size()));
}
