"""Writes a checkpoint as a Hugging Face folder with transformers' own `save_pretrained`.

    python export.py DATA CHECKPOINT OUT [--last]

takes the running mean of the weights, or with --last the weights of the last step, which are the better ones after a decay.
"""

import argparse
import json
import shutil
from pathlib import Path

import torch

from model import build
from tiles import MAX_TILES, TILE
from tokenizer import Prompt

PREPROCESSOR = {
    "image_processor_type": "Llama4ImageProcessorFast",
    "processor_class": "Llama4Processor",
    "do_convert_rgb": True,
    "do_normalize": True,
    "do_rescale": True,
    "do_resize": True,
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
    "max_patches": MAX_TILES,
    "resample": 2,
    "rescale_factor": 1 / 255,
    "resize_to_max_canvas": False,
    "size": {"height": TILE, "width": TILE},
}


def load(data: Path, checkpoint: Path, last: bool):
    model = build(Prompt(data), 0)
    state = torch.load(checkpoint, weights_only=True)
    if last:
        model.load_state_dict(state["model"])
    else:
        with torch.no_grad():
            for name, p in model.named_parameters():
                p.copy_(state["mean"][name])
    return model, state["step"]


def main() -> None:
    args = argparse.ArgumentParser()
    args.add_argument("data", type=Path)
    args.add_argument("checkpoint", type=Path)
    args.add_argument("out", type=Path)
    args.add_argument("--last", action="store_true")
    args = args.parse_args()
    torch.set_num_threads(1)
    model, step = load(args.data, args.checkpoint, args.last)
    model.generation_config.eos_token_id = model.config.text_config.eos_token_id
    model.generation_config.bos_token_id = model.config.text_config.bos_token_id
    model.generation_config.pad_token_id = model.config.text_config.pad_token_id
    model.save_pretrained(args.out)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(args.data / "tokenizer" / name, args.out / name)
    (args.out / "preprocessor_config.json").write_text(json.dumps(PREPROCESSOR, indent=2) + "\n")
    print(f"step {step}:", *sorted(p.name for p in args.out.iterdir()))


if __name__ == "__main__":
    main()
