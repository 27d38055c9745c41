"""Overwriting fields of a JSON text in place: every other byte, and the length, stay as they were.

A small scanner instead of a parser, because a parser forgets where in the text a value stood, and a body that is
encoded anew is no longer the recorded one.
"""

import json
import re
from collections.abc import Iterable

Path = tuple[str, ...]

_TOKEN = re.compile(
    rb"""[ \t\r\n]*(?:
      (?P<flat>\[[^\[\]{}"]*\])            # a list of numbers and the like: taken whole, for speed
    | (?P<string>"[^"\\\x00-\x1f]*(?:\\.[^"\\\x00-\x1f]*)*")
    | (?P<number>-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)
    | (?P<word>true|false|null|NaN|-?Infinity)
    | (?P<mark>[{}\[\],:])
    )""",
    re.VERBOSE | re.DOTALL,
)
_ENDS = re.compile(rb"[ \t\r\n]*\Z")
_DIGIT = re.compile(rb"[0-9]")
_SCALAR = re.compile(
    rb"[ \t\r\n]*(?:-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?|true|false|null|NaN|-?Infinity)[ \t\r\n]*"
)


class NotJson(ValueError):
    """The text is not JSON, so nobody can say where its fields are."""


def parse_path(text: str) -> Path:
    """`user.email` as a path of keys. Lists on the way need no step: the path goes through every element.

    Raises `ValueError` for a path with an empty step.
    """
    path = tuple(text.split("."))
    if not all(path):
        raise ValueError(f"the field {text!r} is no path; write the keys with dots between them, such as user.email")
    return path


def overwrite(text: bytes, paths: Iterable[Path]) -> tuple[bytes, int]:
    """The JSON text, or sequence of them, with the fields at `paths` made illegible, and how many values that were.

    Strings become as many `x` bytes, digits become 1; in an object at a path the keys, too. true, false and null stay.
    Raises `NotJson` where the fields cannot be told apart; a text that cannot hold any is returned as it is.
    """
    if b"\0" in text:
        raise NotJson("it holds zero bytes, so it is not JSON in UTF-8")
    paths = tuple(paths)
    if b"\\" not in text:  # else a key may be spelled with escapes
        paths = tuple(path for path in paths if all(key.encode() in text for key in path))
    if not paths:
        return text, 0
    scanner = _Scanner(text, paths)
    scanner.run()
    return bytes(scanner.out), scanner.count


class _Scanner:
    """One pass over the text. `out` is the text so far overwritten."""

    def __init__(self, text: bytes, paths: tuple[Path, ...]) -> None:
        self.out = bytearray(text)
        self.count = 0
        self._text = text
        self._paths = paths

    def run(self) -> None:
        # The state of each open object and list: the suffixes of paths that hold for its values, and whether it is an
        # object. An empty suffix says: at a path, overwrite.
        stack: list[tuple[tuple[Path, ...], bool]] = []
        rest, expect = self._paths, "value"  # or "key", "first key", "first value", "colon", "comma"
        at, text = 0, self._text
        if _ENDS.match(text):
            raise NotJson("the body is empty")
        while not (expect == "value" and not stack and _ENDS.match(text, at)):
            match = _TOKEN.match(text, at)
            if match is None:
                raise NotJson(f"not JSON at byte {at}")
            kind, token, at = str(match.lastgroup), match[str(match.lastgroup)], match.end()
            if expect in ("key", "first key"):
                if kind == "string":
                    key = _text(token)
                    inside = () in stack[-1][0]
                    if inside:
                        self._fill(match.start("string") + 1, match.end("string") - 1)
                    rest = ((),) if inside else tuple(path[1:] for path in stack[-1][0] if path[0] == key)
                    expect = "colon"
                    continue
                if not (token == b"}" and expect == "first key"):
                    raise NotJson(f"not JSON at byte {at}: a key was expected")
                stack.pop()
            elif expect == "colon":
                if token != b":":
                    raise NotJson(f"not JSON at byte {at}: a colon was expected")
                expect = "value"
                continue
            elif expect == "comma":
                is_object = stack[-1][1]
                if token == b",":
                    expect, rest = ("key" if is_object else "value"), stack[-1][0]
                    continue
                if token != (b"}" if is_object else b"]"):
                    raise NotJson(f"not JSON at byte {at}: a comma was expected")
                stack.pop()
            elif token == b"{" or token == b"[":
                stack.append((rest, token == b"{"))
                expect = "first key" if token == b"{" else "first value"
                continue
            elif token == b"]" and expect == "first value":
                stack.pop()
            elif kind == "mark":
                raise NotJson(f"not JSON at byte {at}: a value was expected")
            else:
                self._value(kind, match.start(kind), match.end(kind), () in rest)
            expect = "comma" if stack else "value"
            rest = self._paths
        if stack:
            raise NotJson("the JSON text is cut off")

    def _value(self, kind: str, start: int, end: int, hide: bool) -> None:
        if not hide:
            return
        if kind == "string":
            self._fill(start + 1, end - 1)
        else:
            inner = self._text[start + 1 : end - 1]
            if kind == "flat" and inner.strip() and not all(map(_SCALAR.fullmatch, inner.split(b","))):
                raise NotJson(f"not JSON at byte {start}: a list was expected")
            self.out[start:end] = _DIGIT.sub(b"1", self._text[start:end])
        self.count += 1

    def _fill(self, start: int, end: int) -> None:
        self.out[start:end] = b"x" * (end - start)


def _text(token: bytes) -> str:
    try:
        return str(json.loads(token.decode()))
    except ValueError as fault:
        raise NotJson(f"not a JSON string: {fault}") from None
