//! Synthetic Llama 4 files of true dimensions, for benchmarks: every matrix as long and as wide as in the released
//! models, in any of the standard mixes, only fewer of them and without meaning.
//!
//! A file is a pure function of its [`Spec`]. It is written from front to back: memory is bounded by a pool of blocks for
//! each format, and the time is that of the disk.

mod blocks;
mod shape;
mod vocab;

pub use puna_llama::convert::mix::Mix;
pub use shape::Like;

use crate::seeded::element;
use blocks::Pools;
use puna_core::DType;
use puna_format::WriteSink;
use puna_format::gguf::{GgufWriter, Metadata, TensorStream};
use puna_llama::convert::{Outline, outline};
use puna_llama::{Config, export};
use std::error::Error;
use std::fs::File;
use std::io::BufWriter;
use std::path::Path;

/// What cannot be done, for people.
pub type Result<T = ()> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// Which file to make.
#[derive(Clone, Debug)]
pub struct Spec {
    /// The model whose dimensions it has.
    pub like: Like,
    /// How many of its layers.
    pub layers: usize,
    /// Experts on every so-many-th layer; `None` as the model has them.
    pub moe_step: Option<usize>,
    /// The mix of formats.
    pub mix: Mix,
    /// Where the values start.
    pub seed: u32,
}

/// Writes the file, and gives the bytes of its tensors. It has its name once it is whole.
///
/// # Errors
/// A number of layers that no model has, a file that cannot be written.
pub fn write(spec: &Spec, path: &Path) -> Result<u64> {
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    let named = |e: std::io::Error| format!("{}: {e}", path.display());
    let file = BufWriter::with_capacity(1 << 20, File::create(&partial).map_err(named)?);
    let bytes = stream(spec, file).inspect_err(|_| _ = std::fs::remove_file(&partial))?;
    std::fs::rename(&partial, path).map_err(named)?;
    Ok(bytes)
}

fn stream(spec: &Spec, file: BufWriter<File>) -> Result<u64> {
    let config = spec.like.config(spec.layers, spec.moe_step);
    config.validate()?;
    let plan: Vec<(Outline, DType)> = outline(&config)?
        .into_iter()
        .map(|t| (dtype(spec.mix, &config, &t), t))
        .map(|(d, t)| (t, d))
        .collect();
    let mut header = GgufWriter::with_metadata(metadata(spec, &config)?);
    for (tensor, dtype) in &plan {
        let ne: Vec<u64> = tensor.shape.iter().rev().map(|&n| n as u64).collect();
        header.tensor(&tensor.name, &ne, *dtype)?;
    }
    let mut out = header.start(WriteSink(file))?;
    let mut pools = Pools::new(spec.seed, spec.like.pieces());
    let mut bytes = 0;
    for (number, (tensor, dtype)) in (1..).zip(&plan) {
        bytes += values(&config, spec, &mut pools, number, (tensor, *dtype), &mut out)?;
    }
    out.finish()?.0.into_inner()?.sync_all()?;
    Ok(bytes)
}

fn dtype(mix: Mix, config: &Config, tensor: &Outline) -> DType {
    mix.of(config, tensor.role, tensor.shape.last().copied().unwrap_or(0), false)
}

fn metadata(spec: &Spec, config: &Config) -> Result<Metadata> {
    let mut metadata = Metadata::new();
    export::metadata(config, &mut metadata);
    metadata.set("general.name", format!("synthetic {}, {} layers", spec.like.name(), spec.layers));
    metadata.set("general.file_type", spec.mix.file_type());
    metadata.set("general.quantization_version", 2u32);
    vocab::set(spec.like.ranks(), spec.seed, &mut metadata)?;
    Ok(metadata)
}

/// The values of one tensor.
fn values(
    config: &Config,
    spec: &Spec,
    pools: &mut Pools,
    number: u32,
    (tensor, dtype): (&Outline, DType),
    out: &mut TensorStream<WriteSink<BufWriter<File>>>,
) -> Result<u64> {
    let name = &tensor.name;
    let mut vector = |values: &[f32]| -> Result<u64> {
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        out.write(name, &bytes)?;
        Ok(bytes.len() as u64)
    };
    let seed = element(spec.seed, number);
    match (&tensor.shape[..], name.starts_with("rope_freqs")) {
        (_, true) => vector(&export::rope_divisors(config)?.unwrap_or_default()),
        // Norms stay near 1.
        ([n], false) => vector(&crate::seeded::weights(seed, *n, 0.1, 1.0)),
        ([.., n_in], false) => {
            let rows: usize = tensor.shape.iter().rev().skip(1).product();
            let row = dtype.row_bytes(*n_in).ok_or_else(|| format!("{name}: no whole blocks of {dtype}"))?;
            let n_bytes = rows as u64 * row as u64;
            // Embeddings have the size of what the residual stream holds; matrices keep the size of what goes through.
            let deviation = if name.starts_with("token_embd") { 1.0 } else { 1.0 / (*n_in as f32).sqrt() };
            pools.get(dtype, deviation)?.stream(seed, n_bytes, |bytes| Ok(out.write(name, bytes)?))?;
            Ok(n_bytes)
        }
        ([], false) => Err(format!("{name}: a tensor without dimensions").into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Loaded, ModelDir};
    use puna_core::RefDevice;

    fn file(mix: &str, seed: u32) -> Vec<u8> {
        let dir = ModelDir::new("synth");
        let path = dir.directory().join("tiny.gguf");
        let spec = Spec { like: Like::Tiny, layers: 4, moe_step: None, mix: Mix::parse(mix).unwrap(), seed };
        let bytes = write(&spec, &path).unwrap();
        let file = std::fs::read(path).unwrap();
        assert!(bytes < file.len() as u64);
        file
    }

    /// Every mix is a model whose activations stay in bounds and whose layers do something.
    #[test]
    fn every_mix_computes() {
        for mix in Mix::names() {
            let model = Loaded::gguf(&file(mix, 1), Box::new(RefDevice::new()));
            let trace = model.trace(&[1, 300, 5, 77, 401, 9], 6);
            for rows in &trace.hidden {
                let rms = (rows.iter().flatten().map(|v| v * v).sum::<f32>()
                    / (rows.len() * rows[0].len()) as f32)
                    .sqrt();
                assert!((0.3..10.0).contains(&rms), "{mix}: {rms}");
            }
            assert!(trace.logits.iter().flatten().all(|v| v.is_finite()), "{mix}");
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_file_and_another_one_another() {
        let (a, b, c) = (file("q4_k_m", 1), file("q4_k_m", 1), file("q4_k_m", 2));
        assert!(a == b && a != c);
    }

    /// The released models, as their configurations are published: parameters counted by the outline.
    #[test]
    fn whole_models_have_their_parameters() {
        for (like, layers, parameters) in
            [(Like::Scout, 48, 107_769_861_120u64), (Like::Maverick, 48, 400_711_848_960)]
        {
            let config = like.config(layers, None);
            config.validate().unwrap();
            let tensors = outline(&config).unwrap();
            let weights = tensors.iter().filter(|t| !t.name.starts_with("rope_freqs"));
            let count: u64 = weights.map(|t| t.shape.iter().map(|&n| n as u64).product::<u64>()).sum();
            assert_eq!(count, parameters, "{}", like.name());
        }
    }
}
