"""The sample that `replay-identity demo` sends.

Recreate it with: python tests/support/sample_users.py > replay_identity/cli/samples/users.jsonl
"""

import json
import random
import sys
from collections.abc import Callable
from datetime import date, timedelta
from typing import Any, Final

GIVEN: Final = (  # noqa: SIM905  # One name a line would fill a screen.
    "Ada Björn Chidi Dilnoza Élodie Fatima Göksu Hana İbrahim Jürgen Kateryna Łukasz María Nguyễn Óscar Priya "
    "Şule Tomáš Uchenna Věra Wanjiru Xiomara Yaël Zoë 花子 太郎 지우 محمد אורי Олена Ελένη"
).split()
FAMILY: Final = (  # noqa: SIM905  # One name a line would fill a screen.
    "Adeyemi Bergström Castro Dvořák Eriksson Fernández García Høgh Ivanova Jóhannsdóttir Kowalski Lindqvist Müller "
    "Nowak O'Neill Papadopoulos Quispe Rossi Sánchez Tanaka Ümit Vasylenko 山田 김 أحمد לוי"
).split()
COMPANIES: Final = ("Hafen & Söhne", "株式会社ひまわり", "Blåbær AS", "Northwind Rope", "Café Olé 🥐", "Ferreira Ltda")
TAGS: Final = ("beta", "vip", "churn-risk", "partner", "früh", "🚀")
FIRST_DAY: Final = date(2021, 1, 4)
USERS: Final = 190


def typical_user(number: int, dice: random.Random) -> dict[str, Any]:
    """Return a user without problems."""
    signed_up = FIRST_DAY + timedelta(days=dice.randrange(1800))
    return {
        "id": f"demo-{number:04}",
        "name": f"{dice.choice(GIVEN)} {dice.choice(FAMILY)}",
        "email": f"demo{number}@example.com",
        "plan": dice.choice(["free", "free", "pro", "enterprise"]),
        "seats": dice.randrange(1, 400),
        "mrr": dice.randrange(0, 500_000) / 100,
        "is_admin": dice.random() < 0.2,
        "signed_up": signed_up.isoformat(),
        "company": {"name": dice.choice(COMPANIES), "size": dice.choice(["1-10", "11-50", "51+"])},
        "tags": dice.sample(TAGS, dice.randrange(4)),
    }


# Problems of users in real files.
PROBLEMS: Final[tuple[Callable[[dict[str, Any]], object], ...]] = (
    lambda user: user.update({"plan": None, "mrr": None}),
    lambda user: user.update({"plan": "", "mood": "🧑‍🚀 👍🏽"}),
    lambda user: user.update({"feature-flag": "new-checkout"}),
    lambda user: user.update({"utm.source": "newsletter"}),
    lambda user: user.update({"1st_touch": "search"}),
    lambda user: user.update({"bio": "Ich mag Übergrößen. " * 60}),
    lambda user: user.update({"bio": "👩‍💻 codes, 🎹 plays. " * 500}),
    lambda user: user.update({"id": user["id"] + "-" + "x" * 300}),
    lambda user: user.update({"account": 2**53 + 1, "ledger": 2**64}),
    lambda user: user.update({"orders": [{"sku": "rope", "count": 2}, {"sku": "tent", "count": 1}]}),
    lambda user: user.update({"last-seen": "web", "last_seen": "app"}),
    lambda user: user.pop("id"),
    lambda user: user.update({"id": 4711}),
    lambda user: user.update({"mixed": [1, "two", 3.0]}),
)


def lines() -> list[str]:
    """Return the lines of the sample, which are always the same."""
    dice = random.Random(20261121)  # noqa: S311  # Not a secret.
    users = [typical_user(number, dice) for number in range(1, USERS + 1)]
    for index, user in enumerate(users):
        # Every fourth user has one of the problems.
        if index % 4 == 3:
            PROBLEMS[index // 4 % len(PROBLEMS)](user)
    users += [dict(users[index], plan="enterprise") for index in range(0, 80, 8)]
    text = [json.dumps(user, ensure_ascii=False) for user in users]
    text.insert(60, '{"id": "demo-broken", "name": "Cut o')
    text.insert(120, '["id", "demo-array"]')
    return text


if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8")  # type: ignore[union-attr]  # Always a real stream here.
    sys.stdout.write("".join(f"{line}\n" for line in lines()))
