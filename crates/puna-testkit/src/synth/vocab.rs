//! A tokenizer of the shape of Llama 4's: byte-level merges of made-up words, and the special tokens under their names.

use super::Result;
use crate::seeded::element;
use puna_format::gguf::{Array, Metadata, Strings, Value};
use puna_text::special;
use std::collections::{HashMap, HashSet};

/// Letters of a token at most, as words have them.
const LONGEST: usize = 14;

/// Sets the tokenizer's keys: `ranks` ordinary tokens, then Llama 4's special ones.
pub(super) fn set(ranks: u32, seed: u32, metadata: &mut Metadata) -> Result {
    let words = words(ranks as usize, seed);
    let merges = Strings::from_strs(merges(&words))?;
    let specials = (0..).map_while(special::llama4);
    let tokens = Strings::from_strs(words.iter().cloned().chain(specials.map(|name| name.into_owned())))?;
    let kind = |id: usize| if id < words.len() { 1 } else { 3 };
    let kinds: Vec<i32> = (0..tokens.len()).map(kind).collect();
    let mut set = |name: &str, value: Value| metadata.set(format!("tokenizer.ggml.{name}"), value);
    set("model", "gpt2".into());
    set("pre", "llama4".into());
    set("tokens", Value::Array(Array::String(tokens)));
    set("token_type", Value::Array(Array::I32(kinds)));
    set("merges", Value::Array(Array::String(merges)));
    set("add_bos_token", true.into());
    Ok(())
}

/// The 256 bytes, then words made of two words before them, the early ones more often; some begin with a space.
fn words(n: usize, seed: u32) -> Vec<String> {
    const SPACE: char = '\u{120}';
    let mut words: Vec<String> = (0..=255).map(|byte| byte_char(byte).to_string()).collect();
    let mut known: HashSet<String> = words.iter().cloned().collect();
    // What words begin with, without and with a space before, and what they go on with.
    let mut parts: Vec<String> = (b'a'..=b'z').map(|letter| char::from(letter).to_string()).collect();
    let mut spaced = vec![SPACE.to_string()];
    let mut k = 0;
    let mut random = |below: usize| {
        k += 1;
        let x = f64::from(element(seed, k)) / 4_294_967_296.0;
        (x * x * below as f64) as usize
    };
    while words.len() < n {
        // Three words of four have a space.
        let starts = if random(16) > 0 { &spaced } else { &parts };
        let start = starts[random(starts.len())].clone();
        let word = start + &parts[random(parts.len())];
        if word.len() > LONGEST || known.contains(&word) {
            continue;
        }
        known.insert(word.clone());
        if word.starts_with(SPACE) {
            spaced.push(word.clone())
        } else {
            parts.push(word.clone())
        }
        words.push(word);
    }
    words.truncate(n);
    words
}

/// Every way to make a token of two others, in the order of the tokens, as converters derive them from ranks.
fn merges(words: &[String]) -> Vec<String> {
    let rank: HashMap<&str, usize> = words.iter().enumerate().map(|(i, word)| (word.as_str(), i)).collect();
    let mut merges = Vec::new();
    for word in words {
        let splits = word.char_indices().skip(1).map(|(at, _)| word.split_at(at));
        let mut pairs: Vec<(usize, usize)> =
            splits.filter_map(|(left, right)| Some((*rank.get(left)?, *rank.get(right)?))).collect();
        pairs.sort_unstable();
        merges.extend(pairs.iter().map(|&(left, right)| format!("{} {}", words[left], words[right])));
    }
    merges
}

/// The character that stands for a byte in byte-level vocabularies (GPT-2's table).
fn byte_char(byte: u8) -> char {
    let printable = |b: u8| matches!(b, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    let hidden = (0..byte).filter(|&b| !printable(b)).count() as u32;
    let code = if printable(byte) { byte.into() } else { 256 + hidden };
    char::from_u32(code).expect("a code below 512")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_as_many_as_asked_and_all_different() {
        let words = words(5000, 1);
        let mut sorted = words.clone();
        sorted.sort();
        sorted.dedup();
        assert_eq!((words.len(), sorted.len()), (5000, 5000));
        let merges = merges(&words);
        // Each has one at least; most have several.
        assert!(merges.len() > 5000, "{}", merges.len());
    }
}
