"""What a key of each role may do, at the emulator and in `KeyInfo.operations`."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import pytest

from replay_identity import Accepted, Fullstory, Misconfigured, UserTraits
from replay_identity.adapters import BatchEntry, Exchange, KeyInfo, Operation
from replay_identity.emulator import FullstoryEmulator, Level, running
from replay_identity.transport import Transport

KEY: Final = "na1.key"
ADMIN_KEY: Final = "na1.admin"
ANN: Final = UserTraits("u1", name="Ann", traits={"plan": "pro"})
# One item that Fullstory accepts, and one that it rejects.
BATCH: Final = b'{"requests":[{"uid":"u2","display_name":"Bea"},{"uid":"u3","email":"%s"}]}' % (b"e" * 200)
ENTRIES: Final = (BatchEntry(user_id="u2"), BatchEntry(user_id="u3"))
CALLS: Final[Mapping[Operation, Callable[[Fullstory, str], Exchange[Any]]]] = {
    Operation.WRITE: lambda backend, _: backend.identify(ANN),
    Operation.BATCH: lambda backend, _: backend.create_job(BATCH, idempotency_key="another"),
    Operation.READ_RESULTS: lambda backend, job_id: backend.collect_job(job_id, ENTRIES),
    Operation.LIST: lambda backend, _: backend.list_page(),
    Operation.COMPARE: lambda backend, _: backend.compare(ANN),
    Operation.DELETE: lambda backend, _: backend.delete("u1"),
    Operation.EXPORT: lambda backend, _: backend.start_export(),
}


@pytest.mark.parametrize("form", ["object", "empty", "no-content"])
def test_every_form_of_a_deletion_is_accepted(form: Any) -> None:
    """Fullstory's own clients take all of these for a success."""
    emulator = FullstoryEmulator(api_keys={KEY: Level.ARCHITECT}, delete_response=form)
    with running(emulator) as server, Transport() as transport:
        backend = Fullstory(KEY, base_url=server.url)
        transport.run(backend.identify(ANN))
        outcome = transport.run(backend.delete("u1"))

    assert outcome == Accepted("fullstory")


@pytest.mark.parametrize("level", [Level.VIEW_ONLY, Level.STANDARD, Level.ARCHITECT, Level.ADMIN])
def test_permitted_operations_are_those_that_work(level: Level) -> None:
    """Every other one is refused with a 403."""
    emulator = FullstoryEmulator(api_keys={KEY: level, ADMIN_KEY: Level.ADMIN})
    with running(emulator) as server, Transport() as transport:
        admin, backend = Fullstory(ADMIN_KEY, base_url=server.url), Fullstory(KEY, base_url=server.url)
        transport.run(admin.identify(ANN))
        job_id = transport.run(admin.create_job(BATCH, idempotency_key="one"))
        assert isinstance(job_id, str)

        info = transport.run(backend.verify())
        results = {operation: transport.run(call(backend, job_id)) for operation, call in CALLS.items()}

    assert isinstance(info, KeyInfo)
    worked = tuple(operation for operation, result in results.items() if not isinstance(result, Misconfigured))
    assert info.operations == worked
    assert set(CALLS) == set(Operation)
