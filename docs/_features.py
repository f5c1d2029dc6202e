"""The feature matrix of all backends: the built-in ones and those in ``adapters_contrib/``."""

# ruff: noqa: INP001  # Part of a script, not of a package.

import importlib
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import attrs

from replay_identity import REMOVE, Fullstory, LogRocket, UserTraits
from replay_identity.adapters import (
    IdentityBackend,
    Limit,
    SupportsBatch,
    SupportsCompare,
    SupportsDelete,
    SupportsExclude,
    SupportsMultiIdentify,
    SupportsRead,
    SupportsVerify,
)

CONTRIBUTED: Final = Path(__file__).parents[1] / "adapters_contrib"
ENTRY_POINTS: Final = "replay_identity.backends"
USER: Final = UserTraits("u1", name="Ada", traits={"seats": 7})


@attrs.frozen
class Column:
    """One vendor of the matrix: its name, the name of its class, and a backend that never sends."""

    vendor: str
    title: str
    backend: IdentityBackend


def columns() -> list[Column]:
    """Return a column for each vendor, built-in ones first."""
    built_in = (Fullstory("na1.documentation"), LogRocket("org:app:documentation"))
    return [*(Column(backend.name, type(backend).__name__, backend) for backend in built_in), *_contributed()]


def _contributed() -> Iterator[Column]:
    """Yield the adapters of ``adapters_contrib/``, created with the example settings in their pyproject.toml."""
    for path in sorted(CONTRIBUTED.glob("*/pyproject.toml")):
        document = tomllib.loads(path.read_text(encoding="utf-8"))
        for vendor, location in document["project"].get("entry-points", {}).get(ENTRY_POINTS, {}).items():
            cls = _load(path.parent, location)
            yield Column(vendor, cls.__name__, cls(**document["tool"]["replay-identity"]["example"]))


def _load(folder: Path, location: str) -> Any:  # noqa: ANN401  # An adapter class.
    module, _, name = location.partition(":")
    sys.path.insert(0, str(folder))
    try:
        return getattr(importlib.import_module(module), name)
    finally:
        sys.path.remove(str(folder))


def feature_rows(vendors: Sequence[Column]) -> Iterator[Sequence[str]]:
    """Yield one row per feature."""
    for feature, describe in _FEATURES.items():
        yield feature, *(describe(vendor.backend) for vendor in vendors)


def limit_rows(vendors: Sequence[Column]) -> Iterator[Sequence[str]]:
    """Yield one row per limit that at least one vendor publishes."""
    limits: list[Mapping[str, Limit]] = [dict(vendor.backend.limits) for vendor in vendors]
    for field in dict.fromkeys(name for vendor_limits in limits for name in vendor_limits):
        yield f"`{field}`", *(_limit_cell(vendor_limits.get(field)) for vendor_limits in limits)


def _limit_cell(limit: Limit | None) -> str:
    return "" if limit is None else f"{limit.maximum:,} {limit.unit}"


def _removal(backend: IdentityBackend) -> str:
    plan = backend.plan(attrs.evolve(USER, traits={"plan": REMOVE, **USER.traits}))
    return "no" if plan.violations else "yes"


def _anonymous(backend: IdentityBackend) -> str:
    return "no" if backend.plan(attrs.evolve(USER, user_id=None)).violations else "yes"


def _multi(backend: IdentityBackend) -> str:
    return f"{backend.max_users.maximum:,}" if isinstance(backend, SupportsMultiIdentify) else "no"


def _batch(backend: IdentityBackend) -> str:
    return f"{backend.batch_limits.users.maximum:,}" if isinstance(backend, SupportsBatch) else "no"


def _compare(backend: IdentityBackend) -> str:
    if not isinstance(backend, SupportsCompare):
        return "no"
    return "by writing" if backend.compare_writes else "yes"


def _supports(protocol: type) -> Callable[[IdentityBackend], str]:
    return lambda backend: "yes" if isinstance(backend, protocol) else "no"


_FEATURES: Final[Mapping[str, Callable[[IdentityBackend], str]]] = {
    "anonymous users": _anonymous,
    "remove a trait": _removal,
    "users per request": _multi,
    "users per batch job": _batch,
    "read users": _supports(SupportsRead),
    "compare a user": _compare,
    "delete a user": _supports(SupportsDelete),
    "exclude a user from recording": _supports(SupportsExclude),
    "verify the key": _supports(SupportsVerify),
}
