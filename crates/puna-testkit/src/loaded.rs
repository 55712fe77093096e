//! A model in a device, run and held against what is expected of it.

use crate::compare::{argmax, assert_close};
use crate::goldens::{Golden, Rounding};
use crate::tolerance;
use puna_core::{Device, Elem, Region};
use puna_format::Limits;
use puna_format::gguf::{Gguf, GgufSet};
use puna_format::json;
use puna_format::safetensors::{SafeTensors, ShardSet};
use puna_llama::weights::{GgufTensors, ShardTensors};
use puna_llama::{Config, Llama, LoadWatch, Pass, SessionState, StateOptions, TensorSource, Want};
use std::sync::Arc;

/// A model whose weights are in a device, and how its sessions are made.
pub struct Loaded {
    model: Arc<Llama>,
    device: Box<dyn Device>,
    /// Keys and values in F32 and batches of 512, until changed.
    pub options: StateOptions,
}

/// A pass that leaves the logits of its last token on the device.
pub fn last() -> Pass<'static> {
    Pass::new(Want::Last(1))
}

/// Logits and hidden states of every position of a prompt.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    /// `[position][vocab]`.
    pub logits: Vec<Vec<f32>>,
    /// `[layer][position][hidden]`.
    pub hidden: Vec<Vec<Vec<f32>>>,
}

impl Loaded {
    /// Loads a GGUF file.
    ///
    /// # Panics
    /// When it is refused.
    pub fn gguf(file: &[u8], device: Box<dyn Device>) -> Loaded {
        let header = Gguf::read(file, &Limits::default()).expect("a GGUF file");
        let set = GgufSet::join(vec![header], &Limits::default()).expect("a whole file");
        let regions = [Region::from_vec(file.to_vec())];
        let tensors = GgufTensors::new(&set, &regions);
        let config = Config::from_gguf(&set.metadata, &tensors).expect("a configuration");
        Loaded::load(config, &tensors, device)
    }

    /// Loads a safetensors file with its `config.json`.
    ///
    /// # Panics
    /// When it is refused.
    pub fn safetensors(config: &serde_json::Value, file: &[u8], device: Box<dyn Device>) -> Loaded {
        let config = json::parse(config.to_string().as_bytes(), &Limits::default()).expect("JSON");
        let config = Config::from_hf(&config, &[]).expect("a configuration");
        let header = SafeTensors::read(file, &Limits::default()).expect("a safetensors file");
        let set = ShardSet::single(header).expect("a whole file");
        let regions = [Region::from_vec(file.to_vec())];
        Loaded::load(config, &ShardTensors::new(&set, &regions), device)
    }

    fn load(config: Config, tensors: &dyn TensorSource, mut device: Box<dyn Device>) -> Loaded {
        let model = Llama::load(config, tensors, &mut *device, &mut LoadWatch::default()).expect("a model");
        Loaded {
            model: Arc::new(model),
            device,
            options: StateOptions { kv: Elem::F32, ..StateOptions::default() },
        }
    }

    /// The model.
    pub fn model(&self) -> &Arc<Llama> {
        &self.model
    }

    /// An empty session on a fork of the device.
    ///
    /// # Panics
    /// When there is no memory.
    pub fn session(&self) -> SessionState {
        let fork = self.device.fork().expect("a fork of the device");
        SessionState::new(self.model.clone(), fork, &self.options).expect("a session")
    }

    /// Feeds a prompt to a new session, in pieces of `piece` tokens, and keeps everything.
    ///
    /// # Panics
    /// When the session refuses it.
    pub fn trace(&self, prompt: &[u32], piece: usize) -> Trace {
        let mut trace = Trace::default();
        let mut session = self.session();
        for piece in prompt.chunks(piece) {
            let (logits, hidden) = (&mut trace.logits, &mut trace.hidden);
            let width = self.model.config.hidden;
            let mut keep_logits = |position: u64, row: &[f32]| {
                assert_eq!(position as usize, logits.len(), "logits come in order");
                logits.push(row.to_vec());
                Ok(())
            };
            let mut keep_hidden = |layer: usize, position: u64, rows: &[f32]| {
                hidden.resize_with(hidden.len().max(layer + 1), Vec::new);
                assert_eq!(position as usize, hidden[layer].len(), "hidden states come in order");
                hidden[layer].extend(rows.chunks_exact(width).map(<[f32]>::to_vec));
                Ok(())
            };
            let mut pass = Pass::new(Want::All);
            pass.logits = Some(&mut keep_logits);
            pass.hidden = Some(&mut keep_hidden);
            session.feed_with(piece, &mut pass).expect("a pass");
        }
        trace
    }

    /// The `n` most likely tokens after a prompt, one by one.
    ///
    /// # Panics
    /// When the session refuses the prompt.
    pub fn greedy(&self, prompt: &[u32], n: usize) -> Vec<u32> {
        let mut session = self.session();
        let mut tokens = vec![argmax(session.feed(prompt, None).expect("a prefill"))];
        while tokens.len() < n {
            tokens.push(argmax(session.decode(tokens[tokens.len() - 1]).expect("a step")));
        }
        tokens
    }

    /// Holds logits, hidden states and greedy tokens against what transformers computes; gives the largest differences
    /// of logits and of hidden states.
    ///
    /// # Panics
    /// When anything is off by more than [`tolerance`] allows.
    pub fn check(&self, golden: &Golden, rounding: Rounding) -> (f32, f32) {
        let expected = golden.expected(rounding);
        let trace = self.trace(&golden.prompt, golden.prompt.len());
        let (mut logits_off, mut hidden_off) = (0.0f32, 0.0f32);
        assert_eq!(trace.hidden.len(), expected.hidden.len(), "{}: layers", golden.name);
        // In the order of computation, so that the first difference is the one that is reported.
        for (layer, rows) in expected.hidden.iter().enumerate() {
            for (row, &position) in rows.iter().zip(&expected.hidden_positions) {
                let what = format!(
                    "{} {rounding:?}: hidden state after layer {layer} at position {position}",
                    golden.name
                );
                hidden_off = hidden_off.max(assert_close(
                    &what,
                    &trace.hidden[layer][position],
                    row,
                    tolerance::HIDDEN,
                ));
            }
        }
        for (row, &position) in expected.logits.iter().zip(&expected.positions) {
            let what = format!("{} {rounding:?}: logits at position {position}", golden.name);
            logits_off = logits_off.max(assert_close(&what, &trace.logits[position], row, tolerance::LOGITS));
        }
        if !expected.greedy.is_empty() {
            let greedy = self.greedy(&golden.prompt, expected.greedy.len());
            assert_eq!(greedy, expected.greedy, "{} {rounding:?}: greedy tokens", golden.name);
        }
        (logits_off, hidden_off)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use puna_core::RefDevice;

    /// Every short model from every kind of file, on the scalar reference.
    #[test]
    fn goldens_on_the_reference_device() {
        for name in Golden::SHORT {
            let golden = Golden::load(name);
            for rounding in golden.roundings() {
                let gguf = Loaded::gguf(&golden.gguf(rounding), Box::new(RefDevice::new()));
                gguf.check(&golden, rounding);
            }
            for rounding in [Rounding::F32, Rounding::BF16] {
                let file = golden.safetensors(rounding);
                let folder = Loaded::safetensors(&golden.config, &file, Box::new(RefDevice::new()));
                folder.check(&golden, rounding);
            }
        }
    }

    #[test]
    fn pieces_of_any_size_agree() {
        let golden = Golden::load("scout");
        let model = Loaded::gguf(&golden.gguf(Rounding::F32), Box::new(RefDevice::new()));
        let whole = model.trace(&golden.prompt, golden.prompt.len());
        for piece in [1, 7, 32, 45] {
            let pieces = model.trace(&golden.prompt, piece);
            for (position, (found, expected)) in pieces.logits.iter().zip(&whole.logits).enumerate() {
                let what = format!("pieces of {piece}: logits at position {position}");
                assert_close(&what, found, expected, tolerance::SPLIT);
            }
        }
    }
}
