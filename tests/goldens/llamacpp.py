"""Records what llama.cpp makes of SmolLM2-135M-Instruct (Q4_1): perplexity over a text, and greedy tokens.

    python tests/goldens/llamacpp.py

needs llama-cpp-python and numpy, and what `cargo xtask models` fetches. Writes llamacpp.json.

The windows are those of llama.cpp's own perplexity program: consecutive pieces of 512 tokens, BOS in the place of the
first where the file adds one, every token of the second half scored after all that precede it, the last partial
window left out. Threads do not matter; keys and values are F16, activations are quantised to 8 bits, as is its habit.
"""

import json
import math
import pathlib

import llama_cpp
import numpy as np

HERE = pathlib.Path(__file__).parent
MODELS = HERE / "../../target/models"
MODEL = MODELS / "smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
TEXT = MODELS / "text/genesis.txt"
# Whole lines of the text, at least this much of it.
BYTES = 100_000
CTX = 512
GREEDY = 64
PROMPTS = [
    "The capital of France is",
    "Once upon a time, in a small village by the sea, there lived",
    "def fibonacci(n):\n",
]


def beginning(text):
    """The first lines that hold at least BYTES bytes."""
    end = text.index(b"\n", BYTES - 1) + 1
    return text[:end]


def open_model(logits_all):
    return llama_cpp.Llama(
        str(MODEL), n_ctx=CTX, n_batch=CTX, logits_all=logits_all, verbose=False, n_threads=2, seed=1
    )


def perplexity():
    model = open_model(True)
    text = beginning(TEXT.read_bytes())
    tokens = model.tokenize(text, add_bos=True, special=False)
    add_bos = llama_cpp.llama_vocab_get_add_bos(model._model.vocab)
    scores = []
    for start in range(0, len(tokens) - CTX + 1, CTX):
        window = tokens[start : start + CTX]
        model.reset()
        model.eval(([model.token_bos()] if add_bos else window[:1]) + window[1:])
        rows = model.scores[CTX // 2 : CTX - 1].astype(np.float64)
        most = rows.max(axis=1)
        total = most + np.log(np.exp(rows - most[:, None]).sum(axis=1))
        scores.append(total - rows[np.arange(len(rows)), window[CTX // 2 + 1 :]])
    scores = np.concatenate(scores)
    mean, square = scores.mean(), (scores**2).mean()
    value = math.exp(mean)
    return {
        "bytes": len(text),
        "ctx": CTX,
        "windows": len(tokens) // CTX,
        "tokens": len(scores),
        "text_tokens": len(tokens),
        "perplexity": round(value, 6),
        "stderr": round(value * math.sqrt((square - mean * mean) / (len(scores) - 1)), 6),
    }


def greedy():
    model = open_model(False)
    runs = []
    for prompt in PROMPTS:
        tokens = model.tokenize(prompt.encode(), add_bos=True, special=False)
        model.reset()
        model.eval(tokens)
        made, margins = [], []
        while len(made) < GREEDY:
            logits = np.ctypeslib.as_array(model._ctx.get_logits(), (model.n_vocab(),))
            best = int(logits.argmax())
            margins.append(round(float(logits[best] - np.partition(logits, -2)[-2]), 4))
            made.append(best)
            model.eval([best])
        runs.append({"prompt": prompt, "tokens": tokens, "greedy": made, "margins": margins})
    return runs


def main():
    result = {
        "made_by": f"llama-cpp-python {llama_cpp.__version__}",
        "model": MODEL.name,
        "perplexity": perplexity(),
        "greedy": greedy(),
    }
    (HERE / "llamacpp.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
