"""The feature matrix of every backend there is: the built-in ones, and those in ``adapters_contrib/``."""

# ruff: noqa: INP001  # Part of a script, not of a package.

import importlib
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import attrs

from replay_identity import REMOVE, Fullstory, LogRocket, UserTraits
from replay_identity.adapters.limits import Limit
from replay_identity.adapters.protocols import (
    IdentityBackend,
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
    """One vendor of the matrix: its name, its class's name and a backend that only plans."""

    vendor: str
    title: str
    backend: IdentityBackend


def columns() -> list[Column]:
    """Return a column for each vendor, the built-in ones first."""
    built_in = (Fullstory("na1.documentation"), LogRocket("org:app:documentation"))
    return [*(Column(backend.name, type(backend).__name__, backend) for backend in built_in), *_contributed()]


def _contributed() -> Iterator[Column]:
    """Yield the adapters of ``adapters_contrib/``, made with the example settings that each of them gives."""
    for path in sorted(CONTRIBUTED.glob("*/pyproject.toml")):
        document = tomllib.loads(path.read_text(encoding="utf-8"))
        for vendor, place in document["project"].get("entry-points", {}).get(ENTRY_POINTS, {}).items():
            cls = _load(path.parent, place)
            yield Column(vendor, cls.__name__, cls(**document["tool"]["replay-identity"]["example"]))


def _load(folder: Path, place: str) -> Any:  # noqa: ANN401  # A class that nobody knows by name.
    module, _, name = place.partition(":")
    sys.path.insert(0, str(folder))
    try:
        return getattr(importlib.import_module(module), name)
    finally:
        sys.path.remove(str(folder))


def feature_rows(vendors: Sequence[Column]) -> Iterator[Sequence[str]]:
    """Yield a row for each thing that some vendor can do."""
    for feature, tell in _FEATURES.items():
        yield feature, *(tell(vendor.backend) for vendor in vendors)


def limit_rows(vendors: Sequence[Column]) -> Iterator[Sequence[str]]:
    """Yield a row for each limit that some vendor publishes, and one for the units they are counted in."""
    limits: list[Mapping[str, Limit]] = [dict(vendor.backend.limits) for vendor in vendors]
    for field in dict.fromkeys(name for named in limits for name in named):
        yield f"`{field}`", *(_limit_cell(named.get(field)) for named in limits)


def _limit_cell(limit: Limit | None) -> str:
    return "" if limit is None else f"{limit.maximum:,} {limit.unit}"


def _removal(backend: IdentityBackend) -> str:
    plan = backend.plan(attrs.evolve(USER, traits={"plan": REMOVE, **USER.traits}))
    return "no" if plan.violations else "yes"


def _anonymous(backend: IdentityBackend) -> str:
    return "no" if backend.plan(attrs.evolve(USER, user_id=None)).violations else "yes"


def _many(backend: IdentityBackend) -> str:
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
    "a trait removed": _removal,
    "users in one request": _many,
    "users in one batch job": _batch,
    "users read back": _supports(SupportsRead),
    "a user compared": _compare,
    "a user deleted": _supports(SupportsDelete),
    "a user excluded from recording": _supports(SupportsExclude),
    "the key verified": _supports(SupportsVerify),
}
