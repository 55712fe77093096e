//! Tests of tokenizers on small vocabularies of their own, and on hostile ones.

use std::{format, string::String, string::ToString, vec, vec::Vec};

use super::*;

/// Byte-level tokens: all single bytes in order, then these.
fn byte_tokens(more: &[&str]) -> Vec<String> {
    let mut tokens: Vec<String> = (0..=255u8)
        .map(|byte| {
            let mut text = String::new();
            byte_level::push_chars(&[byte], &mut text);
            text
        })
        .collect();
    tokens.extend(more.iter().map(|text| (*text).to_string()));
    tokens
}

struct Owned {
    tokens: Vec<String>,
    merges: Vec<&'static str>,
    types: Vec<i32>,
    scores: Option<Vec<f32>>,
    pre: &'static str,
    model: &'static str,
    bos: Option<u32>,
    unk: Option<u32>,
}

impl Owned {
    /// ids: 256 "he", 257 "ll", 258 "hell", 259 "Ġa", 260 `<s>`, 261 `<|im_end|>`, 262 a user's "@@"
    fn bytes() -> Self {
        let mut types = vec![1; 263];
        (types[260], types[261], types[262]) = (3, 3, 4);
        Self {
            tokens: byte_tokens(&["he", "ll", "hell", "Ġa", "<s>", "<|im_end|>", "@@"]),
            merges: vec!["h e", "l l", "he ll", "Ġ a"],
            types,
            scores: None,
            pre: "gpt-2",
            model: "gpt2",
            bos: Some(260),
            unk: None,
        }
    }

    /// ids: 0 `<unk>`, 1 `<s>`, 2 `</s>`, 3… the bytes, 259 "▁", then a few pieces.
    fn pieces() -> Self {
        let mut tokens: Vec<String> = ["<unk>", "<s>", "</s>"].map(String::from).into();
        tokens.extend((0..=255).map(|byte| format!("<0x{byte:02X}>")));
        tokens.extend(["▁", "a", "b", "ab", "▁a", "▁ab", "ba"].map(String::from));
        let mut types = vec![6; tokens.len()];
        types[..3].copy_from_slice(&[2, 3, 3]);
        types[259..].fill(1);
        let mut scores = vec![0.0; tokens.len()];
        scores[259..].copy_from_slice(&[-1.0, -2.0, -3.0, -4.0, -7.0, -6.0, -5.0]);
        let merges = Vec::new();
        Self {
            tokens,
            merges,
            types,
            scores: Some(scores),
            pre: "",
            model: "llama",
            bos: Some(1),
            unk: Some(0),
        }
    }

    fn build(&self) -> Result<Tokenizer, TextError> {
        let tokens: Vec<&str> = self.tokens.iter().map(String::as_str).collect();
        Tokenizer::from_gguf_parts(&GgufVocab {
            architecture: "llama",
            model: self.model,
            pre: self.pre,
            tokens: StrList::Each(&tokens),
            merges: StrList::Each(&self.merges),
            token_types: &self.types,
            scores: self.scores.as_deref(),
            bos: self.bos,
            unk: self.unk,
            ..GgufVocab::default()
        })
    }

    fn refused(mut self, change: impl FnOnce(&mut Self)) -> TextError {
        change(&mut self);
        self.build().and_then(|tokenizer| tokenizer.prepare()).unwrap_err()
    }
}

fn ids(tokenizer: &Tokenizer, text: &str) -> Vec<u32> {
    tokenizer.encode(text, Special::AsText).unwrap()
}

#[test]
fn byte_level_vocabulary() {
    let tokenizer = Owned::bytes().build().unwrap();
    assert_eq!(ids(&tokenizer, "hello a"), [258, u32::from(b'o'), 259]);
    assert_eq!(ids(&tokenizer, "hello, é")[1..], [b'o', b',', b' ', 0xC3, 0xA9].map(u32::from));
    assert_eq!(tokenizer.encode("<s>he@@<|im_end|>", Special::Recognize).unwrap(), [260, 256, 262, 261]);
    // A user's token is found in any text, a special one is not.
    assert_eq!(ids(&tokenizer, "<s>@@"), [u32::from(b'<'), u32::from(b's'), u32::from(b'>'), 262]);
    assert_eq!(tokenizer.decode(&[260, 256, 262, 9_999, 261], true), "he@@");
    assert_eq!((tokenizer.bos(), tokenizer.stop_ids()), (Some(260), &[261][..]));
    assert_eq!((tokenizer.token_bytes(259), tokenizer.token_bytes(263)), (Some(&b" a"[..]), None));
    assert!(tokenizer.is_special(260) && !tokenizer.is_special(262) && !tokenizer.is_special(u32::MAX));
}

#[test]
fn sentence_piece_vocabulary() {
    let tokenizer = Owned::pieces().build().unwrap();
    // "▁ab": "ab" has the best score of the two pairs there are, then "▁ab".
    assert_eq!(ids(&tokenizer, "ab"), [264]);
    assert_eq!(ids(&tokenizer, "aba"), [264, 260]);
    assert_eq!(ids(&tokenizer, " b"), [259, 259, 261]);
    let bytes: Vec<u32> = "é".bytes().map(|byte| u32::from(byte) + 3).collect();
    assert_eq!(ids(&tokenizer, "é")[1..], bytes);
    for text in ["ab", " ab", "é b\n", "", " ", "<s>a</s>"] {
        assert_eq!(tokenizer.decode(&ids(&tokenizer, text), false), text);
    }
    let with_markers = tokenizer.encode("<s>ab</s>", Special::Recognize).unwrap();
    assert_eq!(with_markers, [1, 264, 2]);
    assert_eq!(tokenizer.decode(&with_markers, true), "ab");
    assert!(tokenizer.adds_bos());
    assert_eq!(ids(&tokenizer, &"ab".repeat(100_000)).len(), 100_000);
}

#[test]
fn characters_without_bytes_become_unknown_or_an_error() {
    let mut vocab = Owned::pieces();
    vocab.tokens[3 + 0xC3] = "<0x00>".into();
    assert_eq!(ids(&vocab.build().unwrap(), "aé"), [263, 0]);
    vocab.unk = None;
    assert!(matches!(vocab.build().unwrap().encode("aé", Special::AsText), Err(TextError::Encode { .. })));
}

#[test]
fn hostile_gguf_vocabularies_are_refused() {
    let malformed = |error: TextError| matches!(error, TextError::Malformed { .. });
    let unsupported = |error: TextError| matches!(error, TextError::Unsupported { .. });
    assert!(malformed(Owned::bytes().refused(|v| v.merges.push("h missing"))));
    assert!(malformed(Owned::bytes().refused(|v| v.merges.push("h o"))));
    assert!(malformed(Owned::bytes().refused(|v| v.merges.push("hello"))));
    assert!(malformed(Owned::bytes().refused(|v| v.merges.push(""))));
    assert!(malformed(Owned::bytes().refused(|v| v.merges.push("é "))));
    assert!(malformed(Owned::bytes().refused(|v| v.merges.push("<s> a"))));
    assert!(malformed(Owned::bytes().refused(|v| v.tokens[257] = "he".into())));
    assert!(malformed(Owned::bytes().refused(|v| v.tokens[261] = "<s>".into())));
    assert!(malformed(Owned::bytes().refused(|v| v.types.truncate(9))));
    assert!(malformed(Owned::bytes().refused(|v| v.types[3] = -1)));
    assert!(malformed(Owned::bytes().refused(|v| v.bos = Some(263))));
    assert!(malformed(Owned::bytes().refused(|v| v.unk = Some(u32::MAX))));
    assert!(malformed(Owned::bytes().refused(|v| {
        v.tokens.clear();
        v.types.clear();
    })));
    assert!(unsupported(Owned::bytes().refused(|v| v.pre = "deepseek-v3")));
    assert!(unsupported(Owned::bytes().refused(|v| v.model = "t5")));
    assert!(malformed(Owned::pieces().refused(|v| v.scores = None)));
    assert!(malformed(Owned::pieces().refused(|v| v.scores = Some(vec![0.0; 3]))));
    assert!(malformed(Owned::pieces().refused(|v| v.scores.as_mut().unwrap()[260] = f32::NAN)));
    assert!(malformed(Owned::pieces().refused(|v| v.tokens[260] = "b".into())));
    assert!(malformed(Owned::pieces().refused(|v| v.tokens[9] = "<0xZZ>".into())));
    let long = Owned::bytes().refused(|v| v.tokens[262] = "x".repeat(5000));
    assert!(matches!(long, TextError::TooLarge { .. }));
    // What an error shows of a file is short.
    let shown = Owned::bytes().refused(|v| v.tokens[257] = "he".into()).to_string();
    assert_eq!(shown, "vocabulary: tokens 256 and 257: expected different texts, found he");
}

/// A rank file of all bytes and these tokens.
fn rank_file(more: &[&[u8]]) -> String {
    let tokens = (0..=255u8).map(|byte| vec![byte]).chain(more.iter().map(|token| token.to_vec()));
    tokens.enumerate().map(|(rank, token)| format!("{} {rank}\n", base64(&token))).collect()
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for group in bytes.chunks(3) {
        let bits =
            group.iter().enumerate().fold(0u32, |bits, (i, &byte)| bits | u32::from(byte) << (16 - 8 * i));
        let digit = |i: usize| char::from(DIGITS[(bits >> (18 - 6 * i) & 63) as usize]);
        out.extend((0..4).map(|i| if i <= group.len() { digit(i) } else { '=' }));
    }
    out
}

/// Merging as tiktoken does it: the adjacent pair whose union has the lowest rank, the leftmost first.
fn by_rank(ranks: &[Vec<u8>], piece: &[u8]) -> Vec<u32> {
    let rank = |token: &[u8]| ranks.iter().position(|other| other == token);
    if let Some(whole) = rank(piece) {
        return vec![whole as u32];
    }
    let mut parts: Vec<Vec<u8>> = piece.iter().map(|&byte| vec![byte]).collect();
    loop {
        let pairs = parts.windows(2).enumerate().filter_map(|(i, pair)| Some((rank(&pair.concat())?, i)));
        let Some((_, i)) = pairs.min() else { break };
        let right = parts.remove(i + 1);
        parts[i].extend(right);
    }
    parts.iter().map(|part| rank(part).unwrap() as u32).collect()
}

#[test]
fn one_merge_for_each_token_is_all_of_rank_merging() {
    // Vocabularies of random words over two letters, among them tokens that no merge reaches.
    let mut state = 1u32;
    let mut random = |n: u32| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 16) % n
    };
    for _ in 0..60 {
        let mut more: Vec<Vec<u8>> = Vec::new();
        for _ in 0..random(24) {
            let word: Vec<u8> = (0..2 + random(4)).map(|_| b'a' + random(2) as u8).collect();
            if !more.contains(&word) {
                more.push(word);
            }
        }
        let more: Vec<&[u8]> = more.iter().map(Vec::as_slice).collect();
        let tokenizer = Tokenizer::from_rank_file(rank_file(&more).as_bytes()).unwrap();
        let ranks: Vec<Vec<u8>> =
            (0..=255u8).map(|byte| vec![byte]).chain(more.iter().map(|token| token.to_vec())).collect();
        let tables = VocabTables::from_rank_file(rank_file(&more).as_bytes()).unwrap();
        let (tokens, merges): (Vec<&str>, Vec<&str>) = (
            tables.tokens.iter().map(String::as_str).collect(),
            tables.merges.iter().map(String::as_str).collect(),
        );
        let merged = Tokenizer::from_gguf_parts(&GgufVocab {
            model: "gpt2",
            pre: "llama4",
            tokens: StrList::Each(&tokens),
            merges: StrList::Each(&merges),
            token_types: &tables.token_types,
            ..GgufVocab::default()
        })
        .unwrap();
        for _ in 0..40 {
            let text: String = (0..random(14)).map(|_| char::from(b'a' + random(2) as u8)).collect();
            let expected = if text.is_empty() { vec![] } else { by_rank(&ranks, text.as_bytes()) };
            assert_eq!(ids(&tokenizer, &text), expected, "{text} with {more:?}");
            assert_eq!(ids(&merged, &text), expected, "{text} with {more:?}, by merges");
        }
    }
}

#[test]
fn hostile_rank_files_are_refused() {
    let good = rank_file(&[b"ab", b"abab"]);
    let tokenizer = Tokenizer::from_rank_file(good.as_bytes()).unwrap();
    assert_eq!((tokenizer.vocab_size(), tokenizer.bos()), (258 + 2048, Some(258)));
    assert_eq!(ids(&tokenizer, "ababab"), [257, 256]);
    assert_eq!(tokenizer.special_id("<|eot|>"), Some(266));
    // Lines may end in CRLF and come in any order.
    let mut lines: Vec<&str> = good.lines().collect();
    lines.reverse();
    assert!(Tokenizer::from_rank_file(lines.join("\r\n").as_bytes()).is_ok());

    let refuse = |file: String, place: &str| match Tokenizer::from_rank_file(file.as_bytes()) {
        Err(TextError::Malformed { at, .. }) => assert_eq!(at, place),
        other => panic!("{place}: {other:?}"),
    };
    refuse(String::new(), "tokens");
    refuse(good.replace("YWI= 256", "YWI= 257"), "ranks");
    refuse(good.replace("YWI= 256", "YWI= 9999999"), "ranks");
    refuse(good.replace("YWI= 256", "YWI 256"), "line 257");
    refuse(good.replace("YWI= 256", "YW*= 256"), "line 257");
    refuse(good.replace("YWI= 256", "YWJ= 256"), "line 257");
    refuse(good.replace("YWI= 256", "==== 256"), "line 257");
    refuse(good.replace("YWI= 256", "YWI= x"), "line 257");
    refuse(good.replace("YWI= 256", "YWI="), "line 257");
    refuse(good.replace("YWI= 256", "YWI= 256 7"), "line 257");
    refuse(good.replace("YWI= 256", "YWI= 99999999999"), "line 257");
    refuse(good.replace("YWI= 256", "YWJhYg== 256"), "ranks 256 and 257");
    refuse(good.replace("YQ== 97", "YWE= 97"), "tokens");
    let long = rank_file(&[&[b'a'; 1000]]);
    assert!(matches!(Tokenizer::from_rank_file(long.as_bytes()), Err(TextError::TooLarge { .. })));
}

const JSON: &str = r#"{"version": "1.0",
  "added_tokens": [{"id": 6, "content": "<s>", "special": true}, {"id": 9, "content": "@@", "special": false, "rstrip": true}],
  "normalizer": NORM, "pre_tokenizer": PRE,
  "post_processor": {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A"}}]},
  "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2, "Ġ": 3, "▁": 4, "▁a": 5, "<s>": 6, "<unk>": 7},
    "merges": [["a", "b"], "▁ a"], "unk_token": UNK, "fuse_unk": true}}"#;

fn from_json(norm: &str, pre: &str, unk: &str) -> Result<Tokenizer, TextError> {
    Tokenizer::from_json(JSON.replace("NORM", norm).replace("PRE", pre).replace("UNK", unk).as_bytes())
}

#[test]
fn tokenizer_json() {
    let bytes = from_json("null", r#"{"type": "ByteLevel", "add_prefix_space": false}"#, "null").unwrap();
    assert_eq!(ids(&bytes, "ab aab"), [2, 3, 0, 2]);
    assert_eq!(bytes.encode("<s>ab@@  b", Special::Recognize).unwrap(), [6, 2, 9, 1]);
    assert_eq!((bytes.bos(), bytes.adds_bos(), bytes.vocab_size()), (Some(6), true, 10));
    // Id 8 names nothing: legal, and without text.
    assert_eq!((bytes.token_bytes(8), bytes.decode(&[2, 8, 3, 0], false).as_str()), (None, "ab a"));

    let llama2 = r#"{"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"}, {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]}"#;
    let meta = from_json(llama2, "null", r#""<unk>""#).unwrap();
    assert_eq!(ids(&meta, "ab a"), [4, 2, 5]);
    assert_eq!(ids(&meta, "xyzb"), [4, 7, 1]);
    assert_eq!(meta.decode(&[4, 2, 5], false), "ab a");
    let first = r#"{"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": true}"#;
    let words = from_json("null", first, r#""<unk>""#).unwrap();
    assert_eq!(ids(&words, "b a"), [4, 1, 5]);
    assert_eq!(ids(&words, " a"), [5]);
    assert_eq!(words.encode("<s>a", Special::Recognize).unwrap(), [6, 0]);

    let composed =
        from_json(r#"{"type": "NFC"}"#, r#"{"type": "ByteLevel", "add_prefix_space": true}"#, "null")
            .unwrap();
    assert_eq!(ids(&composed, "a"), [3, 0]);

    let config = HfTokenizerConfig::parse(
        br#"{"bos_token": {"content": "<s>"}, "eos_token": "@@", "add_bos_token": false, "chat_template": [{"name": "x", "template": "1"}, {"name": "default", "template": "2"}]}"#,
    )
    .unwrap();
    assert_eq!(config.chat_template.as_deref(), Some("2"));
    let mut bytes = bytes;
    bytes.configure(&config).unwrap();
    assert_eq!((bytes.adds_bos(), bytes.eos(), bytes.stop_ids()), (false, Some(9), &[9][..]));
    let config = HfTokenizerConfig { eos_token: Some("</s>".into()), ..HfTokenizerConfig::default() };
    assert_eq!(bytes.configure(&config), Err(TextError::MissingToken { name: "</s>".into() }));
}

#[test]
fn hostile_tokenizer_json_is_refused() {
    let good = JSON
        .replace("NORM", "null")
        .replace("UNK", "null")
        .replace("PRE", r#"{"type": "ByteLevel", "add_prefix_space": false}"#);
    assert!(Tokenizer::from_json(good.as_bytes()).is_ok());
    for (from, to) in [
        ("\"ab\": 2", "\"ab\": 1"),
        ("\"ab\": 2", "\"a\": 2"),
        ("\"ab\": 2", "\"abc\": 2"),
        ("\"ab\": 2", "\"ab\": -2"),
        ("\"ab\": 2", "\"ab\": 4294967296"),
        ("[\"a\", \"b\"]", "[\"a\", \"zz\"]"),
        ("[\"a\", \"b\"]", "[\"a\"]"),
        ("[\"a\", \"b\"]", "[\"a\", \"b\", \"c\"]"),
        ("[\"a\", \"b\"]", "\"a\""),
        ("[\"a\", \"b\"]", "[\"<s>\", \"b\"]"),
        ("\"id\": 6, ", "\"id\": 0, "),
        ("\"id\": 6, ", "\"id\": 40, "),
        ("\"unk_token\": null", "\"unk_token\": \"nowhere\""),
        ("\"merges\"", "\"mergers\""),
        ("\"version\"", "version"),
    ] {
        let bad = good.replace(from, to);
        assert_ne!(bad, good);
        assert!(matches!(Tokenizer::from_json(bad.as_bytes()), Err(TextError::Malformed { .. })), "{to}");
    }
    let sparse = good.replace("\"ab\": 2", "\"ab\": 4294967295");
    assert!(matches!(Tokenizer::from_json(sparse.as_bytes()), Err(TextError::TooLarge { .. })));
    for (from, to) in [
        ("\"type\": \"BPE\"", "\"type\": \"Unigram\""),
        ("\"ByteLevel\"", "\"BertPreTokenizer\""),
        ("{\"type\": \"ByteLevel\", \"add_prefix_space\": false}", "null"),
        ("\"normalizer\": null", "\"normalizer\": {\"type\": \"Precompiled\"}"),
        ("\"fuse_unk\": true", "\"continuing_subword_prefix\": \"##\""),
        ("\"special\": false", "\"single_word\": true"),
        (
            "{\"type\": \"ByteLevel\", \"add_prefix_space\": false}",
            r#"{"type": "Split", "pattern": {"Regex": "(?<=a)b"}, "behavior": "Isolated"}"#,
        ),
    ] {
        let bad = good.replace(from, to);
        assert_ne!(bad, good);
        assert!(matches!(Tokenizer::from_json(bad.as_bytes()), Err(TextError::Unsupported { .. })), "{to}");
    }
    for length in 0..good.len() {
        if good.is_char_boundary(length) {
            assert!(Tokenizer::from_json(&good.as_bytes()[..length]).is_err());
        }
    }
}

#[test]
fn damaged_files_are_read_or_refused() {
    let json = JSON.replace("NORM", "null").replace("UNK", "null").replace("PRE", r#"{"type": "ByteLevel"}"#);
    let ranks = rank_file(&[b"ab", b"abab", b"ba"]);
    let mut state = 7u64;
    let mut random = |n: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % n
    };
    for round in 0..400 {
        let mut file = if round % 2 == 0 { json.clone() } else { ranks.clone() }.into_bytes();
        for _ in 0..1 + random(3) {
            let at = random(file.len());
            match random(4) {
                0 => file[at] = b"0123456789\"[]{},:abs\\= \n\xFF"[random(25)],
                1 => _ = file.remove(at),
                2 => file.truncate(at.max(1)),
                _ => {
                    let end = file.len().min(at + random(40));
                    let copy = file[at..end].to_vec();
                    let to = random(file.len());
                    file.splice(to..to, copy);
                }
            }
        }
        let tokenizer =
            if round % 2 == 0 { Tokenizer::from_json(&file) } else { Tokenizer::from_rank_file(&file) };
        if let Ok(tokenizer) = tokenizer {
            let ids = tokenizer.encode("<s>ab abab@@ é", Special::Recognize).unwrap_or_default();
            assert!(ids.iter().all(|&id| tokenizer.token_bytes(id).is_some()));
        }
    }
}
