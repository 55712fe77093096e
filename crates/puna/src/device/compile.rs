//! A GPU's kernels, compiled while a model is opened and not at its first token.

use crate::error::{Error, Lift};
use crate::package::Watch;
use crate::placement::DEVICE;
use crate::{LoadOptions, Phase};
use alloc::vec::Vec;
use puna_core::{DeviceError, Elem};
use puna_gpu::{Compiler, Need, Preparation};
use puna_llama::weights::{Dense, Ffn};
use puna_llama::{LayerPlaces, Llama, Vision};

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
    let helpers = super::threads(options)?.min(MOST_THREADS).min(preparation.total()).saturating_sub(1);
    let tell = |done: usize, _: usize| watch.tell(Phase::Kernels, done as u64, total);
    std::thread::scope(|scope| {
        // Threads that the system refuses are not missed: the others take their share.
        let spawn = |_| std::thread::Builder::new().spawn_scoped(scope, || quietly(&preparation, watch)).ok();
        let helpers: Vec<_> = (0..helpers).filter_map(spawn).collect();
        // The caller hears of it from its own thread.
        let mut done = preparation.run(&tell, &watch.cancel);
        for helper in helpers {
            let panicked = |_| Err(DeviceError::Lost("a thread that compiled kernels panicked".into()));
            done = done.and(helper.join().unwrap_or_else(panicked));
        }
        done
    })
    .lift()?;
    watch.check()?;
    watch.tell(Phase::Kernels, total, total);
    Ok(())
}

fn quietly(preparation: &Preparation, watch: &Watch<'_>) -> Result<(), DeviceError> {
    preparation.run(&|_, _| {}, &watch.cancel)
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
                needs.push(Need::Experts(&moe.experts, config.n_experts_used));
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
