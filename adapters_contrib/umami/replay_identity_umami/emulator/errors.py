"""How Umami says no."""

from typing import Final

from replay_identity.emulator.http import JsonObject, JsonValue

# Policy: Umami's words for other statuses are not known; a fault's are in the same form.
_WORDS: Final = {
    400: ("Bad request", "bad-request"),
    403: ("Forbidden", "forbidden"),
    500: ("Server error", "server-error"),
}


class RefusalError(Exception):
    """A request, or an item of a batch, that is answered with an error."""

    def __init__(self, status: int, content: JsonObject) -> None:
        super().__init__(status)
        self.status = status
        self.content = content


def refusal(status: int, message: str = "", **more: JsonValue) -> RefusalError:
    """Return the refusal of *status*, in Umami's words unless there is a *message*."""
    words, code = _WORDS.get(status, ("Error", "error"))
    return RefusalError(status, {"error": {"message": message or words, "code": code, "status": status, **more}})


def misfit(path: tuple[str, ...], problem: str) -> RefusalError:
    """Return the refusal of a body whose field at *path* does not fit the schema, as a tree of fields."""
    errors: list[JsonValue] = [problem]
    properties: JsonObject = {}
    for name in reversed(path):
        properties = {name: {"errors": errors, "properties": properties}}
        errors = []
    return refusal(400, errors=errors, properties=properties)


def database_error(code: str, postgres_code: str | None = None) -> RefusalError:
    """Return what Umami makes of an error of its database library, whose *code* it passes on."""
    error: JsonObject = {"name": "PrismaClientKnownRequestError", "code": code}
    # Policy: where the code of PostgreSQL stands is not known.
    return refusal(500, errorObject={**error, "meta": {"code": postgres_code}} if postgres_code else error)
