"""Writes the vision tower of a Hugging Face folder as a GGUF file beside the text model's.

    python mmproj.py FOLDER OUT.gguf [--type f16|f32|q8_0]

in the layout that llama.cpp's converter gives Llama 4's tower (architecture `clip`, projector `llama4`). Vectors, the
position table and the patch embedding's rows that no block fits stay wider than the type asked for.
"""

import argparse
import json
from pathlib import Path

import gguf
import numpy as np
from safetensors.numpy import load_file

NAMES = [
    ("vision_model.patch_embedding.linear", "v.patch_embd"),
    ("vision_model.class_embedding", "v.class_embd"),
    ("vision_model.positional_embedding_vlm", "v.position_embd.weight"),
    ("vision_model.layernorm_pre", "v.pre_ln"),
    ("vision_model.layernorm_post", "v.post_ln"),
    ("vision_model.model.layers.", "v.blk."),
    ("vision_model.vision_adapter.mlp.fc1", "mm.model.mlp.1"),
    ("vision_model.vision_adapter.mlp.fc2", "mm.model.mlp.2"),
    ("multi_modal_projector.linear_1", "mm.model.fc"),
    ("input_layernorm", "ln1"),
    ("post_attention_layernorm", "ln2"),
    ("self_attn.q_proj", "attn_q"),
    ("self_attn.k_proj", "attn_k"),
    ("self_attn.v_proj", "attn_v"),
    ("self_attn.o_proj", "attn_out"),
    ("mlp.fc1", "ffn_up"),
    ("mlp.fc2", "ffn_down"),
]
TYPES = {
    "f32": gguf.GGMLQuantizationType.F32,
    "f16": gguf.GGMLQuantizationType.F16,
    "q8_0": gguf.GGMLQuantizationType.Q8_0,
}


def main() -> None:
    args = argparse.ArgumentParser()
    args.add_argument("folder", type=Path)
    args.add_argument("out", type=Path)
    args.add_argument("--type", choices=TYPES, default="f16")
    args = args.parse_args()
    config = json.loads((args.folder / "config.json").read_text())
    vision = config["vision_config"]
    writer = gguf.GGUFWriter(args.out, "clip")
    writer.add_type("mmproj")
    writer.add_name("puna-tiny")
    writer.add_bool("clip.has_vision_encoder", True)
    writer.add_string("clip.projector_type", "llama4")
    writer.add_bool("clip.use_gelu", True)
    for key, name in [
        ("image_size", "image_size"),
        ("patch_size", "patch_size"),
        ("embedding_length", "hidden_size"),
        ("feed_forward_length", "intermediate_size"),
        ("block_count", "num_hidden_layers"),
        ("attention.head_count", "num_attention_heads"),
    ]:
        writer.add_uint32(f"clip.vision.{key}", vision[name])
    writer.add_uint32("clip.vision.projection_dim", config["text_config"]["hidden_size"])
    writer.add_float32("clip.vision.attention.layer_norm_epsilon", vision["norm_eps"])
    writer.add_uint32("clip.vision.projector.scale_factor", round(1 / vision["pixel_shuffle_ratio"]))
    for key in ("image_mean", "image_std"):
        writer.add_array(f"clip.vision.{key}", [0.5, 0.5, 0.5])
    for name, values in load_file(args.folder / "model.safetensors").items():
        if name.startswith("language_model."):
            continue
        for hf, ours in NAMES:
            name = name.replace(hf, ours)
        values = values.astype(np.float32)
        kind = TYPES[args.type]
        if values.ndim < 2 or name.startswith("v.position"):
            kind = TYPES["f32"]
        elif kind == TYPES["q8_0"] and (values.shape[-1] % 32 or name.startswith("v.patch")):
            kind = TYPES["f16"]
        if name.startswith("v.patch"):
            # The convolution that it is.
            values = values.reshape(values.shape[0], 3, vision["patch_size"], vision["patch_size"])
        if kind == TYPES["q8_0"]:
            writer.add_tensor(name, gguf.quants.quantize(values, kind), raw_dtype=kind)
        else:
            writer.add_tensor(name, values.astype(np.float16 if kind == TYPES["f16"] else np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    print(args.out, args.out.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
