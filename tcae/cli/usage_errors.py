"""What was wrong with the words of a command line, in one line instead of tyro's box."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Sequence

# Of tyro's sentences those that speak of Python's types, or say less than they know.
_SENTENCES = (
    (r"Unrecognized options: (.*)", r"belongs to no option: \1"),
    (r"Missing value for argument '(.+?)'\. Expected 1 values\.", r"\1: no value given"),
    (r"Missing value for argument '(.+?)'\. Expected (.*)\.", r"\1: fewer than \2 given"),
    (r"Error parsing (-\S+): invalid literal for int\(\) .*: ('.*')", r"\1: need INT, got \2"),
    (r"Error parsing (-\S+): could not convert string to float: ('.*')", r"\1: need FLOAT, got \2"),
    (r"Error parsing (-\S+): no type matching \{None\}\|\{?([^}]*?)\}? could be instantiated from "
     r"\[(.*?)\]\..*", r"\1: need \2, got \3"),
    (r"Error parsing ([A-Z]\w*): (.*)", r"\2"),  # the class of all options
    (r"Error parsing (.*)", r"\1"),
)  # fmt: skip


def usage_error(box: str, words: Sequence[str], help_text: str) -> str:
    r"""Return the line that says what is wrong with a command line.

    Args:
        box: What tyro printed: paragraphs between rules.
        words: The command line that it refused.
        help_text: What tyro prints for --help, which names the options that there are.

    Example:
        >>> box = "-----\n Missing value for argument '--seed'. Expected 1 values. \n-----\n"
        >>> usage_error(box, ["--seed"], "--data PATH, --seed INT")
        '--seed: no value given'
        >>> usage_error(box, ["--sed", "1"], "--data PATH, --seed INT")
        '--sed: unknown option, the nearest one is --seed'
    """
    # Tyro blames the words after an unknown option too, or the words that it then finds missing.
    known = set(re.findall(r"(?<![\w-])--[a-z][\w.-]*\w", help_text))
    if unknown := next((word for word in words if _is_unknown(word, known)), None):
        near = difflib.get_close_matches(unknown, known, n=1)
        return f"{unknown}: unknown option" + "".join(f", the nearest one is {n}" for n in near)
    lines = [line.strip("│ ") for line in box.splitlines()]
    rules = [i for i, line in enumerate(lines) if line[:1] in "╭╰" or not line.strip("─-")]
    text = " ".join(lines[rules[0] + 1 : rules[1]])
    if text.startswith("Missing from "):
        names = [name.split()[0] for name in text.partition(": ")[2].split("(required)")[:-1]]
        return f"{', '.join(names)}: needed, but not given"
    for pattern, sentence in _SENTENCES:
        if found := re.fullmatch(pattern, text):
            return found.expand(sentence)
    return text


def _is_unknown(word: str, known: Collection[str]) -> bool:
    name = word.partition("=")[0].replace("_", "-")
    return name.startswith("--") and name != "--" and name not in known
