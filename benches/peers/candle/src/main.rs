//! One peer of `benches/peers/llamacpp.py`: reads lines of `threads prompt decode`, answers each with the seconds of both.
//!
//! candle has no Llama 4; of the files that puna runs it reads dense Llama models in GGUF, such as SmolLM2.

use std::io::{BufRead, Write};
use std::time::Instant;

use candle_core::quantized::gguf_file::Content;
use candle_core::{Device, Result, Tensor};
use candle_transformers::models::quantized_llama::ModelWeights;

/// The prompt of `puna bench`.
fn tokens(n: u64, vocab: u64) -> Vec<u32> {
    (1..=n).map(|i| ((i.wrapping_mul(2_654_435_761) >> 7) % vocab) as u32).collect()
}

/// Logits of the last of `tokens`, which stand from `at` on.
fn feed(model: &mut ModelWeights, tokens: &[u32], at: usize) -> Result<()> {
    let rows = Tensor::new(tokens, &Device::Cpu)?.unsqueeze(0)?;
    let logits = model.forward(&rows, at)?;
    // Nothing is left to be computed when the clock is read.
    logits.flatten_all()?.get(0)?.to_scalar::<f32>().map(|_| ())
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let path =
        std::env::args().nth(1).ok_or("usage: puna-peer-candle MODEL.gguf (RAYON_NUM_THREADS: threads)")?;
    let mut file = std::fs::File::open(path)?;
    let content = Content::read(&mut file)?;
    let vocab = content.tensor_infos.get("token_embd.weight").ok_or("no embedding")?.shape.dims2()?.0 as u64;
    let weights: usize = content.tensor_infos.values().map(|tensor| tensor.shape.elem_count()).sum();
    let mut model = ModelWeights::from_gguf(content, &mut file, &Device::Cpu)?;
    println!("ready {weights}");
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let numbers =
            line.split_whitespace().map(str::parse).collect::<std::result::Result<Vec<usize>, _>>()?;
        let &[threads, prompt, decode] = numbers.as_slice() else {
            return Err("three numbers expected".into());
        };
        if threads != candle_core::utils::get_num_threads() {
            return Err("candle's threads are chosen when it starts: RAYON_NUM_THREADS".into());
        }
        let ids = tokens((prompt + decode) as u64, vocab);
        let start = Instant::now();
        // Position 0 begins a new cache.
        feed(&mut model, &ids[..prompt], 0)?;
        let middle = Instant::now();
        for (i, id) in ids[prompt..].iter().enumerate() {
            feed(&mut model, std::slice::from_ref(id), prompt + i)?;
        }
        println!("{} {}", (middle - start).as_secs_f64(), middle.elapsed().as_secs_f64());
        std::io::stdout().flush()?;
    }
    Ok(())
}
