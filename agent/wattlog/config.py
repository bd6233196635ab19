"""Strict configuration: a schema is a table of keys; a mistake names key, line and remedy.

The text and the TOML parser are handed in by the rim, so the same checks serve the Pi
agent, the host and the tool that builds a device's image.
"""

from collections import namedtuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    Table = dict[str, Any]

Key = namedtuple("Key", ("path", "kind", "default", "low", "high", "about"))
# One setting.
# path     dotted name; "meter[].port" is a key of every [[meter]] table
# kind     "text", "integer", "boolean" or a tuple of the allowed texts
# default  value when absent; REQUIRED where there is none
# low, high  inclusive bounds, None for none: of an integer's value, of a text's length
# about    what it is, in words that finish the sentence "this is ..."


class _Required:
    """A default that does not exist: the file must say it."""


REQUIRED = _Required()


SHOWN_MAX = 200  # letters of anything that is shown: an error stays one line


class ConfigError(Exception):
    """A configuration that cannot be used; str() is one line for a person."""


def _shown(text: str) -> str:
    """Return what may be shown of a text: no control characters, and not all of a long one."""
    clean = "".join([c if " " <= c < "\x7f" or c > "\x9f" else "?" for c in text[:SHOWN_MAX]])
    return clean + "..." if len(text) > SHOWN_MAX else clean


def _say(name: str, line: int | None, text: str) -> ConfigError:
    where = _shown(name) if line is None else "%s line %d" % (_shown(name), line)
    return ConfigError("%s: %s" % (where, text))


def parse(
    name: str, text: str, parse_toml: "Callable[[str], Table]", schema: "Sequence[Key]"
) -> "Table":
    """Return the checked settings of a TOML text as nested dicts with every default filled in.

    name        what to call the text in an error (the file's path)
    parse_toml  e.g. tomllib.loads; its ValueError is passed on in one line
    schema      sequence of Key
    Raises ConfigError for broken TOML, an unknown key, a missing key, a wrong type or range.
    """
    try:
        data = parse_toml(text)
    except (ValueError, RuntimeError) as err:
        # RecursionError is a RuntimeError; its own words say nothing about the file.
        why = str(err) if isinstance(err, ValueError) else "nested too deep"
        raise _say(name, None, "not valid TOML: %s" % _shown(why)) from None
    return check(data, schema, name, text)


def check(data: "Table", schema: "Sequence[Key]", name: str, text: str = "") -> "Table":
    """Return data (nested dicts and lists of dicts) checked against schema; see parse()."""
    keys = {key.path: key for key in schema}
    _refuse_unknown(data, "", keys, name, text)
    out: Table = {}
    for key in schema:
        head, _, leaf = key.path.rpartition(".")
        if head.endswith("[]"):
            rows = data.get(head[:-2], [])
            wanted = out.setdefault(head[:-2], [{} for _ in rows])
            for index, row in enumerate(rows):
                path = "%s[%d].%s" % (head[:-2], index, leaf)
                wanted[index][leaf] = _value(key, row, leaf, path, name, text)
        elif head:
            wanted = out.setdefault(head, {})
            wanted[leaf] = _value(key, data.get(head, {}), leaf, key.path, name, text)
        else:
            out[leaf] = _value(key, data, leaf, key.path, name, text)
    return out


def _refuse_unknown(
    data: "Table", prefix: str, keys: "dict[str, Key]", name: str, text: str
) -> None:
    for word in sorted(data):
        value = data[word]
        path = prefix + word
        generic = _generic(path)
        is_table = any(path_.startswith(generic + ".") for path_ in keys)
        is_array = any(path_.startswith(generic + "[].") for path_ in keys)
        line = line_of(text, path)
        is_plain = "[" not in word and "." not in word  # a quoted key may hold anything
        if is_array and is_plain:
            if not isinstance(value, list) or not all(isinstance(row, dict) for row in value):
                raise _say(name, line, "%s must be a list of tables: write [[%s]]" % (path, path))
            for index, row in enumerate(value):
                _refuse_unknown(row, "%s[%d]." % (path, index), keys, name, text)
        elif is_table and is_plain:
            if not isinstance(value, dict):
                raise _say(name, line, "%s must be a table: write [%s]" % (path, path))
            _refuse_unknown(value, path + ".", keys, name, text)
        elif generic not in keys or not is_plain:
            shown = _shown(_plain(path))
            raise _say(name, line, "unknown key %s%s" % (shown, _hint(generic, keys)))


def _value(key: "Key", table: "Table", leaf: str, path: str, name: str, text: str) -> "Any":
    if leaf not in table:
        if key.default is REQUIRED:
            head = path.rpartition(".")[0]
            raise _say(
                name,
                line_of(text, head) if head else None,
                "%s is missing: it is %s" % (_plain(path), key.about),
            )
        return key.default
    value = table[leaf]
    problem = _problem(key, value)
    if problem:
        raise _say(
            name,
            line_of(text, path),
            "%s %s; it is %s" % (_plain(path), problem, key.about),
        )
    return value


def _problem(key: "Key", value: "Any") -> str | None:
    if isinstance(key.kind, tuple):
        if value in key.kind:
            return None
        allowed = ", ".join(['"%s"' % k for k in key.kind])
        return "must be one of %s, not %s" % (allowed, _shown(repr(value)))
    # bool is a subclass of int: "port = true" is a mistake, not port 1.
    kind: Any = _KINDS[key.kind]
    if not isinstance(value, kind) or (key.kind == "integer" and isinstance(value, bool)):
        word = {"text": 'a text in quotes, like "..."', "integer": "a whole number"}
        return "must be %s, not %s" % (word.get(key.kind, "true or false"), _shown(repr(value)))
    if key.kind == "text" and any(c < " " or "\x7f" <= c <= "\x9f" for c in value):
        return "must not hold control characters: %s" % _shown(repr(value))
    size = len(value) if key.kind == "text" else value
    if key.kind == "boolean" or (
        (key.low is None or size >= key.low) and (key.high is None or size <= key.high)
    ):
        return None
    if key.low is None or key.high is None:
        bound = "at most %s" % key.high if key.low is None else "at least %s" % key.low
    else:
        bound = "%s to %s" % (key.low, key.high)
    what = "have %s characters" if key.kind == "text" else "be %s"
    return "must %s, not %s" % (what % bound, _shown(repr(value)))


_KINDS = {"text": str, "integer": int, "boolean": bool}


def _generic(path: str) -> str:
    """Turn "meter[2].port" into "meter[].port"."""
    out = ""
    for part in path.split("["):
        out += "[" + part[part.index("]") :] if out and "]" in part else part
    return out


def _plain(path: str) -> str:
    """Return the path as a person says it: first table is 1."""
    head, _, rest = path.partition("[")
    index, _, leaf = rest.partition("].")
    if not leaf or not index.isdigit():
        return path
    return "%s (in [[%s]] number %d)" % (leaf, head, int(index) + 1)


def _hint(generic: str, keys: "dict[str, Key]") -> str:
    head = generic.rpartition(".")[0]
    known = [path for path in sorted(keys) if path.rpartition(".")[0] == head]
    if not known:
        return "; known tables: %s" % ", ".join(sorted({path.split(".")[0] for path in keys}))
    near = min(known, key=lambda path: _distance(path, generic))
    if _distance(near, generic) <= 3:
        return "; did you mean %s?" % near.rpartition(".")[2]
    return "; known here: %s" % ", ".join([path.rpartition(".")[2] for path in known])


def _distance(one: str, two: str) -> int:
    """Return the number of single-letter edits between two words (Levenshtein)."""
    row = list(range(len(two) + 1))
    for i, letter in enumerate(one):
        last, row[0] = row[0], i + 1
        for j, other in enumerate(two):
            last, row[j + 1] = (
                row[j + 1],
                min(row[j + 1] + 1, row[j] + 1, last + (letter != other)),
            )
    return row[-1]


def line_of(text: str, path: str) -> int | None:
    """Return the line (from 1) of a TOML text where a key or table stands, None if not found.

    Good enough to point a finger: it reads headers and the starts of lines, not the grammar.
    """
    table = ""
    counts: dict[str, int] = {}
    header_line = None
    for number, line in enumerate(text.split("\n")):
        word = line.strip()
        if word.startswith("[["):
            inner = word[2:].split("]")[0].strip()
            counts[inner] = counts.get(inner, -1) + 1
            table = "%s[%d]" % (inner, counts[inner])
            if path in (table, inner) and header_line is None:
                header_line = number + 1
        elif word.startswith("["):
            table = word[1:].split("]")[0].strip()
            if table == path or table.startswith(path + "."):
                header_line = number + 1
        elif "=" in word and not word.startswith("#"):
            key = word.split("=")[0].strip().strip("\"'")
            full = table + "." + key if table else key
            if full == path or path.startswith(full + "."):
                return number + 1
    return header_line
