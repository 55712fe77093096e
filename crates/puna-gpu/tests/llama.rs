//! Whole models on the GPU: what Hugging Face transformers computes, token by token.
//!
//! These tests need an adapter (a software Vulkan such as Mesa's lavapipe will do) and fail where there is none.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests fail by panicking and say what they saw")]

use puna_core::Elem;
use puna_core::RefDevice;
use puna_gpu::{GpuDevice, Options, Tier, Tiles};
use puna_testkit::compare::{argmax, assert_close, divergence};
use puna_testkit::goldens::{Golden, Rounding, VisionGolden};
use puna_testkit::{Loaded, tolerance};

fn gpu(options: &Options) -> Box<GpuDevice> {
    Box::new(GpuDevice::open(options).unwrap())
}

/// Logits, hidden states after each layer and greedy tokens of every short model, in every format its golden has, from
/// GGUF files and from a folder, whose fused experts are stored the other way round.
#[test]
fn goldens_of_transformers() {
    for name in Golden::SHORT {
        let golden = Golden::load(name);
        for rounding in golden.roundings() {
            Loaded::gguf(&golden.gguf(rounding), gpu(&Options::new())).check(&golden, rounding);
        }
        let folder = Loaded::safetensors(
            &golden.config,
            &golden.safetensors(Rounding::F32),
            gpu(&Options::new().default_limits(true)),
        );
        folder.check(&golden, Rounding::F32);
    }
}

/// The same with bindings of 40 KiB: each expert in a binding of its own.
#[test]
fn goldens_through_small_bindings() {
    for name in ["scout", "maverick"] {
        let golden = Golden::load(name);
        let options = Options::new().binding_limit(40 << 10).buffer_limit(256 << 10);
        let mut model = Loaded::gguf(&golden.gguf(Rounding::F32), gpu(&options));
        // A block of the cache holds the context at most; it has to fit into a binding.
        let greedy = golden.expected(Rounding::F32).greedy.len();
        model.options.context = Some(golden.prompt.len() + greedy);
        model.check(&golden, Rounding::F32);
    }
}

/// 64 greedy tokens are the reference's, with keys and values in F16 too.
#[test]
fn greedy_tokens_of_the_reference() {
    let golden = Golden::load("scout");
    let file = golden.gguf(Rounding::F32);
    let lanes = Options::new();
    let shared = Options::new().tier(Tier::Shared);
    for (kv, options) in [(Elem::F32, &lanes), (Elem::F16, &lanes), (Elem::F16, &shared)] {
        let mut on_gpu = Loaded::gguf(&file, gpu(options));
        let mut on_reference = Loaded::gguf(&file, Box::new(RefDevice::new()));
        on_gpu.options.kv = kv;
        on_reference.options.kv = kv;
        let expected = on_reference.greedy(&golden.prompt, 64);
        assert_eq!(on_gpu.greedy(&golden.prompt, 64), expected, "{kv:?}");
    }
}

/// The vision tower too: features, logits and greedy tokens after images, in two batch sizes.
#[test]
fn images_of_transformers_and_pillow() {
    let golden = VisionGolden::load();
    for (tiles, batch) in [(1, 512), (3, 5)] {
        let off = golden.check(gpu(&Options::new()), tiles, batch);
        println!("{tiles} tiles, {batch} tokens at once: {off:?}");
    }
}

/// A prompt fed token by token gives the logits of one fed at once: two different product kernels.
#[test]
fn prefill_is_decode() {
    let golden = Golden::load("maverick");
    let model = Loaded::gguf(&golden.gguf(Rounding::F32), gpu(&Options::new()));
    let prompt = &golden.prompt[..golden.prompt.len().min(40)];
    let whole = model.trace(prompt, prompt.len());
    for piece in [1, 7] {
        let split = model.trace(prompt, piece);
        for (position, (a, b)) in split.logits.iter().zip(&whole.logits).enumerate() {
            assert_close(&format!("pieces of {piece} at {position}"), a, b, tolerance::SPLIT);
        }
    }
}

/// What the tier for GPUs that any adapter can do puts together in decode: heads prepared and stored, experts chosen.
#[test]
fn goldens_in_the_tier_for_gpus() {
    for name in ["scout", "maverick"] {
        let golden = Golden::load(name);
        let options = Options::new().tier(Tier::Shared);
        Loaded::gguf(&golden.gguf(Rounding::F32), gpu(&options)).check(&golden, Rounding::F32);
    }
}

/// Prompts whose products are rounded: the distribution is close to that of transformers. In 16-bit floats it is at every
/// position, and the most likely token is the same. In bytes it is at half of them at least: where a router was undecided,
/// rounding chooses another expert, as it does at two of these models' 24 positions.
#[test]
fn prompts_in_packed_bytes_and_16_bit_floats() {
    for (tiles, median, worst) in
        [(Tiles::F32, 1e-10, 1e-9), (Tiles::Half, 3e-5, 1e-4), (Tiles::Packed, 5e-3, f64::INFINITY)]
    {
        if tiles == Tiles::Half && !puna_gpu::list().first().unwrap().f16 {
            println!("skipped: the adapter has no 16-bit floats");
            continue;
        }
        for name in ["scout", "maverick"] {
            let golden = Golden::load(name);
            let options = Options::new().tier(Tier::Shared).tiles(tiles);
            let model = Loaded::gguf(&golden.gguf(Rounding::Q8_0), gpu(&options));
            let found = model.trace(&golden.prompt, golden.prompt.len()).logits;
            let expected = golden.expected(Rounding::Q8_0);
            let mut nats = Vec::new();
            for (&at, expected) in expected.positions.iter().zip(&expected.logits) {
                let found = found.get(at).unwrap();
                nats.push(divergence(found, expected));
                assert!(tiles == Tiles::Packed || argmax(found) == argmax(expected), "{tiles:?} {name} {at}");
            }
            nats.sort_by(f64::total_cmp);
            let (middle, most) = (nats[nats.len() / 2], *nats.last().unwrap());
            println!("{tiles:?} {name}: {middle:.1e} nats from transformers, {most:.1e} at most");
            assert!(middle <= median && most <= worst, "{tiles:?} {name}: {middle} {most}");
        }
    }
}

/// What one token of 48 layers like these costs: work is recorded per layer, whatever its dimensions.
#[test]
fn dispatches_of_a_token() {
    let golden = Golden::load("scout");
    let file = golden.gguf(Rounding::Q8_0);
    for (tier, most) in [(Tier::Shared, 9), (Tier::Lanes, 11)] {
        let model = Loaded::gguf(&file, gpu(&Options::new().tier(tier)));
        let mut session = model.session();
        session.feed(&golden.prompt[..8], None).unwrap();
        let before = session.device().counters();
        session.decode(1).unwrap();
        let after = session.device().counters();
        let count = |name| {
            let at = |all: &[(&str, u64)]| all.iter().find(|c| c.0 == name).map_or(0, |c| c.1);
            at(&after) - at(&before)
        };
        let layers = model.model().layers.len() as u64;
        println!("{tier:?}: {} dispatches for {layers} layers", count("dispatches"));
        // Embedding, last norm and head.
        assert!(count("dispatches") <= most * layers + 3, "{tier:?}: {}", count("dispatches"));
        assert_eq!((count("submits"), count("reads")), (1, 1));
        // All matrices of the active parameters, loaded once; each op's bytes are part of the whole.
        assert!(count("weight bytes") > 0 && count("bytes read") > count("weight bytes"));
        let ops = after.iter().filter(|c| c.0.starts_with("bytes of ")).map(|c| count(c.0));
        assert_eq!(ops.sum::<u64>(), count("bytes read") + count("bytes written"));
    }
}
