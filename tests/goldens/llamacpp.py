"""Records what llama.cpp makes of SmolLM2-135M-Instruct (Q4_1): perplexity over a text, and greedy tokens.

    python tests/goldens/llamacpp.py [perplexity] [greedy] [exact]

needs llama-cpp-python and numpy, and what `cargo xtask models` fetches. Writes llamacpp.json, or those parts of it.

Greedy tokens are recorded twice. With the file as it is, llama.cpp rounds activations to 8 bits, which moves the logits
of this model by up to 1.3 (by 0.2 in the mean): where two tokens are nearly equal, that decides. With the same weights
written as F32 nothing is rounded, and the tokens must be the same everywhere.

The windows are those of llama.cpp's own perplexity program: consecutive pieces of 512 tokens, BOS in the place of the
first where the file adds one, every token of the second half scored after all that precede it, the last partial
window left out. Threads do not matter; keys and values are F16, activations are quantised to 8 bits, as is its habit.
"""

import ctypes
import json
import math
import pathlib
import re
import sys
import tempfile

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
ASK = (
    "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
    "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"
)
PROMPTS = [
    "1, 2, 3, 4, 5, 6, 7,",
    "The alphabet: a, b, c, d, e,",
    ASK.format("What is 2 + 2?"),
    ASK.format("Who wrote Hamlet?"),
    "Once upon a time, in a small village by the sea, there lived",
]


def beginning(text):
    """The first lines that hold at least BYTES bytes."""
    end = text.index(b"\n", BYTES - 1) + 1
    return text[:end]


def open_model(path, logits_all=False, kv=llama_cpp.GGML_TYPE_F16):
    return llama_cpp.Llama(
        str(path), n_ctx=CTX, n_batch=CTX, logits_all=logits_all, type_k=kv, type_v=kv, verbose=False, n_threads=2
    )


def perplexity():
    model = open_model(MODEL, logits_all=True)
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


def greedy(model, prompts):
    runs = []
    for prompt in prompts:
        tokens = model.tokenize(prompt.encode(), add_bos=True, special=True)
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


def exact():
    """The same weights as F32, for which nothing is rounded on the way."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "f32.gguf"
        params = llama_cpp.llama_model_quantize_default_params()
        params.ftype, params.allow_requantize, params.pure = llama_cpp.LLAMA_FTYPE_ALL_F32, True, True
        assert llama_cpp.llama_model_quantize(str(MODEL).encode(), str(path).encode(), ctypes.byref(params)) == 0
        # F32 arithmetic is slow, so not all of them.
        return greedy(open_model(path, kv=llama_cpp.GGML_TYPE_F32), PROMPTS[2:])


SECTIONS = {"perplexity": perplexity, "greedy": lambda: greedy(open_model(MODEL), PROMPTS), "exact": exact}


def main():
    path = HERE / "llamacpp.json"
    result = json.loads(path.read_text()) if path.exists() else {}
    result |= {"made_by": f"llama-cpp-python {llama_cpp.__version__}", "model": MODEL.name}
    for name in sys.argv[1:] or SECTIONS:
        result[name] = SECTIONS[name]()
    text = json.dumps(result, indent=1)
    # Lists of numbers in one line.
    text = re.sub(r"\[[-\d.,\s]+\]", lambda m: " ".join(m[0].split()).replace("[ ", "[").replace(" ]", "]"), text)
    path.write_text(text + "\n")


if __name__ == "__main__":
    main()
