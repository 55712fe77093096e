"""Makes the vision goldens: a small seeded Llama 4 with a vision tower, run by Hugging Face transformers in f32.

    python tests/goldens/vision.py

needs torch, transformers (5.23 made what is committed), numpy and pillow. It writes vision/vision.json (the config.json,
tensors as arguments of the formula of models.py, images, cases, and what to expect) and vision/vision.bin (numbers,
little-endian f32, which the JSON points into).

Images are not stored. Channel c of pixel (x, y) of image number t, w pixels wide with C channels, is

    (x (7 + 4c) + y (5 + 6c) + (hash(1000003 t + (y w + x) C + c) & 63)) mod 256

Canvases are chosen by the functions of transformers' image processor, taken out of its file because importing it needs
torchvision. Images are composited and resized by Pillow, which Meta's preprocessing uses, and normalised in f32.
"""

import ast
import itertools
import json
import math
import pathlib
import sys
from collections import defaultdict

import numpy as np
import torch
import transformers
from models import dumps, hashed, tokens, weights
from PIL import Image
from transformers import Llama4Config, Llama4ForConditionalGeneration

HERE = pathlib.Path(__file__).parent / "vision"
IDS = {"start": 80, "end": 81, "tile_x": 84, "tile_y": 85, "image": 90, "patch": 92}
TILE, GREEDY = 56, 8

CONFIG = {
    "architectures": ["Llama4ForConditionalGeneration"], "model_type": "llama4", "boi_token_index": 80,
    "eoi_token_index": 81, "image_token_index": 92, "tie_word_embeddings": False,
    "text_config": {
        "model_type": "llama4_text", "hidden_act": "silu", "rms_norm_eps": 1e-5, "attention_bias": False,
        "vocab_size": 128, "hidden_size": 40, "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 2,
        "head_dim": 8, "intermediate_size": 32, "intermediate_size_mlp": 64, "num_local_experts": 4,
        "num_experts_per_tok": 1, "interleave_moe_layer_step": 2, "use_qk_norm": True, "no_rope_layers": [1, 1, 1, 0],
        "attention_chunk_size": 32, "attn_temperature_tuning": True, "floor_scale": 32, "attn_scale": 0.1,
        "max_position_embeddings": 1024, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0,
        "rope_parameters": {"rope_type": "default", "rope_theta": 500000.0},
    },
    "vision_config": {
        "model_type": "llama4_vision_model", "hidden_act": "gelu", "hidden_size": 48, "num_hidden_layers": 3,
        "num_attention_heads": 4, "num_channels": 3, "intermediate_size": 192, "vision_output_dim": 28,
        "image_size": TILE, "patch_size": 14, "norm_eps": 1e-5, "vision_feature_select_strategy": "default",
        "pixel_shuffle_ratio": 0.5, "projector_input_dim": 28, "projector_output_dim": 28,
        "multi_modal_projector_bias": False, "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
    },
}  # fmt: skip

# name: width, height, mode
IMAGES = {
    "one": (56, 56, "RGB"), "small": (20, 30, "RGB"), "fifteen": (320, 180, "RGB"), "twelve": (171, 128, "RGB"),
    "grey": (70, 40, "L"), "alpha": (60, 100, "RGBA"), "dot": (1, 1, "RGB"), "wide": (5000, 300, "RGB"),
    "tall": (50, 700, "RGB"),
}  # fmt: skip
# name: how many text tokens, an image, …
CASES = {
    "one": [5, "one", 6], "small": [1, "small", 9], "fifteen": [7, "fifteen", 8], "twelve": [3, "twelve", 5],
    "two": [4, "alpha", 11, "grey", 6], "wide": [2, "wide", 4], "many": [2, "dot", 1, "one", 0, "tall", 40],
}  # fmt: skip


def functions():
    """The pure functions of the image processor."""
    path = pathlib.Path(transformers.__file__).parent / "models/llama4/image_processing_llama4.py"
    names = ("get_factors", "get_max_res_without_distortion", "find_supported_resolutions", "get_best_fit")
    found = [f for f in ast.parse(path.read_text()).body if isinstance(f, ast.FunctionDef) and f.name in names]
    for f in found:
        f.decorator_list = []
    scope = {"torch": torch, "math": math, "defaultdict": defaultdict, "SizeDict": None}
    exec(compile(ast.Module(found, []), str(path), "exec"), scope)
    return [scope[name] for name in names[1:]]


def picture(t, w, h, mode):
    n = {"L": 1, "RGB": 3, "RGBA": 4}[mode]
    y, x, c = np.ogrid[:h, :w, :n]
    noise = (hashed(t, w * h * n) & 63).astype(np.int64).reshape(h, w, n)
    data = ((x * (7 + 4 * c) + y * (5 + 6 * c) + noise) % 256).astype(np.uint8)
    return Image.fromarray(data[:, :, 0] if n == 1 else data, mode)


def fnv(data):
    h = 0xCBF29CE484222325
    for b in data:
        h = ((h ^ b) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return f"{h:016x}"


class Side:
    height = width = TILE


def prepare(t, w, h, mode):
    """Normalised [n, 3, TILE, TILE], and what there is to know about it."""
    fit, supported, best = functions()
    image = picture(t, w, h, mode)
    if mode == "RGBA":
        image = Image.alpha_composite(Image.new("RGBA", image.size, (255,) * 4), image)
    image = image.convert("RGB")
    canvas = [int(v) for v in best((h, w), torch.tensor(supported(16, Side())))]
    limit = tuple(min(max(a, TILE), b) for a, b in zip((h, w), canvas))
    nh, nw = (max(v, 1) for v in fit((h, w), limit))
    resized = image.resize((nw, nh), Image.BILINEAR)
    padded = np.zeros((*canvas, 3), np.uint8)
    padded[:nh, :nw] = np.asarray(resized)
    rows, cols = canvas[0] // TILE, canvas[1] // TILE
    tiles = padded.reshape(rows, TILE, cols, TILE, 3).transpose(0, 2, 4, 1, 3).reshape(-1, 3, TILE, TILE)
    whole = image.resize((TILE, TILE), Image.BILINEAR)
    if rows * cols > 1:
        tiles = np.concatenate([tiles, np.asarray(whole).transpose(2, 0, 1)[None]])
    pixels = (torch.from_numpy(np.ascontiguousarray(tiles)).float() / 255 - 0.5) / 0.5
    flat = pixels.flatten().numpy()
    at = (hashed(t + 50, 40) % np.uint32(flat.size)).astype(int)
    about = {
        "t": t, "width": w, "height": h, "mode": mode, "rows": rows, "cols": cols, "resized": [nw, nh],
        "resized_fnv": fnv(resized.tobytes()), "whole_fnv": fnv(whole.tobytes()),
        "pixels_at": at.tolist(), "pixels": [float(flat[i]) for i in at],
    }  # fmt: skip
    return pixels, about


def layout(rows, cols):
    patches = (TILE // 28) ** 2
    ids, tile = [IDS["start"]], [IDS["patch"]] * patches
    if rows * cols > 1:
        for _ in range(rows):
            for col in range(cols):
                ids += tile + ([IDS["tile_x"]] if col + 1 < cols else [])
            ids.append(IDS["tile_y"])
    return ids + [IDS["image"]] + tile + [IDS["end"]]


class Numbers:
    def __init__(self):
        self.data, self.n = [], 0

    def put(self, x):
        x = np.ascontiguousarray(x, dtype="<f4")
        self.data.append(x)
        self.n += x.size
        return {"offset": self.n - x.size, "shape": list(x.shape)}


def specs(model):
    out = []
    for name, value in model.state_dict().items():
        shape, tower = list(value.shape), "language_model" not in name
        scale, offset = round(float(np.sqrt(3 / (shape[1] if len(shape) > 1 else 1))), 4), 0.0
        if name.endswith("bias") or "class_embedding" in name:
            scale = 0.1
        elif len(shape) == 1:
            scale, offset = 0.2, 1.0
        elif "embed_tokens" in name or "positional" in name:
            scale = 1.0
        elif "router" in name or "lm_head" in name:
            scale *= 2
        elif tower and "adapter" in name:
            scale *= 2
        out.append({"name": name, "shape": shape, "t": 8000 + len(out), "scale": scale, "offset": offset})
    return out


@torch.no_grad()
def main():
    config = json.loads(json.dumps(CONFIG))
    model = Llama4ForConditionalGeneration(Llama4Config(**config, attn_implementation="eager")).float().eval()
    tensors = specs(model)
    state = {s["name"]: torch.from_numpy(weights(s)) for s in tensors}
    model.load_state_dict(state)
    margin = [math.inf]
    parts = dict(model.named_modules())
    tower = next(name for name in parts if name.endswith("vision_model"))
    projector = next(name for name in parts if name.endswith("multi_modal_projector"))
    for name, part in parts.items():
        if name.endswith("feed_forward.router"):

            def routed(_m, _i, out):
                best = out[1].sort(dim=1, descending=True).values
                margin[0] = min(margin[0], float((best[:, 0] - best[:, 1]).min()))

            part.register_forward_hook(routed)

    numbers, images, pixels = Numbers(), {}, {}
    for t, (name, what) in enumerate(IMAGES.items(), 9000):
        pixels[name], images[name] = prepare(t, *what)
    cases = {}
    for name, parts_ in CASES.items():
        names = [p for p in parts_ if isinstance(p, str)]
        values = torch.cat([pixels[n] for n in names])
        for t in itertools.count(9100):
            text, at, ids = tokens(t, 200, 60).tolist(), 0, [1]
            for part in parts_:
                if isinstance(part, str):
                    ids += layout(images[part]["rows"], images[part]["cols"])
                else:
                    ids += [3 + v for v in text[at : at + part]]
                    at += part
            margin[0], more, close = math.inf, list(ids), math.inf
            logits = None
            for _ in range(GREEDY):
                out = model(input_ids=torch.tensor([more]), pixel_values=values, use_cache=False).logits[0]
                logits = out if logits is None else logits
                best = out[-1].topk(2)
                close = min(close, float(best.values[0] - best.values[1]))
                more.append(int(best.indices[0]))
                if more[-1] == IDS["patch"]:
                    close = 0.0
                    break
            if margin[0] > 2e-5 and close > 1e-3:
                break
        n = len(ids)
        shown = sorted({0, 1, n // 3, n // 2, 31, 32, 33, n - 2, n - 1} & set(range(n)))
        cases[name] = {
            "images": names, "ids": ids, "positions": shown, "logits": numbers.put(logits[shown]),
            "greedy": more[n:], "margin": {"routing": margin[0], "greedy": close},
        }  # fmt: skip
        print(name, n, cases[name]["margin"], float(logits.std()), file=sys.stderr)
    for name in IMAGES:
        vision = parts[tower](pixels[name]).last_hidden_state
        adapted, projected = vision.flatten(0, 1), parts[projector](vision.flatten(0, 1))
        images[name] |= {"adapted": numbers.put(adapted), "projected": numbers.put(projected)}
        print(name, images[name]["rows"], images[name]["cols"], float(adapted.std()), float(projected.std()), file=sys.stderr)
    HERE.mkdir(exist_ok=True)
    (HERE / "vision.bin").write_bytes(b"".join(part.tobytes() for part in numbers.data))
    what = {
        "made_by": f"transformers {transformers.__version__}, torch {torch.__version__}, pillow {Image.__version__}",
        "config": CONFIG, "ids": IDS, "tensors": tensors, "images": images, "cases": cases,
    }  # fmt: skip
    (HERE / "vision.json").write_text(dumps(what) + "\n")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
