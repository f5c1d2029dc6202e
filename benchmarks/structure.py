"""Measure the structure of code: `python benchmarks/structure.py PACKAGE...` prints a table with a row per package."""

import ast
import statistics
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, TypeAlias

Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef

LONG: Final = 40
HEAD: Final = (
    "package",
    "modules",
    "lines",
    "median module",
    "largest module",
    "functions",
    "median function",
    f"over {LONG} lines",
    "public with docstring",
    "docstring and comment lines",
)


def modules(package: Path) -> list[Path]:
    """Return the modules of *package*, `__init__.py` files included."""
    return sorted(path for path in package.rglob("*.py") if "tests" not in path.parts)


def functions(tree: ast.Module) -> Iterator[Function]:
    """Yield every function and method in *tree*."""
    yield from (node for node in ast.walk(tree) if isinstance(node, Function))


def length(function: Function) -> int:
    """Return the number of lines of *function* without its docstring and decorators."""
    last = function.end_lineno or function.lineno
    return last - function.lineno + 1 - docstring_lines(function)


def docstring_lines(node: ast.AST) -> int:
    """Return the number of lines of the docstring of *node*."""
    match getattr(node, "body", None):
        case [ast.Expr(value=ast.Constant(value=str())) as first, *_]:
            return (first.end_lineno or first.lineno) - first.lineno + 1
        case _:
            return 0


def is_public(node: ast.AST) -> bool:
    """Return True if *node* is a function or class without a leading underscore."""
    return isinstance(node, Function | ast.ClassDef) and not node.name.startswith("_")


def measure(package: Path) -> Sequence[str]:
    """Return the table row of *package*."""
    texts = [path.read_text(encoding="utf-8") for path in modules(package)]
    trees = [ast.parse(text) for text in texts]
    sizes = [len(text.splitlines()) for text in texts]
    lengths = [length(function) for tree in trees for function in functions(tree)]
    public = [node for tree in trees for node in ast.walk(tree) if is_public(node)]
    documented = sum(docstring_lines(node) > 0 for node in public)
    prose = sum(docstring_lines(node) for tree in trees for node in ast.walk(tree))
    prose += sum(line.lstrip().startswith("#") for text in texts for line in text.splitlines())
    return (
        package.name,
        f"{len(texts)}",
        f"{sum(sizes):,}",
        f"{statistics.median(sizes):.0f}",
        f"{max(sizes):,}",
        f"{len(lengths):,}",
        f"{statistics.median(lengths):.0f}",
        f"{sum(lines > LONG for lines in lengths) / len(lengths):.1%}",
        f"{documented / len(public):.0%}",
        f"{prose / sum(sizes):.0%}",
    )


def main() -> None:
    """Print the Markdown table."""
    rows = [HEAD, ["---"] * len(HEAD), *(measure(Path(name)) for name in sys.argv[1:])]
    print("\n".join(f"| {' | '.join(row)} |" for row in rows))


if __name__ == "__main__":
    main()
