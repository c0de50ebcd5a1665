"""The shipped JSON Schemas and samples: what an editor says is what the code does."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from proxyd.config import Settings, load
from proxyd.config.schema import SCHEMAS, account_schema, daemon_schema, text, write
from proxyd.config.settings import AccountFile, Choices, Daemon, ServerSetting, SignInSetting
from proxyd.config.sources import Section
from proxyd.config.tree import read_tree, values

SAMPLES = Path(__file__).parents[2] / "config"
BROKEN = Path(__file__).parent / "broken"
ADA = SAMPLES / "accounts.d/ada.yaml"


def instance(path: Path) -> Any:
    reading = read_tree(path.read_bytes())
    assert reading.root is not None
    return json.loads(json.dumps(values(reading.root)))


@pytest.mark.parametrize("name", SCHEMAS)
def test_the_shipped_schema_is_the_codes(name: str, tmp_path: Path) -> None:
    write(tmp_path)
    shipped = (SAMPLES / name).read_text(encoding="utf-8")
    assert shipped == text(SCHEMAS[name]()) == (tmp_path / name).read_text(encoding="utf-8")
    Draft202012Validator.check_schema(json.loads(shipped))


@pytest.mark.parametrize(
    ("sample", "schema"), [("proxyd.yaml", "proxyd.schema.json"), ("accounts.d/ada.yaml", "account.schema.json")]
)
def test_the_samples_are_valid(sample: str, schema: str) -> None:
    Draft202012Validator(json.loads((SAMPLES / schema).read_text())).validate(instance(SAMPLES / sample))
    first = (SAMPLES / sample).read_text(encoding="utf-8").splitlines()[0]
    named = re.fullmatch(r"# yaml-language-server: \$schema=(.+)", first)
    assert named is not None
    assert ((SAMPLES / sample).parent / named[1]).resolve() == (SAMPLES / schema).resolve()


def test_the_samples_values_are_the_defaults() -> None:
    sample = load(SAMPLES)
    assert sample.daemon == Daemon()
    bare = AccountFile(address="ada@example.com", provider="gmail")
    account = sample.accounts["ada@example.com"]
    for name in Choices.model_fields:
        assert getattr(account, name) == getattr(bare, name), name
    assert account.sign_in.imap_user == account.sign_in.smtp_user == "ada@example.com"


def test_leaving_everything_out_gives_the_sample(tmp_path: Path) -> None:
    (tmp_path / "accounts.d").mkdir()
    (tmp_path / "accounts.d/ada.yaml").write_text("address: ada@example.com\nprovider: gmail\n")
    assert load(tmp_path) == load(SAMPLES)


def test_the_defaults_in_the_schema_are_the_codes() -> None:
    """Writing out every default that the schema names changes nothing."""
    schema = daemon_schema()
    listen = {key: field["default"] for key, field in schema["$defs"]["Listen"]["properties"].items()}
    given = {"listen": listen} | {k: v["default"] for k, v in schema["properties"].items() if "default" in v}
    assert given.keys() == Daemon.model_fields.keys()
    assert list(listen.values()) == [str(value) for _, value in Daemon().listen]
    account = account_schema()["properties"]
    assert account["dropbox"]["default"] == "none"
    assert account["crm"]["default"] == ["local"]


def _keys(model: type[Section]) -> set[str]:
    found: set[str] = set()
    for name, field in model.model_fields.items():
        found.add(name)
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            found |= _keys(field.annotation)
    return found


@pytest.mark.parametrize(
    ("sample", "models"),
    [("proxyd.yaml", [Daemon]), ("accounts.d/ada.yaml", [AccountFile, SignInSetting, ServerSetting])],
    ids=["proxyd.yaml", "ada.yaml"],
)
def test_every_setting_stands_in_the_samples(sample: str, models: list[type[Section]]) -> None:
    lines = (SAMPLES / sample).read_text(encoding="utf-8")
    for model in models:
        for key in _keys(model):
            assert re.search(rf"^[# ]*{key}:", lines, re.MULTILINE), key


def test_every_commented_example_is_accepted(tmp_path: Path) -> None:
    """What the sample shows in comments is taken, too, once the comment sign is gone."""
    sample = ADA.read_text(encoding="utf-8")
    spelled = re.search(r"^# provider:\n(#   .*\n)+", sample, re.MULTILINE)
    assert spelled is not None
    provider = re.sub(r"^# ", "", spelled[0], flags=re.MULTILINE).replace("/etc/proxyd/company-ca.pem", "ca.pem")
    text = f"address: ada@example.com\n{provider}"
    for key in ("never_log", "dropbox", "allow_uids"):
        shown = re.search(rf"^# ({key}: .*)$", sample, re.MULTILINE)
        assert shown is not None
        text += f"{shown[1]}\n"
    for source in re.findall(r"^  #   (\{.*?\})  +", sample, re.MULTILINE):
        (tmp_path / "secrets").mkdir(exist_ok=True)
        (tmp_path / "secrets/ada").touch(mode=0o600)
        (tmp_path / "ca.pem").touch()
        (tmp_path / "accounts.d").mkdir(exist_ok=True)
        users = "\n".join(re.findall(r"^  # (\w*user: \S+)$", sample, re.MULTILINE)).replace("\n", "\n  ")
        (tmp_path / "accounts.d/ada.yaml").write_text(f"{text}sign_in:\n  {users}\n  password: {source}\n")
        settings = load(tmp_path)
        assert isinstance(settings, Settings)
        account = settings.accounts["ada@example.com"]
        assert (account.sign_in.imap_user, account.provider.ca) == ("team@example.com", tmp_path / "ca.pem")


# What only the code can see: hosts, ranges, files on disk, one address twice.
_ONLY_THE_CODE = {
    "account-address-twice",
    "account-clear-text-login",
    "account-crm-and-dropbox",
    "account-crm-twice",
    "account-dropbox-is-oneself",
    "account-duration-out-of-range",
    "account-file-is-a-folder",
    "account-missing-files",
    "account-oauth-and-password",
    "account-oauth-device",
    "account-oauth-endpoints",
    "account-oauth-tenant",
    "account-port-in-the-host",
    "daemon-beyond-loopback",
    "daemon-certificate-missing",
    "daemon-one-port-twice",
}


def _readable(path: Path) -> bool:
    reading = read_tree(path.read_bytes())
    return reading.root is not None and not reading.problems


@pytest.mark.parametrize("path", sorted(filter(_readable, BROKEN.glob("*.yaml"))), ids=lambda path: path.stem)
def test_the_schema_refuses_what_the_code_refuses(path: Path) -> None:
    schema = daemon_schema() if path.stem.startswith("daemon-") else account_schema()
    root = read_tree(path.read_bytes()).root
    assert root is not None
    plain = json.loads(json.dumps(values(root), default=lambda unreadable: 0.5))
    refused = bool(list(Draft202012Validator(schema).iter_errors(plain)))
    assert refused is (path.stem not in _ONLY_THE_CODE)
