//! Weights that every token needs, asked of the system before they are used: a cold file is read while the tokenizer is made
//! and the first layers compute, and not page by page when a product comes to it.
//!
//! Left out are routed experts, of which nobody knows yet who will be chosen, rows of embeddings, and the vision tower.
//!
//! On Linux the maps are also to be of large pages: two threads of a Zen 3 read a file that had been read in through page
//! faults at 19 GB/s from ordinary pages and at 24 from large ones, as fast as other memory.

use crate::map::Map;
use alloc::string::String;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::ops::Range;
use memmap2::Advice;
use puna_core::Cancel;
use puna_llama::TensorSource;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Instant;

/// Bytes of one request for pages to be read: Linux reads no more than its read-ahead window, 128 KiB as a rule, of a larger
/// one.
const PIECE: usize = 128 << 10;
/// Bytes of one request for pages to be mapped: a large page. While one is under way nobody else in the process gets memory from
/// the system, and loading waited a millisecond each time with 8 MiB.
#[cfg(target_os = "linux")]
const MAPPED: usize = 2 << 20;
/// Bytes a second from which on mapped pages were in memory before.
const AS_MEMORY: f64 = 4e9;
/// Tensors up to this size are asked for first: loading looks at the values of norms, and would wait behind all others.
const SMALL: usize = 128 << 10;

/// What is in memory already waits for this to be dropped: to map it is nothing that a model should be opened later for.
#[must_use]
pub(crate) struct Opening(#[expect(dead_code, reason = "nothing is sent: it is dropped")] Option<Sender<()>>);

/// Asks for those of the named tensors on a thread that ends when it has asked for all, when nothing is mapped any more, or
/// when cancelled.
pub(crate) fn read_ahead(
    names: &[&str],
    source: &dyn TensorSource,
    maps: &[Map],
    cancel: &Cancel,
) -> Opening {
    let ranges = ranges(names, source, maps);
    if ranges.is_empty() {
        return Opening(None);
    }
    let (opening, opened) = channel();
    let mut ahead = Ahead { cancel: cancel.clone(), opened: Some(opened) };
    let ask = move || {
        for (map, range) in ranges {
            // Large pages only come with a map that uses them. Where the system cannot be asked for that, to read will do,
            // and it is sooner done for a few values.
            #[cfg(target_os = "linux")]
            if range.len() > SMALL && ahead.all(&map, &range, MAPPED, Advice::PopulateRead) {
                continue;
            }
            ahead.all(&map, &range, PIECE, Advice::WillNeed);
        }
    };
    // It does not matter if there is no thread to be had.
    drop(std::thread::Builder::new().name(String::from("puna-read-ahead")).spawn(ask));
    Opening(Some(opening))
}

/// What the thread goes by.
struct Ahead {
    cancel: Cancel,
    /// Ends when the model is open; `None` when that is known.
    opened: Option<Receiver<()>>,
}

impl Ahead {
    /// Gives advice on a range, so many bytes at a time, until it is cancelled or not mapped any more. Whether the system took
    /// it; one that does not reads pages when they are used.
    fn all(&mut self, map: &Weak<memmap2::Mmap>, range: &Range<usize>, piece: usize, advice: Advice) -> bool {
        for start in range.clone().step_by(piece) {
            let Some(map) = map.upgrade().filter(|_| !self.cancel.is_cancelled()) else { return true };
            let (len, before) = (piece.min(range.end - start), Instant::now());
            if map.advise_range(advice, start, len).is_err() {
                return false;
            }
            drop(map);
            if piece > PIECE && len as f64 > AS_MEMORY * before.elapsed().as_secs_f64() {
                self.opened.take().map(|opened| opened.recv());
            }
        }
        true
    }
}

/// Asks for large pages for all weights but the embeddings, of which a token needs a row here and there: with large pages
/// each of them would have megabytes read. A system that has none, or not for files, leaves things as they are.
#[cfg(target_os = "linux")]
pub(crate) fn large_pages(names: &[&str], source: &dyn TensorSource, maps: &[Map]) {
    for map in maps {
        drop(map.advise(Advice::HugePage));
    }
    if is_tied(names) {
        return;
    }
    let embeddings = names.iter().filter(|name| is_embedding(name));
    for tensor in embeddings.filter_map(|name| source.find(name).ok().flatten()) {
        if let Some((map, range)) =
            maps.iter().find_map(|map| Some((map, inside(map, tensor.region.bytes())?)))
        {
            drop(map.advise_range(Advice::NoHugePage, range.start, range.len()));
        }
    }
}

/// Where these bytes are in a map.
fn inside(map: &Map, bytes: &[u8]) -> Option<Range<usize>> {
    let start = (bytes.as_ptr() as usize).checked_sub(map.as_ptr() as usize)?;
    let end = start.checked_add(bytes.len()).filter(|&end| end <= map.len())?;
    Some(start..end)
}

/// Where the needed tensors are in mapped files, in the order of their use.
fn ranges(
    names: &[&str],
    source: &dyn TensorSource,
    maps: &[Map],
) -> Vec<(Weak<memmap2::Mmap>, Range<usize>)> {
    let inside = |map: &Map, bytes: &[u8]| Some((Arc::downgrade(map), inside(map, bytes)?));
    let found = needed(names).filter_map(|name| source.find(name).ok().flatten());
    let mut ranges: Vec<_> =
        found.filter_map(|t| maps.iter().find_map(|map| inside(map, t.region.bytes()))).collect();
    ranges.sort_by_key(|(_, range)| range.len() > SMALL);
    ranges
}

/// Names of the tensors that every token needs: layers first, the head last.
fn needed<'a>(all: &'a [&'a str]) -> impl Iterator<Item = &'a str> {
    let left_out = ["_exps.", ".experts.", "vision_model.", "multi_modal_projector."];
    let is_tied = is_tied(all);
    let names = || all.iter().copied();
    let is_last = move |name: &str| is_head(name) || is_tied && is_embedding(name);
    let in_layers = move |name: &&str| {
        !is_embedding(name) && !is_last(name) && !left_out.iter().any(|part| name.contains(part))
    };
    names().filter(in_layers).chain(names().filter(move |name| is_last(name)))
}

fn is_head(name: &str) -> bool {
    name == "output.weight" || name.ends_with("lm_head.weight")
}

fn is_embedding(name: &str) -> bool {
    name == "token_embd.weight" || name.ends_with("embed_tokens.weight")
}

/// Whether the embeddings are the head too.
fn is_tied(all: &[&str]) -> bool {
    !all.iter().any(|name| is_head(name))
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

    /// The middle third of a file is called `token_embd.weight`, all of it anything else.
    #[cfg(target_os = "linux")]
    struct Thirds(puna_core::Region);

    #[cfg(target_os = "linux")]
    impl TensorSource for Thirds {
        fn find(&self, name: &str) -> puna_llama::Result<Option<puna_llama::Tensor>> {
            let third = self.0.bytes().len() / 3;
            let region =
                if is_embedding(name) { self.0.slice(third..2 * third) } else { Some(self.0.clone()) };
            let dtype = puna_core::DType::F32;
            Ok(region.map(|region| puna_llama::Tensor { dtype, shape: Vec::new(), region }))
        }
        fn contains(&self, _: &str) -> bool {
            true
        }
        fn total_bytes(&self) -> u64 {
            self.0.bytes().len() as u64
        }
    }

    /// The flags of the map that holds an address, from the kernel.
    #[cfg(target_os = "linux")]
    fn flags(at: *const u8) -> String {
        let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let mut inside = false;
        for line in maps.lines() {
            let range = line.split(' ').next().and_then(|range| range.split_once('-'));
            if let Some((Ok(from), Ok(to))) =
                range.map(|(from, to)| (usize::from_str_radix(from, 16), usize::from_str_radix(to, 16)))
            {
                inside = (from..to).contains(&(at as usize));
            }
            if let Some(flags) = line.strip_prefix("VmFlags:").filter(|_| inside) {
                return flags.into();
            }
        }
        String::new()
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn all_but_embeddings_are_to_be_of_large_pages() {
        if !std::path::Path::new("/sys/kernel/mm/transparent_hugepage").exists() {
            // This kernel has none.
            return;
        }
        const THIRD: usize = 64 << 10;
        for (names, middle) in [
            (["token_embd.weight", "output.weight"], "nh"),
            (["token_embd.weight", "blk.0.attn_q.weight"], "hg"),
        ] {
            let path = std::env::temp_dir().join(alloc::format!("puna-large-pages-{}", std::process::id()));
            std::fs::write(&path, [1; 3 * THIRD]).unwrap();
            let mapped = crate::map::region(&path, crate::FileAccess::Map, &Cancel::new(), |_| ());
            std::fs::remove_file(&path).unwrap();
            let (region, map) = mapped.unwrap();
            let source = Thirds(region.clone());
            large_pages(&names, &source, &[map.unwrap()]);
            let at = |third: usize| flags(&region.bytes()[third * THIRD]);
            for (third, expected) in ["hg", middle, "hg"].into_iter().enumerate() {
                assert!(at(third).split(' ').any(|flag| flag == expected), "{third}: {}", at(third));
            }
        }
    }
}
