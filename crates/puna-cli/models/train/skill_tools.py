"""Tool calls in the pythonic format and JSON objects on request."""

import json
from random import Random

from sample import Sample, ask, join
from skill_chat import CAPITALS, NAMES, PALETTE_WORDS, WORDS

CITIES = list(CAPITALS.values())

# name, description, {parameter: (type, description)}, ways to ask; {parameter} is filled in.
TOOLS = [
    ("get_weather", "Get the weather of a city", {"city": "string"},
     ["What is the weather in {city}?", "How is the weather in {city}?", "Is it raining in {city}?"]),
    ("get_time", "Get the local time of a city", {"city": "string"},
     ["What time is it in {city}?", "Tell me the time in {city}.", "How late is it in {city}?"]),
    ("add", "Add two numbers", {"a": "integer", "b": "integer"},
     ["Use the tool to add {a} and {b}.", "Add {a} and {b}.", "What is the sum of {a} and {b}?"]),
    ("multiply", "Multiply two numbers", {"a": "integer", "b": "integer"},
     ["Multiply {a} by {b}.", "Multiply {a} and {b}.", "What is the product of {a} and {b}?"]),
    ("send_message", "Send a message to a person", {"to": "string", "text": "string"},
     ["Send {to} the message '{text}'.", "Tell {to}: {text}", "Write to {to}: {text}"]),
    ("set_alarm", "Set an alarm", {"hour": "integer", "minute": "integer"},
     ["Set an alarm for {hour}:{minute}.", "Wake me at {hour}:{minute}.", "Alarm at {hour}:{minute}, please."]),
    ("set_light", "Switch the light of a room", {"room": "string", "on": "boolean"},
     ["Switch {on} the light in the {room}.", "Turn {on} the {room} light.", "{on} with the light in the {room}!"]),
    ("play_song", "Play a song", {"title": "string"},
     ["Play the song '{title}'.", "Play '{title}'.", "I want to hear '{title}'."]),
    ("search", "Search the library for a book", {"query": "string", "limit": "integer"},
     ["Find {limit} books about {query}.", "Search for {limit} books on {query}.", "Show me {limit} books about {query}."]),
    ("buy", "Buy goods in a shop", {"item": "string", "count": "integer"},
     ["Buy {count} of {item}.", "Order {item}, {count} times.", "I need {count} times {item}."]),
    ("paint", "Paint a thing in a colour", {"thing": "string", "colour": "string"},
     ["Paint the {thing} {colour}.", "Make the {thing} {colour}.", "Give the {thing} the colour {colour}."]),
    ("book_table", "Book a table", {"name": "string", "guests": "integer"},
     ["Book a table for {guests} for {name}.", "Reserve a table for {guests}, name {name}."]),
]  # fmt: skip
# In training: how often a request wants two calls, which are learned last.
PAIRS = 0.35
ROOMS = "kitchen hall garden cellar bedroom bathroom office".split()


def value(r: Random, name: str):
    if name in ("a", "b"):
        return r.randint(1, 99)
    if name in ("hour", "minute", "limit", "count", "guests"):
        return {"hour": r.randint(1, 23), "minute": r.randint(10, 59)}.get(name, r.randint(2, 12))
    if name in ("to", "name"):
        return r.choice(NAMES)
    if name == "on":
        return r.random() < 0.5
    if name == "text":
        return " ".join(r.choices(WORDS, k=r.randint(1, 3)))
    return r.choice({"city": CITIES, "room": ROOMS, "colour": PALETTE_WORDS}.get(name, WORDS))


def describe(tool) -> dict:
    name, text, parameters, _ = tool
    properties = {key: {"type": kind} for key, kind in parameters.items()}
    return {
        "name": name,
        "description": text,
        "parameters": {"type": "dict", "required": list(parameters), "properties": properties},
    }


def offer(tools: list, system: str) -> str:
    """As puna offers tools in a system message in the pythonic format (`tools_in_system`)."""
    head = "Here is a list of functions in JSON format that you can invoke. Use exact format: "
    head += "[func_name1(param1=value1, param2=value2), func_name2(...)]\n"
    return f"{system}\n{head}{json.dumps([describe(t) for t in tools], indent=4)}"


def python(v) -> str:
    return f'"{v}"' if isinstance(v, str) else str(v)


def call(r: Random, tool):
    """A request for the tool, and the call that answers it."""
    name, _, parameters, requests = tool
    values = {key: value(r, key) for key in parameters}
    said = {k: ("on" if v else "off") if isinstance(v, bool) else v for k, v in values.items()}
    request = r.choice(requests).format(**said)
    request = request[0].upper() + request[1:]
    return request, f"{name}({', '.join(f'{k}={python(v)}' for k, v in values.items())})"


def tools(r: Random, longest: int, pairs: float) -> Sample:
    """Up to three tools and requests; where samples are to be short one tool, and more requests for its description."""
    short = longest <= 100
    offered = r.sample(TOOLS, 1 if short else r.choice([1, 1, 2, 2, 3]))
    system = offer(
        offered, r.choice(["You are a helpful assistant.", "Answer with function calls.", "You can call functions."])
    )
    samples = []
    for i in range(r.choice([2, 3, 4, 5] if short else [1, 2, 3])):
        if r.random() < pairs:
            # Two calls at once.
            (q1, c1), (q2, c2) = call(r, r.choice(offered)), call(r, r.choice(offered))
            request, answer = f"{q1} {q2}", f"{c1}, {c2}"
        else:
            request, answer = call(r, r.choice(offered))
        samples.append(ask("tools", request, f"[{answer}]", "" if i else system, key=request))
    return join(samples)


FIELDS = {
    "name": (NAMES, "name {}"), "age": (range(1, 99), "age {}"), "city": (CITIES, "city {}"),
    "colour": (PALETTE_WORDS, "colour {}"), "count": (range(1, 99), "count {}"), "item": (WORDS, "item {}"),
    "price": (range(1, 999), "price {}"), "id": (range(1, 9999), "id {}"), "open": ([True, False], "open {}"),
}  # fmt: skip


def json_object(r: Random) -> Sample:
    system = r.choice(["", "", "You answer in JSON.", "Answer in JSON only."])
    if r.random() < 0.3:
        items = r.sample(WORDS, r.randint(2, 4)) if r.random() < 0.5 else r.sample(range(100), r.randint(2, 5))
        q = r.choice(["Give me a JSON list of {}.", "Write {} as a JSON list.", "Make a JSON array of {}."])
        return ask("json", q.format(", ".join(map(str, items))), json.dumps(items), system)
    keys = r.sample(list(FIELDS), r.randint(1, 4))
    values = {key: r.choice(FIELDS[key][0]) for key in keys}
    said = [FIELDS[k][1].format(str(v).lower() if isinstance(v, bool) else v) for k, v in values.items()]
    listed = said[0] if len(said) == 1 else ", ".join(said[:-1]) + " and " + said[-1]
    q = r.choice(
        [
            "Give me a JSON object with {}.",
            "Write a JSON object with {}.",
            "JSON with {}, please.",
            "Make a JSON object: {}.",
        ]
    )
    return ask("json", q.format(listed), json.dumps(values), system)
