"""Images as the tower takes them: a canvas of tiles, bilinear resizing, and the whole image as the last tile."""

import numpy as np
from PIL import Image

TILE = 64
MAX_TILES = 16
# The order decides ties only; it is that of transformers.
CANVASES = [
    (1, 16), (2, 8), (1, 4), (4, 4), (3, 3), (2, 2), (1, 1), (8, 2), (4, 1), (16, 1), (1, 15), (3, 5), (5, 3), (15, 1), (1, 14),
    (2, 7), (7, 2), (14, 1), (1, 13), (13, 1), (1, 12), (2, 6), (1, 3), (3, 4), (4, 3), (6, 2), (3, 1), (12, 1), (1, 11), (11, 1),
    (1, 10), (2, 5), (5, 2), (10, 1), (1, 9), (9, 1), (1, 8), (2, 4), (1, 2), (4, 2), (2, 1), (8, 1), (1, 7), (7, 1), (1, 6),
    (2, 3), (3, 2), (6, 1), (1, 5), (5, 1),
]  # fmt: skip


def choose(w: int, h: int):
    """The canvas (rows, cols) for an image of w x h pixels."""
    scales = [min(np.float32(TILE * c) / np.float32(w), np.float32(TILE * r) / np.float32(h)) for r, c in CANVASES]
    up = [s for s in scales if s >= 1]
    best = min(up) if up else max(scales)
    fitting = [canvas for canvas, s in zip(CANVASES, scales) if s == best]
    return min(fitting, key=lambda rc: rc[0] * rc[1])


def normalise(image: Image.Image) -> np.ndarray:
    """[3, H, W] from -1 to 1."""
    pixels = np.asarray(image, dtype=np.float32).transpose(2, 0, 1)
    return pixels / 127.5 - 1


def cut(image: Image.Image):
    """(rows, cols, tiles [3, 64, 64]); more than one tile are followed by the whole image."""
    w, h = image.size
    if (w, h) == (TILE, TILE):
        return 1, 1, [normalise(image)]
    rows, cols = choose(w, h)
    full_w, full_h = TILE * cols, TILE * rows
    limit_w, limit_h = min(max(w, TILE), full_w), min(max(h, TILE), full_h)
    sw, sh = limit_w / w, limit_h / h
    if sw < sh:
        size = (limit_w, max(1, min(int(h * sw), limit_h)))
    else:
        size = (max(1, min(int(w * sh), limit_w)), limit_h)
    padded = Image.new("RGB", (full_w, full_h))
    padded.paste(image.resize(size, Image.Resampling.BILINEAR) if size != (w, h) else image, (0, 0))
    boxes = [(c * TILE, r * TILE, (c + 1) * TILE, (r + 1) * TILE) for r in range(rows) for c in range(cols)]
    tiles = [normalise(padded.crop(box)) for box in boxes]
    if len(tiles) > 1:
        tiles.append(normalise(image.resize((TILE, TILE), Image.Resampling.BILINEAR)))
    return rows, cols, tiles
