"""What OpenPanel takes: no lengths, one form of e-mail address, and names that it keeps for itself.

All read on 2026-11-21 in OpenPanel's own code (https://github.com/Openpanel-dev/openpanel), since
https://openpanel.dev/docs/api/track names no limit at all.
"""

import re
from typing import Final

from replay_identity.adapters import Limits

# An id is a text of at least one character, as every `UserTraits` has; no length is limited but that of a request, to
# 500 MiB (packages/validation/src/track.validation.ts, apps/api/src/index.ts).
LIMITS: Final = Limits()

# The vendor checks addresses with zod's `z.string().email()`, and one that fails costs the whole call. What zod takes,
# said in another way: no dot first, no two in a row, no apostrophe before the @, letters alone at the end; only ASCII.
EMAIL: Final = re.compile(
    r"(?:[A-Za-z0-9_'+-]+\.)*[A-Za-z0-9_'+-]*[A-Za-z0-9_+-]@(?:[A-Za-z0-9][A-Za-z0-9-]*\.)+[A-Za-z]{2,}"
)

# The server is JavaScript, whose numbers are 64-bit floats: beyond this, `JSON.parse` loses digits.
LARGEST_INT: Final = 2**53 - 1

# The server sets these itself, by the address and the User-Agent of the request, over a trait of the same name; and
# where the User-Agent is a server's, it leaves them out of a profile that a browser made
# (packages/db/src/buffers/profile-buffer.ts). Either way the trait is lost.
SET_BY_SERVER: Final = frozenset(
    {
        *("country", "city", "region", "longitude", "latitude"),
        *("os", "osVersion", "os_version", "browser", "browserVersion", "browser_version"),
        *("device", "isServer", "brand", "model"),
    }
)

# How the names of properties begin that are words to the server: `__identify` sends all to another profile, `__ip` and
# `__os` stand in for the request's (apps/api/src/controllers/track.controller.ts).
RESERVED_PREFIX: Final = "__"
# No server in JavaScript takes this one at any depth: Fastify answers 400, and an object would lose it.
RESERVED_EVERYWHERE: Final = "__proto__"
