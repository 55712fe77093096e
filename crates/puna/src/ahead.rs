//! Weights that every token needs, asked of the system before they are used: a cold file is read while the tokenizer is made
//! and the first layers compute, and not page by page when a product comes to it.
//!
//! Left out are routed experts, of which nobody knows yet who will be chosen, rows of embeddings, and the vision tower.

use crate::map::Map;
use alloc::string::String;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::ops::Range;
use memmap2::Advice;
use puna_core::Cancel;
use puna_llama::TensorSource;

/// Bytes of one request: Linux reads no more than its read-ahead window, 128 KiB as a rule, of a larger one.
const PIECE: usize = 128 << 10;
/// Tensors up to this size are asked for first: loading looks at the values of norms, and would wait behind all others.
const SMALL: usize = 128 << 10;

/// Asks for those of the named tensors on a thread that ends when it has asked for all, when nothing is mapped any more, or
/// when cancelled.
pub(crate) fn read_ahead(names: &[&str], source: &dyn TensorSource, maps: &[Map], cancel: &Cancel) {
    let ranges = ranges(names, source, maps);
    if ranges.is_empty() {
        return;
    }
    let cancel = cancel.clone();
    let ask = move || {
        for (map, range) in ranges {
            for start in range.clone().step_by(PIECE) {
                let Some(map) = map.upgrade().filter(|_| !cancel.is_cancelled()) else { return };
                // A hint; a system that does not take it reads pages when they are used.
                drop(map.advise_range(Advice::WillNeed, start, PIECE.min(range.end - start)));
            }
        }
    };
    // Nor does it matter if there is no thread to be had.
    drop(std::thread::Builder::new().name(String::from("puna-read-ahead")).spawn(ask));
}

/// Where the needed tensors are in mapped files, in the order of their use.
fn ranges(
    names: &[&str],
    source: &dyn TensorSource,
    maps: &[Map],
) -> Vec<(Weak<memmap2::Mmap>, Range<usize>)> {
    let inside = |map: &Map, bytes: &[u8]| {
        let start = (bytes.as_ptr() as usize).checked_sub(map.as_ptr() as usize)?;
        let end = start.checked_add(bytes.len()).filter(|&end| end <= map.len())?;
        Some((Arc::downgrade(map), start..end))
    };
    let found = needed(names).filter_map(|name| source.find(name).ok().flatten());
    let mut ranges: Vec<_> =
        found.filter_map(|t| maps.iter().find_map(|map| inside(map, t.region.bytes()))).collect();
    ranges.sort_by_key(|(_, range)| range.len() > SMALL);
    ranges
}

/// Names of the tensors that every token needs: layers first, the head last.
fn needed<'a>(all: &'a [&'a str]) -> impl Iterator<Item = &'a str> {
    let is_head = |name: &str| name == "output.weight" || name.ends_with("lm_head.weight");
    let is_embedding = |name: &str| name == "token_embd.weight" || name.ends_with("embed_tokens.weight");
    let left_out = ["_exps.", ".experts.", "vision_model.", "multi_modal_projector."];
    let is_tied = !all.iter().any(|name| is_head(name));
    let names = || all.iter().copied();
    let is_last = move |name: &str| is_head(name) || is_tied && is_embedding(name);
    let in_layers = move |name: &&str| {
        !is_embedding(name) && !is_last(name) && !left_out.iter().any(|part| name.contains(part))
    };
    names().filter(in_layers).chain(names().filter(move |name| is_last(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(names: &[&str]) -> Vec<String> {
        needed(names).map(String::from).collect()
    }

    #[test]
    fn layers_come_before_the_head_and_experts_not_at_all() {
        let gguf = ["output.weight", "token_embd.weight", "blk.0.attn_q.weight", "blk.0.ffn_up_exps.weight"];
        assert_eq!(order(&gguf), ["blk.0.attn_q.weight", "output.weight"]);
        let folder = [
            "language_model.lm_head.weight",
            "language_model.model.embed_tokens.weight",
            "language_model.model.layers.0.feed_forward.experts.down_proj",
            "language_model.model.layers.0.feed_forward.shared_expert.down_proj.weight",
            "vision_model.class_embedding",
        ];
        assert_eq!(order(&folder), [folder[3], folder[0]]);
    }

    #[test]
    fn tied_embeddings_are_the_head() {
        let tied = ["token_embd.weight", "blk.0.attn_q.weight"];
        assert_eq!(order(&tied), ["blk.0.attn_q.weight", "token_embd.weight"]);
    }
}
