"""YAML to frozen objects; the only reader of YAML.

`load` reads a folder. Files are read strictly: an unknown key, a wrong type, a secret in a file, or one of YAML's
surprises is a `Problem` at its line and column, and every problem of every file is told at once.
"""

from proxyd.config.alerting import Alert, AlertCommand, AlertWebhook
from proxyd.config.crm import (
    Crm,
    CrmOptions,
    Espocrm,
    Hubspot,
    Jsonl,
    Odoo,
    OnTheNet,
    Pipedrive,
    Salesforce,
    Tryton,
    Url,
    Webhook,
)
from proxyd.config.fields import Endpoint, FilePath, duration, duration_text, is_loopback, size
from proxyd.config.loading import account_of, account_path, load, load_what_is_well
from proxyd.config.oauth import OAuth
from proxyd.config.private_files import replace_private
from proxyd.config.problems import ConfigErrors, Problem
from proxyd.config.secrets import (
    ensure_client_password,
    make_key_file,
    new_client_password,
    read_secret,
    remove_secret,
    store_key,
    write_secret,
)
from proxyd.config.settings import (
    Account,
    CertificateFiles,
    Client,
    Daemon,
    Keep,
    Listen,
    Provider,
    Sending,
    SentCopy,
    Server,
    Settings,
    SignIn,
    Watch,
)
from proxyd.config.sources import Command, Credential, Env, KeyringEntry, SecretFile, Source, SourceSetting

__all__ = [
    "Account",
    "Alert",
    "AlertCommand",
    "AlertWebhook",
    "CertificateFiles",
    "Client",
    "Command",
    "ConfigErrors",
    "Credential",
    "Crm",
    "CrmOptions",
    "Daemon",
    "Endpoint",
    "Env",
    "Espocrm",
    "FilePath",
    "Hubspot",
    "Jsonl",
    "Keep",
    "KeyringEntry",
    "Listen",
    "OAuth",
    "Odoo",
    "OnTheNet",
    "Pipedrive",
    "Problem",
    "Provider",
    "Salesforce",
    "SecretFile",
    "Sending",
    "SentCopy",
    "Server",
    "Settings",
    "SignIn",
    "Source",
    "SourceSetting",
    "Tryton",
    "Url",
    "Watch",
    "Webhook",
    "account_of",
    "account_path",
    "duration",
    "duration_text",
    "ensure_client_password",
    "is_loopback",
    "load",
    "load_what_is_well",
    "make_key_file",
    "new_client_password",
    "read_secret",
    "remove_secret",
    "replace_private",
    "size",
    "store_key",
    "write_secret",
]
