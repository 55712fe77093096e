#!/usr/bin/env python3
"""Writes the goldens of `puna_core::quant` into the directory `quant` beside this file.

Needs numpy, torch, gguf 0.19 and llama-cpp-python 0.3. For every format FORMAT of GGUF:

- FORMAT.bin: random blocks, then the f32 values `gguf.quants` reads from them. Half of the blocks have finite
  scales of ordinary size, half are random throughout.
- FORMAT.row.bin, for the formats `gguf.quants` can write: ROW.bin quantised.

ROW.bin holds the f32 row. F8_E4M3.bin holds the 256 codes and their values, F8_E4M3.row.bin f32 values up to 448
and their codes, both by `torch.float8_e4m3fn`.

FITS.bin holds a Gaussian row, a heavy-tailed row and column importance; FITS.txt the relative errors that
llama.cpp's quantisers leave on them: format, row, "plain" or "weighted", error.
"""

import ctypes
from pathlib import Path

import numpy as np
import torch
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, quants

OUT = Path(__file__).parent / "quant"
BLOCKS = 8
# Offsets of the f16 scales of a block.
SCALES = {
    "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0],
    "Q2_K": [80, 82], "Q3_K": [108], "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208],
    "IQ4_NL": [0], "IQ4_XS": [0], "MXFP4": [], "TQ1_0": [52], "TQ2_0": [64],
    "IQ2_XXS": [0], "IQ2_XS": [0], "IQ2_S": [0], "IQ3_XXS": [0], "IQ3_S": [0], "IQ1_S": [0], "IQ1_M": [],
}
WRITABLE = ["BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "MXFP4", "TQ1_0", "TQ2_0"]


def random_blocks(name, rng):
    size = GGML_QUANT_SIZES[GGMLQuantizationType[name]][1]
    blocks = rng.integers(0, 256, (BLOCKS, size), dtype=np.uint8)
    for block in blocks[: BLOCKS // 2]:
        for at in SCALES[name]:
            block[at : at + 2] = np.float16([rng.normal() * 0.02]).view(np.uint8)
        if name == "MXFP4":
            block[0] = rng.integers(110, 140)
        if name == "IQ1_M":
            scale = int(np.float16([rng.normal() * 0.02]).view(np.uint16)[0])
            for i in range(4):
                block[49 + 2 * i] = block[49 + 2 * i] & 0x0F | (scale >> 4 * i & 15) << 4
    return blocks


def row(rng):
    """Gaussian, heavy-tailed, constant, zero, small, huge and ternary stretches; 2304 values."""
    return np.concatenate([
        rng.normal(size=512) * 0.02,
        rng.standard_t(2, size=512) * 0.02,
        np.full(256, 0.3), np.full(256, -7.0), np.zeros(256),
        rng.normal(size=256) * 1e-4, rng.uniform(-6e4, 6e4, size=256),
    ]).astype(np.float32)


FITTED = ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL", "IQ4_XS"]


def ggml_quantize(lib, name, values, importance):
    """A row quantised by llama.cpp and read back."""
    kind = GGMLQuantizationType[name]
    block, size = GGML_QUANT_SIZES[kind]
    out = np.zeros(values.size // block * size, np.uint8)
    pointer = lambda a: a.ctypes.data_as(ctypes.c_void_p) if a is not None else None
    lib.ggml_quantize_chunk.argtypes = [ctypes.c_int] + [ctypes.c_void_p] * 2 + [ctypes.c_int64] * 3 + [ctypes.c_void_p]
    lib.ggml_quantize_chunk.restype = ctypes.c_size_t
    n = lib.ggml_quantize_chunk(int(kind), pointer(values), pointer(out), 0, 1, values.size, pointer(importance))
    assert n == out.size
    return quants.dequantize(out, kind)


def fits(rng, n=4096):
    import llama_cpp

    lib = ctypes.CDLL(str(Path(llama_cpp.__file__).parent / "lib" / "libggml-base.so"))
    rows = {
        "gaussian": (rng.normal(size=n) * 0.02).astype(np.float32),
        "heavy": (rng.standard_t(3, size=n) * 0.02).astype(np.float32),
    }
    importance = rng.lognormal(sigma=1.0, size=n).astype(np.float32)
    write("FITS", *rows.values(), importance)
    lines = []
    for name in FITTED:
        for row, x in rows.items():
            for how, w in [("plain", None), ("weighted", importance)]:
                error = ggml_quantize(lib, name, x, w).astype(np.float64) - x
                weight = np.ones(n) if w is None else w
                error = np.sqrt((weight * error**2).sum() / (weight * x.astype(np.float64) ** 2).sum())
                lines.append(f"{name} {row} {how} {error:.6f}\n")
    (OUT / "FITS.txt").write_text("".join(lines))


def write(name, *arrays):
    (OUT / f"{name}.bin").write_bytes(b"".join(a.tobytes() for a in arrays))


def main():
    OUT.mkdir(exist_ok=True)
    np.seterr(all="ignore")
    rng = np.random.default_rng(20250405)
    for name in SCALES:
        blocks = random_blocks(name, rng)
        values = quants.dequantize(blocks.reshape(-1), GGMLQuantizationType[name])
        write(name, blocks, values.astype("<f4"))
    for name in ["F16", "BF16"]:
        codes = rng.integers(0, 65536, 1024, dtype=np.uint16)
        write(name, codes, quants.dequantize(codes.view(np.uint8), GGMLQuantizationType[name]).astype("<f4"))
    values = row(rng)
    write("ROW", values)
    write("F16.row", values.astype(np.float16))
    for name in WRITABLE:
        write(f"{name}.row", quants.quantize(values, GGMLQuantizationType[name]))

    codes = torch.arange(256, dtype=torch.uint8)
    write("F8_E4M3", codes.numpy(), codes.view(torch.float8_e4m3fn).float().numpy())
    # All 253 midpoints of neighbours (ties), and values of every magnitude.
    grid = codes[:0x7F].view(torch.float8_e4m3fn).double().numpy()
    ties = (grid[1:] + grid[:-1]) / 2
    magnitudes = np.clip(2.0 ** rng.uniform(-14, 9, 500), 0, 448)
    values = np.concatenate([ties, -ties, magnitudes * rng.choice([-1, 1], 500)]).astype(np.float32)
    write("F8_E4M3.row", values, torch.from_numpy(values).to(torch.float8_e4m3fn).view(torch.uint8).numpy())
    fits(rng)


if __name__ == "__main__":
    main()
