"""Umami's error responses."""

from typing import Final

from replay_identity.emulator.http import JsonObject, JsonValue

# Policy: Umami's messages for other statuses are not known; those of faults have the same form.
_MESSAGES: Final = {
    400: ("Bad request", "bad-request"),
    403: ("Forbidden", "forbidden"),
    500: ("Server error", "server-error"),
}


class UmamiHttpError(Exception):
    """An error response to a request, or to an item of a batch."""

    def __init__(self, status: int, content: JsonObject) -> None:
        super().__init__(status)
        self.status = status
        self.content = content


def http_error(status: int, message: str = "", **more: JsonValue) -> UmamiHttpError:
    """Return the exception for *status*, with Umami's own message unless there is a *message*."""
    default, code = _MESSAGES.get(status, ("Error", "error"))
    return UmamiHttpError(status, {"error": {"message": message or default, "code": code, "status": status, **more}})


def schema_error(path: tuple[str, ...], problem: str) -> UmamiHttpError:
    """Return the exception for a body whose field at *path* does not conform to the schema, as a tree of fields."""
    errors: list[JsonValue] = [problem]
    properties: JsonObject = {}
    for name in reversed(path):
        properties = {name: {"errors": errors, "properties": properties}}
        errors = []
    return http_error(400, errors=errors, properties=properties)


def database_error(code: str, postgres_code: str | None = None) -> UmamiHttpError:
    """Return the exception for an error of Umami's database library, with its *code*."""
    error: JsonObject = {"name": "PrismaClientKnownRequestError", "code": code}
    # Policy: the place of PostgreSQL's code is not known.
    return http_error(500, errorObject={**error, "meta": {"code": postgres_code}} if postgres_code else error)
