"""Reads the released files back into a checkpoint that training can go on from.

    python warm.py DATA TEXT.gguf MMPROJ.gguf OUT.pt --step N

writes OUT.pt for `train.py DATA RUN --from OUT.pt` and DATA/tokenizer, so that the tokens are those of the weights even
if the text has changed. N is the step that the weights are of (the card in `../README.md` has it). The optimizer begins anew
(its warm-up too), the mean of the weights is the weights, and the tower's heads, which are no part of the model, are fitted
to the tower on a few thousand pictures.
"""

import argparse
import time
from pathlib import Path

import gguf
import numpy as np
import torch
from gguf.quants import dequantize

from mmproj import NAMES
from model import Fast, build
from pretrain_tower import BATCH, Heads, batch, seeing_loss
from sample import rng
from tokenizer import Prompt, write

TEXT = {
    "token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head",
    "attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm",
    "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj", "ffn_gate": "feed_forward.gate_proj", "ffn_up": "feed_forward.up_proj",
    "ffn_down": "feed_forward.down_proj", "ffn_gate_inp": "feed_forward.router",
    "ffn_gate_shexp": "feed_forward.shared_expert.gate_proj", "ffn_up_shexp": "feed_forward.shared_expert.up_proj",
    "ffn_down_shexp": "feed_forward.shared_expert.down_proj",
}  # fmt: skip


def tensors(reader: gguf.GGUFReader) -> dict:
    """Every tensor in f32, in the order of numpy: the slowest axis first."""
    return {
        t.name: torch.from_numpy(dequantize(t.data, t.tensor_type).astype(np.float32).reshape(t.shape[::-1].tolist()))
        for t in reader.tensors
    }


def text_state(found: dict) -> dict:
    out = {}
    for name, value in found.items():
        if "_exps" in name:
            continue
        parts = name.removesuffix(".weight").split(".")
        layer = f"model.layers.{parts[1]}." if parts[0] == "blk" else ""
        out[f"language_model.{layer}{TEXT[parts[-1]]}.weight"] = value
    for name, gate in found.items():
        if "ffn_gate_exps" not in name:
            continue
        layer = f"language_model.model.layers.{name.split('.')[1]}.feed_forward.experts."
        up, down = (found[name.replace("gate", other)] for other in ("up", "down"))
        # [expert, out, in] there, [expert, in, out] here.
        out[layer + "gate_up_proj"] = torch.cat([gate.mT, up.mT], -1).contiguous()
        out[layer + "down_proj"] = down.mT.contiguous()
    return out


def tower_state(found: dict, names) -> dict:
    """Tensors by the names of the model, found by the names that `mmproj.py` gives them."""
    out = {}
    for name in names:
        theirs = name
        for hf, ours in NAMES:
            theirs = theirs.replace(hf, ours)
        out[name] = found[theirs]
    return out


def tokenizer(reader: gguf.GGUFReader, data: Path) -> None:
    """The vocabulary and merges of the file, with the rest as `tokenizer.py` makes it."""
    values = lambda key: reader.fields[f"tokenizer.ggml.{key}"].contents()
    write(data, values("tokens"), values("merges"))


def fit(fast: Fast, heads: Heads, data: Path, steps: int) -> None:
    adam = torch.optim.Adam(heads.parameters(), lr=1e-2)
    begin = time.time()
    for step in range(1, steps + 1):
        pixels, truth = batch(rng("warm", step), data, False, BATCH)
        with torch.no_grad():
            rows = fast.model.multi_modal_projector.linear_1(fast.tower(pixels))
        for group in adam.param_groups:
            group["lr"] = 1e-2 * min(1, 1.5 - step / steps)
        loss = seeing_loss(heads, rows, truth)
        adam.zero_grad()
        loss.backward()
        adam.step()
        if step % 50 == 0:
            print(f"heads: {step} steps, loss {loss.item():.3f}, {time.time() - begin:.0f} s", flush=True)


def main() -> None:
    args = argparse.ArgumentParser()
    args.add_argument("data", type=Path)
    args.add_argument("text", type=Path)
    args.add_argument("mmproj", type=Path)
    args.add_argument("out", type=Path)
    args.add_argument("--step", type=int, required=True)
    args.add_argument("--fit", type=int, default=150, help="steps that the heads are fitted")
    args = args.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    reader = gguf.GGUFReader(args.text)
    tokenizer(reader, args.data)
    model = build(Prompt(args.data), 0)
    names = [name for name, _ in model.named_parameters()]
    state = text_state(tensors(reader))
    state |= tower_state(tensors(gguf.GGUFReader(args.mmproj)), [name for name in names if name not in state])
    state = {name: value.reshape(p.shape) for name, p in model.named_parameters() for value in [state.pop(name)]}
    model.load_state_dict(state, strict=False)
    fast, heads = Fast(model), Heads(model.config.text_config.hidden_size)
    fit(fast, heads, args.data, args.fit)
    torch.save({"step": args.step, "start": args.step, "model": model.state_dict(), "heads": heads.state_dict()}, args.out)
    print(f"{args.out}: {sum(v.numel() for v in state.values())} parameters of step {args.step}")


if __name__ == "__main__":
    main()
