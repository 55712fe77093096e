//! The special tokens of Llama 4 and Llama 3, as Meta's `tokenizer.py` lays them out behind the ordinary ranks.

use alloc::{borrow::Cow, format};

/// Ordinary tokens of Llama 4: ids 0..200,000 are merge ranks.
pub const LLAMA4_RANKS: u32 = 200_000;
/// Special tokens of Llama 4: ids 200,000..202,048.
pub const LLAMA4_SPECIALS: u32 = 2048;
/// All tokens of Llama 4.
pub const LLAMA4_VOCAB: u32 = LLAMA4_RANKS + LLAMA4_SPECIALS;
/// The id of [`PATCH`] in Llama 4.
pub const LLAMA4_PATCH: u32 = LLAMA4_RANKS + 92;
/// Ordinary tokens of Llama 3.
pub const LLAMA3_RANKS: u32 = 128_000;
/// Special tokens of Llama 3.
pub const LLAMA3_SPECIALS: u32 = 256;

/// Begins a text, once.
pub const BEGIN_OF_TEXT: &str = "<|begin_of_text|>";
/// Ends a text; stops a base model.
pub const END_OF_TEXT: &str = "<|end_of_text|>";
/// Opens a turn's role.
pub const HEADER_START: &str = "<|header_start|>";
/// Closes a turn's role.
pub const HEADER_END: &str = "<|header_end|>";
/// Ends a message that expects a tool's result.
pub const EOM: &str = "<|eom|>";
/// Ends a turn.
pub const EOT: &str = "<|eot|>";
/// Opens code or a tool call.
pub const PYTHON_START: &str = "<|python_start|>";
/// Closes code or a tool call.
pub const PYTHON_END: &str = "<|python_end|>";
/// Fills batches.
pub const PAD: &str = "<|finetune_right_pad|>";
/// Opens an image.
pub const IMAGE_START: &str = "<|image_start|>";
/// Closes an image.
pub const IMAGE_END: &str = "<|image_end|>";
/// Between two tiles of a row.
pub const TILE_X_SEPARATOR: &str = "<|tile_x_separator|>";
/// After every row of tiles.
pub const TILE_Y_SEPARATOR: &str = "<|tile_y_separator|>";
/// Before the tile that shows the whole image; the placeholder of an image in templates.
pub const IMAGE: &str = "<|image|>";
/// Stands where one vision feature goes.
pub const PATCH: &str = "<|patch|>";

/// The tokens that end a Llama 4 answer: ids 200001, 200007 and 200008.
pub const STOPS: [&str; 3] = [END_OF_TEXT, EOM, EOT];

/// Name of Llama 4's special token number `index` (id 200,000 + `index`), or `None` from 2048 on.
pub fn llama4(index: u32) -> Option<Cow<'static, str>> {
    let reserved = |family: &str, n: u32| Cow::Owned(format!("<|{family}reserved_special_token_{n}|>"));
    Some(Cow::Borrowed(match index {
        0 => BEGIN_OF_TEXT,
        1 => END_OF_TEXT,
        2 => "<|fim_prefix|>",
        3 => "<|fim_middle|>",
        4 => "<|fim_suffix|>",
        5 => HEADER_START,
        6 => HEADER_END,
        7 => EOM,
        8 => EOT,
        9 => "<|step|>",
        10..=15 => return Some(reserved("text_post_train_", index - 10)),
        16 => PYTHON_START,
        17 => PYTHON_END,
        18 => PAD,
        19..=79 => return Some(reserved("text_post_train_", index - 11)),
        80 => IMAGE_START,
        81 => IMAGE_END,
        82 | 83 => return Some(reserved("vision_", index - 82)),
        84 => TILE_X_SEPARATOR,
        85 => TILE_Y_SEPARATOR,
        86..=89 => return Some(reserved("vision_", index - 84)),
        90 => IMAGE,
        91 => return Some(reserved("vision_", 6)),
        92 => PATCH,
        93..=1133 => return Some(reserved("vision_", index - 86)),
        1134..=1141 => return Some(reserved("reasoning_", index - 1134)),
        1142 => "<|reasoning_thinking_start|>",
        1143 => "<|reasoning_thinking_end|>",
        1144..=2047 => return Some(reserved("", index - 1144)),
        _ => return None,
    }))
}

/// Name of Llama 3's special token number `index` (id 128,000 + `index`), or `None` from 256 on.
pub fn llama3(index: u32) -> Option<Cow<'static, str>> {
    Some(Cow::Borrowed(match index {
        0 => BEGIN_OF_TEXT,
        1 => END_OF_TEXT,
        2 | 3 => return Some(Cow::Owned(format!("<|reserved_special_token_{}|>", index - 2))),
        4 => "<|finetune_right_pad_id|>",
        5 => "<|step_id|>",
        6 => "<|start_header_id|>",
        7 => "<|end_header_id|>",
        8 => "<|eom_id|>",
        9 => "<|eot_id|>",
        10 => "<|python_tag|>",
        11 => IMAGE,
        12..=255 => return Some(Cow::Owned(format!("<|reserved_special_token_{}|>", index - 10))),
        _ => return None,
    }))
}

/// Tokens that end an answer in the model families this runtime serves, known by their text.
///
/// A GGUF file names one end token only, and none of Llama 4's files names `<|eom|>`.
#[cfg(feature = "tokenizer")]
pub(crate) fn ends_answer(text: &str) -> bool {
    matches!(
        text,
        END_OF_TEXT
            | EOM
            | EOT
            | "<|eot_id|>"
            | "<|eom_id|>"
            | "<|im_end|>"
            | "<|endoftext|>"
            | "<|end|>"
            | "<end_of_turn>"
            | "</s>"
    )
}

/// Every special token of a family, in order.
#[cfg(feature = "tokenizer")]
pub(crate) fn all(name: fn(u32) -> Option<Cow<'static, str>>) -> impl Iterator<Item = alloc::string::String> {
    (0..).map_while(name).map(Cow::into_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_specification_have_their_ids() {
        let id = |name: &str| (0..).map_while(llama4).position(|n| n == name).map(|i| i + 200_000);
        for (name, expected) in [
            ("<|begin_of_text|>", 200_000),
            ("<|eom|>", 200_007),
            ("<|eot|>", 200_008),
            ("<|text_post_train_reserved_special_token_5|>", 200_015),
            ("<|python_end|>", 200_017),
            ("<|finetune_right_pad|>", 200_018),
            ("<|text_post_train_reserved_special_token_8|>", 200_019),
            ("<|text_post_train_reserved_special_token_68|>", 200_079),
            ("<|image_start|>", 200_080),
            ("<|vision_reserved_special_token_5|>", 200_089),
            ("<|image|>", 200_090),
            ("<|patch|>", 200_092),
            ("<|vision_reserved_special_token_1047|>", 201_133),
            ("<|reasoning_reserved_special_token_7|>", 201_141),
            ("<|reasoning_thinking_end|>", 201_143),
            ("<|reserved_special_token_0|>", 201_144),
            ("<|reserved_special_token_903|>", 202_047),
        ] {
            assert_eq!(id(name), Some(expected), "{name}");
        }
        assert_eq!((0..).map_while(llama4).count(), 2048);
        assert_eq!((0..).map_while(llama3).count(), 256);
        assert_eq!(llama3(255).unwrap(), "<|reserved_special_token_245|>");
    }
}
