//! Reading a text and watching what the matrices meet.

use super::watched::{Places, Watched, place};
use super::{Entry, Imatrix};
use crate::convert::matrices;
use crate::error::with_capacity;
use crate::{Llama, LlamaError, Pass, Result, State, StateOptions, Want};
use alloc::string::String;
use alloc::vec::Vec;
use puna_core::{Cancel, Device};

/// A text in chunks: each is read on its own, from an empty context.
#[derive(Clone, Copy, Debug)]
pub struct Chunks<'a> {
    /// All tokens; the last partial chunk is left out.
    pub tokens: &'a [u32],
    /// Tokens of a chunk.
    pub size: usize,
    /// How many chunks at most.
    pub most: Option<usize>,
    /// The token that every chunk begins with, in place of its first, where the model expects one.
    pub bos: Option<u32>,
    /// Whether the head is watched too, which llama.cpp calls `--process-output`.
    pub head: bool,
}

/// What a collection listens to and tells.
#[derive(Default)]
pub struct Listen<'a> {
    /// Looked at before each layer.
    pub cancel: Option<&'a Cancel>,
    /// Called after each chunk: chunks read, chunks in all.
    pub progress: Option<&'a mut dyn FnMut(usize, usize)>,
}

impl Imatrix {
    /// Reads chunks of text with `llama`, whose weights are on `device`.
    ///
    /// # Errors
    /// [`LlamaError::EmptyPrompt`] for a text shorter than a chunk, [`LlamaError::TensorValue`] for activations that are
    /// not finite, [`LlamaError::Unsupported`] for a model at several places, and as [`Llama::forward`].
    pub fn collect(
        llama: &Llama,
        device: &mut dyn Device,
        text: Chunks<'_>,
        listen: &mut Listen<'_>,
    ) -> Result<Imatrix> {
        if llama.placement.places(llama.layers.len()).len() > 1 {
            return Err(LlamaError::unsupported("importance matrix", "a model at one place", "several"));
        }
        let size = text.size.max(1);
        let total = (text.tokens.len() / size).min(text.most.unwrap_or(usize::MAX));
        if total == 0 {
            return Err(LlamaError::EmptyPrompt);
        }
        let (mut entries, places) = entries(llama, text.head)?;
        let mut watched = Watched::new(device, &places, &mut entries);
        let options = StateOptions { context: Some(size), ..StateOptions::default() };
        let mut state = State::new(llama, &mut watched, &options)?;
        for (done, chunk) in text.tokens.chunks_exact(size).take(total).enumerate() {
            let mut tokens = with_capacity(size)?;
            tokens.extend_from_slice(chunk);
            if let (Some(bos), Some(first)) = (text.bos, tokens.first_mut()) {
                *first = bos;
            }
            state.truncate(0);
            // Somebody who looks at every layer makes the last one compute all rows.
            let mut look = |_: usize, _: u64, _: &[f32]| Ok(());
            let mut pass = Pass::new(if text.head { Want::All } else { Want::Nothing });
            pass.cancel = listen.cancel;
            pass.hidden = Some(&mut look);
            llama.forward(&mut watched, &mut state, &tokens, &mut pass)?;
            if let Some(progress) = &mut listen.progress {
                progress(done + 1, total);
            }
        }
        drop(watched);
        for (name, entry) in &entries {
            if let Some((index, &found)) = entry.sums.iter().enumerate().find(|(_, sum)| !sum.is_finite()) {
                let name = alloc::format!("activations that meet {name}");
                return Err(LlamaError::TensorValue { name, index, found });
            }
        }
        let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Ok(Imatrix {
            entries: entries.into_iter().collect(),
            chunks: number(total),
            chunk_size: number(size),
            datasets: Vec::new(),
        })
    }
}

/// An empty entry for each tensor that is watched, and where its matrices lie.
fn entries(llama: &Llama, head: bool) -> Result<(Vec<(String, Entry)>, Places)> {
    let (mut entries, mut places) = (Vec::new(), Places::new());
    let output = place(&llama.weights.head);
    for (name, mats) in matrices(llama)? {
        let is_head = mats.first().is_some_and(|mat| place(mat) == output);
        let watched = if is_head { head } else { name.starts_with("blk.") };
        let Some(first) = mats.first().filter(|_| watched) else { continue };
        for (number, mat) in mats.iter().enumerate() {
            places.insert(place(mat), (entries.len(), number));
        }
        entries.try_reserve(1).map_err(|_| LlamaError::out_of_memory::<(String, Entry)>(1))?;
        entries.push((name, Entry::new(mats.len(), first.n_in)?));
    }
    Ok((entries, places))
}
