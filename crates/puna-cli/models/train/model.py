"""puna-tiny's configuration, and a forward pass for training over the parameters of transformers' own model.

transformers runs every expert on every token, pads, and makes masks of T x T; here sequences of all lengths stand one behind
another, tokens are grouped by expert, and the last layer and the head are computed only where there is something to learn.
`check_fast.py` shows that both agree.
"""

from functools import lru_cache

import torch
import torch.nn.functional as F
from transformers import Llama4Config, Llama4ForConditionalGeneration

from tokenizer import VOCAB, Prompt

CHUNK = 256


def config(prompt: Prompt) -> Llama4Config:
    ids = prompt.id
    text = dict(
        vocab_size=VOCAB, hidden_size=256, num_hidden_layers=8, num_attention_heads=8, num_key_value_heads=2, head_dim=32,
        intermediate_size=96, intermediate_size_mlp=256, num_local_experts=8, num_experts_per_tok=1,
        interleave_moe_layer_step=2, no_rope_layer_interval=4, attention_chunk_size=CHUNK, use_qk_norm=True,
        attn_temperature_tuning=True, floor_scale=CHUNK, attn_scale=0.1, max_position_embeddings=16384, rms_norm_eps=1e-5,
        rope_parameters=dict(rope_type="default", rope_theta=10000.0), hidden_act="silu", tie_word_embeddings=False,
        bos_token_id=ids["<|begin_of_text|>"], pad_token_id=ids["<|finetune_right_pad|>"],
        eos_token_id=[ids["<|end_of_text|>"], ids["<|eot|>"], ids["<|eom|>"]],
    )  # fmt: skip
    vision = dict(
        hidden_size=128, num_hidden_layers=3, num_attention_heads=4, intermediate_size=512, image_size=64, patch_size=8,
        num_channels=3, pixel_shuffle_ratio=0.5, projector_input_dim=128, projector_output_dim=128, vision_output_dim=128,
        rope_parameters=dict(rope_type="default", rope_theta=10000.0),
    )  # fmt: skip
    return Llama4Config(
        text_config=text, vision_config=vision, boi_token_index=ids["<|image_start|>"],
        eoi_token_index=ids["<|image_end|>"], image_token_index=prompt.patch, tie_word_embeddings=False,
        architectures=["Llama4ForConditionalGeneration"], dtype="float32",
    )  # fmt: skip


def build(prompt: Prompt, seed: int) -> Llama4ForConditionalGeneration:
    """A new model: matrices scaled by their inputs, what writes to the residual stream starting at nothing."""
    torch.manual_seed(seed)
    model = Llama4ForConditionalGeneration._from_config(config(prompt), attn_implementation="sdpa").float()
    with torch.no_grad():
        for name, p in model.named_parameters():
            if p.ndim < 2:
                continue
            if any(part in name for part in ("o_proj", "down_proj", "mlp.fc2")) and "adapter" not in name:
                p.zero_()
            elif "embed_tokens" in name or "positional" in name:
                p.normal_(0, 0.1)
            elif "router" in name or "lm_head" in name:
                p.normal_(0, 0.02)
            else:
                # Linear layers are [out, in], experts [expert, in, out].
                p.normal_(0, p.shape[1] ** -0.5)
    return model


class Rms(torch.autograd.Function):
    """x / sqrt(mean(x^2) + eps) of the last axis, in few passes over memory."""

    @staticmethod
    def forward(ctx, x, eps):
        scale = x.square().mean(-1, keepdim=True).add_(eps).rsqrt_()
        y = x * scale
        ctx.save_for_backward(y, scale)
        return y

    @staticmethod
    def backward(ctx, grad):
        y, scale = ctx.saved_tensors
        mean = (grad * y).mean(-1, keepdim=True)
        return torch.addcmul(grad, y, mean, value=-1).mul_(scale), None


def rms(x, eps: float):
    return Rms.apply(x, eps)


def rotate(x, freqs):
    """Interleaved pairs of [..., T, heads, d] by complex [T, 1, d/2]."""
    pairs = torch.view_as_complex(x.unflatten(-1, (-1, 2)))
    return torch.view_as_real(pairs * freqs).flatten(-2)


@lru_cache(maxsize=2048)
def later(first: int, count: int, length: int):
    """What the positions from `first` on may not see of `length`: minus infinity there."""
    return torch.full((count, length), float("-inf")).triu(first + 1)


class Attention(torch.autograd.Function):
    """Causal attention of sequences that stand one behind another, without padding.

    q [N', H, d], k and v [N, G, d]; `pieces` has (rows of q, rows of k and v, mask [queries, keys]) for each sequence or
    chunk, whole score matrices: for short ones those are faster than a kernel in blocks.
    """

    @staticmethod
    def forward(ctx, q, k, v, pieces):
        d, groups = q.shape[-1], k.shape[1]
        reads = q.shape[1] // groups
        q, k, v = q.view(-1, groups, reads, d).permute(1, 2, 0, 3), k.transpose(0, 1), v.transpose(0, 1)
        out = torch.empty(q.shape[2], groups, reads, d)
        ps = []
        for (a, b), (c, e), mask in pieces:
            t = b - a
            scores = torch.matmul(q[:, :, a:b].reshape(groups, reads * t, d), k[:, c:e].mT)
            scores = scores.view(groups, reads, t, -1).mul_(d**-0.5).add_(mask)
            p = torch.softmax(scores, -1).view(groups, reads * t, -1)
            out[a:b] = torch.matmul(p, v[:, c:e]).view(groups, reads, t, d).permute(2, 0, 1, 3)
            ps.append(p)
        ctx.save_for_backward(q, k, v, *ps)
        ctx.pieces = pieces
        return out.flatten(1)

    @staticmethod
    def backward(ctx, grad):
        q, k, v, *ps = ctx.saved_tensors
        groups, reads, n, d = q.shape
        grad = grad.view(n, groups, reads, d).permute(1, 2, 0, 3)
        dq = torch.empty(n, groups, reads, d)
        dk, dv = torch.empty(k.shape[1], groups, d), torch.empty(k.shape[1], groups, d)
        for ((a, b), (c, e), _), p in zip(ctx.pieces, ps):
            t = b - a
            g = grad[:, :, a:b].reshape(groups, reads * t, d)
            dv[c:e] = (p.mT @ g).transpose(0, 1)
            ds = torch._softmax_backward_data(g @ v[:, c:e].mT, p, -1, p.dtype).mul_(d**-0.5)
            dq[a:b] = (ds @ k[:, c:e]).view(groups, reads, t, d).permute(2, 0, 1, 3)
            dk[c:e] = (ds.mT @ q[:, :, a:b].reshape(groups, reads * t, d)).transpose(0, 1)
        return dq.flatten(1, 2), dk, dv, None


def pieces_of(lengths: list, chunk: int) -> list:
    """The sequences, cut into chunks of positions."""
    out, at = [], 0
    for length in lengths:
        for first in range(0, length, chunk):
            count = min(chunk, length - first)
            rows = (at + first, at + first + count)
            out.append((rows, rows, later(0, count, count)))
        at += length
    return out


def pieces_to(lengths: list, wanted) -> list:
    """The whole sequences, seen from the wanted rows alone (sorted rows of all)."""
    out, at, done = [], 0, 0
    ends = torch.searchsorted(wanted, torch.tensor(lengths).cumsum(0)).tolist()
    for length, end in zip(lengths, ends):
        if end > done:
            out.append(((done, end), (at, at + length), later(0, length, length)[wanted[done:end] - at]))
        at, done = at + length, end
    return out


def experts(moe, y, balance: list):
    """A mixture layer on [N, D]: the tokens of one expert stand together. Appends the load-balancing loss."""
    logits = moe.router.weight.to(y.dtype) @ y.T
    best, choice = logits.max(0)
    count = torch.bincount(choice, minlength=logits.shape[0])
    share = count / count.sum()
    balance.append((logits.softmax(0).mean(1) * share).sum() * logits.shape[0])
    order = choice.argsort()
    scaled = (y * best.sigmoid().unsqueeze(1))[order]
    outs = []
    for e, rows in enumerate(scaled.split(count.tolist())):
        if len(rows):
            gate, up = (rows @ moe.experts.gate_up_proj[e]).chunk(2, -1)
            outs.append((F.silu(gate) * up) @ moe.experts.down_proj[e])
    routed = torch.empty_like(y).index_copy(0, order, torch.cat(outs))
    return dense(moe.shared_expert, y) + routed


def dense(mlp, y):
    return (F.silu(y @ mlp.gate_proj.weight.T) * (y @ mlp.up_proj.weight.T)) @ mlp.down_proj.weight.T


class Fast:
    """The forward pass over a model's parameters."""

    def __init__(self, model: Llama4ForConditionalGeneration):
        self.model = model
        self.text = model.language_model.model
        self.cfg = model.config.text_config
        self.inv_freq = self.text.rotary_emb.inv_freq

    def hidden(self, ids, lengths: list, pixels=None, wanted=None, watch=None):
        """Sequences [N] of these lengths (and tiles [M, 3, 64, 64] in their order) to the normalised stream of the wanted
        rows (sorted; all if None), and the balance loss. `watch` is a `Guide` (`guide.py`) or None."""
        cfg, eps = self.cfg, self.cfg.rms_norm_eps
        h = F.embedding(ids, self.text.embed_tokens.weight)
        if pixels is not None:
            rows = self.model.multi_modal_projector.linear_1(self.tower(pixels)).flatten(0, 1)
            h = h.index_copy(0, (ids == self.model.config.image_token_index).nonzero().squeeze(1), rows)
        wanted = torch.arange(len(ids)) if wanted is None else wanted
        position = torch.cat([torch.arange(length, dtype=torch.float32) for length in lengths])
        freqs = torch.polar(torch.ones(()), position[:, None] * self.inv_freq).unsqueeze(1)
        heat = 1 + cfg.attn_scale * torch.log1p(torch.floor((position + 1) / cfg.floor_scale))
        chunks, whole = pieces_of(lengths, CHUNK), pieces_of(lengths, 1 << 30)
        last, balance = len(self.text.layers) - 1, []
        for i, layer in enumerate(self.text.layers):
            a = rms(h, eps) * layer.input_layernorm.weight
            att = layer.self_attn
            heads = lambda x, linear: (x @ linear.weight.T).view(len(x), -1, cfg.head_dim)
            k, v = heads(a, att.k_proj), heads(a, att.v_proj)
            if cfg.no_rope_layers[i]:
                q, k, pieces = rms(rotate(heads(a, att.q_proj), freqs), eps), rms(rotate(k, freqs), eps), chunks
            elif i < last:
                q, pieces = heads(a, att.q_proj) * heat[:, None, None], whole
            else:
                # Behind the last keys and values, rows that nothing is learned from have no effect.
                q, pieces = heads(a[wanted], att.q_proj) * heat[wanted, None, None], pieces_to(lengths, wanted)
                h = h[wanted]
            out = Attention.apply(q, k, v, pieces)
            if watch:
                watch.attention(i, q, k)
            h = h + out @ att.o_proj.weight.T
            y = rms(h, eps) * layer.post_attention_layernorm.weight
            if layer.is_moe_layer:
                h = h + experts(layer.feed_forward, y, balance)
            else:
                h = h + dense(layer.feed_forward, y)
            if watch:
                watch.stream(i, h)
        return rms(h, eps) * self.text.norm.weight, sum(balance) / max(1, len(balance))

    def logits(self, hidden):
        return hidden @ self.model.language_model.lm_head.weight.T

    def tower(self, pixels):
        """Tiles [N, 3, 64, 64] to features [N, 16, width]."""
        tower, cfg = self.model.vision_model, self.model.config.vision_config
        n, p = pixels.shape[0], cfg.patch_size
        grid = cfg.image_size // p
        x = pixels.view(n, 3, grid, p, grid, p).permute(0, 2, 4, 1, 3, 5).reshape(n, grid * grid, -1)
        x = x @ tower.patch_embedding.linear.weight.T
        x = torch.cat([x, tower.class_embedding.expand(n, 1, -1)], 1) + tower.positional_embedding_vlm
        x = tower.layernorm_pre(x)
        freqs = tower.rotary_embedding.freqs_ci.view(x.shape[1], 1, -1)
        heads = lambda y, linear: linear(y).view(*y.shape[:2], cfg.num_attention_heads, -1)
        for layer in tower.model.layers:
            att, y = layer.self_attn, layer.input_layernorm(x)
            q, k, v = heads(y, att.q_proj), heads(y, att.k_proj), heads(y, att.v_proj)
            q, k = rotate(q, freqs), rotate(k, freqs)
            out = F.scaled_dot_product_attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2))
            x = x + att.o_proj(out.transpose(1, 2).flatten(2))
            y = layer.post_attention_layernorm(x)
            x = x + layer.mlp.fc2(F.gelu(layer.mlp.fc1(y)))
        x = tower.layernorm_post(x)[:, :-1]
        x = x.view(n, grid // 2, 2, grid // 2, 2, -1).permute(0, 1, 3, 2, 4, 5).reshape(n, grid * grid // 4, -1)
        mlp = tower.vision_adapter.mlp
        return F.gelu(mlp.fc2(F.gelu(mlp.fc1(x))))
