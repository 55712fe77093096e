"""puna-tiny's tokenizer and Llama 4's prompt format in its tokens.

    python tokenizer.py DATA

trains DATA/tokenizer/tokenizer.json: byte-level BPE with Llama 4's pre-tokenizer pattern, about 1,900 tokens. Digits are
never merged, so that a number is read digit by digit.
"""

import json
import re
import sys
from pathlib import Path

from sample import Sample, rng

VOCAB = 1920
# Llama 4's special tokens that a prompt or an answer can hold, behind the ordinary ones.
SPECIALS = [
    "<|begin_of_text|>", "<|end_of_text|>", "<|header_start|>", "<|header_end|>", "<|eom|>", "<|eot|>", "<|step|>",
    "<|python_start|>", "<|python_end|>", "<|finetune_right_pad|>", "<|image_start|>", "<|image_end|>",
    "<|tile_x_separator|>", "<|tile_y_separator|>", "<|image|>", "<|patch|>",
]  # fmt: skip
PATTERN = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
    r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
CHAT_TEMPLATE = (
    "{{- bos_token }}{%- for message in messages %}{{- '<|header_start|>' + message['role'] + '<|header_end|>\\n\\n' }}"
    "{%- if message['content'] is string %}{{- message['content'] }}{%- else %}{%- for part in message['content'] %}"
    "{%- if part['type'] == 'image' %}{{- '<|image|>' }}{%- else %}{{- part['text'] }}{%- endif %}{%- endfor %}{%- endif %}"
    "{{- '<|eot|>' }}{%- endfor %}{%- if add_generation_prompt %}"
    "{{- '<|header_start|>assistant<|header_end|>\\n\\n' }}{%- endif %}"
)
# What the merges are learned from beside the text: questions about pictures count for their words only.
WORDY = dict(chat=60, tools=5, json=10, guard=5, recall=5, shape=5, bars=3, number=2, digit=2, two=3)
# Patches of a tile after the pixel shuffle.
TILE_PATCHES = 16


def train(data: Path) -> None:
    from tokenizers import pre_tokenizers, trainers

    import mixture

    tokenizer = empty()

    def texts():
        # No digits: they must stay single tokens.
        undigited = lambda text: re.sub(r"\d+", "\n", text)
        for line in open(data / "text.txt"):
            yield undigited(line[:500])
        for role in ("system", "user", "assistant", "ipython"):
            yield from [role] * 3000
        for i in range(30000):
            sample = mixture.draw(rng("tokenizer", i), data, longest=96, shares=WORDY)
            for _, parts in sample.turns:
                yield from (undigited(part) for part in parts if isinstance(part, str))

    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB - len(SPECIALS), show_progress=False, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    tokenizer.train_from_iterator(texts(), trainer)
    tokenizer.add_special_tokens(SPECIALS)
    assert tokenizer.get_vocab_size() == VOCAB, tokenizer.get_vocab_size()
    save(data, tokenizer)


def empty(vocab=None, merges=None):
    """Llama 4's pre-tokenizer and byte-level BPE, with these merges."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

    tokenizer = Tokenizer(models.BPE(vocab, merges, ignore_merges=True))
    split = pre_tokenizers.Split(Regex(PATTERN), "isolated")
    level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, level])
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def write(data: Path, tokens: list, merges: list) -> None:
    """DATA/tokenizer from the tokens and merges that a GGUF file has."""
    ordinary = tokens[: VOCAB - len(SPECIALS)]
    tokenizer = empty({t: i for i, t in enumerate(ordinary)}, [tuple(m.split(" ")) for m in merges])
    tokenizer.add_special_tokens(SPECIALS)
    assert [tokenizer.id_to_token(i) for i in range(VOCAB)] == tokens
    save(data, tokenizer)


def save(data: Path, tokenizer) -> None:
    from tokenizers import processors

    bos = SPECIALS[0]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{bos} $A", special_tokens=[(bos, tokenizer.token_to_id(bos))]
    )
    out = data / "tokenizer"
    out.mkdir(exist_ok=True)
    tokenizer.save(str(out / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": bos,
        "eos_token": "<|eot|>",
        "pad_token": "<|finetune_right_pad|>",
        "clean_up_tokenization_spaces": False,
        "model_input_names": ["input_ids", "attention_mask"],
        "chat_template": CHAT_TEMPLATE,
    }
    (out / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")


class Prompt:
    """Turns samples into tokens, each piece of text by itself, as Meta's `ChatFormat` does."""

    def __init__(self, data: Path, file: str = "tokenizer/tokenizer.json"):
        from tokenizers import Tokenizer

        self.tokenizer = Tokenizer.from_file(str(data / file))
        self.id = {name: self.tokenizer.token_to_id(name) for name in SPECIALS}
        self.patch = self.id["<|patch|>"]
        # Text never spells a special token.
        self.tokenizer.encode_special_tokens = True
        self.cache: dict = {}

    def text(self, text: str) -> list:
        if len(text) > 60:
            return self.tokenizer.encode(text, add_special_tokens=False).ids
        if text not in self.cache:
            if len(self.cache) > 50000:
                self.cache.clear()
            self.cache[text] = self.tokenizer.encode(text, add_special_tokens=False).ids
        return self.cache[text]

    def tokens(self, part) -> list:
        """Of a text, or of what is tokens already."""
        return part if isinstance(part, list) else self.text(part)

    def image(self, rows: int, cols: int) -> list:
        patches, out = [self.patch] * TILE_PATCHES, [self.id["<|image_start|>"]]
        if rows * cols > 1:
            for _ in range(rows):
                for col in range(cols):
                    out += patches
                    out.append(self.id["<|tile_x_separator|>" if col + 1 < cols else "<|tile_y_separator|>"])
        return [*out, self.id["<|image|>"], *patches, self.id["<|image_end|>"]]

    def header(self, role: str) -> list:
        return [self.id["<|header_start|>"], *self.text(role), self.id["<|header_end|>"], *self.text("\n\n")]

    def encode(self, sample: Sample, tiles, generation: bool = False):
        """(tokens, kinds, tiles): kind 2 marks tokens of answers, 1 those of plain text, 0 the rest.

        `tiles(image)` cuts an image: (rows, cols, list of pixel arrays). With `generation` the last answer is left out.
        """
        ids, kinds, pixels = [self.id["<|begin_of_text|>"]], [0], []

        def push(tokens, kind):
            ids.extend(tokens)
            kinds.extend([kind] * len(tokens))

        for text, answer in sample.spans:
            push(self.tokens(text), 0 if answer is None else 2 if answer else 1)
        turns = sample.turns[:-1] if generation else sample.turns
        for role, parts in turns:
            answer = 2 if role == "assistant" else 0
            push(self.header(role), 0)
            for part in parts:
                if isinstance(part, (str, list)):
                    # What is to be recalled stands in plain English, which is worth learning too.
                    push(self.tokens(part), answer or (1 if sample.skill == "recall" else 0))
                else:
                    rows, cols, cut = tiles(part)
                    pixels += cut
                    push(self.image(rows, cols), 0)
            push([self.id["<|eot|>"]], answer)
        if generation:
            push(self.header("assistant"), 0)
        return ids, kinds, pixels


if __name__ == "__main__":
    train(Path(sys.argv[1]))
