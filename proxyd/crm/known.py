"""Which class an adapter's name stands for: ours, or one that an installed package's entry point names."""

from __future__ import annotations

from typing import Any

from proxyd.config.crm import installed
from proxyd.crm.adapter import Adapter
from proxyd.crm.espocrm import Espocrm
from proxyd.crm.hubspot import Hubspot
from proxyd.crm.jsonl import Jsonl
from proxyd.crm.odoo import Odoo
from proxyd.crm.pipedrive import Pipedrive
from proxyd.crm.salesforce import Salesforce
from proxyd.crm.tryton import Tryton
from proxyd.crm.webhook import Webhook
from proxyd.errors import ConfigError

BUILT_IN: dict[str, type[Adapter]] = {
    "espocrm": Espocrm,
    "hubspot": Hubspot,
    "jsonl": Jsonl,
    "odoo": Odoo,
    "pipedrive": Pipedrive,
    "salesforce": Salesforce,
    "tryton": Tryton,
    "webhook": Webhook,
}


def adapter_class(kind: str) -> type[Adapter]:
    """Raises ConfigError where there is none, or its package is broken."""
    if kind in BUILT_IN:
        return BUILT_IN[kind]
    point = installed().get(kind)
    if point is None:
        raise ConfigError(f"the adapter {kind} is in a package that is no longer installed")
    try:
        found: Any = point.load()
    except Exception as error:  # a package's own code
        raise ConfigError(f"the adapter {kind} cannot be loaded: {type(error).__name__}") from error
    if not (isinstance(found, type) and issubclass(found, Adapter)):
        raise ConfigError(f"the adapter {kind} is no proxyd.crm.adapter.Adapter")
    return found
