"""Makes the model goldens: small seeded models run by Hugging Face transformers in f32 on the CPU.

    python tests/goldens/models.py [NAME ...]

needs torch, transformers (5.23 made what is committed), numpy and gguf. For each model it writes

- models/NAME.json: the config.json of the model, its tensors as arguments of a formula, and what to expect;
- models/NAME.bin: the expected numbers, little-endian f32, which NAME.json points into.

Weights are not stored. Element k of tensor number t (row-major, Hugging Face's shape) is

    f32((hash((1000003 t + k) mod 2^32) / 2^32 - 0.5) * 2 * scale + offset)          in f64 up to the last step

where hash is x ^= x >> 16; x *= 0x7feb352d; x ^= x >> 15; x *= 0x846ca68b; x ^= x >> 16 in 32 bits. Token i of prompt
number t is hash((1000003 t + i) mod 2^32) mod vocab. `puna-testkit` rebuilds both.

Each model is run as it comes (f32), and with its weights rounded the way a file would round them:

- bf16: every tensor, as in a bf16 folder;
- f16:  every matrix but the router; norms stay f32, as in a GGUF file;
- q8_0: the same matrices where a row is a whole number of blocks, quantised and read back by the gguf package.

The committed seeds keep every routing decision and every greedy choice clear of a tie (`margin` in the JSON), so
that rounding in the last bits cannot turn one.
"""

import json
import pathlib
import sys

import gguf
import numpy as np
import torch
import transformers
from transformers import DynamicCache, Llama4ForCausalLM, Llama4TextConfig, LlamaConfig, LlamaForCausalLM

HERE = pathlib.Path(__file__).parent / "models"
GREEDY = 40


def hashed(t, n):
    x = ((np.uint64(t) * np.uint64(1000003) + np.arange(n, dtype=np.uint64)) & np.uint64(0xFFFFFFFF)).astype(np.uint32)
    x ^= x >> 16
    x *= np.uint32(0x7FEB352D)
    x ^= x >> 15
    x *= np.uint32(0x846CA68B)
    x ^= x >> 16
    return x


def weights(spec):
    n = int(np.prod(spec["shape"]))
    x = (hashed(spec["t"], n).astype(np.float64) / 2**32 - 0.5) * 2 * spec["scale"] + spec["offset"]
    return x.astype(np.float32).reshape(spec["shape"])


def tokens(t, n, vocab):
    return (hashed(t, n) % np.uint32(vocab)).astype(np.int64)


# --- the models -------------------------------------------------------------------------------------------------

SCALED_16 = {"rope_type": "llama3", "factor": 16.0, "low_freq_factor": 1.0, "high_freq_factor": 1.0}
SCALED_8 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
LLAMA4 = {
    "architectures": ["Llama4ForCausalLM"], "model_type": "llama4_text", "hidden_act": "silu", "rms_norm_eps": 1e-5,
    "attention_bias": False, "tie_word_embeddings": False, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip


def models():
    # Scout: every layer has experts, QK-norm, scaled RoPE. Flat file, new style of RoPE keys.
    scout = LLAMA4 | {
        "vocab_size": 128, "hidden_size": 64, "num_hidden_layers": 5, "num_attention_heads": 4, "num_key_value_heads": 2,
        "head_dim": 16, "intermediate_size": 96, "intermediate_size_mlp": 128, "num_local_experts": 4,
        "num_experts_per_tok": 1, "interleave_moe_layer_step": 1, "use_qk_norm": True, "no_rope_layers": [1, 1, 1, 0, 1],
        "attention_chunk_size": 32, "attn_temperature_tuning": True, "floor_scale": 32, "attn_scale": 0.1,
        "max_position_embeddings": 1024,
        "rope_parameters": SCALED_16 | {"rope_theta": 500000.0, "original_max_position_embeddings": 64},
    }  # fmt: skip
    # Maverick: experts in every second layer, no QK-norm, plain RoPE. Multimodal nesting, the older keys.
    maverick = LLAMA4 | {
        "vocab_size": 128, "hidden_size": 64, "num_hidden_layers": 6, "num_attention_heads": 8, "num_key_value_heads": 2,
        "head_dim": 8, "intermediate_size": 64, "intermediate_size_mlp": 128, "num_local_experts": 8,
        "num_experts_per_tok": 1, "interleave_moe_layer_step": 2, "use_qk_norm": False, "no_rope_layers": [],
        "attention_chunk_size": 32, "attn_temperature_tuning": 4, "floor_scale": 32, "attn_scale": 0.1,
        "max_position_embeddings": 1024, "rope_theta": 500000.0, "rope_scaling": None,
    }  # fmt: skip
    # Llama Guard 4: dense, RoPE everywhere, no chunks.
    dense = LLAMA4 | {
        "vocab_size": 128, "hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2,
        "head_dim": 32, "intermediate_size": 64, "intermediate_size_mlp": 160, "num_local_experts": 0,
        "num_experts_per_tok": 0, "interleave_moe_layer_step": 0, "moe_layers": [], "use_qk_norm": True,
        "no_rope_layers": [1, 1, 1], "attention_chunk_size": None, "attn_temperature_tuning": False, "floor_scale": 8192,
        "attn_scale": 0.1, "max_position_embeddings": 1024, "rope_theta": 500000.0,
        "rope_scaling": SCALED_16 | {"original_max_position_embeddings": 64},
    }  # fmt: skip
    # Nothing is a round number, and two experts a token.
    odd = LLAMA4 | {
        "vocab_size": 97, "hidden_size": 40, "num_hidden_layers": 4, "num_attention_heads": 3, "num_key_value_heads": 1,
        "head_dim": 12, "intermediate_size": 36, "intermediate_size_mlp": 52, "num_local_experts": 5,
        "num_experts_per_tok": 2, "interleave_moe_layer_step": 1, "moe_layers": [1, 2], "use_qk_norm": True,
        "no_rope_layers": [1, 0, 1, 0], "attention_chunk_size": 7, "attn_temperature_tuning": True, "floor_scale": 5,
        "attn_scale": 0.3, "rms_norm_eps": 1e-4, "max_position_embeddings": 1024,
        "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
    }  # fmt: skip
    # One matrix for embedding and head, and the RoPE scaling of the first Scout files.
    tied = LLAMA4 | {
        "vocab_size": 96, "hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 4,
        "head_dim": 16, "intermediate_size": 32, "intermediate_size_mlp": 64, "num_local_experts": 2,
        "num_experts_per_tok": 1, "interleave_moe_layer_step": 1, "use_qk_norm": True, "no_rope_layers": None,
        "attention_chunk_size": 48, "attn_temperature_tuning": True, "floor_scale": 16, "attn_scale": 0.1,
        "tie_word_embeddings": True, "max_position_embeddings": 1024, "rope_theta": 500000.0,
        "rope_scaling": SCALED_8 | {"original_max_position_embeddings": 64},
    }  # fmt: skip
    # The dense Llama family: half-split RoPE in this file, consecutive pairs (permuted rows) in GGUF.
    llama3 = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu", "rms_norm_eps": 1e-5,
        "attention_bias": False, "mlp_bias": False, "tie_word_embeddings": False, "bos_token_id": 1, "eos_token_id": 2,
        "vocab_size": 128, "hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2,
        "head_dim": 16, "intermediate_size": 96, "max_position_embeddings": 1024, "rope_theta": 500000.0,
        "rope_scaling": SCALED_8 | {"original_max_position_embeddings": 64},
    }  # fmt: skip
    # The real constants, over two chunk boundaries.
    long = scout | {
        "vocab_size": 64, "hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 2, "num_key_value_heads": 1,
        "head_dim": 16, "intermediate_size": 32, "intermediate_size_mlp": 32, "num_local_experts": 2,
        "interleave_moe_layer_step": 2, "no_rope_layers": [1, 1, 1, 0], "attention_chunk_size": 8192, "floor_scale": 8192,
        "max_position_embeddings": 10485760,
        "rope_parameters": SCALED_16 | {"rope_theta": 500000.0, "original_max_position_embeddings": 8192},
    }  # fmt: skip
    nested = {"architectures": ["Llama4ForConditionalGeneration"], "model_type": "llama4", "text_config": maverick}
    around = [0, 1, 30, 31, 32, 33, 63, 64, 65, 95, 96, 99]
    far = [0, 5000, 8190, 8191, 8192, 8193, 16382, 16383, 16384, 16385, 19998, 19999]
    every = ("f32", "bf16", "f16", "q8_0")
    # name, config, first tensor number, prompt number and length, positions looked at, variants
    yield "scout", scout, 1000, (1, 100), around, every
    yield "maverick", nested, 2000, (12, 100), around, every
    yield "dense", dense, 3000, (3, 100), around, every
    yield "odd", odd, 4000, (24, 60), [0, 4, 5, 6, 7, 8, 13, 14, 27, 28, 55, 56, 59], ("f32", "bf16", "f16")
    yield "tied", tied, 5000, (5, 100), [0, 15, 16, 47, 48, 49, 95, 96, 99], every
    yield "llama3", llama3, 6000, (6, 100), [0, 1, 50, 99], every
    yield "long", long, 7000, (7, 20000), far, ("f32",)


def text_config(config):
    """The configuration as this version of transformers takes it."""
    c = dict(config.get("text_config", config))
    scaling, theta = c.pop("rope_scaling", None), c.pop("rope_theta", None)
    if "rope_parameters" not in c:
        c["rope_parameters"] = (scaling or {"rope_type": "default"}) | {"rope_theta": theta}
    c.pop("architectures")
    if c.pop("model_type") == "llama":
        return LlamaConfig(**c, attn_implementation="eager")
    c["attn_temperature_tuning"] = bool(c["attn_temperature_tuning"])
    if c["attention_chunk_size"] is None:
        c["attention_chunk_size"] = 1 << 20  # this version cannot build its masks without one
    return Llama4TextConfig(**c, attn_implementation="eager")


def tensor_specs(model, first, prefix):
    """A tensor number, a scale and an offset for every weight of `model`; the file's names."""
    specs = []
    for name, value in model.state_dict().items():
        if name == "lm_head.weight" and model.config.tie_word_embeddings:
            continue
        shape = list(value.shape)
        fan_in = shape[1] if len(shape) > 1 else 1
        scale, offset = round(float(np.sqrt(3 / fan_in)), 4), 0.0
        if len(shape) == 1:
            scale, offset = 0.2, 1.0
        elif "embed_tokens" in name:
            scale = 0.5 if model.config.tie_word_embeddings else 1.0
        elif "router" in name or "lm_head" in name:
            scale *= 2
        specs.append({"name": prefix + name, "shape": shape, "t": first + len(specs), "scale": scale, "offset": offset})
    return specs


# --- rounding ---------------------------------------------------------------------------------------------------


def rounded(x, name, variant):
    kept = x.ndim == 1 or name.endswith("router.weight")
    if variant == "f32" or (kept and variant != "bf16"):
        return x
    if variant == "bf16":
        return torch.from_numpy(x).bfloat16().float().numpy()
    if variant == "f16":
        return x.astype(np.float16).astype(np.float32)
    rows = x.swapaxes(1, 2) if x.ndim == 3 else x  # a GGUF file holds experts as [out, in]
    if rows.shape[-1] % 32 == 0:
        q8 = gguf.GGMLQuantizationType.Q8_0
        rows = gguf.quants.dequantize(gguf.quants.quantize(np.ascontiguousarray(rows), q8), q8)
    return np.ascontiguousarray(rows.swapaxes(1, 2) if x.ndim == 3 else rows)


# --- running ----------------------------------------------------------------------------------------------------


class Watch:
    """Keeps what each layer puts out, and how clear each routing decision was."""

    def __init__(self, model, top_k):
        self.hidden, self.margin = [], float("inf")
        for layer in model.model.layers:
            layer.register_forward_hook(lambda _m, _i, out: self.hidden.append(out[0]))
            if hasattr(layer, "feed_forward") and hasattr(layer.feed_forward, "router"):
                layer.feed_forward.router.register_forward_hook(lambda _m, _i, out: self.routed(out[1], top_k))

    def routed(self, logits, top_k):
        if logits.shape[1] > top_k:
            best = logits.sort(dim=1, descending=True).values
            self.margin = min(self.margin, float((best[:, top_k - 1] - best[:, top_k]).min()))

    def take(self):
        taken, self.hidden = torch.stack(self.hidden), []
        return taken


@torch.no_grad()
def run(model, watch, ids, piece=None):
    """Logits [n, vocab] and hidden states [layers, n, hidden]; in pieces over a cache if the prompt is long."""
    ids = torch.as_tensor(ids)[None]
    if piece is None:
        return model(ids, use_cache=False).logits[0], watch.take()
    # A cache without a config keeps every position in every layer: the masks alone say what is seen.
    cache, logits, hidden = DynamicCache(), [], []
    for start in range(0, ids.shape[1], piece):
        logits.append(model(ids[:, start : start + piece], past_key_values=cache, use_cache=True).logits[0])
        hidden.append(watch.take())
    return torch.cat(logits), torch.cat(hidden, dim=1)


def generate(model, watch, ids):
    ids, margin = list(ids), float("inf")
    for _ in range(GREEDY):
        best = run(model, watch, ids)[0][-1].topk(2)
        margin = min(margin, float(best.values[0] - best.values[1]))
        ids.append(int(best.indices[0]))
    return ids[-GREEDY:], margin


class Numbers:
    """The .bin file: arrays one after the other."""

    def __init__(self):
        self.data = []

    def put(self, x):
        x = np.ascontiguousarray(x, dtype="<f4")
        at = sum(part.size for part in self.data)
        self.data.append(x)
        return {"offset": at, "shape": list(x.shape)}


def make(name, config, first, prompt, positions, variants):
    prefix = "language_model." if "text_config" in config else ""
    hf = text_config(config)
    model = (LlamaForCausalLM if isinstance(hf, LlamaConfig) else Llama4ForCausalLM)(hf).float().eval()
    specs = tensor_specs(model, first, prefix)
    watch = Watch(model, getattr(hf, "num_experts_per_tok", 0))
    ids = tokens(*prompt, hf.vocab_size)
    long = len(ids) > 1000
    numbers, expected = Numbers(), {}
    for variant in variants:
        state = {s["name"].removeprefix(prefix): rounded(weights(s), s["name"], variant) for s in specs}
        missing, extra = model.load_state_dict({k: torch.from_numpy(v) for k, v in state.items()}, strict=False)
        assert not extra and missing in ([], ["lm_head.weight"]), (missing, extra)
        model.tie_weights()
        watch.margin = float("inf")
        logits, hidden = run(model, watch, ids, 500 if long else None)
        assert torch.isfinite(logits).all()
        if not long:
            again = run(model, watch, ids, 9)
            assert (again[0] - logits).abs().max() < 2e-5 and (again[1] - hidden).abs().max() < 2e-5
        shown = positions if long or variant != "f32" else list(range(len(ids)))
        want = {
            "positions": shown,
            "logits": numbers.put(logits[shown]),
            "hidden_positions": positions,
            "hidden": numbers.put(hidden[:, positions]),
        }
        greedy_margin = float("inf")
        if not long:
            want["greedy"], greedy_margin = generate(model, watch, ids)
        want["margin"] = {"routing": watch.margin, "greedy": greedy_margin}
        want["margin"] = {k: round(v, 6) for k, v in want["margin"].items() if v != float("inf")}
        expected[variant] = want
        spread = f"logits within {float(logits.abs().max()):.2f}, std {float(logits.std()):.2f}"
        print(f"{name} {variant}: margin {want['margin']}, {spread}", file=sys.stderr)
        assert min(want["margin"].values(), default=1) > (1e-5 if long else 2e-4), "choose another prompt number"
    HERE.mkdir(exist_ok=True)
    (HERE / f"{name}.bin").write_bytes(b"".join(part.tobytes() for part in numbers.data))
    what = {
        "made_by": f"transformers {transformers.__version__}, torch {torch.__version__}, f32, eager attention",
        "config": config,
        "prompt": {"t": prompt[0], "n": prompt[1], "first": ids[:8].tolist()},
        "tensors": specs,
        "expected": expected,
    }
    (HERE / f"{name}.json").write_text(dumps(what) + "\n")


def dumps(value, depth=0):
    """JSON with one line for each thing that holds no other objects."""
    flat = json.dumps(value)
    if not isinstance(value, (dict, list)) or len(flat) <= 110 or (isinstance(value, list) and "{" not in flat):
        return flat
    pad, end = "  " * (depth + 1), "\n" + "  " * depth
    if isinstance(value, list):
        return "[\n" + ",\n".join(pad + dumps(v, depth + 1) for v in value) + end + "]"
    return "{\n" + ",\n".join(f"{pad}{json.dumps(k)}: {dumps(v, depth + 1)}" for k, v in value.items()) + end + "}"


if __name__ == "__main__":
    torch.manual_seed(0)
    torch.set_num_threads(1)
    for spec in models():
        if not sys.argv[1:] or spec[0] in sys.argv[1:]:
            make(*spec)
