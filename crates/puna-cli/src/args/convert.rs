//! Flags of the commands that write models, and of what they need.

use super::ModelArgs;
use super::values::{bytes, key_value, positive};
use clap::Args;
use clap::builder::PossibleValuesParser;
use std::path::PathBuf;

#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  puna quantize scout/ scout-q4_k_m.gguf --type q4_k_m --split 40G\n  \
    puna quantize scout/ scout-q8_0.gguf --type q8_0 --mmproj-out mmproj-scout.gguf\n  \
    puna imatrix scout-q8_0.gguf -f text.txt -o imatrix.gguf\n  \
    puna quantize scout/ scout-q3_k_m.gguf --type q3_k_m --imatrix imatrix.gguf")]
pub(crate) struct QuantizeArgs {
    /// A GGUF file or a Hugging Face folder.
    #[arg(value_name = "IN")]
    pub(crate) input: PathBuf,
    /// The GGUF file to write.
    #[arg(value_name = "OUT")]
    pub(crate) output: PathBuf,
    /// The standard mix to write.
    #[arg(long = "type", value_name = "TYPE", ignore_case = true,
        value_parser = PossibleValuesParser::new(puna::QuantizeOptions::types()))]
    pub(crate) mix: String,
    /// Split over files of at most this many bytes of tensors (K, M, G and T mean powers of 1000): OUT-00001-of-0000N.gguf.
    #[arg(long, value_name = "SIZE", value_parser = bytes)]
    pub(crate) split: Option<u64>,
    /// Weigh errors by this importance matrix: what `puna imatrix` or llama.cpp's llama-imatrix made of the same model (as
    /// GGUF or .dat). The mixes iq1_*, iq2_*, iq3_xxs and q2_k_s are not written without.
    #[arg(long, value_name = "FILE")]
    pub(crate) imatrix: Option<PathBuf>,
    /// Write the vision tower to this file, which goes with the model as --mmproj.
    #[arg(long, value_name = "FILE.gguf")]
    pub(crate) mmproj_out: Option<PathBuf>,
    /// What the tower's matrices become [default: as they are stored].
    #[arg(long, value_name = "TYPE", ignore_case = true, requires = "mmproj_out",
        value_parser = PossibleValuesParser::new(puna::QuantizeOptions::mmproj_types()))]
    pub(crate) mmproj_type: Option<String>,
    /// The file to read the vision tower of a GGUF model from.
    #[arg(long, value_name = "FILE.gguf", requires = "mmproj_out")]
    pub(crate) mmproj: Option<PathBuf>,
    /// The name that the written model says of itself [default: the one it has, or its folder's].
    #[arg(long, value_name = "TEXT")]
    pub(crate) name: Option<String>,
    /// Threads that convert; as many as there are CPUs unless given.
    #[arg(long, value_name = "N", value_parser = positive)]
    pub(crate) threads: Option<usize>,
    /// Replace a metadata key by a value in JSON (repeatable), as for a model that runs.
    #[arg(long = "override", value_name = "KEY=VALUE", value_parser = key_value)]
    pub(crate) overrides: Vec<(String, String)>,
    /// Print one JSON object about what was written.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Debug)]
#[command(
    after_help = "A model reads the text in chunks; for every column of its matrices the squares of the activations that \
    meet it are summed. Take a good\nmodel (Q8_0 or better) and a text like what will be read and written, a hundred \
    chunks or more.\n\nExample:\n  puna imatrix MODEL -f text.txt -o imatrix.gguf --chunks 100"
)]
pub(crate) struct ImatrixArgs {
    /// A GGUF file or a Hugging Face folder.
    pub(crate) model: PathBuf,
    /// The text.
    #[arg(short, long, value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// The file to write, which llama.cpp's llama-quantize reads too.
    #[arg(short, long, value_name = "FILE.gguf")]
    pub(crate) out: PathBuf,
    /// Read no more than N chunks.
    #[arg(long, value_name = "N", value_parser = positive)]
    pub(crate) chunks: Option<usize>,
    /// Tokens of a chunk.
    #[arg(long, value_name = "N", default_value_t = 512, value_parser = positive)]
    pub(crate) ctx: usize,
    /// Watch the head too, not only the layers.
    #[arg(long)]
    pub(crate) process_output: bool,
    /// Print one JSON object about what was written.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) options: ModelArgs,
}
