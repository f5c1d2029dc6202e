"""Generate the API page from the signatures and docstrings of all public names."""

# ruff: noqa: INP001  # Part of a script, not of a package.

import enum
import importlib
import inspect
import re
from collections.abc import Iterator
from typing import Any, Final

import attrs

# The public packages, in the order of the page.
PACKAGES: Final = (
    "replay_identity",
    "replay_identity.adapters",
    "replay_identity.bulk",
    "replay_identity.sources",
    "replay_identity.mapping",
    "replay_identity.ledger",
    "replay_identity.migration",
    "replay_identity.transport",
    "replay_identity.config",
    "replay_identity.emulator",
    "replay_identity.testing",
)

_SECTION: Final = re.compile(r"^(Args|Attributes|Raises|Returns|Yields):$")
_ITEM: Final = re.compile(r"^( {4})?(\*{0,2}\w+): (.*)$")
# Memory addresses, and the modules before the names of classes.
_NOISE: Final = re.compile(r" at 0x[0-9a-f]+|\b(?:[a-z_]+\.)+(?=[A-Z])")
_FUNCTION: Final = re.compile(r"<function (\w+)>")
# A quoted annotation.
_QUOTED: Final = re.compile(r"(?<=: )'([^']*)'")
_WIDTH: Final = 100
# Called at a fork, and not by users.
_HOOKS: Final = {"before_fork", "after_fork"}


def api_page() -> str:
    """Return the page: a section for each package with its names."""
    documented: dict[int, str] = {}
    return "\n\n".join(part for name in PACKAGES for part in _package(name, documented))


def _package(name: str, documented: dict[int, str]) -> Iterator[str]:
    module = importlib.import_module(name)
    yield f"## `{name}`"
    yield _first_paragraph(inspect.getdoc(module) or "")
    described_above: list[str] = []
    for public in sorted(module.__all__, key=str.lower):
        value = getattr(module, public)
        if _has_docs(value) and id(value) in documented:
            described_above.append(f"`{public}` ({documented[id(value)]})")
            continue
        documented[id(value)] = f"in `{name}`"
        yield from _entry(public, value)
    if described_above:
        yield f"Also in this package, described above: {', '.join(described_above)}."


def _has_docs(value: object) -> bool:
    return inspect.isclass(value) or inspect.isfunction(value)


def _entry(name: str, value: Any) -> Iterator[str]:  # noqa: ANN401  # Any public object.
    yield f"### `{name}`"
    if inspect.isclass(value):
        yield from _class(name, value)
    elif inspect.isfunction(value):
        yield _signature(name, value)
        yield from _docstring(value)
    else:
        yield f"A value of type `{type(value).__name__}`." if _is_ours(value) else f"An alias: `{_plain(value)}`."


def _is_ours(value: object) -> bool:
    return isinstance(value, enum.Enum) or type(value).__module__.startswith("replay_identity")


def _class(name: str, cls: type[Any]) -> Iterator[str]:
    if issubclass(cls, enum.Enum):
        yield from _docstring(cls)
        yield "\n".join(f"- `{member.name}`: {member.value}" for member in cls)
        return
    if not getattr(cls, "_is_protocol", False):
        yield _signature(name, cls)
    yield from _docstring(cls)
    for method_name, method in _methods(cls):
        summary = _first_paragraph(inspect.getdoc(method) or "")
        yield f"- `{_method_signature(method_name, method)}`: {summary}"


def _methods(cls: type[Any]) -> Iterator[tuple[str, Any]]:
    """Yield the public methods and properties that *cls* defines itself, not those it inherits."""
    fields = {field.name for field in attrs.fields(cls)} if attrs.has(cls) else set[str]()
    for name, member in vars(cls).items():
        if name.startswith("_") or name in fields or name in _HOOKS:
            continue
        if isinstance(member, property | staticmethod | classmethod) or inspect.isfunction(member):
            yield name, member


def _method_signature(name: str, member: Any) -> str:  # noqa: ANN401  # A method or a property.
    if isinstance(member, property):
        return name
    function: Any = getattr(member, "__func__", member)
    parameters = [each for each in inspect.signature(function).parameters.values() if each.name not in {"self", "cls"}]
    named = inspect.Signature([each.replace(annotation=inspect.Parameter.empty) for each in parameters])
    return f"{name}{_plain(named)}"


def _signature(name: str, value: Any) -> str:  # noqa: ANN401  # A class or a function.
    try:
        signature = inspect.signature(value)
    except ValueError:  # A subclass of a built-in exception.
        return f"```text\n{name}(...)\n```"
    parameters = [_with_plain_default(each) for each in signature.parameters.values() if not each.name.startswith("_")]
    line = f"{name}{_plain(signature.replace(parameters=parameters))}".removesuffix(" -> None")
    if len(line) > _WIDTH:
        line = _folded(name, parameters, signature)
    return f"```text\n{line}\n```"


_PLAIN_TYPES: Final = {type(None), bool, int, float, str, tuple, frozenset}


class _Elided:
    """Stands for a default whose repr says nothing, or depends on the machine."""

    def __repr__(self) -> str:
        return "..."


def _with_plain_default(parameter: inspect.Parameter) -> inspect.Parameter:
    """Return *parameter* with a default that prints the same everywhere."""
    default: Any = parameter.default
    if type(default) in _PLAIN_TYPES or default is inspect.Parameter.empty or inspect.isroutine(default):
        return parameter
    return parameter.replace(default=_Elided())


def _folded(name: str, parameters: list[inspect.Parameter], signature: inspect.Signature) -> str:
    lines, kind = [f"{name}("], None
    for parameter in parameters:
        if parameter.kind is parameter.KEYWORD_ONLY and kind is not parameter.KEYWORD_ONLY:
            lines.append("    *,")
        kind = parameter.kind
        lines.append(f"    {_plain(parameter)},")
    returned = signature.return_annotation
    arrow = "" if returned in (inspect.Signature.empty, None) else f" -> {_plain(inspect.formatannotation(returned))}"
    return "\n".join([*lines, f"){arrow}"])


def _docstring(value: object) -> Iterator[str]:
    """Yield the text and the sections of a docstring; the items of a section become a list."""
    section, lines = "", list[str]()
    for line in (inspect.getdoc(value) or "").splitlines():
        if match := _SECTION.match(line):
            yield "\n".join(lines).strip()
            section, lines = match[1], [f"**{match[1]}**", ""]
        elif section and (match := _ITEM.match(line)):
            lines.append(f"- `{match[2].lstrip('*')}`: {_escaped(match[3])}")
        else:
            lines.append(f"  {_escaped(line.strip())}" if section and line.strip() else _escaped(line))
    yield "\n".join(lines).strip()


def _first_paragraph(text: str) -> str:
    return _escaped(" ".join(text.partition("\n\n")[0].split()))


def _escaped(text: str) -> str:
    return text.replace("``", "`").replace("|", "&#124;") if "`" not in text else text.replace("``", "`")


def _plain(value: object) -> str:
    text = _QUOTED.sub(r"\1", _FUNCTION.sub(r"\1", _NOISE.sub("", str(value))))
    return text.replace("NoneType", "None").replace("<factory>", "...")
