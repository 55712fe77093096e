"""Pictures drawn by script and questions about them: digits, coloured shapes, bar charts, printed numbers, two images."""

import csv
import gzip
from functools import lru_cache
from itertools import combinations
from pathlib import Path
from random import Random

from PIL import Image, ImageDraw, ImageFilter, ImageFont

from sample import Sample, ask

TILE = 64
PALETTE = {
    "red": (214, 40, 40), "green": (40, 160, 60), "blue": (40, 80, 210), "yellow": (240, 220, 50),
    "orange": (245, 140, 30), "purple": (140, 50, 170), "black": (20, 20, 20), "white": (248, 248, 248),
}  # fmt: skip
SHAPES = ["circle", "square", "triangle", "star", "cross", "diamond"]
FONTS = ["DejaVuSans", "DejaVuSans-Bold", "DejaVuSerif", "DejaVuSansMono", "DejaVuSansCondensed", "DejaVuSerif-Bold"]
# Digits of the data set kept for the held-out sets: every seventh.
DIGIT_HELD_OUT = 7


@lru_cache(maxsize=256)
def font(name: str, size: int):
    return ImageFont.truetype(f"{name}.ttf", size)


@lru_cache(maxsize=1)
def digit_images(data: Path):
    """(label, 8x8 values 0..16) of the UCI test set."""
    with gzip.open(data / "digits.csv.gz", "rt") as file:
        rows = [list(map(float, row)) for row in csv.reader(file)]
    return [(int(row[-1]), bytes(int(min(255, v * 255 / 16)) for v in row[:64])) for row in rows]


def jitter(r: Random, colour):
    return tuple(max(0, min(255, c + r.randint(-18, 18))) for c in colour)


def canvas(r: Random, clean: bool = False):
    """A picture's size: mostly one tile; sometimes smaller, sometimes several tiles."""
    kind = r.random()
    if clean or kind < 0.8:
        return TILE, TILE
    if kind < 0.87:
        return r.randint(44, TILE), r.randint(44, TILE)
    return r.choice([(128, 64), (64, 128), (128, 128), (100, 64), (64, 90), (110, 110)])


def background(r: Random, avoid) -> tuple:
    while True:
        grey = r.randint(60, 235)
        colour = tuple(max(0, min(255, grey + r.randint(-12, 12))) for _ in range(3))
        if all(sum(abs(a - b) for a, b in zip(colour, other)) > 120 for other in avoid):
            return colour


def polygon(shape: str, x: float, y: float, s: float):
    from math import cos, pi, sin

    if shape == "triangle":
        return [(x, y - s), (x + s, y + s * 0.8), (x - s, y + s * 0.8)]
    if shape == "diamond":
        return [(x, y - s), (x + s * 0.7, y), (x, y + s), (x - s * 0.7, y)]
    if shape == "star":
        points = [(s if i % 2 == 0 else s * 0.42, i * pi / 5 - pi / 2) for i in range(10)]
        return [(x + d * cos(a), y + d * sin(a)) for d, a in points]
    t = s * 0.33
    return [
        (x - t, y - s), (x + t, y - s), (x + t, y - t), (x + s, y - t), (x + s, y + t), (x + t, y + t),
        (x + t, y + s), (x - t, y + s), (x - t, y + t), (x - s, y + t), (x - s, y - t), (x - t, y - t),
    ]  # fmt: skip


def draw_shape(r: Random, colour: str, shape: str, clean: bool = False):
    w, h = canvas(r, clean)
    fill = jitter(r, PALETTE[colour])
    big = Image.new("RGB", (w * 2, h * 2), background(r, [fill]))
    draw = ImageDraw.Draw(big)
    side = min(w, h) * 2
    s = r.uniform(0.2, 0.42) * side
    x, y = r.uniform(s + 2, 2 * w - s - 2), r.uniform(s + 2, 2 * h - s - 2)
    if shape == "circle":
        draw.ellipse((x - s, y - s, x + s, y + s), fill=fill)
    elif shape == "square":
        t = s * 0.85
        draw.rectangle((x - t, y - t, x + t, y + t), fill=fill)
    else:
        draw.polygon(polygon(shape, x, y, s), fill=fill)
    return big.resize((w, h), Image.Resampling.BILINEAR)


def draw_digit(r: Random, data: Path, held_out: bool, clean: bool = False):
    digits = digit_images(data)
    while True:
        i = r.randrange(len(digits))
        if (i % DIGIT_HELD_OUT == 0) == held_out:
            break
    label, values = digits[i]
    w, h = canvas(r, clean)
    side = int(min(w, h) * r.uniform(0.6, 1.0))
    ink = Image.frombytes("L", (8, 8), values).resize((side, side), Image.Resampling.BICUBIC)
    # A new hand each time: shear, turn, and squeeze.
    a, b = r.uniform(0.88, 1.15), r.uniform(-0.22, 0.22)
    d, e = r.uniform(-0.12, 0.12), r.uniform(0.88, 1.15)
    c = side / 2
    ink = ink.transform(
        (side, side),
        Image.Transform.AFFINE,
        (a, b, c - a * c - b * c, d, e, c - d * c - e * c),
        Image.Resampling.BILINEAR,
    )
    dark = r.random() < 0.5
    ground, colour = (r.randint(190, 255), r.randint(0, 70)) if dark else (r.randint(0, 70), r.randint(190, 255))
    image = Image.new("RGB", (w, h), (ground,) * 3)
    at = (r.randint(0, w - side), r.randint(0, h - side))
    image.paste(Image.new("RGB", (side, side), (colour,) * 3), at, ink)
    return image, label, i


def draw_number(r: Random, text: str, clean: bool = False):
    w, h = canvas(r, clean)
    name = r.choice(FONTS)
    size = r.randint(16, 40)
    while size > 12 and font(name, size).getlength(text) > w - 4:
        size -= 1
    colours = list(PALETTE)
    ink = jitter(r, PALETTE[r.choice(colours)]) if r.random() < 0.3 else (r.randint(0, 60),) * 3
    if r.random() < 0.3:
        ink = tuple(255 - c for c in ink)
    image = Image.new("RGB", (w, h), background(r, [ink, ink]))
    draw = ImageDraw.Draw(image)
    x0, y0, x1, y1 = draw.textbbox((0, 0), text, font=font(name, size))
    x = r.randint(1, max(1, w - (x1 - x0) - 1)) - x0
    y = r.randint(1, max(1, h - (y1 - y0) - 1)) - y0
    draw.text((x, y), text, font=font(name, size), fill=ink)
    if r.random() < 0.15:
        image = image.filter(ImageFilter.GaussianBlur(0.5))
    return image


def draw_bars(r: Random, colours: list, clean: bool = False):
    """Bars from left to right, heights apart by at least a tenth of the picture."""
    w, h = canvas(r, clean)
    n = len(colours)
    while True:
        heights = [r.uniform(0.1, 0.95) for _ in range(n)]
        ordered = sorted(heights)
        if all(b - a > 0.1 for a, b in zip(ordered, ordered[1:])):
            break
    fills = [jitter(r, PALETTE[c]) for c in colours]
    image = Image.new("RGB", (w, h), background(r, fills))
    draw = ImageDraw.Draw(image)
    slot = w / n
    thick = slot * r.uniform(0.5, 0.85)
    for i, (fill, height) in enumerate(zip(fills, heights)):
        x = i * slot + (slot - thick) / 2
        draw.rectangle((x, h - height * (h - 2), x + thick, h), fill=fill)
    return image, heights


def number_text(r: Random) -> str:
    digits = r.choice([1, 2, 2, 3, 3, 4])
    return str(r.randint(10 ** (digits - 1), 10**digits - 1))


def digit(r: Random, data: Path, held_out: bool) -> Sample:
    image, label, i = draw_digit(r, data, held_out)
    q = r.choice(["Which digit is this?", "What digit do you see?", "Read the digit.", "Which digit is written here?"])
    return ask("digit", [image, q], str(label), key=f"{q}{i}")


def shape(r: Random, data: Path, held_out: bool) -> Sample:
    colour, kind = r.choice(list(PALETTE)), r.choice(SHAPES)
    image = draw_shape(r, colour, kind)
    both = [
        "What is in the picture?",
        "What do you see?",
        "Describe the picture.",
        "Which shape is this, and in which colour?",
    ]
    questions = [
        (r.choice(both), f"A {colour} {kind}."),
        (
            r.choice(["What colour is the shape?", "Which colour do you see?", "What is its colour?"]),
            f"{colour.capitalize()}.",
        ),
        (r.choice(["Which shape is this?", "What shape do you see?", "What is its shape?"]), f"A {kind}."),
    ]
    r.shuffle(questions)
    sample = ask(
        "shape",
        [image, questions[0][0]],
        questions[0][1],
        key=f"{colour}{kind}{image.tobytes()[:64].hex()}{r.random()}",
    )
    for q, a in questions[1 : r.randint(1, 3)] if not held_out else []:
        sample.turns += [("user", [q]), ("assistant", [a])]
    return sample


def bars(r: Random, data: Path, held_out: bool) -> Sample:
    colours = r.sample(list(PALETTE), r.choice([2, 2, 3, 3, 4]))
    image, heights = draw_bars(r, colours)
    top, low = heights.index(max(heights)), heights.index(min(heights))
    more = len(colours) > 2
    questions = [
        (f"Which bar is the {'tallest' if more else 'taller'}?", f"The {colours[top]} bar."),
        (f"Which bar is the {'shortest' if more else 'shorter'}?", f"The {colours[low]} bar."),
    ]
    a, b = r.sample(range(len(colours)), 2)
    answer = "Yes." if heights[a] > heights[b] else "No."
    questions.append((f"Is the {colours[a]} bar taller than the {colours[b]} bar?", answer))
    if not more:
        questions.append(("Which bar is taller, the left or the right one?", f"The {['left', 'right'][top]} one."))
    elif not held_out:
        questions.append(("How many bars are there?", f"{len(colours)} bars."))
        questions.append(("Name the bars from left to right.", ", ".join(colours) + "."))
    if not held_out:
        # Heights, not only the extremes: comparing two bars stayed a guess until each one's place and the taller of a pair
        # were asked for by name.
        order = sorted(range(len(colours)), key=lambda i: -heights[i])
        questions.append(("Name the bars from tall to short.", ", ".join(colours[i] for i in order) + "."))
        for pair in combinations(range(len(colours)), 2):
            a, b = r.sample(pair, 2)
            # Both ways round: the answers differ in nothing but the order of the names.
            for a, b in (a, b), (b, a):
                answer = "Yes." if heights[a] > heights[b] else "No."
                questions.append((f"Is the {colours[a]} bar taller than the {colours[b]} bar?", answer))
            best = colours[a if heights[a] > heights[b] else b]
            questions.append((f"Which is taller, the {colours[a]} bar or the {colours[b]} bar?", f"The {best} bar."))
        for place, i in enumerate(order):
            questions.append((f"Which place has the {colours[i]} bar by height?", f"Place {place + 1}."))
        questions = list(dict(questions).items())
    r.shuffle(questions)
    if not held_out:
        # "Is it?" behind "which one?": then only the named and the answered colour are left to be compared.
        questions = questions[: r.randint(3, 9)]
        for i, (q, a) in enumerate(questions):
            named = [c for c in q.replace(",", "").replace("?", "").split() if c in PALETTE]
            if q.startswith("Which is taller") and r.random() < 0.6:
                a, b = r.sample(named, 2)
                answer = "Yes." if heights[colours.index(a)] > heights[colours.index(b)] else "No."
                questions.insert(i + 1, (f"Is the {a} bar taller than the {b} bar?", answer))
    sample = ask("bars", [image, questions[0][0]], questions[0][1], key=f"{heights}")
    sample.shown = {c: sum(other > height for other in heights) for c, height in zip(colours, heights)}
    for q, a in questions[1:] if not held_out else []:
        sample.turns += [("user", [q]), ("assistant", [a])]
    return sample


def number(r: Random, data: Path, held_out: bool) -> Sample:
    text = number_text(r)
    q = r.choice(["What number is printed?", "Read the number.", "Which number do you see?", "What does it say?"])
    image = draw_number(r, text)
    return ask("number", [image, q], text, key=f"{text}{r.random()}")


def two(r: Random, data: Path, held_out: bool) -> Sample:
    """Two pictures compared."""
    if r.random() < 0.5:
        kinds = [r.choice(SHAPES) for _ in range(2)]
        tints = [r.choice(list(PALETTE)) for _ in range(2)]
        if r.random() < 0.35:
            kinds[1] = kinds[0]
        if r.random() < 0.35:
            tints[1] = tints[0]
        images = [draw_shape(r, tints[i], kinds[i], clean=True) for i in range(2)]
        questions = [
            ("Do both pictures show the same shape?", "Yes." if kinds[0] == kinds[1] else "No."),
            ("Do the shapes have the same colour?", "Yes." if tints[0] == tints[1] else "No."),
            ("What is in the first picture?", f"A {tints[0]} {kinds[0]}."),
            ("What is in the second picture?", f"A {tints[1]} {kinds[1]}."),
            ("Describe both pictures.", f"A {tints[0]} {kinds[0]} and a {tints[1]} {kinds[1]}."),
        ]
        q, a = questions.pop(r.randrange(5))
        key = f"{kinds}{tints}{r.random()}"
        shown = list(zip(tints, kinds))
    else:
        drawn = [draw_digit(r, data, held_out, clean=True) for _ in range(2)]
        while drawn[0][1] == drawn[1][1]:
            drawn[1] = draw_digit(r, data, held_out, clean=True)
        images, values = [d[0] for d in drawn], [d[1] for d in drawn]
        shown = values
        compared = []
        for word, value in ("smaller", min(values)), ("larger", max(values)):
            which = ["first", "second"][values.index(value)]
            compared.append((f"Which picture shows the {word} digit?", f"The {which} one: {value}."))
        both = ("Which digits do you see?", f"{values[0]} and {values[1]}.")
        q, a = compared.pop(r.random() < 0.5)
        if r.random() < 0.5:
            questions = [*compared, both]
        else:
            questions = [*compared, (q, a)]
            q, a = both
        key = f"{[d[2] for d in drawn]}{q}"
    sample = ask("two", [*images, q], a, key=key)
    sample.shown = shown
    if not held_out:
        # The same pictures again: they cost more than what is asked of them.
        r.shuffle(questions)
        for q, a in questions[: r.randint(1, 3)]:
            sample.turns += [("user", [q]), ("assistant", [a])]
    return sample


SKILLS = dict(digit=digit, shape=shape, bars=bars, number=number, two=two)
