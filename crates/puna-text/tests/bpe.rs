//! Our own byte-pair merging against the `tokenizers` crate: on vocabularies and texts made at random, and on Llama 4's.
#![cfg(feature = "tokenizer")]
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, unreachable_pub, dead_code, reason = "test code")]

mod common;

use common::{golden, model};
use puna_text::{Special, Tokenizer, VocabTables};
use serde_json::{Value, json};

const O200K: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";

struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % n
    }
}

fn file(split: Value, model: Value) -> Vec<u8> {
    let bytes =
        json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false});
    let pre_tokenizer = match split {
        Value::Null => bytes,
        split => json!({"type": "Sequence", "pretokenizers": [split, bytes]}),
    };
    let file = json!({"version": "1.0", "added_tokens": [], "normalizer": null, "pre_tokenizer": pre_tokenizer, "model": model});
    serde_json::to_vec(&file).unwrap()
}

/// A `tokenizer.json`. Some pairs are there twice, some tokens come about in several ways, some bytes are no tokens.
fn vocabulary(random: &mut Random) -> Vec<u8> {
    let mut tokens: Vec<String> = ["a", "b", "c", "Ġ", "Ã", "©"].map(String::from).into();
    if random.below(2) == 0 {
        tokens.push("Ģ".into());
    }
    let mut merges = Vec::new();
    for _ in 0..random.below(40) {
        let [left, right] = [(); 2].map(|()| tokens[random.below(tokens.len())].clone());
        let joined = format!("{left}{right}");
        if joined.chars().count() < 9 {
            if !tokens.contains(&joined) {
                tokens.push(joined);
            }
            merges.push([left, right]);
        }
    }
    // Tokens that no merge makes.
    for word in ["abcabc", "cab", "Ġb"] {
        if random.below(3) == 0 && !tokens.iter().any(|token| token == word) {
            tokens.push(word.into());
        }
    }
    let vocab: serde_json::Map<String, Value> =
        tokens.into_iter().zip(0u32..).map(|(token, id)| (token, id.into())).collect();
    let whole = random.below(2) == 0;
    file(Value::Null, json!({"type": "BPE", "vocab": vocab, "merges": merges, "ignore_merges": whole}))
}

fn agree(ours: &Tokenizer, theirs: &tokenizers::Tokenizer, text: &str) {
    let expected = theirs.encode(text, false).unwrap();
    assert_eq!(ours.encode(text, Special::AsText).unwrap(), expected.get_ids(), "{text:?}");
}

#[test]
fn random_vocabularies_give_the_ids_of_the_tokenizers_crate() {
    let mut random = Random(1);
    for round in 0..300 {
        let file = vocabulary(&mut random);
        let (ours, theirs) =
            (Tokenizer::from_json(&file).unwrap(), tokenizers::Tokenizer::from_bytes(&file).unwrap());
        for _ in 0..20 {
            let n = random.below(if round == 0 { 4000 } else { 24 });
            let chars = ['a', 'b', 'c', ' ', 'a', 'b', 'c', 'é', 'à', '語'];
            let text: String = (0..n).map(|_| chars[random.below(chars.len())]).collect();
            agree(&ours, &theirs, &text);
        }
    }
}

/// The real vocabulary, of which the crate reads a `tokenizer.json`, on a real text by verses, on the strings that Meta's
/// code was asked about, and on characters of all kinds strung together.
#[test]
fn llama_4_gives_the_ids_of_the_tokenizers_crate() {
    let ranks = model("llama4/tokenizer.model");
    let tables = VocabTables::from_rank_file(&ranks).unwrap();
    let ours = Tokenizer::from_rank_file(&ranks).unwrap();
    let vocab: serde_json::Map<String, Value> =
        tables.tokens.into_iter().take(200_000).zip(0u32..).map(|(token, id)| (token, id.into())).collect();
    let split =
        json!({"type": "Split", "pattern": {"Regex": O200K}, "behavior": "Isolated", "invert": false});
    let model_ = json!({"type": "BPE", "vocab": vocab, "merges": tables.merges, "ignore_merges": true});
    let file = file(split, model_);
    let theirs = tokenizers::Tokenizer::from_bytes(&file).unwrap();

    let genesis = String::from_utf8(model("text/genesis.txt")).unwrap();
    genesis.split_inclusive('\n').for_each(|verse| agree(&ours, &theirs, verse));
    let golden = golden("llama4.json");
    let plain = golden["plain"].as_array().unwrap().iter().filter(|entry| entry["times"].is_null());
    plain.for_each(|entry| agree(&ours, &theirs, entry["text"].as_str().unwrap()));

    let mut random = Random(4);
    let starts =
        [0x20, 0x41, 0x61, 0xC0, 0x370, 0x400, 0x5D0, 0x620, 0x900, 0xE00, 0x3040, 0x4E00, 0xAC00, 0x1F600];
    for _ in 0..3000 {
        let mut text = String::new();
        for _ in 0..1 + random.below(6) {
            let start = starts[random.below(starts.len())] as u32;
            let span = 1 + random.below(60);
            let word = (0..random.below(9)).filter_map(|_| char::from_u32(start + random.below(span) as u32));
            text.extend(word);
            text.push_str([" ", "", "\n", "  ", "'s ", "12345", ". "][random.below(7)]);
        }
        agree(&ours, &theirs, &text);
    }
}
