"""Quantised files beside llama.cpp's: the same model written by both in the same mixes, by the same importance matrix.

    CMAKE_ARGS="-DGGML_NATIVE=ON -DGGML_BLAS=OFF" pip install --no-binary llama-cpp-python llama-cpp-python gguf
    cargo build --release -p puna-cli
    target/release/puna imatrix MODEL.gguf -f READ.txt -o imatrix.gguf
    python benches/peers/llamacpp_quantize.py MODEL.gguf --text ASKED.txt [--imatrix imatrix.gguf]
        [--types q4_0,q4_k_m] [--ctx 512] [--formats] [--experts 16]

Printed for each type: how many tensors have the same format, how many of them the same bytes, the share of bytes that
differ in the others (searches break ties by the last bit of a sum), and the perplexity of both files over a text, as
`puna perplexity` computes it; not with `--formats`. With `--experts` the model's experts are repeated until there are so
many, since mixes depend on their number. llama-cpp-python 0.3.36 was measured.
"""

import argparse
import ctypes
import json
import pathlib
import subprocess
import tempfile

import gguf
import llama_cpp as lib
import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[2]


def means(path):
    """What llama-quantize makes of an importance matrix: mean squares by column, ones for experts that met nothing."""
    tensors = {tensor.name: tensor.data for tensor in gguf.GGUFReader(path).tensors}
    for name in (name.removesuffix(".in_sum2") for name in tensors if name.endswith(".in_sum2")):
        counts = tensors[f"{name}.counts"].reshape(-1, 1)
        sums = tensors[f"{name}.in_sum2"].reshape(len(counts), -1)
        yield name, np.where(counts > 0, sums / np.maximum(counts, 1), 1).astype(np.float32).ravel()


def repeated(source, out, experts):
    """The model with its experts repeated, in F32."""
    reader = gguf.GGUFReader(source)
    arch = reader.fields["general.architecture"].contents()
    writer = gguf.GGUFWriter(out, arch)
    count = f"{arch}.expert_count"
    times, rest = divmod(experts, reader.fields[count].contents())
    if rest or not times:
        raise SystemExit(f"{experts} is no multiple of the experts that there are")
    for field in reader.fields.values():
        if field.name.startswith("GGUF.") or field.name == "general.architecture":
            continue
        value = experts if field.name == count else field.contents()
        if field.types[0] == gguf.GGUFValueType.ARRAY:
            writer.add_array(field.name, value)
        else:
            writer.add_key_value(field.name, value, field.types[0])
    for tensor in reader.tensors:
        values = gguf.dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
        if "_exps" in tensor.name or "ffn_gate_inp" in tensor.name:
            values = np.concatenate([values] * times)
        writer.add_tensor(tensor.name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def theirs(source, out, mix, imatrix):
    params = lib.llama_model_quantize_default_params()
    params.ftype = getattr(lib, f"LLAMA_FTYPE_MOSTLY_{mix.upper()}")
    params.allow_requantize = True
    entries = list(means(imatrix)) if imatrix else []
    # A list that ends with an entry without a name.
    table = (lib.llama_model_imatrix_data * (len(entries) + 1))()
    for entry, (name, values) in zip(table, entries):
        pointer = values.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
        entry.name, entry.data, entry.size = name.encode(), pointer, values.size
    if entries:
        params.imatrix = ctypes.cast(table, ctypes.POINTER(lib.llama_model_imatrix_data))
    if lib.llama_model_quantize(str(source).encode(), str(out).encode(), params) != 0:
        raise SystemExit(f"llama.cpp did not write {mix}")


def compare(ours, theirs):
    ours, theirs = ({t.name: t for t in gguf.GGUFReader(path).tensors} for path in (ours, theirs))
    if ours.keys() != theirs.keys():
        raise SystemExit(f"other tensors: {sorted(ours.keys() ^ theirs.keys())}")
    alike = [name for name in ours if ours[name].tensor_type == theirs[name].tensor_type]
    bytes_of = lambda tensor: np.asarray(tensor.data).view(np.uint8).ravel()  # noqa: E731
    apart = [np.mean(bytes_of(ours[name]) != bytes_of(theirs[name])) for name in alike]
    differing = [share for share in apart if share > 0]
    print(f"    {len(alike)} of {len(ours)} tensors have the same format, {len(alike) - len(differing)} the same bytes")
    if differing:
        print(f"    bytes that differ in the others: {100 * np.mean(differing):.4f} %, at most {100 * max(differing):.4f} %")
    for name in sorted(ours.keys() - set(alike))[:4]:
        print(f"    {name}: {ours[name].tensor_type.name}, llama.cpp {theirs[name].tensor_type.name}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("--text", type=pathlib.Path)
    parser.add_argument("--formats", action="store_true", help="no perplexity")
    parser.add_argument("--imatrix", type=pathlib.Path)
    parser.add_argument("--experts", type=int, help="a multiple of those that there are")
    parser.add_argument("--types", type=lambda s: s.split(","), default=["q4_0", "q4_k_m"])
    parser.add_argument("--ctx", type=int, default=512)
    parser.add_argument("--puna", type=pathlib.Path, default=ROOT / "target/release/puna")
    args = parser.parse_args()
    if not args.text and not args.formats:
        parser.error("--text FILE or --formats")

    @lib.llama_log_callback
    def silent(level, text, data):
        pass

    lib.llama_log_set(silent, None)

    def puna(*arguments):
        command = [args.puna, *map(str, arguments), "--json", "--quiet"]
        return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    with tempfile.TemporaryDirectory() as folder:
        a, b = (pathlib.Path(folder) / name for name in ("puna.gguf", "llamacpp.gguf"))
        model = args.model
        if args.experts:
            model = pathlib.Path(folder) / "repeated.gguf"
            repeated(args.model, model, args.experts)
        for mix in args.types:
            weighed = ["--imatrix", args.imatrix] if args.imatrix else []
            puna("quantize", model, a, "--type", mix, *weighed)
            theirs(model, b, mix, args.imatrix)
            print(f"{mix}{', weighed' if args.imatrix else ''}:", flush=True)
            compare(a, b)
            if args.formats:
                continue
            ours, other = (puna("perplexity", file, "--file", args.text, "--ctx", args.ctx) for file in (a, b))
            ratio = ours["perplexity"] / other["perplexity"] - 1
            figures = f"{ours['perplexity']:.4f}, llama.cpp's file {other['perplexity']:.4f} ({100 * ratio:+.2f} %)"
            print(f"    perplexity {figures}, +/- {ours['stderr']:.4f} each", flush=True)


if __name__ == "__main__":
    main()
