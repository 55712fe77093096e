//! A GPU's kernels, compiled while a model is opened and not at its first token.

use crate::error::{Error, Lift};
use crate::package::Watch;
use crate::placement::DEVICE;
use crate::{LoadOptions, Phase};
use alloc::string::ToString;
use alloc::vec::Vec;
use puna_core::{DeviceError, Elem};
use puna_cpu::ThreadPool;
use puna_gpu::{Compiler, Need};
use puna_llama::weights::{Dense, Ffn};
use puna_llama::{LayerPlaces, Llama, Vision};
use std::sync::{Mutex, PoisonError};
use std::thread;

/// More threads than this gain nothing: a model needs some dozens of kernels.
const MOST_THREADS: usize = 16;

/// Compiles what the weights on the GPU need, for a cache of the default type, with as many threads as may compute.
/// Sessions with other caches have the few kernels for these compiled when they first need them.
///
/// # Errors
/// A kernel that the driver refuses, a lost device, a cancelled load.
pub(crate) fn compile(
    compiler: &Compiler,
    (llama, vision): (&Llama, Option<&Vision>),
    options: &LoadOptions,
    watch: &Watch<'_>,
) -> Result<(), Error> {
    let preparation = compiler.prepare(&needs(llama, vision));
    let total = preparation.total() as u64;
    let n = super::threads(options)?.min(MOST_THREADS).min(preparation.total()).max(1);
    let (caller, failed) = (thread::current().id(), Mutex::new(None));
    let part = |_: usize, _: usize| {
        // The caller hears of it from its own thread.
        let here = thread::current().id() == caller;
        let tell = |done: usize, _: usize| {
            if here {
                watch.tell(Phase::Kernels, done as u64, total);
            }
        };
        if let Err(e) = preparation.run(&tell, &watch.cancel) {
            failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(e);
        }
    };
    let ran = ThreadPool::new(n).lift()?.run(n, &part);
    if let Some(e) = failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
        return Err(Error::of(e));
    }
    ran.map_err(|e| DeviceError::Lost(e.to_string())).lift()?;
    watch.check()?;
    watch.tell(Phase::Kernels, total, total);
    Ok(())
}

/// What the forward pass and the vision tower do with weights on the GPU.
fn needs<'a>(llama: &'a Llama, vision: Option<&'a Vision>) -> Vec<Need<'a>> {
    let (config, weights) = (&llama.config, &llama.weights);
    let mut needs = Vec::new();
    if llama.placement.embed == DEVICE {
        needs.push(Need::Table(&weights.embed));
    }
    for (i, w) in weights.layers.iter().enumerate() {
        let LayerPlaces { layer, experts } = llama.placement.layer(i);
        let (Dense { gate, up, down }, moe) = match &w.ffn {
            Ffn::Dense(dense) => (dense, None),
            Ffn::Moe(moe) => (&moe.shared, Some(moe)),
        };
        if layer == DEVICE {
            let attention = [&w.q.w, &w.k.w, &w.v.w, &w.o.w].map(Need::Product);
            needs.extend(attention.into_iter().chain([Need::Gated(gate, up), Need::Product(down)]));
        }
        if let Some(moe) = moe {
            if experts == DEVICE {
                needs.push(Need::Router(&moe.router));
                needs.push(Need::Experts(moe.experts(), config.n_experts_used));
            }
            if layer != experts {
                needs.push(Need::Sums);
            }
        }
    }
    if llama.placement.head == DEVICE {
        needs.push(Need::Product(&weights.head));
    }
    if !needs.is_empty() {
        needs.push(Need::Text { hidden: config.hidden, head_dim: config.head_dim, kv: Elem::F16 });
    }
    if let Some(vision) = vision {
        needs.push(Need::Vision { hidden: vision.config.hidden });
        let ends = [&vision.patch, &vision.projector].into_iter().chain(&vision.adapter);
        let layers = vision.layers.iter();
        let layers = layers.flat_map(|w| [&w.q, &w.k, &w.v, &w.o, &w.fc1, &w.fc2].map(|linear| &linear.w));
        needs.extend(ends.chain(layers).map(Need::Product));
    }
    needs
}
