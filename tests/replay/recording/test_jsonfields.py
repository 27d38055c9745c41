import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from locust_adaptive.replay.recording.jsonfields import NotJson, overwrite, parse_path

KEYS = st.sampled_from(["a", "b", "user", 'q"', "é", "\\"])
LEAVES = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8)
)
DOCUMENTS = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=20
)
PATHS = st.lists(st.lists(KEYS, min_size=1, max_size=3).map(tuple), min_size=1, max_size=3)
STYLES = st.sampled_from([{}, {"indent": 2}, {"ensure_ascii": False}, {"separators": (",", ":")}])
SECRET = 'CANARY-é\\"\n'


def leaves_at(document, path, inside=False):
    """Every scalar, and inside the path every key, that must not be legible."""
    if isinstance(document, list):
        for element in document:
            yield from leaves_at(element, path, inside)
    elif isinstance(document, dict):
        for key, value in document.items():
            if inside or not path:
                yield key
                yield from leaves_at(value, (), True)
            elif key == path[0]:
                yield from leaves_at(value, path[1:])
    elif not path or inside:
        yield document


def hidden(document, paths):
    """The reference: the document with every scalar at the paths replaced by None, and keys there by their order."""
    live = [path for path in paths if path]
    if len(live) < len(paths):
        return "hidden"
    if isinstance(document, list):
        return [hidden(element, paths) for element in document]
    if isinstance(document, dict):
        return {key: hidden(value, [path[1:] for path in live if path[0] == key]) for key, value in document.items()}
    return document


@given(DOCUMENTS, PATHS, STYLES)
@example({"user": {"email": SECRET}}, [("user", "email")], {})
@example([[{"a": [1, 2.5, -3e7]}]], [("a",)], {"indent": 2})
def test_only_the_fields_change_and_the_length_stays(document, paths, style):
    text = json.dumps(document, **style).encode(errors="surrogatepass")
    out, count = overwrite(text, paths)
    assert len(out) == len(text)
    assert hidden(json.loads(out), paths) == hidden(document, paths)
    if out != text:
        assert count > 0
    for path in paths:
        for leaf in leaves_at(json.loads(out, parse_int=str, parse_float=str), path):
            assert leaf is None or isinstance(leaf, bool) or set(leaf) <= {"x"} or set(leaf) <= set("1.-+eE"), path


@given(st.text(min_size=1, max_size=30), st.booleans())
def test_a_secret_is_nowhere_in_the_text(secret, ascii_):
    secret = f"CANARY{secret}"
    spelled = json.dumps(secret, ensure_ascii=ascii_).encode(errors="surrogatepass")[1:-1]
    text = b'{"keep": 1, "user": [{"email": "%b"}, {"em\\u0061il": {"k": ["%b"], "%b": 2}}]}' % ((spelled,) * 3)
    out, count = overwrite(text, [("user", "email")])
    assert count == 3
    assert b"CANARY" not in out
    assert out.startswith(b'{"keep": 1, "user": [{"email": "x')


@pytest.mark.parametrize(
    "text",
    [
        b'{"a": "cut',
        b'{"a": 1',
        b'{"a" 1}',
        b'{"a": 1 "b": 2}',
        b'{"a": [1, secret]}',
        b'{"a": 1}}',
        b'{"a": \x1f1}',
        b'{"a": "\xff", "\xff": 1}',
        '{"a": 1}'.encode("utf-16"),
        b'x{"a": 1}',
        b'["a": 1]',
        b'{"a": ,}',
        b'{"a"}',
        b'{"a": 1,}',
        b'[{"a": 1},]',
    ],
)
def test_what_is_not_json_is_said(text):
    with pytest.raises(NotJson):
        overwrite(text, [("a",)])


@given(st.binary(max_size=60) | st.text('{}[]",:a1x \\', max_size=60).map(str.encode))
def test_any_bytes_are_overwritten_or_not_json(text):
    try:
        out, _ = overwrite(text, [("a",), ("x", "a")])
    except NotJson:
        return
    assert len(out) == len(text)


def test_lines_of_json_are_read_one_after_the_other():
    assert overwrite(b'{"a": "b"}\n{"a": "cd"}\n', [("a",)]) == (b'{"a": "x"}\n{"a": "xx"}\n', 2)


def test_deep_nesting_is_no_danger():
    text = b'{"a": ' + b"[" * 100_000 + b'"s"' + b"]" * 100_000 + b"}"
    out, count = overwrite(text, [("a",)])
    assert (count, len(out)) == (1, len(text))


def test_paths():
    assert parse_path("user.email") == ("user", "email")
    for text in ("", ".", "a.", "a..b"):
        with pytest.raises(ValueError, match="no path"):
            parse_path(text)
