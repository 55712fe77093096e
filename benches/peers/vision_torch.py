"""The vision tower beside PyTorch: the same tower, the same weights, in turns on one machine.

    cargo bench -p puna-benches --bench vision --no-run
    python benches/peers/vision_torch.py PATH_OF_THE_BENCH [--layers 34] [--tiles 1] [--threads 1,2] [--rounds 5]
        [--weights bf16,q8_0] [--torch float32,bfloat16]

needs torch, transformers (2.15 and 5.23 were measured) and numpy. PyTorch runs transformers' Llama4VisionModel and
projector with scaled_dot_product_attention under inference_mode. Weights are rounded to BF16 for both; puna reads them
as BF16 (or Q8_0), PyTorch as float32 holds the same values in F32. Each round encodes with one after the other; printed
are medians of seconds and of processor seconds of all threads (which busy neighbours disturb less), the median and the
range of the rounds' ratios (above 1: puna is faster), and how far the features are apart, relative to their root mean
square.
"""

import argparse
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np
import torch
from transformers import Llama4Config
from transformers.models.llama4.modeling_llama4 import Llama4MultiModalProjector, Llama4VisionModel


def hashed(t, n):
    x = ((np.uint64(t) * np.uint64(1000003) + np.arange(n, dtype=np.uint64)) & np.uint64(0xFFFFFFFF)).astype(np.uint32)
    x ^= x >> 16
    x *= np.uint32(0x7FEB352D)
    x ^= x >> 15
    x *= np.uint32(0x846CA68B)
    x ^= x >> 16
    return x


def values(t, shape, scale, offset=0.0):
    x = (hashed(t, int(np.prod(shape))).astype(np.float64) / 2**32 - 0.5) * 2 * scale + offset
    return torch.from_numpy(x.astype(np.float32).reshape(shape))


class Tower(torch.nn.Module):
    """Model and projector, with the weights of `benches/vision/tower.rs`."""

    def __init__(self, layers):
        super().__init__()
        config = Llama4Config(
            vision_config={
                "hidden_size": 1408, "num_hidden_layers": layers, "num_attention_heads": 16, "intermediate_size": 5632,
                "image_size": 336, "patch_size": 14, "norm_eps": 1e-5, "vision_output_dim": 4096,
                "projector_input_dim": 4096, "projector_output_dim": 4096, "pixel_shuffle_ratio": 0.5,
                "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0}, "hidden_act": "gelu",
            },
            text_config={"hidden_size": 5120},
        )  # fmt: skip
        config._attn_implementation = "sdpa"
        config.vision_config._attn_implementation = "sdpa"
        self.vision_model = Llama4VisionModel(config.vision_config)
        self.multi_modal_projector = Llama4MultiModalProjector(config)
        state, tensors = self.state_dict(), {}
        layer = "vision_model.model.layers.{}."
        matrices = ["vision_model.patch_embedding.linear"]
        matrices += [f"{layer}self_attn.{n}_proj" for n in "qkvo"] + [layer + "mlp.fc1", layer + "mlp.fc2"]
        matrices += ["vision_model.vision_adapter.mlp.fc1", "vision_model.vision_adapter.mlp.fc2"]
        matrices += ["multi_modal_projector.linear_1"]
        for t, name in enumerate(matrices, 1):
            shape = state[f"{name}.weight".replace("{}", "0")].shape
            tensors[f"{name}.weight"] = values(t, shape, 1.5 / shape[1] ** 0.5).bfloat16().float()
        vectors = [("vision_model.class_embedding", 0.5, 0.0), ("vision_model.positional_embedding_vlm", 0.5, 0.0)]
        vectors += [(f"{layer}self_attn.{n}_proj.bias", 0.1, 0.0) for n in "qkvo"]
        vectors += [(layer + "mlp.fc1.bias", 0.1, 0.0), (layer + "mlp.fc2.bias", 0.1, 0.0)]
        for norm in ("layernorm_pre", "layernorm_post", "model.layers.{}.input_layernorm",
                     "model.layers.{}.post_attention_layernorm"):  # fmt: skip
            vectors += [(f"vision_model.{norm}.weight", 0.2, 1.0), (f"vision_model.{norm}.bias", 0.1, 0.0)]
        for t, (name, scale, offset) in enumerate(vectors, 101):
            tensors[name] = values(t, state[name.replace("{}", "0")].shape, scale, offset)
        copies = {name.replace("{}", str(i)): v for name, v in tensors.items() for i in range(layers)}
        self.load_state_dict({name: v.clone() for name, v in copies.items()})
        self.eval()

    def forward(self, pixels):
        return self.multi_modal_projector(self.vision_model(pixels).last_hidden_state)


class Puna:
    def __init__(self, path, weights, layers, features):
        args = [path, "--layers", str(layers), "--features", features, "--serve", weights]
        self.process = subprocess.Popen(args, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if self.process.stdout.readline().strip() != "ready":
            sys.exit("the bench did not start")

    def encode(self, threads, tiles):
        self.process.stdin.write(f"{threads} {tiles}\n")
        self.process.stdin.flush()
        return tuple(map(float, self.process.stdout.readline().split()))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("bench")
    parser.add_argument("--layers", type=int, default=34)
    parser.add_argument("--rounds", type=int, default=5)
    for name, default in (("tiles", "1"), ("threads", "1,2"), ("weights", "bf16,q8_0"), ("torch", "float32")):
        parser.add_argument(f"--{name}", type=lambda s: s.split(","), default=default.split(","))
    args = parser.parse_args()

    print(f"torch {torch.__version__}, {args.layers} layers", flush=True)
    towers = {}
    for name in args.torch:
        tower = Tower(args.layers)
        towers[name] = tower if name == "float32" else tower.to(getattr(torch, name))
    punas, files = {}, pathlib.Path(tempfile.mkdtemp())
    for weights in args.weights:
        punas[weights] = Puna(args.bench, weights, args.layers, str(files / weights))

    def run(name, threads, pixels):
        torch.set_num_threads(threads)
        pixels = pixels.to(getattr(torch, name))
        with torch.inference_mode():
            start, used = time.perf_counter(), time.process_time()
            out = towers[name](pixels)
            return (time.perf_counter() - start, time.process_time() - used), out

    first = True
    for threads in map(int, args.threads):
        for tiles in map(int, args.tiles):
            pixels = values(1000, (tiles, 3, 336, 336), 1.0)
            features = {name: run(name, threads, pixels)[1] for name in towers}
            for puna in punas.values():
                puna.encode(threads, tiles)
            times = {name: [] for name in [*towers, *punas]}
            for _ in range(args.rounds):
                for name in towers:
                    times[name].append(run(name, threads, pixels)[0])
                for name, puna in punas.items():
                    times[name].append(puna.encode(threads, tiles))
            if first:
                first = False
                for weights in punas:
                    ours = torch.from_numpy(np.fromfile(files / weights, dtype="<f4")).reshape(features["float32"].shape)
                    for name, theirs in features.items():
                        off = (ours - theirs.float()).square().mean().sqrt() / theirs.float().square().mean().sqrt()
                        print(f"features: puna {weights} and torch {name} are {off.item():.2e} apart")
            for name, rounds in times.items():
                wall, cpu = (statistics.median(r[i] for r in rounds) for i in (0, 1))
                print(f"{threads} threads, {tiles} tiles: {name:>9} {wall:8.3f} s, {cpu:8.3f} processor s")
                for other in towers if name in punas else ():
                    for i, kind in enumerate(("seconds", "processor seconds")):
                        r = sorted(a[i] / b[i] for a, b in zip(times[other], rounds))
                        line = f"    torch {other} / puna {name}, {kind}: {statistics.median(r):.2f}"
                        print(f"{line} ({r[0]:.2f} to {r[-1]:.2f})", flush=True)


if __name__ == "__main__":
    main()
