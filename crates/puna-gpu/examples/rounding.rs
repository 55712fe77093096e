//! How far a model's distribution over tokens moves when its prompts' products are rounded on a GPU, for each of `Tiles`.
//!
//! ```sh
//! puna tokenize MODEL.gguf --text 'Some text' --bos | cargo run --release -p puna-gpu --example rounding -- MODEL.gguf
//! ```
//! The tokens go in as one prompt, in the tier [`Tier::Shared`]; each position is compared with F32 products.
#![allow(clippy::expect_used, clippy::indexing_slicing, reason = "a measurement may stop by panicking")]
#![allow(clippy::print_stdout, reason = "what it is for")]

use puna_gpu::{GpuDevice, Options, Tier, Tiles};
use puna_testkit::Loaded;
use puna_testkit::compare::{argmax, divergence};
use std::time::Instant;

fn main() {
    let path = std::env::args().nth(1).expect("the path of a GGUF file");
    let file = std::fs::read(path).expect("the model file");
    let ids = std::io::read_to_string(std::io::stdin()).expect("token ids");
    let ids = ids.split(|c: char| !c.is_ascii_digit()).filter(|id| !id.is_empty());
    let ids: Vec<u32> = ids.map(|id| id.parse().expect("a token id")).collect();
    let mut exact: Option<Vec<Vec<f32>>> = None;
    for tiles in [Tiles::F32, Tiles::Half, Tiles::Packed] {
        let device = match GpuDevice::open(&Options::new().tier(Tier::Shared).tiles(tiles)) {
            Ok(device) => device,
            Err(why) => {
                println!("{tiles:?}: {why}");
                continue;
            }
        };
        let start = Instant::now();
        let found = Loaded::gguf(&file, Box::new(device)).trace(&ids, ids.len()).logits;
        let time = start.elapsed();
        let exact = exact.get_or_insert_with(|| found.clone());
        let nats: Vec<f64> = found.iter().zip(exact.iter()).map(|(f, e)| divergence(f, e)).collect();
        let same = found.iter().zip(exact.iter()).filter(|(f, e)| argmax(f) == argmax(e)).count();
        let (mean, most) =
            (nats.iter().sum::<f64>() / nats.len() as f64, nats.iter().copied().fold(0.0, f64::max));
        println!(
            "{tiles:?}: {} positions, mean {mean:.2e} nats, at most {most:.2e}, same choice {same}, in {time:.1?}",
            nats.len()
        );
    }
}
