"""pydantic's errors to sentences at their place in the file.

A sentence says which key, what is wrong with it and what is accepted, and names the nearest thing that is. Below
`sign_in`, `client`, `alerts` and `crm` nothing of the file is quoted: what stands there by mistake may be a password.
"""

from __future__ import annotations

import re
import typing
from collections.abc import Iterable, Sequence
from difflib import get_close_matches

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from proxyd.config import preset
from proxyd.config.crm import Crm, kinds_section
from proxyd.config.problems import START, Mark, NotAccepted, shown
from proxyd.config.sources import SOURCES, Command, Credential, Env, SecretFile, Section
from proxyd.config.tree import Broken, Kind, Listing, Node, Scalar, Table, described

SECRET_SECTIONS = ("sign_in", "client", "alerts", "crm")
_SECRETS = ("password", "secret", "client_secret")  # keys whose value says where a secret lies

_EXPECTED = {
    "string_type": "text",
    "int_type": "a whole number",
    "bool_type": "true or false",
    "tuple_type": "a list such as [a, b]",
    "too_short": "a list that is not empty",
    "string_pattern_mismatch": "a plain name",
}

_SOURCE_KEYS = [key for source in (Env, SecretFile, Command, Credential) for key in source.model_fields]

EXAMPLES = {"address": " (e.g. address: ada@example.com)", "provider": " (e.g. provider: gmail)"}

Loc = Sequence[int | str]


def sentences(error: ValidationError, root: Node, model: type[Section]) -> list[tuple[Mark, str]]:
    """One (place, sentence) for each thing that is wrong; what was reported as broken YAML is left out."""
    found = []
    every = error.errors(include_url=False, include_input=False)
    for details in every:
        if details["type"] == "too_short" and any(_below(other["loc"], details["loc"]) for other in every):
            continue  # it has entries; what is wrong with each of them is said
        spoken = _sentence(details, root, model)
        if spoken is not None and spoken not in found:
            found.append(spoken)
    return found


def _below(loc: Loc, above: Loc) -> bool:
    return len(loc) > len(above) and tuple(loc[: len(above)]) == tuple(above)


def _sentence(details: ErrorDetails, root: Node, model: type[Section]) -> tuple[Mark, str] | None:
    loc = [part for part in details["loc"] if not (isinstance(part, str) and part.startswith("\0"))]
    kind = details["type"]
    if kind == "extra_forbidden":
        return key_mark(root, loc), _unknown_key(loc, root, model)
    if kind == "missing":
        node, reached = _walk(root, loc[:-1])
        if isinstance(node, Broken) or not reached:
            return None
        return key_mark(root, loc[:-1]), f"the key {dotted(loc)} is missing{EXAMPLES.get(dotted(loc), '')}"
    node, reached = _walk(root, loc)
    if isinstance(node, Broken) or not reached:
        return None
    return node.mark, f"{dotted(loc)}: {_refusal(details, loc, node, model)}"


def _refusal(details: ErrorDetails, loc: Loc, node: Node, model: type[Section]) -> str:
    context = details.get("ctx", {})
    refused = context.get("error")
    words: list[str] = []
    if isinstance(refused, NotAccepted):
        accepted, problem = refused.accepted, refused.problem
        words = [accepted] if accepted.isalpha() and not problem else []
    elif details["type"] == "literal_error":
        words = re.findall(r"'([^']*)'", str(context["expected"]))
        accepted, problem = ", ".join(words), ""
    elif details["type"] == "model_type":
        accepted, problem = f"a mapping with these keys: {', '.join(_keys_at(model, loc))}", ""
    else:
        accepted, problem = str(context.get("accepted") or _EXPECTED.get(details["type"], "another value")), ""
    if loc[0] in SECRET_SECTIONS:
        return _about_secrets(loc, node, accepted, problem, model)
    accepted += _quotes(node, accepted)
    guess = near(node.text, words) if isinstance(node, Scalar) and node.kind is Kind.TEXT else ""
    return f"{problem or described(node)}{guess}; accepted: {accepted}"


def _about_secrets(loc: Loc, node: Node, accepted: str, problem: str, model: type[Section]) -> str:
    """Nothing that stands here is repeated; the `problem` that a setting of `crm` names repeats nothing either."""
    if _takes_a_source(model, loc):
        if isinstance(node, Scalar) and node.kind is not Kind.EMPTY:
            return f"a secret may not stand in this file; accepted: {SOURCES}"
        return f"this is not where a secret can lie; accepted: {SOURCES}"
    if problem and loc[0] == "crm":
        what = problem
    elif not isinstance(node, Scalar) or node.kind is Kind.EMPTY:
        what = described(node)
    elif node.kind is Kind.TEXT:
        what = "the text here is not accepted"
    else:
        what = f"YAML reads this as {node.kind}"
    return f"{what}; accepted: {accepted}{_quotes(node, accepted)}"


def _quotes(node: Node, accepted: str) -> str:
    """What helps where text is wanted and YAML made something else of it."""
    remade = isinstance(node, Scalar) and node.kind not in (Kind.TEXT, Kind.EMPTY)
    return ", in quotes" if remade and accepted.startswith("text") else ""


def _unknown_key(loc: Loc, root: Node, model: type[Section]) -> str:
    keys = _keys_at(model, loc[:-1])
    guess = near(str(loc[-1]), keys)
    named = f"the key {shown(str(loc[-1]))}"
    if loc[0] in SECRET_SECTIONS:
        # `{hunter2}` is a key without a value; only what is nearly a key, and has a value, was meant as one.
        value = _walk(root, loc)[0]
        source = _takes_a_source(model, loc[:-1])
        meant = guess and not source and not (isinstance(value, Scalar) and value.kind is Kind.EMPTY)
        named, guess = (named, guess) if meant else ("this key", "")
    place = f" in {dotted(loc[:-1])}" if len(loc) > 1 else ""
    accepted = SOURCES if _takes_a_source(model, loc[:-1]) else ", ".join(keys)
    return f"{named} is unknown{place}{guess}; accepted: {accepted}"


def near(text: str, words: Iterable[str]) -> str:
    """` (did you mean "contacts"?)` or nothing."""
    close = get_close_matches(text.lower(), list(words), n=1, cutoff=0.6)
    return f' (did you mean "{close[0]}"?)' if close else ""


def preset_unknown(name: str) -> str:
    known = preset.names()
    own = ", ".join(preset.presets())
    return f"provider: {shown(name)} is not a preset{near(name, known)}; accepted: {own}, or the servers spelled out"


def dotted(loc: Loc) -> str:
    """`sign_in.password`; entries of a list count from 1: `aliases, entry 2`."""
    text = ""
    for part in loc:
        if isinstance(part, int):
            text += f", entry {part + 1}"
        else:
            text += f".{part}" if text else str(part)
    return text


# --- places ------------------------------------------------------------------------------------------------


def _walk(root: Node, loc: Loc) -> tuple[Node, bool]:
    """The node at `loc`, or the last one on the way and False."""
    node = root
    for part in loc:
        if isinstance(node, Table) and (entry := node.entry(str(part))) is not None:
            node = entry.value
        elif isinstance(node, Listing) and isinstance(part, int) and part < len(node.items):
            node = node.items[part]
        else:
            return node, False
    return node, True


def value_mark(root: Node, loc: Loc) -> Mark:
    """Where the value at `loc` stands, or the nearest thing around it."""
    return _walk(root, loc)[0].mark


def key_mark(root: Node, loc: Loc) -> Mark:
    """Where the key at `loc` stands; the file's start for the whole of it."""
    if not loc:
        return START
    around, _ = _walk(root, loc[:-1])
    entry = around.entry(str(loc[-1])) if isinstance(around, Table) else None
    return entry.mark if entry is not None else value_mark(root, loc)


def _keys_at(model: type[Section], loc: Loc) -> list[str]:
    """The keys that the section at `loc` takes."""
    found: list[type[Section]] = [model]
    for part in loc:
        if isinstance(part, str):
            fields = [m.model_fields[part] for m in found if part in m.model_fields]
            found = [m for f in fields for m in _sections(f.annotation)]
    return [name for m in found for name in m.model_fields]


def _takes_a_source(model: type[Section], loc: Loc) -> bool:
    return (bool(loc) and loc[-1] in _SECRETS) or _keys_at(model, loc) == _SOURCE_KEYS


def _sections(annotation: object) -> list[type[Section]]:
    if annotation is Crm:
        return [kinds_section()]
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return [annotation]
    return [m for argument in typing.get_args(annotation) for m in _sections(argument)]
