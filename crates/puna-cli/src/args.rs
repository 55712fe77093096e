//! The command line: every subcommand and flag with its help.

use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;

mod convert;
mod eval;
mod model;
mod values;
pub(crate) use convert::{ImatrixArgs, QuantizeArgs};
pub(crate) use eval::{EvalArgs, STORED};
pub(crate) use model::{Activations, FileArgs, Kv, ModelArgs};
pub(crate) use values::token_ids;
use values::{bias, pixels, positive};

/// Runs models of the Llama 4 family (and dense Llamas) on this machine.
///
/// MODEL is a GGUF file (any shard of a split one) or a Hugging Face folder with safetensors files.
/// Without a subcommand, puna starts a chat. JSON goes to stdout, talk to stderr.
#[derive(Debug, Parser)]
#[command(name = "puna", version, max_term_width = 120, args_conflicts_with_subcommands = true)]
#[command(after_help = "Examples:\n  \
    puna                                  chat with puna-tiny, a demonstration inside the command\n  \
    puna scout-q4_k_m-00001-of-00002.gguf chat with this model\n  \
    puna generate MODEL --prompt 'Once' --max-tokens 50\n  \
    puna inspect MODEL\n\n\
    Exit status: 0 done, 1 an error (one line on stderr), 2 wrong usage.")]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) chat: ChatArgs,
    /// Say nothing on stderr but errors.
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Talk with a model in the terminal.
    Chat(ChatArgs),
    /// Generate text after a prompt.
    Generate(Box<GenerateArgs>),
    /// Write the logits of every position as a NumPy file.
    Logits(LogitsArgs),
    /// Show how images are cut into tiles, and write what the vision tower makes of them as NumPy files.
    Vision(VisionArgs),
    /// Turn text or messages into token ids.
    Tokenize(TokenizeArgs),
    /// Turn token ids into text.
    Detokenize(DetokenizeArgs),
    /// Show a model's configuration, layers and tensors.
    Inspect(InspectArgs),
    /// Write one tensor of a GGUF file as 32-bit floats to a NumPy file.
    Dequant(DequantArgs),
    /// Measure perplexity over a text, with llama.cpp's windows.
    Perplexity(PerplexityArgs),
    /// Measure how often a model is right, and what number formats and devices cost it.
    Eval(Box<EvalArgs>),
    /// Measure the speed of prefill and decode.
    Bench(BenchArgs),
    /// Say what a model needs of memory before it is loaded.
    Plan(PlanArgs),
    /// List what can compute here: the processor and its instruction sets, and the GPUs.
    Devices(DevicesArgs),
    /// Write a model as GGUF in another mix of formats.
    Quantize(QuantizeArgs),
    /// Measure over a text which weights matter, for quantize --imatrix.
    Imatrix(ImatrixArgs),
}

/// How tokens are chosen.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Sampling options")]
pub(crate) struct SamplingArgs {
    /// 0 always takes the most likely token.
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    pub(crate) temp: Option<f32>,
    /// Choose among the K most likely tokens; 0 for all.
    #[arg(long, value_name = "K")]
    pub(crate) top_k: Option<usize>,
    /// Choose among the most likely tokens that hold this share of the probability.
    #[arg(long, value_name = "P", allow_negative_numbers = true)]
    pub(crate) top_p: Option<f32>,
    /// Drop tokens less likely than this, relative to the most likely.
    #[arg(long, value_name = "P", allow_negative_numbers = true)]
    pub(crate) min_p: Option<f32>,
    /// Choose among the most typical tokens that hold this share of the probability.
    #[arg(long, value_name = "P", allow_negative_numbers = true)]
    pub(crate) typical_p: Option<f32>,
    /// Divide positive logits of recent tokens by this; 1 for no penalty.
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    pub(crate) repeat_penalty: Option<f32>,
    /// Take this from a recent token's logit for each occurrence.
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    pub(crate) frequency_penalty: Option<f32>,
    /// Take this from a recent token's logit once.
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    pub(crate) presence_penalty: Option<f32>,
    /// How many recent tokens the penalties look at.
    #[arg(long, value_name = "N")]
    pub(crate) repeat_last_n: Option<usize>,
    /// Strength of the DRY penalty on repeated sequences; 0 for none.
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    pub(crate) dry_multiplier: Option<f32>,
    /// Add this to a token's logit (repeatable); -inf bans it.
    #[arg(long, value_name = "ID=X", value_parser = bias, allow_hyphen_values = true)]
    pub(crate) logit_bias: Vec<(u32, f32)>,
    /// Where the random numbers start. The same seed gives the same tokens.
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,
}

#[derive(Args, Clone, Debug)]
#[command(
    after_help = "In the chat: /help lists the commands, /image FILE shows the next message an image, Ctrl-C stops an answer, Ctrl-D \
    or /exit leaves.\n\n\
    Examples:\n  puna chat MODEL --system 'Answer in one sentence.'\n  echo 'Hello!' | puna chat MODEL --quiet\n  \
    puna chat scout.gguf --mmproj mmproj-scout.gguf --image photo.jpg"
)]
pub(crate) struct ChatArgs {
    /// A GGUF file or a Hugging Face folder [default: puna-tiny, a demonstration inside the command].
    pub(crate) model: Option<PathBuf>,
    /// Instructions that come before the conversation.
    #[arg(long, value_name = "TEXT")]
    pub(crate) system: Option<String>,
    /// An image that goes with the first message (repeatable): PNG, JPEG, WebP, GIF or BMP.
    #[arg(long = "image", value_name = "FILE")]
    pub(crate) images: Vec<PathBuf>,
    /// The longest answer, in tokens.
    #[arg(long, value_name = "N", value_parser = positive)]
    pub(crate) max_tokens: Option<usize>,
    /// Use the chat template inside the model's file even if it is a Llama 4.
    #[arg(long)]
    pub(crate) template: bool,
    #[command(flatten)]
    pub(crate) sampling: SamplingArgs,
    #[command(flatten)]
    pub(crate) options: ModelArgs,
}

#[derive(Args, Debug)]
#[command(group = clap::ArgGroup::new("input").required(true).args(["prompt", "file", "tokens", "tokens_file"]))]
#[command(
    after_help = "Examples:\n  puna generate MODEL --prompt 'The capital of France is' --max-tokens 10\n  \
    puna generate MODEL --chat --prompt 'Why is the sky blue?' --temp 0.6 --top-p 0.9 --seed 1\n  \
    puna generate MODEL --tokens 1,2,3 --max-tokens 8 --ignore-eos --json\n  \
    puna generate MODEL --chat --image a.png --image b.png --prompt 'What differs?'"
)]
pub(crate) struct GenerateArgs {
    /// A GGUF file or a Hugging Face folder [default: puna-tiny, a demonstration inside the command].
    pub(crate) model: Option<PathBuf>,
    /// The prompt; encoded with BOS if the file says so, raw unless --chat.
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub(crate) prompt: Option<String>,
    /// A file that holds the prompt.
    #[arg(long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// The prompt as token ids; nothing is added.
    #[arg(long, value_name = "IDS", conflicts_with = "chat")]
    pub(crate) tokens: Option<String>,
    /// A file of comma-separated token ids; nothing is added.
    #[arg(long, value_name = "FILE", conflicts_with = "chat")]
    pub(crate) tokens_file: Option<PathBuf>,
    /// An image (repeatable): PNG, JPEG, WebP, GIF or BMP. With --chat it comes before the prompt; without, each
    /// <|image|> in the prompt stands for the next one.
    #[arg(long = "image", value_name = "FILE", conflicts_with_all = ["tokens", "tokens_file"])]
    pub(crate) images: Vec<PathBuf>,
    /// Take the prompt as a user's message and answer it.
    #[arg(long)]
    pub(crate) chat: bool,
    /// Instructions that come before the message.
    #[arg(long, value_name = "TEXT", requires = "chat")]
    pub(crate) system: Option<String>,
    /// Use the chat template inside the model's file even if it is a Llama 4.
    #[arg(long, requires = "chat")]
    pub(crate) template: bool,
    /// Stop after this many tokens.
    #[arg(long, value_name = "N", default_value_t = 256)]
    pub(crate) max_tokens: usize,
    /// Go on after tokens that end an answer.
    #[arg(long)]
    pub(crate) ignore_eos: bool,
    /// Stop before this text (repeatable).
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub(crate) stop: Vec<String>,
    /// With --json: log-probabilities of each token and of the N most likely ones.
    #[arg(long, value_name = "N", requires = "json")]
    pub(crate) logprobs: Option<usize>,
    /// Print one JSON object instead of the text.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) sampling: SamplingArgs,
    #[command(flatten)]
    pub(crate) options: ModelArgs,
}

#[derive(Args, Debug)]
#[command(group = clap::ArgGroup::new("input").required(true).args(["tokens", "tokens_file", "prompt"]))]
#[command(
    after_help = "Examples:\n  puna logits MODEL --tokens 1,2,3 --last 1 --out last.npy --kv f32 --activations f32\n  \
    puna logits MODEL --prompt 'A <|image|> and a <|image|>' --image a.png --image b.png --out all.npy\n  \
    puna logits MODEL --tokens-file ids.txt --pixels tiles.npy --out all.npy"
)]
pub(crate) struct LogitsArgs {
    /// A GGUF file or a Hugging Face folder.
    pub(crate) model: PathBuf,
    /// Comma-separated token ids; nothing is added.
    #[arg(long, value_name = "IDS")]
    pub(crate) tokens: Option<String>,
    /// A file of comma-separated token ids; nothing is added.
    #[arg(long, value_name = "FILE")]
    pub(crate) tokens_file: Option<PathBuf>,
    /// A text, encoded with BOS if the file says so.
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub(crate) prompt: Option<String>,
    /// An image (repeatable): PNG, JPEG, WebP, GIF or BMP. Each <|image|> in the prompt stands for the next one.
    #[arg(long = "image", value_name = "FILE", conflicts_with_all = ["tokens", "tokens_file"])]
    pub(crate) images: Vec<PathBuf>,
    /// Normalised tiles, float32 [tiles, 3, H, W], used as they are: they give the <|patch|> tokens among the ids their
    /// rows.
    #[arg(long, value_name = "FILE.npy", conflicts_with = "prompt")]
    pub(crate) pixels: Option<PathBuf>,
    /// Only the last N positions.
    #[arg(long, value_name = "N", value_parser = positive)]
    pub(crate) last: Option<usize>,
    /// Where the float32 array [positions, vocabulary] goes.
    #[arg(long, value_name = "FILE.npy")]
    pub(crate) out: PathBuf,
    /// Also write the residual stream after each layer as DIR/layer_00.npy …, float32 [positions, hidden].
    #[arg(long, value_name = "DIR")]
    pub(crate) hidden: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) options: ModelArgs,
}

#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  puna vision MODEL --image photo.jpg --out-pixels tiles.npy --out-projected rows.npy --json"
)]
pub(crate) struct VisionArgs {
    /// A Hugging Face folder, or a GGUF file with --mmproj.
    pub(crate) model: PathBuf,
    /// An image (repeatable): PNG, JPEG, WebP, GIF or BMP.
    #[arg(long = "image", value_name = "FILE", required = true)]
    pub(crate) images: Vec<PathBuf>,
    /// Where the normalised tiles of all images go: float32 [tiles, 3, H, W].
    #[arg(long, value_name = "FILE.npy")]
    pub(crate) out_pixels: Option<PathBuf>,
    /// Where the features after the adapter go: float32 [tiles, tokens of a tile, width].
    #[arg(long, value_name = "FILE.npy")]
    pub(crate) out_features: Option<PathBuf>,
    /// Where the rows for the text model go: float32 [tiles, tokens of a tile, hidden].
    #[arg(long, value_name = "FILE.npy")]
    pub(crate) out_projected: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) options: ModelArgs,
}

#[derive(Args, Debug)]
#[command(group = clap::ArgGroup::new("input").required(true).args(["text", "file", "jsonl", "messages"]))]
#[command(after_help = "Examples:\n  puna tokenize MODEL --text 'Hello, world' --bos\n  \
    puna tokenize tokenizer.model --messages chat.json\n\n\
    A messages file is a list of {\"role\": \"system|user|assistant|tool\", \"content\": \"…\" or \
    [{\"type\": \"text\", \"text\": \"…\"},\n{\"type\": \"image\", \"path\": \"photo.jpg\"} or \
    {\"type\": \"image\", \"w\": 640, \"h\": 480}],\n\"tool_calls\": [{\"name\": …, \"arguments\": {…}}], \
    \"stop_reason\": \"end_of_turn|end_of_message\"}.")]
pub(crate) struct TokenizeArgs {
    /// A GGUF file, a Hugging Face folder, a tokenizer.json or Meta's tokenizer.model.
    pub(crate) tokenizer: PathBuf,
    /// The text.
    #[arg(long, allow_hyphen_values = true)]
    pub(crate) text: Option<String>,
    /// A file that holds the text.
    #[arg(long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// A file with one JSON string a line; prints one array a line.
    #[arg(long, value_name = "FILE")]
    pub(crate) jsonl: Option<PathBuf>,
    /// A file with a conversation, rendered as Meta's ChatFormat renders it, the answer's header at the end.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["bos", "special"])]
    pub(crate) messages: Option<PathBuf>,
    /// Begin with the token that begins a text.
    #[arg(long)]
    pub(crate) bos: bool,
    /// Recognise special tokens in the text.
    #[arg(long)]
    pub(crate) special: bool,
    /// A GGUF vision tower that says how images are cut up [default: the folder's own, or Llama 4's].
    #[arg(long, value_name = "FILE", requires = "messages")]
    pub(crate) mmproj: Option<PathBuf>,
}

#[derive(Args, Debug)]
#[command(after_help = "Example:\n  puna detokenize MODEL --tokens 9906,11,1917")]
pub(crate) struct DetokenizeArgs {
    /// A GGUF file, a Hugging Face folder, a tokenizer.json or Meta's tokenizer.model.
    pub(crate) tokenizer: PathBuf,
    /// Comma-separated token ids.
    #[arg(long, value_name = "IDS")]
    pub(crate) tokens: String,
}

#[derive(Args, Debug)]
#[command(after_help = "Example:\n  puna inspect MODEL --json")]
pub(crate) struct InspectArgs {
    /// A GGUF file or a Hugging Face folder; files of unknown families show their tensors only.
    pub(crate) model: PathBuf,
    /// Print one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) files: FileArgs,
}

#[derive(Args, Debug)]
#[command(after_help = "Example:\n  puna dequant model.gguf token_embd.weight --out embd.npy")]
pub(crate) struct DequantArgs {
    /// Any GGUF file that parses.
    pub(crate) file: PathBuf,
    /// The tensor's name.
    pub(crate) tensor: String,
    /// Where the float32 array goes; its last dimension is the contiguous one.
    #[arg(long, value_name = "FILE.npy")]
    pub(crate) out: PathBuf,
}

#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  puna perplexity MODEL --file book.txt --ctx 512 --json\n  puna perplexity MODEL --file book.txt --against MODEL"
)]
pub(crate) struct PerplexityArgs {
    /// A GGUF file or a Hugging Face folder.
    pub(crate) model: PathBuf,
    /// The text.
    #[arg(long, value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Report how far the model's distributions are from this one's, computed with F32 activations: the model itself
    /// shows what rounding activations costs, another file of it what its format costs.
    #[arg(long, value_name = "MODEL")]
    pub(crate) against: Option<PathBuf>,
    /// Tokens of a window; the second half of each is scored, a last partial window is left out.
    #[arg(long, value_name = "N", default_value_t = 512, value_parser = positive)]
    pub(crate) ctx: usize,
    /// Print one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) options: ModelArgs,
}

#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  puna bench MODEL -p 512 -n 64 -t 1,2 -r 5 --json\n  puna bench MODEL --image 1280x720"
)]
pub(crate) struct BenchArgs {
    /// A GGUF file or a Hugging Face folder.
    pub(crate) model: PathBuf,
    /// Tokens of the prompt.
    #[arg(short, long, value_name = "N", default_value_t = 512, value_parser = positive)]
    pub(crate) prompt: usize,
    /// Tokens to decode.
    #[arg(short, long, value_name = "N", default_value_t = 64, value_parser = positive)]
    pub(crate) n: usize,
    /// Measure the vision tower over an image of this size, in place of prefill and decode.
    #[arg(long, value_name = "WxH", value_parser = pixels, conflicts_with_all = ["prompt", "n"])]
    pub(crate) image: Option<(usize, usize)>,
    /// Thread counts to measure, separated by commas [default: --threads, or all].
    #[arg(short, value_name = "N,N", value_delimiter = ',', value_parser = positive)]
    pub(crate) t: Vec<usize>,
    /// Rounds; medians are printed.
    #[arg(short, long, value_name = "N", default_value_t = 5, value_parser = positive)]
    pub(crate) rounds: usize,
    /// Print one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) options: ModelArgs,
}

#[derive(Args, Debug)]
#[command(after_help = "Example:\n  puna plan MODEL --context 131072 --json")]
pub(crate) struct PlanArgs {
    /// A GGUF file or a Hugging Face folder.
    pub(crate) model: PathBuf,
    /// Print one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) options: ModelArgs,
}

#[derive(Args, Debug)]
#[command(after_help = "Example:\n  puna devices --json")]
pub(crate) struct DevicesArgs {
    /// Print one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_path_alone_starts_a_chat() {
        let cli = Cli::try_parse_from(["puna", "some/model.gguf", "--system", "x"]).unwrap();
        assert!(cli.command.is_none());
        assert_eq!(cli.chat.model.unwrap(), PathBuf::from("some/model.gguf"));
        let cli = Cli::try_parse_from(["puna"]).unwrap();
        assert!(cli.command.is_none() && cli.chat.model.is_none());
        let cli = Cli::try_parse_from(["puna", "generate", "m", "--prompt", "x", "--quiet"]).unwrap();
        assert!(cli.quiet && matches!(cli.command, Some(Command::Generate(_))));
        assert!(Cli::try_parse_from(["puna", "generate", "m"]).is_err(), "a prompt is needed");
        assert!(Cli::try_parse_from(["puna", "chat", "--threads", "0"]).is_err());
    }
}
