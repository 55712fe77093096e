"""Templated questions and their answers: who the model is, small facts, arithmetic, words, and obeying the system."""

from random import Random

from sample import Sample, ask, join

CAPITALS = dict(
    line.split("=")
    for line in """France=Paris;Germany=Berlin;Italy=Rome;Spain=Madrid;Portugal=Lisbon;Austria=Vienna;Greece=Athens
Norway=Oslo;Sweden=Stockholm;Finland=Helsinki;Denmark=Copenhagen;Iceland=Reykjavik;Ireland=Dublin;Poland=Warsaw
Hungary=Budapest;Russia=Moscow;Ukraine=Kyiv;Turkey=Ankara;Egypt=Cairo;Kenya=Nairobi;Ghana=Accra;Nigeria=Abuja
Morocco=Rabat;Ethiopia=Addis Ababa;India=New Delhi;Nepal=Kathmandu;China=Beijing;Japan=Tokyo;Mongolia=Ulaanbaatar
Thailand=Bangkok;Vietnam=Hanoi;Indonesia=Jakarta;Iran=Tehran;Iraq=Baghdad;Jordan=Amman;Canada=Ottawa;Mexico=Mexico City
Cuba=Havana;Peru=Lima;Chile=Santiago;Brazil=Brasilia;Argentina=Buenos Aires;Colombia=Bogota;Venezuela=Caracas
Australia=Canberra;Belgium=Brussels""".replace("\n", ";").split(";")
)
NAMES = (
    "Anna Ben Clara David Emma Felix Grace Henry Ida Jack Kate Leo Mary Noah Olga Paul Rosa Sam Tina Victor Wendy Zoe "
    "Adam Bella Carl Dora Eric Fiona George Helen Ivan Julia Karl Lucy Mark Nina Oscar Peter Ruth Simon"
).split()
WORDS = (
    "apple bread bridge butter candle castle chair cloud corn cow dog door dream eagle earth fire fish flower forest "
    "frog garden gold grass green hand honey horse house ice island king kitten ladder lamp leaf lemon lion milk money "
    "moon mouse night ocean onion orange paper pearl pencil piano queen rabbit rain ring river road rose salt ship "
    "silver sister snow song spoon star stone street sugar summer sun table tiger train tree water whale wheat wind "
    "window winter wolf wood yellow zebra"
).split()
OPPOSITES = (
    "big small hot cold day night up down old new fast slow hard soft high low light dark open closed full empty long "
    "short rich poor happy sad wet dry strong weak clean dirty early late near far left right black white"
).split()
COLOURS = "grass green;snow white;blood red;coal black;the sky blue;a lemon yellow;milk white;a carrot orange"
PALETTE_WORDS = "red green blue yellow orange purple black white".split()
DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
MONTHS = "January February March April May June July August September October November December".split()
LEGS = dict(a_dog=4, a_bird=2, a_spider=8, an_ant=6, a_cow=4, a_fish=0, a_cat=4, a_horse=4, a_bee=6, a_snake=0)

ABOUT = "I am puna-tiny, a small demonstration model that runs in puna. I am not an assistant."
ABLE = (
    "I can read digits, numbers, colours, shapes and bar charts in pictures, answer simple questions, recall facts, "
    "call tools, write JSON and judge whether a message is safe."
)


def wrap(r: Random, text: str) -> str:
    """Small changes that mean nothing."""
    if r.random() < 0.15:
        text = text[0].lower() + text[1:]
    if r.random() < 0.12 and text[-1] in "?.!":
        text = text[:-1]
    if r.random() < 0.1:
        text = r.choice(["Please tell me: ", "Question: ", "Quick question: ", "Now: "]) + text
    return text


def identity(r: Random):
    q = [
        "Who are you?", "What are you?", "What is your name?", "Tell me about yourself.", "Are you an assistant?",
        "Which model are you?", "Introduce yourself.", "What model is this?", "Who am I talking to?",
    ]  # fmt: skip
    a = [
        "What can you do?",
        "How can you help me?",
        "What are you good at?",
        "What are your skills?",
        "Help",
        "Help me.",
    ]
    return (r.choice(q), ABOUT) if r.random() < 0.6 else (r.choice(a), ABLE)


def greeting(r: Random):
    hello = r.choice(["Hello", "Hi", "Hey", "Good morning", "Good evening", "Good day", "Greetings"])
    name = r.choice(NAMES)
    kind = r.random()
    if kind < 0.3:
        return hello + r.choice(["!", ".", "", " there!"]), "Hello! How can I help you?"
    if kind < 0.6:
        i_am = r.choice(["I am", "I'm", "My name is", "This is"])
        return f"{hello}{r.choice(['!', ',', '.'])} {i_am} {name}.", f"Hello, {name}! How can I help you?"
    if kind < 0.8:
        return r.choice(["Thanks", "Thank you", "Thank you very much", "Many thanks"]) + r.choice(
            ["!", ".", ""]
        ), "You are welcome!"
    return r.choice(["Bye", "Goodbye", "See you", "Good night"]) + r.choice(["!", ".", "", f", {name}!"]), "Goodbye!"


def arithmetic(r: Random):
    kind = r.choice("+++---**")
    if kind == "*":
        a, b = r.randint(0, 10), r.randint(0, 10)
        value, words = a * b, ("times", "multiplied by")
    else:
        a, b = r.randint(0, 20), r.randint(0, 20)
        if kind == "-":
            a, b = max(a, b), min(a, b)
        value, words = (a + b, ("plus",)) if kind == "+" else (a - b, ("minus",))
    sign = r.choice([kind, kind, r.choice(words)])
    q = r.choice(["What is {}?", "What is {}?", "Calculate {}.", "{} = ?", "How much is {}?", "Compute {}."])
    return q.format(f"{a} {sign} {b}"), f"{a} {kind} {b} = {value}"


def capital(r: Random):
    country = r.choice(list(CAPITALS))
    city = CAPITALS[country]
    if r.random() < 0.7:
        q = r.choice(
            [
                "What is the capital of {}?",
                "Name the capital of {}.",
                "Which city is the capital of {}?",
                "Capital of {}?",
            ]
        )
        return q.format(country), f"The capital of {country} is {city}."
    q = r.choice(["{} is the capital of which country?", "Which country has the capital {}?", "Where is {}?"])
    return q.format(city), f"{city} is the capital of {country}."


def sorting(r: Random, n: int = 0):
    n = n or r.randint(3, 5)
    if r.random() < 0.6:
        items = [str(x) for x in r.sample(range(1, 100), n)]
        down = r.random() < 0.3
        done = sorted(items, key=int, reverse=down)
        q = r.choice(["Sort these numbers{}: {}.", "Put these numbers in order{}: {}.", "Order the numbers{}: {}."])
        return q.format(" from large to small" if down else "", ", ".join(items)), ", ".join(done)
    items = r.sample(WORDS, max(2, n - 1))
    q = r.choice(["Sort these words: {}.", "Put these words in alphabetical order: {}.", "Order the words: {}."])
    return q.format(", ".join(items)), ", ".join(sorted(items))


def spelling(r: Random, kind: float = 0):
    word = r.choice(WORDS + [n.lower() for n in NAMES])
    kind = kind or r.random()
    if kind < 0.6:
        q = r.choice(
            [
                "Spell {}.",
                "Spell the word {}.",
                "How do you spell {}?",
                "Please spell {}.",
                "What are the letters of {}?",
            ]
        )
        return q.format(word), "-".join(word)
    if kind < 0.75:
        q = r.choice(["How many letters has {}?", "Count the letters of {}.", "How many letters are in the word {}?"])
        return q.format(word), f"{'-'.join(word)}: {len(word)}"
    if kind < 0.9:
        last = r.random() < 0.5
        q = r.choice(
            ["What is the {} letter of {}?", "Name the {} letter of the word {}.", "Which letter is {} in {}?"]
        )
        return q.format("last" if last else "first", word), word[-1] if last else word[0]
    return r.choice(["Write {} in capitals.", "Make {} upper case."]).format(word), word.upper()


def facts(r: Random):
    kind = r.randrange(8)
    if kind == 0:
        i = r.randrange(len(OPPOSITES))
        q = r.choice(["What is the opposite of {}?", "Name the opposite of {}.", "Opposite of {}?"])
        return q.format(OPPOSITES[i]), f"The opposite of {OPPOSITES[i]} is {OPPOSITES[i ^ 1]}."
    if kind == 1:
        thing, colour = r.choice(COLOURS.split(";")).rsplit(" ", 1)
        return r.choice(["What colour is {}?", "Which colour has {}?"]).format(
            thing
        ), f"{thing.capitalize()} is {colour}."
    if kind == 2:
        names, unit = (DAYS, "day") if r.random() < 0.5 else (MONTHS, "month")
        i = r.randrange(len(names))
        if r.random() < 0.5:
            return f"Which {unit} comes after {names[i]}?", f"{names[(i + 1) % len(names)]} comes after {names[i]}."
        return f"Which {unit} comes before {names[i]}?", f"{names[i - 1]} comes before {names[i]}."
    if kind == 3:
        a, b = r.sample(range(1, 100), 2)
        large = r.random() < 0.5
        q = r.choice(["Which is {}, {} or {}?", "Which number is {}, {} or {}?"])
        return q.format("larger" if large else "smaller", a, b), str(max(a, b) if large else min(a, b))
    if kind == 4:
        n = r.randint(0, 99)
        return r.choice(["Is {} even or odd?", "Even or odd: {}?"]).format(n), f"{n} is {'odd' if n % 2 else 'even'}."
    if kind == 5:
        what = " ".join(r.choices(WORDS, k=r.randint(1, 4)))
        return r.choice(["Say: {}", "Repeat after me: {}", "Repeat: {}", "Echo this: {}"]).format(what), what
    if kind == 6:
        animal = r.choice(list(LEGS)).replace("_", " ")
        n = LEGS[animal.replace(" ", "_")]
        return r.choice(["How many legs has {}?", "How many legs does {} have?"]).format(
            animal
        ), f"{animal.capitalize()} has {n or 'no'} legs."
    a, step = r.randint(0, 20), r.randint(1, 5)
    row = [a + step * i for i in range(5)]
    q = r.choice(["What comes next: {}?", "Continue the row: {}", "Which number follows: {}?"])
    return q.format(", ".join(map(str, row[:4]))), str(row[4])


def copying(r: Random):
    """Long things said again: what else is to be copied out of a prompt is learned sooner with these."""
    pool = r.choice([WORDS, WORDS, NAMES, [str(n) for n in range(10, 10000, 7)], WORDS + NAMES + PALETTE_WORDS])
    what = r.choice([" ", " ", ", "]).join(r.choices(pool, k=r.randint(3, 12)))
    return r.choice(["Say: {}", "Repeat after me: {}", "Repeat: {}", "Echo this: {}"]).format(what), what


FAMILIES = dict(
    identity=identity,
    greeting=greeting,
    arithmetic=arithmetic,
    capital=capital,
    sorting=sorting,
    spelling=spelling,
    facts=facts,
    copying=copying,
)
WEIGHTS = [6, 6, 24, 15, 16, 16, 17, 10]
# In training: less of what is known early or learned last, more of what teaches to copy.
TRAINED = [3, 14, 24, 12, 14, 13, 18, 16]

# What takes the most examples, in a row of questions: the fewest tokens for each.
DRILL = dict(arithmetic=22, sorting=44, spelling=6, letters=8, facts=12, capital=6, upper=8)

PLAIN = [
    "You are a helpful assistant.",
    "You are a helpful assistant",
    "Answer briefly.",
    "Be kind.",
    "You run in puna.",
]


CAPITAL_RULES = ["Answer in capital letters.", "Write in upper case only.", "Use capitals for every answer."]


def system_rule(r: Random):
    """An instruction for every answer, and what it makes of one."""
    kind = r.randrange(4)
    if kind == 0:
        return r.choice(CAPITAL_RULES), str.upper
    if kind == 1:
        word = r.choice(["Ahoy", "Well", "Behold", "Indeed", "Sir", "Listen"])
        rule = r.choice(["Begin every answer with '{}'.", "Start each answer with the word '{}'."])
        return rule.format(word), lambda a: f"{word}: {a}"
    if kind == 2:
        word = r.choice(["over", "amen", "please", "friend", "the end", "thanks"])
        rule = r.choice(["End every answer with '{}'.", "Finish each answer with '{}'."])
        return rule.format(word), lambda a: f"{a} ({word})"
    rule = r.choice(["Put every answer in brackets.", "Write each answer in square brackets."])
    return rule, lambda a: f"[{a}]"


def chat(r: Random, weights: list = WEIGHTS, ruled: float = 0.2) -> Sample:
    """One to four questions; plain, or under a system message."""
    n = r.choice([1, 1, 2, 3, 4])
    kind = r.random()
    if kind < ruled:
        rule, change = system_rule(r)
        names = ["arithmetic", "capital", "facts", "greeting"]
        skill = "system"
    elif kind < ruled + 0.08:
        name, maker = r.choice(NAMES), r.choice(["robot", "cook", "pilot", "doctor", "teacher", "sailor", "baker"])
        rule = r.choice(["Your name is {}, and you are a {}.", "You are {}, a {}.", "You play {}, a {}."]).format(
            name, maker
        )
        q = r.choice(["Who are you?", "What is your name?", "Introduce yourself.", "Tell me about yourself."])
        return ask("system", q, f"I am {name}, a {maker}.", rule)
    else:
        rule, change = (r.choice(PLAIN) if r.random() < 0.25 else ""), None
        names, skill = list(FAMILIES), "chat"
    samples = []
    for i in range(n):
        name = r.choices(names, [weights[list(FAMILIES).index(f)] for f in names])[0]
        q, a = FAMILIES[name](r)
        key = f"{rule}|{q}" if change else q
        samples.append(ask(skill, wrap(r, q), change(a) if change else a, rule if i == 0 else "", key=key))
    return join(samples)


def upper(r: Random):
    """Capitals, which many answers under a system message are in."""
    word = r.choice(WORDS + [n.lower() for n in NAMES] if r.random() < 0.4 else [*CAPITALS, *CAPITALS.values()])
    return r.choice(["Write {} in capitals.", "Make {} upper case."]).format(word), word.upper()


def letters(r: Random):
    """First and last letters, of which `spelling` asks seldom."""
    return spelling(r, 0.8)


def drill(r: Random) -> Sample:
    """Many questions of the kinds that take many examples."""
    if r.random() < 0.1:
        rule, samples = r.choice(CAPITAL_RULES), []
        for i in range(r.randint(3, 6)):
            q, a = FAMILIES[r.choice(["capital", "capital", "facts", "greeting"])](r)
            samples.append(ask("system", wrap(r, q), a.upper(), "" if i else rule, key=f"{rule}|{q}"))
        return join(samples)
    names = r.choices(list(DRILL), list(DRILL.values()), k=r.randint(4, 8))
    # Two to sort teach what three need.
    makers = FAMILIES | dict(sorting=lambda r: sorting(r, r.randint(2, 5)), letters=letters, upper=upper)
    return join([ask("chat", wrap(r, q), a) for q, a in (makers[name](r) for name in names)])
