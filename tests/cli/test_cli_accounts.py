"""`replay-identity sync` and `deliver` after the account of a backend has changed."""

from collections.abc import Iterator

import attrs
import pytest
from support.commands import RunCommand, WriteRows
from support.vendors import running_vendors

from replay_identity.emulator import Fault, FullstoryEmulator, Level

KEYS = ("na1.canaryfirst", "na1.canarysecond")
ROWS = [{"id": f"u{number}", "plan": "pro"} for number in range(3)]


@attrs.frozen
class Shop:
    """Two Fullstory accounts at two URLs; the first accepts both keys."""

    first: FullstoryEmulator
    second: FullstoryEmulator
    urls: tuple[str, str]


@pytest.fixture
def shop(monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    """Yield two accounts, with the environment set to the first."""
    first, second = (FullstoryEmulator(api_keys=dict.fromkeys(KEYS, Level.ADMIN)) for _ in range(2))
    with (
        running_vendors(first, keys=(KEYS[0], "a:b:c")) as one,
        running_vendors(second, keys=(KEYS[0], "a:b:c")) as two,
    ):
        urls = (one.fullstory_backend.base_url or "", two.fullstory_backend.base_url or "")
        # Nothing but the flag says whose keys they are.
        first.faults.add(Fault(status=403, path="/me", times=None))
        monkeypatch.setenv("FULLSTORY_BASE_URL", urls[0])
        monkeypatch.setenv("FULLSTORY_API_KEY", KEYS[0])
        yield Shop(first, second, urls)


def requests_about_users(fullstory: FullstoryEmulator) -> int:
    """Return how many requests the emulator has received, without those that ask whose key it is."""
    return sum(request.path != "/me" for request in fullstory.requests)


def test_another_url_gets_everything(
    run: RunCommand, shop: Shop, write: WriteRows, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second run says that the account is new."""
    file = write(ROWS)
    run("sync", file)
    monkeypatch.setenv("FULLSTORY_BASE_URL", shop.urls[1])

    result = run("sync", file)

    assert result.code == 0
    assert "fullstory 3 3 0 0 0 0" in result.lines
    assert len(shop.second.users) == 3
    assert shop.urls[1].removeprefix("http://") in result.output


def test_same_account_sends_nothing_again(
    run: RunCommand, shop: Shop, write: WriteRows, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rotated key with the flag finds everything confirmed."""
    file = write(ROWS)
    run("sync", file)
    before = requests_about_users(shop.first)
    monkeypatch.setenv("FULLSTORY_API_KEY", KEYS[1])

    result = run("sync", file, "--same-account")

    assert (result.code, requests_about_users(shop.first)) == (0, before)
    assert "fullstory 3 0 0 3 0 0" in result.lines


def test_deliver_continues_with_a_rotated_key(
    run: RunCommand, shop: Shop, write: WriteRows, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Users who were pending under the old key are sent with the new one."""
    shop.first.faults.add(Fault(status=401, times=None))
    file = write(ROWS)
    first = run("sync", file)
    shop.first.faults.clear()
    monkeypatch.setenv("FULLSTORY_API_KEY", KEYS[1])

    without, with_flag = run("deliver"), run("deliver", "--same-account")

    assert (first.code, with_flag.code) == (78, 0)
    assert "fullstory 3 3 0 0 0 0" in with_flag.lines
    # Nothing is pending at the new account, and the users who are pending at the old one must not be passed over.
    assert "3 users" in " ".join(without.output.split())


def test_json_names_the_account(run: RunCommand, shop: Shop, write: WriteRows, monkeypatch: pytest.MonkeyPatch) -> None:
    """The document has the account and whether it is new, and no key."""
    file = write(ROWS)
    first = run("sync", file, "--json")
    monkeypatch.setenv("FULLSTORY_BASE_URL", shop.urls[1])
    second = run("sync", file, "--json")

    counts = [result.document["backends"]["fullstory"] for result in (first, second)]

    assert [each["new_account"] for each in counts] == [True, True]
    assert counts[0]["account"] != counts[1]["account"]
    assert "canary" not in first.output + second.output
