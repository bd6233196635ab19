"""Short names for a head: what no other module sees is renamed before it is compiled.

MicroPython keeps every name that byte code from a file has, once, in the heap, and the table of
them doubles as it fills. So private names, and those of arguments, become _a, _b, a, b, the same
ones in every module; public names, too, that only one module mentions. A line stays where it is: a
traceback from a head names file and line.
"""

import ast
import builtins
import io
import itertools
import keyword
import string
import tokenize
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence


def shorten(sources: Mapping[str, str]) -> dict[str, str]:
    """Return the modules, name -> source, with the names that are their own cut short."""
    trees = {name: ast.parse(source) for name, source in sources.items()}
    visible = set(dir(builtins)) | {"self"}
    fixed = set(visible)
    for tree in trees.values():
        visible |= _visible(tree)
        fixed |= _fixed(tree, set(trees))
    uses = {name: Counter(token.string for token in _names(sources[name])) for name in sources}
    mentions = Counter(itertools.chain.from_iterable(uses.values()))
    out = {}
    for family in _families(trees):
        counts = Counter[str]()
        own: set[str] = set()
        for name in family:
            counts.update(uses[name])
            own |= _private(trees[name]) | _arguments(trees[name])
        own -= visible.union(*(_imported_from(trees[name]) for name in family))
        inside = Counter(itertools.chain.from_iterable(uses[name] for name in family))
        alone = {name for name in inside if inside[name] == mentions[name]}
        for name in family:
            own |= (_made(trees[name]) & alone) - fixed
        arguments = set().union(*(_arguments(trees[name]) for name in family))
        order = [name for name, _ in sorted(counts.items(), key=_by_use) if name in own]
        new = _new_names(order, arguments, counts)
        for name in family:
            out[name] = _rename(sources[name], new)
    return {name: out[name] for name in sources}


def _families(trees: Mapping[str, ast.Module]) -> list[list[str]]:
    """Return the modules in groups; a class and the one it is derived from share a group.

    Both put their private attributes into the same object.
    """
    home = {name: name for name in trees}
    for name, tree in trees.items():
        for node in ast.walk(tree):
            if not isinstance(node, ast.ImportFrom) or node.module is None:
                continue
            if node.module not in trees:
                continue
            imported = {alias.asname or alias.name for alias in node.names}
            bases = [base for item in ast.walk(tree) for base in getattr(item, "bases", [])]
            if any(isinstance(base, ast.Name) and base.id in imported for base in bases):
                old, new = home[name], home[node.module]
                home = {other: new if at == old else at for other, at in home.items()}
    return [[name for name in trees if home[name] == at] for at in dict.fromkeys(home.values())]


def _visible(tree: ast.Module) -> set[str]:
    """Return the names that a renaming would tear from something outside of their function."""
    seen: set[str] = set()
    for node in ast.walk(tree):
        seen |= {name for name in _public(node) if not _is_private(name)}
        if isinstance(node, ast.Module | ast.ClassDef):
            for item in node.body:
                seen |= _stored(item) | _constants(item)
        elif isinstance(node, ast.FormattedValue):
            # Whether tokenize sees the names in there depends on Python's version.
            seen |= {name.id for name in ast.walk(node) if isinstance(name, ast.Name)}
            seen |= {name.attr for name in ast.walk(node) if isinstance(name, ast.Attribute)}
    return seen


def _public(node: ast.AST) -> list[str]:
    """Return what other modules, or MicroPython's, may know this node by."""
    match node:
        case ast.Attribute(attr=name) | ast.keyword(arg=str(name)):
            return [name]
        case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
            return [name]
        case ast.alias(name=name, asname=other):
            return [*name.split("."), other or name]
        case ast.Global(names=names):
            return names
        case ast.Constant(value=str(text)) if text.isidentifier():
            return [text]  # perhaps a name for getattr() or namedtuple()
    return []


def _fixed(tree: ast.Module, ours: set[str]) -> set[str]:
    """Return the names that nobody may change, though no other module of ours has them."""
    seen: set[str] = set()
    aliases: list[ast.alias] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            aliases += [alias for alias in node.names if alias.name not in ours]
        elif isinstance(node, ast.ImportFrom) and node.module not in ours:
            aliases += node.names
    imported = {alias.asname or alias.name.partition(".")[0] for alias in aliases}
    seen |= {part for alias in aliases for part in alias.name.split(".")}
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id=base), attr=name) if base in imported:
                seen.add(name)  # MicroPython's: reset_cause = machine.reset_cause()
            case ast.keyword(arg=str(name)):
                seen.add(name)
            case ast.Global(names=names):
                seen |= set(names)
            case ast.Constant(value=str(text)) if text.isidentifier():
                seen.add(text)
            case ast.FormattedValue():
                seen |= {name.id for name in ast.walk(node) if isinstance(name, ast.Name)}
                seen |= {name.attr for name in ast.walk(node) if isinstance(name, ast.Attribute)}
    return seen


def _imported_from(tree: ast.Module) -> set[str]:
    """Return the parts of the modules' names that follow "from": an argument may be called so."""
    modules = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    return {part for module in modules for part in module.split(".")}


def _stored(item: ast.stmt) -> set[str]:
    """Return the names that a statement of a module or a class makes there."""
    if isinstance(item, ast.FunctionDef | ast.ClassDef):
        return set()
    names = [node for node in ast.walk(item) if isinstance(node, ast.Name)]
    stored = [name.id for name in names if isinstance(name.ctx, ast.Store)]
    return {name for name in stored if not _is_private(name)}


def _constants(item: ast.stmt) -> set[str]:
    """Return what the compiler puts in as a number, so that no name is left."""
    match item:
        case ast.Assign(targets=[ast.Name(id=name)], value=ast.Call(func=ast.Name(id="const"))):
            return {name}
    return set()


def _private(tree: ast.Module) -> set[str]:
    """Return the private names that this module makes."""
    return {name for name in _defined(tree) if _is_private(name)}


def _made(tree: ast.Module) -> set[str]:
    """Return the public names that this module makes for its like alone.

    What MicroPython's own modules call on an object (read, ioctl, setblocking) is one word.
    """
    return {
        name
        for name in _defined(tree)
        if not name.startswith("_") and ("_" in name or name.lower() != name)
    }


def _defined(tree: ast.Module) -> set[str]:
    made: set[str] = set()
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                made.add(name)
            case ast.Name(id=name, ctx=ast.Store()):
                made.add(name)
            case ast.Attribute(value=ast.Name(id="self"), attr=name, ctx=ast.Store()):
                # On another's object it is the other's: context.verify_mode = tls.CERT_REQUIRED
                made.add(name)
    return made


def _arguments(tree: ast.Module) -> set[str]:
    return {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg) and node.arg != "_"}


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name != "_"


def _by_use(count: tuple[str, int]) -> tuple[int, str]:
    """Order the most used name first, and equals by themselves: like input is like output."""
    return -count[1], count[0]


def _new_names(
    order: Sequence[str], arguments: set[str], taken: Mapping[str, int]
) -> dict[str, str]:
    private, plain = _short("_"), _short("")
    new = {}
    for name in order:
        names = plain if name in arguments else private
        new[name] = next(short for short in names if short not in taken)
    return new


def _short(prefix: str) -> Iterator[str]:
    """Yield a, b, ... z, aa, ab ... behind the prefix."""
    for length in itertools.count(1):
        for letters in itertools.product(string.ascii_lowercase, repeat=length):
            name = prefix + "".join(letters)
            if not keyword.iskeyword(name) and not hasattr(builtins, name):
                yield name


def _names(source: str) -> list[tokenize.TokenInfo]:
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return [
        token
        for token in tokens
        if token.type == tokenize.NAME and not keyword.iskeyword(token.string)
    ]


def _rename(source: str, new: Mapping[str, str]) -> str:
    lines = source.splitlines(keepends=True)
    for token in reversed(_names(source)):
        if token.string in new:
            (row, start), (_, end) = token.start, token.end
            line = lines[row - 1]
            lines[row - 1] = line[:start] + new[token.string] + line[end:]
    return "".join(lines)
