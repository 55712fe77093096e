"""Compares puna with transformers on a Hugging Face folder and some held-out items.

    python check_puna.py PUNA FOLDER HELDOUT.jsonl [--model FILE.gguf --mmproj FILE.gguf] [--items N]

Prompts must be the same tokens; the tower's rows and the logits must agree to a few units of f32 rounding (with --model
only answers are compared: the weights differ). Answers are `puna generate`'s from the prompt's tokens or, with pictures,
`puna logits`' last row.
"""

import argparse
import json
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import torch
from transformers import Llama4ForConditionalGeneration

import tiles
from evaluate import conversation
from tokenizer import Prompt


def run(*command) -> str:
    return subprocess.run([str(c) for c in command], check=True, capture_output=True, text=True).stdout


def main() -> None:
    args = argparse.ArgumentParser()
    args.add_argument("puna", type=Path)
    args.add_argument("folder", type=Path)
    args.add_argument("heldout", type=Path)
    args.add_argument("--model", type=Path)
    args.add_argument("--mmproj", type=Path)
    args.add_argument("--items", type=int, default=24)
    args.add_argument("--longest", type=int, default=2000)
    args = args.parse_args()
    torch.set_num_threads(1)
    model = Llama4ForConditionalGeneration.from_pretrained(args.folder, dtype=torch.float32).eval()
    prompt = Prompt(args.folder, "tokenizer.json")
    images = args.heldout.with_suffix(".images").read_bytes()
    items = [json.loads(line) for line in open(args.heldout)]
    items = [item for item in items if "messages" in item and item.get("tokens", 0) < args.longest]
    items = items[:: max(1, len(items) // args.items)]
    files = ["--mmproj", args.mmproj] if args.mmproj else []
    source = args.model or args.folder
    same = same_first = 0
    worst_logits = worst_rows = 0.0
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        for item in items:
            sample = conversation(item, images)
            ids, _, pixels = prompt.encode(sample, tiles.cut, generation=True)
            messages, paths = [], []
            for role, parts in sample.turns[:-1]:
                content = []
                for part in parts:
                    if isinstance(part, str):
                        content.append({"type": "text", "text": part})
                    else:
                        paths.append(folder / f"{len(paths)}.png")
                        part.save(paths[-1])
                        content.append({"type": "image", "path": str(paths[-1])})
                messages.append({"role": role, "content": content})
            (folder / "messages.json").write_text(json.dumps(messages))
            theirs = json.loads(run(args.puna, "tokenize", source, *files, "--messages", folder / "messages.json"))
            assert theirs == ids, (item["id"], theirs, ids)
            (folder / "ids.txt").write_text(",".join(map(str, ids)))
            tensors = torch.from_numpy(np.stack(pixels)) if pixels else None
            with torch.no_grad():
                tokens = torch.tensor([ids])
                logits = model(input_ids=tokens, pixel_values=tensors).logits[0].numpy()
            extra = []
            if pixels:
                pictures = [word for path in paths for word in ("--image", path)]
                run(
                    args.puna,
                    "vision",
                    source,
                    *files,
                    *pictures,
                    "--out-pixels",
                    folder / "p.npy",
                    "--out-projected",
                    folder / "r.npy",
                )
                assert np.abs(np.load(folder / "p.npy") - np.stack(pixels)).max() < 1e-6, item["id"]
                with torch.no_grad():
                    rows = model.get_image_features(pixel_values=tensors, vision_feature_select_strategy="default")
                rows = rows.pooler_output if hasattr(rows, "pooler_output") and rows.pooler_output is not None else rows
                rows = rows.last_hidden_state if hasattr(rows, "last_hidden_state") else rows
                rows = rows.reshape(-1, rows.shape[-1])
                if rows.shape[-1] != model.config.text_config.hidden_size:
                    rows = model.multi_modal_projector(rows)
                rows = rows.detach().numpy()
                mine = np.load(folder / "r.npy").reshape(rows.shape)
                worst_rows = max(worst_rows, float(np.abs(mine - rows).max() / np.abs(rows).max()))
                extra = ["--pixels", folder / "p.npy"]
            run(
                args.puna,
                "logits",
                source,
                *files,
                "--tokens-file",
                folder / "ids.txt",
                *extra,
                "--kv",
                "f32",
                "--out",
                folder / "l.npy",
            )
            mine = np.load(folder / "l.npy")
            worst_logits = max(worst_logits, float(np.abs(mine - logits).max() / np.abs(logits).max()))
            same += int((mine.argmax(-1) == logits.argmax(-1)).sum()) / len(ids)
            same_first += int(mine[-1].argmax() == logits[-1].argmax())
    print(
        f"{len(items)} prompts: same tokens; rows differ by {worst_rows:.1e}, logits by {worst_logits:.1e} of the largest"
    )
    print(
        f"most likely token the same at {100 * same / len(items):.2f} % of positions, {same_first} of {len(items)} first answers"
    )


if __name__ == "__main__":
    main()
