//! Flags of `puna eval`.

use super::ModelArgs;
use super::values::positive;
use clap::Args;
use clap::builder::PossibleValuesParser;
use std::path::PathBuf;

/// The type that leaves the weights as they are.
pub(crate) const STORED: &str = "stored";

#[derive(Args, Debug)]
#[command(
    after_help = "An answer is right if it is the expected one to the letter; tokens are chosen greedily. Skills that a \
    model cannot take (pictures\nwithout a vision tower, chats without a chat template) are left out, with the reason.\n\n\
    Examples:\n  puna eval                                     puna-tiny, which is inside the command\n  \
    puna eval --quant stored,q8_0,q4_k_m,q2_k     what the formats cost it\n  \
    puna eval MODEL --skill text,recall --items 5 another model, the beginning of two skills"
)]
pub(crate) struct EvalArgs {
    /// A GGUF file or a Hugging Face folder [default: puna-tiny].
    pub(crate) model: Option<PathBuf>,
    /// Measure the model as written in these types, separated by commas: a column each. `stored` is the model as it is.
    /// The vision tower stays as it is.
    #[arg(long, value_name = "TYPE,TYPE", value_delimiter = ',', ignore_case = true, hide_possible_values = true,
        value_parser = PossibleValuesParser::new(puna::QuantizeOptions::types().chain([STORED])))]
    pub(crate) quant: Vec<String>,
    /// Only these skills, separated by commas.
    #[arg(long, value_name = "NAME,NAME", value_delimiter = ',')]
    pub(crate) skill: Vec<String>,
    /// Only the first N items of each skill, and of each length where there are lengths.
    #[arg(long, value_name = "N", value_parser = positive)]
    pub(crate) items: Option<usize>,
    /// Other held-out items, with their pictures in FILE.images [default: those of puna-tiny].
    #[arg(long, value_name = "FILE.jsonl")]
    pub(crate) heldout: Option<PathBuf>,
    /// Write every answer as a line of JSON.
    #[arg(long, value_name = "FILE.jsonl")]
    pub(crate) answers: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) options: ModelArgs,
}
