//! One file a subcommand.

pub(crate) mod bench;
mod bench_image;
pub(crate) mod chat;
pub(crate) mod dequant;
pub(crate) mod detokenize;
pub(crate) mod devices;
pub(crate) mod eval;
pub(crate) mod generate;
pub(crate) mod imatrix;
pub(crate) mod inspect;
pub(crate) mod logits;
pub(crate) mod perplexity;
pub(crate) mod plan;
pub(crate) mod quantize;
pub(crate) mod tokenize;
pub(crate) mod vision;
