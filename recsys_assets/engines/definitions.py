"""Relational definitions of kinds: each kind names its own, apart from how fast it is made on one machine."""

from pkgutil import resolve_name

from recsys_assets.engines.relation import Definition
from recsys_assets.errors import ConfigurationError
from recsys_assets.kinds.params import KindParams
from recsys_assets.kinds.registry import KINDS, Kind


def definition_of(kind: Kind) -> Definition:
    """Return the relational definition of a kind; `ConfigurationError` if it is native only."""
    if not kind.definition:
        known = ", ".join(name for name, one in KINDS.items() if one.definition)
        raise ConfigurationError(
            f"artifacts.{kind.name}.engine: {kind.name} has no relational definition, so only the native engine builds "
            f"it; those that have one are {known}"
        )
    try:
        found: object = resolve_name(kind.definition)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigurationError(
            f"the kind {kind.name} names the definition {kind.definition}, which cannot be loaded ({error}): repair "
            "the package that adds the kind"
        ) from error
    if not isinstance(found, Definition):
        raise ConfigurationError(f"the kind {kind.name}: {kind.definition} is no engines.relation.Definition")
    return found


def find_definition(kind: Kind, params: KindParams) -> Definition:
    """Return the relational definition of a kind; `ConfigurationError` if it has none for these parameters."""
    definition = definition_of(kind)
    if params.native_only:
        raise ConfigurationError(
            f"artifacts.{kind.name}.engine: only the native engine knows {params.native_only} of {kind.name}: leave "
            'that out, or build the kind with engine = "native"'
        )
    return definition
