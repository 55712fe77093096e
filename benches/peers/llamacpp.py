"""A model file beside llama.cpp and candle: the same file, the same tokens, in turns on one machine.

    CMAKE_ARGS="-DGGML_NATIVE=ON -DGGML_BLAS=OFF" pip install --no-binary llama-cpp-python llama-cpp-python
    cargo build --release -p puna-cli && cargo build --release -p puna-cpu --example roofline
    cargo xtask synth --like scout --layers 4 --type q4_k_m --out scout4.gguf
    python benches/peers/llamacpp.py scout4.gguf [--threads 1,2] [--shapes 512:64,2048:128] [--rounds 5]
        [--peers repacked,stored,ik-repacked,ik-stored|none] [--candle PROGRAM] [--json OUT.json]

needs llama-cpp-python (0.3.36 was measured) built for this machine, and numpy; with `--peers none` only Python. llama.cpp
is measured twice: as it is by default, with weights repacked while they are loaded, and as stored. So can ik_llama.cpp be,
from ik-llama-cpp-python (0.1.5 was measured; what is built beforehand uses AVX2 and nothing wider). A round runs every engine once, one after the other,
with PROMPT:DECODE tokens: both compute logits of the prompt's last token only, cache keys and values in F16, and take 512
tokens at once. llama.cpp is warm and decodes given tokens; `puna bench` opens the file anew, runs once to be warm and
chooses its own. Each round begins with what the machine allows to as many threads (`--example roofline`, read by the
clock): decode is held against the bytes of weights that a token reads at the speed of memory, and prefill against the
multiply-adds of a prompt at the speed of the widest products of bytes, or of BF16 pairs where the file is BF16. Nothing
else may run: llama.cpp's threads spin while they wait for each other, and one busy neighbour stops them all.

candle has no Llama 4; a dense Llama model in GGUF it reads: `--candle` names the program of `benches/peers/candle`, built by

    RUSTFLAGS="-C target-cpu=native" cargo build --release --manifest-path benches/peers/candle/Cargo.toml

Printed are medians over the rounds with least and most, the share of the limit, and for each peer the median and range
of the rounds' ratios (above 1: puna is faster).
"""

import argparse
import json
import math
import os
import pathlib
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
PEERS = {
    "repacked": "llama.cpp repacked",
    "stored": "llama.cpp stored",
    "ik-repacked": "ik_llama.cpp repacked",
    "ik-stored": "ik_llama.cpp stored",
}


def tokens(n, vocab):
    """The prompt of `puna bench`."""
    return [((i * 2654435761 & 0xFFFFFFFFFFFFFFFF) >> 7) % vocab for i in range(1, n + 1)]


def llama_cpp(path, repacked, context):
    """How llama.cpp takes in tokens, and forgets them."""
    import llama_cpp as lib

    @lib.llama_log_callback
    def silent(level, text, data):
        pass

    lib.llama_log_set(silent, None)
    lib.llama_backend_init()
    params = lib.llama_model_default_params()
    params.use_extra_bufts = repacked
    model = lib.llama_model_load_from_file(path.encode(), params)
    if not model:
        sys.exit("llama.cpp did not load the file")
    params = lib.llama_context_default_params()
    params.n_ctx, params.n_batch, params.n_ubatch = context, context, 512
    made = lib.llama_init_from_model(model, params)
    if not made:
        sys.exit("llama.cpp made no context")

    def feed(ids):
        array = (lib.llama_token * len(ids))(*ids)
        if lib.llama_decode(made, lib.llama_batch_get_one(array, len(ids))) != 0:
            sys.exit("llama.cpp did not decode")
        lib.llama_synchronize(made)

    def begin(threads):
        lib.llama_set_n_threads(made, threads, threads)
        lib.llama_memory_clear(lib.llama_get_memory(made), True)

    return lib.llama_vocab_n_tokens(lib.llama_model_get_vocab(model)), begin, feed, silent


def ik_llama_cpp(path, repacked, context):
    """The same of ik_llama.cpp, whose interface is an older one."""
    import ctypes
    import ik_llama_cpp._ctypes_api as lib

    native = lib._lib
    native.llama_set_n_threads.argtypes = [ctypes.c_void_p, ctypes.c_uint32, ctypes.c_uint32]
    native.llama_synchronize.argtypes = [ctypes.c_void_p]
    native.llama_batch_get_one.argtypes = [lib.llama_token_p, ctypes.c_int32, lib.llama_pos, lib.llama_seq_id]
    native.llama_batch_get_one.restype = lib.llama_batch
    lib.llama_backend_init()
    params = lib.llama_model_default_params()
    params.repack_tensors = repacked
    params.use_mmap = not repacked
    model = lib.llama_model_load_from_file(path.encode(), params)
    if not model:
        sys.exit("ik_llama.cpp did not load the file")
    params = lib.llama_context_default_params()
    params.n_ctx, params.n_batch, params.n_ubatch = context, context, 512
    made = lib.llama_init_from_model(model, params)
    if not made:
        sys.exit("ik_llama.cpp made no context")
    place = 0

    def feed(ids):
        nonlocal place
        array = (lib.llama_token * len(ids))(*ids)
        if lib.llama_decode(made, native.llama_batch_get_one(array, len(ids), place, 0)) != 0:
            sys.exit("ik_llama.cpp did not decode")
        native.llama_synchronize(made)
        place += len(ids)

    def begin(threads):
        nonlocal place
        place = 0
        native.llama_set_n_threads(made, threads, threads)
        lib.llama_kv_cache_clear(made)

    return lib.llama_vocab_n_tokens(lib.llama_model_get_vocab(model)), begin, feed, None


def serve(path, kind, context):
    """The process of one peer: reads `threads prompt decode`, answers with seconds of both."""
    make = ik_llama_cpp if kind.startswith("ik-") else llama_cpp
    vocab, begin, feed, _kept = make(path, kind.endswith("repacked"), context)
    print("ready", flush=True)
    for line in sys.stdin:
        threads, prompt, decode = map(int, line.split())
        begin(threads)
        ids = tokens(prompt + decode, vocab)
        start = time.perf_counter()
        feed(ids[:prompt])
        middle = time.perf_counter()
        for id in ids[prompt:]:
            feed([id])
        print(middle - start, time.perf_counter() - middle, flush=True)


class Peer:
    def __init__(self, name, command, **environment):
        start = time.perf_counter()
        pipes = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.process = subprocess.Popen(command, env=os.environ | environment, **pipes)
        if not self.process.stdout.readline().startswith("ready"):
            sys.exit(f"{name} did not start")
        print(f"{name} loaded the file in {time.perf_counter() - start:.1f} s", flush=True)

    def run(self, threads, prompt, decode):
        self.process.stdin.write(f"{threads} {prompt} {decode}\n")
        self.process.stdin.flush()
        times = list(map(float, self.process.stdout.readline().split()))
        return prompt / times[0], decode / times[1]


class Puna:
    """The command and the examples beside it."""

    def __init__(self, binaries, path):
        self.binaries, self.path = binaries, path

    def ask(self, program, *arguments):
        command = [self.binaries / program, *map(str, arguments)]
        return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    def limits(self, threads):
        return self.ask("examples/roofline", "--limits", threads)

    def run(self, threads, prompt, decode):
        options = ["-p", prompt, "-n", decode, "-t", threads, "-r", 1, "--json", "--quiet"]
        report = self.ask("puna", "bench", self.path, *options)
        result = report["results"][0]
        return result["prefill_tokens_per_s"], result["decode_tokens_per_s"], report["weight_bytes_per_token"]

    def prefill_work(self):
        """Multiply-adds of a prompt's token in products with weights, and the limit that they are held against. Of the
        last layer only attention is needed for every token, and the head for none but the last."""
        model = self.ask("puna", "inspect", self.path, "--json")
        config, count = model["config"], 0
        for tensor in model["tensors"]:
            name, size = tensor["name"].split("."), math.prod(tensor["shape"])
            if name[0] != "blk" or len(tensor["shape"]) < 2:
                continue
            if int(name[1]) == config["n_layers"] - 1 and name[2].startswith("ffn"):
                continue
            count += size * config["n_experts_used"] // config["n_experts"] if name[2].endswith("_exps") else size
        kinds = model["bytes_by_type"]
        most = max(kinds, key=lambda kind: kinds[kind]["bytes"])
        return count, {"BF16": "bf16_gflop_s", "F16": "f32_gflop_s", "F32": "f32_gflop_s"}.get(most, "bytes_gop_s")


def spread(values, scale=1, unit=""):
    values = [value * scale for value in values]
    return f"{statistics.median(values):8.2f}{unit} ({min(values):.2f} to {max(values):.2f})"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("--rounds", type=int, default=5)
    for name, default in (("threads", "1,2"), ("shapes", "512:64,2048:128"), ("peers", "repacked,stored")):
        parser.add_argument(f"--{name}", type=lambda s: s.split(","), default=default.split(","))
    parser.add_argument("--binaries", type=pathlib.Path, default=ROOT / "target/release")
    parser.add_argument("--candle", type=pathlib.Path)
    parser.add_argument("--json", type=pathlib.Path)
    parser.add_argument("--serve", choices=list(PEERS), help=argparse.SUPPRESS)
    parser.add_argument("--context", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        return serve(args.model, args.serve, args.context)

    shapes = [tuple(map(int, shape.split(":"))) for shape in args.shapes]
    puna = Puna(args.binaries, args.model)
    per_token, unit = puna.prefill_work()
    context = max(map(sum, shapes)) + 1
    serve_it = [sys.executable, __file__, args.model, "--context", str(context), "--serve"]
    peers = {PEERS[kind]: [*serve_it, kind] for kind in args.peers if kind != "none"}
    peers = {name: Peer(name, command) for name, command in peers.items()}
    report = []
    for threads in map(int, args.threads):
        if args.candle:
            # Its threads are chosen when it starts.
            peers["candle"] = Peer("candle", [args.candle, args.model], RAYON_NUM_THREADS=str(threads))
        for prompt, decode in shapes:
            for peer in peers.values():
                peer.run(threads, prompt, 2)
            rounds = {name: [] for name in ["puna", *peers]}
            allowed = []
            for _ in range(args.rounds):
                limits = puna.limits(threads)
                *speed, weights = puna.run(threads, prompt, decode)
                rounds["puna"].append(speed)
                for name, peer in peers.items():
                    rounds[name].append(peer.run(threads, prompt, decode))
                operations = limits[unit] or limits["f32_gflop_s"]
                allowed.append((operations * 1e9 / (2 * per_token), limits["read_gb_s"] * 1e9 / weights))
            report.append({"threads": threads, "prompt": prompt, "decode": decode, "allowed": allowed, **rounds})
            for i, what in enumerate((f"prefill {prompt}", f"decode {decode}")):
                print(f"{threads} threads, {what}: the machine allows {spread([a[i] for a in allowed])} tokens/s")
                for name, speeds in rounds.items():
                    share = [speed[i] / most[i] for speed, most in zip(speeds, allowed)]
                    figures = spread([speed[i] for speed in speeds])
                    print(f"    {name:<26}{figures} tokens/s, {spread(share, 100, ' %')} of it")
                for name in peers:
                    ratios = [ours[i] / theirs[i] for ours, theirs in zip(rounds["puna"], rounds[name])]
                    print(f"    {'puna / ' + name:<26}{spread(ratios)}", flush=True)
    if args.json:
        args.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
