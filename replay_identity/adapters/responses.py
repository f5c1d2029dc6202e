"""Map failed responses to outcomes, validate adapters' outcomes and turn their exceptions into `Broken`."""

from collections.abc import Mapping
from pathlib import PurePath
from traceback import extract_tb

from ..outcomes import Broken, Failure, Misconfigured, Outcome, Rejected, Unavailable, Unknown
from .exchange import Exchange, NoResponse, Response


def failure_outcome(
    backend: str,
    response: Response,
    *,
    hints: Mapping[int, str],
    code: str | None = None,
    message: str | None = None,
) -> Failure:
    """Map an unsuccessful response to a failure outcome.

    Args:
        backend: Name of the backend.
        response: A response that is not a success, or a success with an unexpected body.
        hints: What to do about a status that means that a setting is wrong.
        code: The vendor's error code, or None if the body has none.
        message: The vendor's message, redacted, or None.
    """
    if response.no_response is not None:
        return _without_response(backend, response, response.no_response)
    cause = f"HTTP {response.status}"
    coded = f"{cause} {code}" if code else cause
    if response.refuses:
        return Rejected(backend, code=code or cause, message=message)
    if response.is_success:
        # The response may come from a proxy or a login page, so it confirms nothing.
        return Unknown(backend, f"{cause} with an unexpected body", status=response.status)
    if response.status in hints:
        return Misconfigured(backend, coded, hints[response.status])
    if response.is_retryable:
        return _temporary_failure(backend, response, coded)
    if 300 <= response.status < 400:  # noqa: PLR2004  # The definition of a redirect.
        return Misconfigured(backend, f"{cause}, a redirect, which is never followed", "Check base_url.")
    return Rejected(backend, code=code or cause, message=message)


def _without_response(backend: str, response: Response, no_response: NoResponse) -> Failure:
    if no_response is NoResponse.UNTRUSTED:
        return Misconfigured(backend, no_response.value, "Check base_url, or point SSL_CERT_FILE at your certificates.")
    return _temporary_failure(backend, response, no_response.value)


def _temporary_failure(backend: str, response: Response, cause: str) -> Unavailable | Unknown:
    status = response.status or None
    if response.uncertain or response.may_have_applied:
        return Unknown(backend, cause, status=status)
    return Unavailable(backend, cause, response.retry_after, status)


def isolate_errors(backend: str, exchange: Exchange[Outcome]) -> Exchange[Outcome]:
    """Run *exchange* and return its outcome, or `Broken` if it raises or returns no valid outcome."""
    try:
        return checked_outcome(backend, (yield from exchange))
    except Exception as error:  # noqa: BLE001  # One adapter's bug must not hide another's outcome.
        return adapter_error(backend, error)


def checked_outcome(backend: str, outcome: object) -> Outcome:
    """Return *outcome* if it is an outcome of *backend*, else `Broken`: it would replace another backend's outcome."""
    if isinstance(outcome, Outcome) and outcome.backend == backend:
        return outcome
    return Broken(backend, "it returned no outcome of this backend")


def adapter_error(backend: str, error: BaseException) -> Broken:
    """Return `Broken` with the exception's type and place, not its text, which may quote what was sent."""
    frames = extract_tb(error.__traceback__)
    place = f" at {PurePath(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return Broken(backend, f"{type(error).__name__}{place}")
