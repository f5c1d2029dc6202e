"""Comparisons with what vendors store, over real HTTP."""

from collections import Counter

import attrs
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.profiles import examples
from support.vendors import Vendors

from replay_identity import Accepted, DeliveryOptions, Fullstory, Route, UserTraits
from replay_identity.adapters import Comparison, Exchange, Limits, Plan
from replay_identity.bulk import BackendComparison, compare, sample
from replay_identity.bulk.stats import MAX_PATHS, OTHER
from replay_identity.emulator import Fault
from replay_identity.fullstory import LIMITS as FULLSTORY_LIMITS
from replay_identity.logrocket.limits import LIMITS
from replay_identity.outcomes import Outcome
from replay_identity.testing import safe_names, valid_users
from replay_identity.transport import Transport

HURRIED = DeliveryOptions(connections=4, wait_initial=0.001, wait_max=0.002)
OPTIONS = {"fullstory": HURRIED, "logrocket": HURRIED}


def identify(vendors: Vendors, user: UserTraits) -> None:
    """Send *user* to both vendors."""
    with Transport() as transport:
        for backend in vendors.backends:
            assert isinstance(transport.run(backend.identify(user)), Accepted)


@attrs.frozen
class Faulty:
    """A backend that cannot be compared."""

    name: str = "faulty"
    account: str = "acme.example"
    encoding: str = "1"

    @property
    def limits(self) -> Limits:
        """Return any limits."""
        return LIMITS

    def plan(self, user: UserTraits, /) -> Plan:
        """Raise."""
        raise NotImplementedError(user)

    def identify(self, user: UserTraits, /) -> Exchange[Outcome]:
        """Raise."""
        raise NotImplementedError(user)


@attrs.frozen
class Raising(Faulty):
    """A backend whose comparison raises."""

    @property
    def compare_writes(self) -> bool:
        """Return False."""
        return False

    def compare(self, user: UserTraits, /) -> Exchange[Comparison]:
        """Raise an error that quotes the user."""
        raise KeyError(user.user_id)


@settings(max_examples=examples(15), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(user=valid_users(FULLSTORY_LIMITS))
def test_an_identified_user_is_the_same(vendors: Vendors, user: UserTraits) -> None:
    """Nothing differs, nothing is written to Fullstory, and no trait changes at LogRocket."""
    vendors.reset()
    identify(vendors, user)
    sent = len(vendors.fullstory.requests)
    before = {name: stored.as_json() for name, stored in vendors.logrocket.users.items()}

    reports = [compare([user], vendors.backends, options=OPTIONS) for _ in range(2)]

    for report in reports:
        assert report.is_same
        assert [(backend.compared, backend.same) for backend in report.backends.values()] == [(1, 1), (1, 1)]
    assert {request.method for request in vendors.fullstory.requests[sent:]} == {"GET"}
    assert {name: stored.as_json() for name, stored in vendors.logrocket.users.items()} == before


@settings(max_examples=examples(10), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(user=valid_users(FULLSTORY_LIMITS), name=safe_names())
def test_reports_a_changed_trait_by_path(vendors: Vendors, user: UserTraits, name: str) -> None:
    """Both vendors report that path and no other."""
    vendors.reset()
    identify(vendors, attrs.evolve(user, traits={**user.traits, name: "old"}))
    comparisons: list[Comparison] = []

    compare(
        [attrs.evolve(user, traits={**user.traits, name: "new"})],
        vendors.backends,
        options=OPTIONS,
        on_difference=lambda _, comparison: comparisons.append(comparison),
    )

    assert sorted(comparisons, key=lambda comparison: comparison.backend) == [
        Comparison("fullstory", differing=(f"traits.{name}",)),
        Comparison("logrocket", differing=(f"traits.{name}",)),
    ]


def test_counts_users_and_paths(vendors: Vendors) -> None:
    """`on_result` is called once for each user and backend."""
    users = [UserTraits(f"u{number}", traits={"plan": "pro"}) for number in range(20)]
    for user in users[:10]:
        identify(vendors, user)
    results: list[None] = []
    differing = set[str | None]()
    changed = [attrs.evolve(users[0], traits={"plan": "free", "seats": 1}), *users[1:]]

    report = compare(
        changed,
        vendors.backends,
        options=OPTIONS,
        on_difference=lambda user, _: differing.add(user.user_id),
        on_result=lambda: results.append(None),
    )

    assert not report.is_same
    assert len(results) == 40
    assert differing == {user.user_id for user in (users[0], *users[10:])}
    for backend in report.backends.values():
        assert (backend.compared, backend.same, backend.missing, backend.different) == (20, 9, 10, 1)
        assert backend.differing == {"traits.plan": 1}
        assert backend.absent == {"traits.seats": 1}
    assert report.as_dict()["backends"]["fullstory"]["differing"] == {"traits.plan": 1}


def test_ignores_extra_traits(vendors: Vendors) -> None:
    """With `ignore_extra`, traits that only the vendor has do not count."""
    identify(vendors, UserTraits("u1", traits={"plan": "pro", "seats": 1}))
    users = [UserTraits("u1", traits={"plan": "pro"})]

    strict = compare(users, vendors.backends, options=OPTIONS)
    lenient = compare(users, vendors.backends, options=OPTIONS, ignore_extra=True)

    assert strict.backends["fullstory"].extra == {"traits.seats": 1}
    assert lenient.is_same


def test_does_not_compare_what_a_route_hides(vendors: Vendors) -> None:
    """A user that it filters out is skipped."""
    user = UserTraits("u1", traits={"plan": "pro", "secret": "x"})
    identify(vendors, UserTraits("u1", traits={"plan": "pro"}))
    routes = [
        Route(vendors.fullstory_backend, exclude={"secret"}),
        Route(vendors.logrocket_backend, when=lambda _: False),
    ]

    report = compare([user], routes)

    assert report.backends["fullstory"].same == 1
    assert report.backends["logrocket"].unanswered.skipped == 1


def test_one_failing_backend_affects_no_other(vendors: Vendors) -> None:
    """Wrong settings end the comparison there; a bug is counted."""
    users = [UserTraits(f"u{number}") for number in range(30)]
    wrong = Fullstory("na1.wrong", base_url=vendors.fullstory_backend.base_url)

    report = compare(users, [wrong, vendors.logrocket_backend, Raising("raising"), Faulty()], options=OPTIONS)

    assert report.backends["fullstory"].problem is not None
    assert 1 <= report.backends["fullstory"].unanswered.outcomes["Misconfigured"] < 30
    assert report.backends["fullstory"].unanswered.outcomes.total() < 30
    assert report.backends["logrocket"].compared == 30
    assert report.backends["raising"].unanswered.outcomes == {"Broken": 30}
    assert report.unsupported == ("faulty",)


def test_retries_a_passing_failure(vendors: Vendors) -> None:
    """The user is compared once the vendor responds."""
    identify(vendors, UserTraits("u1", name="Ada"))
    vendors.fullstory.faults.add(Fault(status=503, times=2))

    report = compare([UserTraits("u1", name="Ada")], [vendors.fullstory_backend], options={"fullstory": HURRIED})

    assert report.backends["fullstory"].same == 1


def test_gives_up_after_patience(vendors: Vendors) -> None:
    """A vendor that only fails is not asked about all users."""
    vendors.fullstory.faults.add(Fault(status=503, times=100_000))
    options = attrs.evolve(HURRIED, patience=0.05)
    users = (UserTraits(f"u{number}") for number in range(2_000))

    report = compare(users, [vendors.fullstory_backend], options={"fullstory": options})

    assert (report.backends["fullstory"].problem or "").startswith("no successful response for 0.05 s")


def test_counts_a_path_once_per_user() -> None:
    """Two users with the same path make two."""
    counts = BackendComparison()

    for _ in range(2):
        counts.add(Comparison("b", absent=("traits.plan",)))

    assert counts.absent == {"traits.plan": 2}


def test_bounds_the_number_of_paths() -> None:
    """Names of traits come from the data."""
    counts = BackendComparison()

    counts.add(Comparison("b", extra=tuple(f"traits.t{number}" for number in range(MAX_PATHS + 5))))

    assert len(counts.extra) == MAX_PATHS + 1
    assert counts.extra[OTHER] == 1


@given(st.integers(0, 30), st.integers(1, 10), st.integers())
def test_a_sample_is_reproducible(size: int, count: int, seed: int) -> None:
    """No user is drawn twice, and *count* users are drawn if there are as many."""
    users = [UserTraits(f"u{number}") for number in range(size)]

    chosen = sample(users, count, seed=seed)

    assert len(chosen) == len({user.user_id for user in chosen}) == min(size, count)
    assert chosen == sample(iter(users), count, seed=seed)


def test_a_sample_is_uniform() -> None:
    """Each of ten users is in about half of the samples of five."""
    users = [UserTraits(f"u{number}") for number in range(10)]

    counts = Counter(user.user_id for seed in range(1000) for user in sample(users, 5, seed=seed))

    assert len(counts) == 10
    assert all(455 < count < 545 for count in counts.values())
