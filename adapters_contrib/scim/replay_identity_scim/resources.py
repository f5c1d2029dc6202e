"""The attributes of SCIM users and groups that this package reads and writes (RFC 7643, sections 4.1 and 4.2).

scim2-models has complete models, but they validate e-mail addresses: one colleague at ``.local`` would make the whole
list unreadable. Attributes that these models do not have are kept (`_KEEP_UNKNOWN`), and sent back in a PUT.
"""

from typing import Annotated, Any, Final

from pydantic import Field
from scim2_models import (
    URN,
    ComplexAttribute,
    Mutability,
    Required,
    Resource,
    ScimPolicy,
    ScimProvider,
    ServiceProviderConfig,
)


class Name(ComplexAttribute):
    """The parts of a name."""

    given_name: str | None = None
    family_name: str | None = None


class Email(ComplexAttribute):
    """One e-mail address."""

    value: str | None = None
    primary: bool | None = None


class Membership(ComplexAttribute):
    """A group that a user is a member of."""

    value: Annotated[str | None, Mutability.read_only] = None


class UserResource(Resource[Any]):
    """A user: SCIM's name for a seat."""

    __schema__ = URN("urn:ietf:params:scim:schemas:core:2.0:User")

    user_name: Annotated[str, Required.true, Field(min_length=1)]
    name: Name | None = None
    emails: list[Email] | None = None
    active: bool | None = None
    groups: Annotated[list[Membership] | None, Mutability.read_only] = None


class Member(ComplexAttribute):
    """A user or a group that is a member of a group."""

    value: str | None = None
    type: str | None = None


class GroupResource(Resource[Any]):
    """A group."""

    __schema__ = URN("urn:ietf:params:scim:schemas:core:2.0:Group")

    display_name: Annotated[str, Required.true]
    members: list[Member] | None = None


_KEEP_UNKNOWN: Final = ScimPolicy(unknown=ScimPolicy.Unknown.keep)


def provider_of(config: ServiceProviderConfig | None) -> ScimProvider:
    """Return a provider with the endpoints ``/Users`` and ``/Groups``, whose service describes itself with *config*."""
    return ScimProvider(models=[UserResource, GroupResource], config=config, policy=_KEEP_UNKNOWN)
