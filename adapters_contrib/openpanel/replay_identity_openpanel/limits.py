"""What OpenPanel accepts: any length, one form of e-mail address, and no reserved names.

All read on 2026-11-21 in OpenPanel's own code (https://github.com/Openpanel-dev/openpanel), since
https://openpanel.dev/docs/api/track names no limit.
"""

import re
from typing import Final

from replay_identity.adapters import Limits

# An id is a text of at least one character, which `UserTraits` guarantees. No length is limited except that of a
# request, to 500 MiB (packages/validation/src/track.validation.ts, apps/api/src/index.ts).
LIMITS: Final = Limits()

# OpenPanel validates addresses with zod's `z.string().email()`, and an invalid one fails the whole call. This pattern
# accepts the same addresses: no leading dot, no two dots in a row, no apostrophe before the @, only letters at the end,
# and only ASCII.
EMAIL: Final = re.compile(
    r"(?:[A-Za-z0-9_'+-]+\.)*[A-Za-z0-9_'+-]*[A-Za-z0-9_+-]@(?:[A-Za-z0-9][A-Za-z0-9-]*\.)+[A-Za-z]{2,}"
)

# The server is written in JavaScript, whose numbers are 64-bit floats: `JSON.parse` loses digits of larger integers.
MAX_INT: Final = 2**53 - 1

# The server sets these properties from the address and the User-Agent of the request, and overwrites traits of the same
# names. If the User-Agent is a server's, it removes them from the update of a profile that a browser made
# (packages/db/src/buffers/profile-buffer.ts). Either way the trait is lost.
SET_BY_SERVER: Final = frozenset(
    {
        *("country", "city", "region", "longitude", "latitude"),
        *("os", "osVersion", "os_version", "browser", "browserVersion", "browser_version"),
        *("device", "isServer", "brand", "model"),
    }
)

# Properties with this prefix are commands to the server: `__identify` sends everything to another profile, `__ip` and
# `__os` replace the request's own (apps/api/src/controllers/track.controller.ts).
RESERVED_PREFIX: Final = "__"
# No JavaScript server accepts this name at any depth: Fastify responds with 400, and an object would lose it.
RESERVED_EVERYWHERE: Final = "__proto__"
