"""Loading a folder: what is missing, what may be read by others, and that nothing but ConfigErrors ever comes out."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxyd.config import (
    Account,
    Command,
    ConfigErrors,
    Credential,
    Daemon,
    Endpoint,
    Env,
    KeyringEntry,
    SecretFile,
    Server,
    Settings,
    load,
    load_what_is_well,
)

ADA = "address: Ada@Example.com\nprovider: gmail\n"


def written(folder: Path, account: str = "", daemon: str = "") -> Path:
    (folder / "accounts.d").mkdir(parents=True, exist_ok=True)
    if daemon:
        (folder / "proxyd.yaml").write_text(daemon, encoding="utf-8")
    if account:
        (folder / "accounts.d/ada.yaml").write_text(account, encoding="utf-8")
    return folder


def only(folder: Path) -> Account:
    (account,) = load(folder).accounts.values()
    return account


def problems(folder: Path) -> list[str]:
    with pytest.raises(ConfigErrors) as caught:
        load(folder)
    return [str(problem).removeprefix(f"{folder}/") for problem in caught.value.problems]


def told(folder: Path) -> ConfigErrors | None:
    try:
        load(folder)
    except ConfigErrors as errors:
        return errors
    return None


def test_an_empty_folder_is_a_daemon_with_defaults_and_no_accounts(tmp_path: Path) -> None:
    assert load(tmp_path) == Settings(Daemon(), {})
    assert load(tmp_path / "missing") == Settings()


@pytest.mark.parametrize("text", ["", "\n", "# listen:\n#   smtp: 127.0.0.1:25\n"], ids=["empty", "a line", "comments"])
def test_a_daemon_file_without_settings_is_the_defaults(tmp_path: Path, text: str) -> None:
    (tmp_path / "proxyd.yaml").write_text(text)
    assert load(tmp_path).daemon == Daemon()


def test_two_lines_make_an_account(tmp_path: Path) -> None:
    account = only(written(tmp_path, ADA))
    assert account.address == "ada@example.com"
    assert account.provider.name == "gmail"
    assert account.provider.imap == Server(host="imap.gmail.com", port=993, tls="implicit")
    assert account.sign_in.imap_user == account.sign_in.smtp_user == "Ada@Example.com"
    assert account.sign_in.password == KeyringEntry("ada@example.com/mail")
    assert account.client.password == KeyringEntry("ada@example.com/client")


@pytest.mark.parametrize(
    ("written_as", "uids"),
    [("", None), ("allow_uids: [1000]\n", (1000,)), ("allow_uids:\n  - 0\n  - 4294967294\n", (0, 2**32 - 2))],
    ids=["left out", "one", "the least and the greatest"],
)
def test_users_who_may_log_in(tmp_path: Path, written_as: str, uids: tuple[int, ...] | None) -> None:
    assert only(written(tmp_path, ADA + written_as)).allow_uids == uids


def test_what_accounts_say_alike_is_held_once(tmp_path: Path) -> None:
    """There may be thousands of them in one daemon."""
    folder = written(tmp_path, ADA)
    other = ADA.replace("Ada", "grace") + "sent_copy: {settle: 5s}\n"
    (folder / "accounts.d/grace.yaml").write_text(other)
    ada, grace = load(folder).accounts.values()
    assert ada.provider is grace.provider
    assert ada.watch is grace.watch
    assert ada.sent_copy != grace.sent_copy


def test_accounts_are_keyed_by_their_lower_case_address(tmp_path: Path) -> None:
    settings = load(written(tmp_path, ADA))
    assert list(settings.accounts) == ["ada@example.com"]


@pytest.mark.parametrize(
    ("sign_in", "imap", "smtp"),
    [
        pytest.param("{}", "Ada@Example.com", "Ada@Example.com", id="the address as written"),
        pytest.param("{user: al}", "al", "al", id="user for both"),
        pytest.param("{user: al, imap_user: team}", "team", "al", id="imap apart"),
        pytest.param("{smtp_user: al}", "Ada@Example.com", "al", id="smtp apart"),
    ],
)
def test_sign_in_names(tmp_path: Path, sign_in: str, imap: str, smtp: str) -> None:
    account = only(written(tmp_path, f"{ADA}sign_in: {sign_in}\n"))
    assert (account.sign_in.imap_user, account.sign_in.smtp_user) == (imap, smtp)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("keyring", KeyringEntry("ada@example.com/client")),
        ("{env: ADA}", Env(env="ADA")),
        ("{command: [pass, show, 'mail/ada']}", Command(command=("pass", "show", "mail/ada"))),
        ("{credential: ada}", Credential(credential="ada")),
        ("{file: /nowhere/ada}", SecretFile(file=Path("/nowhere/ada"))),
    ],
)
def test_password_sources(tmp_path: Path, source: str, expected: object) -> None:
    assert only(written(tmp_path, f"{ADA}client: {{password: {source}}}\n")).client.password == expected


def test_a_relative_file_is_meant_from_the_configurations_folder(tmp_path: Path) -> None:
    account = only(written(tmp_path, f"{ADA}client: {{password: {{file: secrets/ada}}}}\n"))
    assert account.client.password == SecretFile(file=tmp_path / "secrets/ada")


def test_a_home_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    account = only(written(tmp_path, f"{ADA}client: {{password: {{file: ~/ada}}}}\n"))
    assert account.client.password == SecretFile(file=tmp_path / "home/ada")


def test_a_provider_spelled_out_gets_its_ports_from_its_tls(tmp_path: Path) -> None:
    text = "address: a@b.example\nprovider:\n  imap: {host: m.example, tls: starttls}\n  smtp: {host: m.example}\n"
    provider = only(written(tmp_path, text)).provider
    assert (provider.imap.port, provider.smtp.port) == (143, 465)
    assert (provider.name, provider.files_sent, provider.ca) == ("", "unknown", None)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.3.4.5", "::1"])
def test_no_tls_on_loopback(tmp_path: Path, host: str) -> None:
    server = f"{{host: '{host}', port: 1025, tls: none}}"
    text = f"address: a@b.example\nprovider: {{imap: {server}, smtp: {server}, files_sent: no}}\n"
    provider = only(written(tmp_path, text)).provider
    assert provider.smtp == Server(host=host, port=1025, tls="none")
    assert provider.files_sent == "no"


def test_listeners(tmp_path: Path) -> None:
    text = 'listen: {smtp: 127.0.0.1:0, smtps: 0.0.0.0:465, imap: off, imaps: "[::1]:993", web: false}\n'
    listen = load(written(tmp_path, daemon=text)).daemon.listen
    assert listen.smtp == Endpoint("127.0.0.1", 0)
    assert listen.smtps == Endpoint("0.0.0.0", 465)
    assert (listen.imap, listen.web) == (None, None)
    assert listen.imaps == Endpoint("::1", 993)


def test_choices(tmp_path: Path) -> None:
    text = "sent_copy: {settle: 2m}\nsending: {answer_within: 30s}\nwatch: {folders: [INBOX, X]}\ndropbox: A@B.Example"
    account = only(written(tmp_path, f"{ADA}{text}\n"))
    assert (account.sent_copy.settle, account.sending.answer_within) == (120.0, 30.0)
    assert account.watch.folders == ("INBOX", "X")
    assert account.dropbox == "A@B.Example"


def test_loading_again_gives_an_equal_value(tmp_path: Path) -> None:
    written(tmp_path, ADA, "listen: {web: off}\n")
    before = load(tmp_path)
    assert load(tmp_path) == before
    written(tmp_path, ADA + "track: nothing\n")
    assert load(tmp_path) != before


def test_settings_cannot_be_changed(tmp_path: Path) -> None:
    settings = load(written(tmp_path, ADA))
    with pytest.raises(TypeError):
        settings.accounts["x"] = settings.accounts["ada@example.com"]  # type: ignore[index]
    with pytest.raises(ValueError, match="frozen"):
        settings.accounts["ada@example.com"].track = "nothing"  # type: ignore[misc]


# --- files that hold secrets -------------------------------------------------------------------------------


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "ada.secret"
    path.write_text("hunter2\n")
    path.chmod(0o600)
    return path


@pytest.mark.parametrize("section", ["sign_in", "client"])
@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660, 0o601])
def test_a_secret_file_that_others_can_read(tmp_path: Path, secret: Path, mode: int, section: str) -> None:
    secret.chmod(mode)
    written(tmp_path, f"{ADA}{section}:\n  password: {{file: ada.secret}}\n")
    assert problems(tmp_path) == [
        f"accounts.d/ada.yaml:4:20: {section}.password.file: others can read the file "
        f'"{secret}" (mode {mode:04o}); make it private: chmod 600'
    ]


def test_a_private_secret_file(tmp_path: Path, secret: Path) -> None:
    assert only(written(tmp_path, f"{ADA}sign_in: {{password: {{file: ada.secret}}}}\n"))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_secret_file_of_somebody_else(tmp_path: Path, secret: Path) -> None:
    os.chown(secret, 4242, -1)
    written(tmp_path, f"{ADA}sign_in: {{password: {{file: ada.secret}}}}\n")
    (problem,) = problems(tmp_path)
    assert "belongs to another user (uid 4242)" in problem


def test_a_fifo_does_not_hold_us(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "ada.secret", 0o600)
    written(tmp_path, f"{ADA}sign_in: {{password: {{file: ada.secret}}}}\n")
    (problem,) = problems(tmp_path)
    assert problem.endswith('ada.secret" is not a file')


def test_a_certificates_key_that_others_can_read(tmp_path: Path) -> None:
    for name in ("chain.pem", "key.pem"):
        (tmp_path / name).write_text("PEM\n")
        (tmp_path / name).chmod(0o644)
    written(tmp_path, daemon="certificate:\n  chain: chain.pem\n  key: key.pem\n")
    (problem,) = problems(tmp_path)
    assert problem.startswith("proxyd.yaml:3:8: certificate.key: others can read the file")


def test_a_dangling_link_is_a_problem_not_a_default(tmp_path: Path) -> None:
    written(tmp_path)
    (tmp_path / "proxyd.yaml").symlink_to(tmp_path / "gone")
    (tmp_path / "accounts.d/ada.yaml").symlink_to(tmp_path / "gone")
    assert problems(tmp_path) == [
        f'accounts.d/ada.yaml:1:1: the file "{tmp_path}/accounts.d/ada.yaml" is missing',
        f'proxyd.yaml:1:1: the file "{tmp_path}/proxyd.yaml" is missing',
    ]


def test_a_configuration_that_is_a_fifo_does_not_hold_us(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "proxyd.yaml")
    assert problems(tmp_path) == [f'proxyd.yaml:1:1: "{tmp_path}/proxyd.yaml" is not a file']


@contextmanager
def nobodys_eyes() -> Iterator[None]:
    """Root may read everything, so for a moment it is not root."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(before)


def test_a_folder_that_may_not_be_read_is_no_empty_folder(tmp_path: Path) -> None:
    folder = written(tmp_path / "config", ADA, "listen: {web: off}\n")
    assert load(folder)
    folder.chmod(0)
    try:
        with nobodys_eyes():
            found = problems(folder)
    finally:
        folder.chmod(0o700)
    assert found == [
        "accounts.d:1:1: the folder cannot be read: Permission denied",
        f'proxyd.yaml:1:1: the file "{folder}/proxyd.yaml" cannot be read: Permission denied',
    ]


def test_a_file_whose_name_is_no_utf_8(tmp_path: Path) -> None:
    written(tmp_path)
    (tmp_path / "accounts.d" / os.fsdecode(b"\xe9.yaml")).touch()
    (problem,) = problems(tmp_path)
    assert problem.encode().endswith(
        b"udce9.yaml:1:1: the file has no settings; accepted: address and provider at least"
    )


def test_a_file_of_megabytes(tmp_path: Path) -> None:
    written(tmp_path, "# " + "x" * 300_000)
    assert problems(tmp_path) == ["accounts.d/ada.yaml:1:1: the file is larger than 256 KiB"]


# --- whatever stands in the files --------------------------------------------------------------------------

_WORDS = st.sampled_from(
    """
    address provider gmail sign_in client password keyring env file imap smtp host tls none listen never_log
    ada@example.com *@example.com 22:30 0600 no yes ~ 1.5 2026-11-23 20s 127.0.0.1:1587 [::1]:25 hunter2 track
    sent_copy settle watch folders crm local << ? & * ! % @ | > --- ... # oauth allow_uids dropbox
    """.strip().split()
)
_PLAIN = st.one_of(_WORDS, st.integers(), st.booleans(), st.none(), st.floats(), st.text(max_size=8))
_TREES = st.recursive(
    _PLAIN,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(_WORDS, inner, max_size=4)),
    max_leaves=12,
)
_LINES = st.lists(
    st.tuples(st.sampled_from(["", " ", "  ", "- ", "\t"]), _WORDS, st.sampled_from([": ", ":", " ", ""]), _WORDS),
    max_size=8,
).map(lambda lines: "\n".join("".join(parts) for parts in lines).encode())


def _flow(tree: object) -> str:
    if isinstance(tree, dict):
        return "{" + ", ".join(f"{key}: {_flow(value)}" for key, value in tree.items()) + "}"
    if isinstance(tree, list):
        return "[" + ", ".join(_flow(item) for item in tree) + "]"
    return str(tree)


_YAML = _TREES.map(lambda tree: _flow(tree).encode("utf-8", "surrogatepass"))
_MUTATED = st.tuples(st.integers(0, 200), st.binary(max_size=3)).map(
    lambda change: (lambda text: text[: change[0]] + change[1] + text[change[0] :])(
        b"address: ada@example.com\nprovider: gmail\nsign_in:\n  password: hunter2\nnever_log: ['*@example.com']\n"
    )
)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(account=st.one_of(_LINES, _YAML, _MUTATED, st.binary(max_size=40)), daemon=st.one_of(_LINES, _YAML))
def test_nothing_but_config_errors_with_valid_places(tmp_path: Path, account: bytes, daemon: bytes) -> None:
    (tmp_path / "accounts.d").mkdir(exist_ok=True)
    (tmp_path / "accounts.d/ada.yaml").write_bytes(account)
    (tmp_path / "proxyd.yaml").write_bytes(daemon)
    errors = told(tmp_path)
    if errors is not None:
        assert errors.problems
        assert list(errors.problems) == sorted(errors.problems, key=lambda p: (str(p.file), p.line, p.column))
        for problem in errors.problems:
            lines = re.split("\r\n|[\r\n\x85\u2028\u2029]", problem.file.read_bytes().decode("utf-8", "replace"))
            assert 1 <= problem.line <= len(lines)
            assert 1 <= problem.column <= len(lines[problem.line - 1]) + 1
            assert problem.message.isprintable()


_SECRETS = st.text(
    st.characters(min_codepoint=33, max_codepoint=0x2FF, exclude_categories=("Cc", "Cs")), min_size=6, max_size=20
)
_PLACES = st.sampled_from(
    [
        "sign_in:\n  password: {}\n",
        "sign_in:\n  password: '{}'\n",
        'client: {{password: "{}"}}\n',
        "client:\n  password: {{{}}}\n",
        "client:\n  password: [{}]\n",
        "client:\n  {}: keyring\n",
        "sign_in: {}\n",
        "sign_in:\n  pasword: {}\n",
        "sign_in:\n  user: [{}]\n",
        "sign_in:\n  password:\n    {}: {}\n    {}: {}\n",
        "sign_in:\n  password:\n    env: {}\n    value: {}\n",
    ]
)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(secret=_SECRETS, place=_PLACES)
def test_a_pasted_secret_is_never_repeated(tmp_path: Path, secret: str, place: str) -> None:
    marked = f"{secret}Zq9"
    written(tmp_path, ADA + place.replace("{}", marked).replace("{{", "{").replace("}}", "}"))
    errors = told(tmp_path)
    if errors is not None:
        assert "Zq9" not in str(errors)
        assert "Zq9" not in repr(errors.__cause__) + repr(errors.__context__)


def test_one_persons_broken_file_is_theirs_alone(tmp_path: Path) -> None:
    (tmp_path / "accounts.d").mkdir()
    ada, bob = tmp_path / "accounts.d/ada.yaml", tmp_path / "accounts.d/bob.yaml"
    ada.write_text("address: ada@example.com\nprovider: gmail\n")
    bob.write_text("address: bob@example.com\nprovider: gmial\n")
    settings, problems = load_what_is_well(tmp_path)
    assert set(settings.accounts) == {"ada@example.com"}
    assert [each.file for each in problems] == [bob]
    bob.write_text("address: bob@example.com\nprovider: gmail\n")
    settings, problems = load_what_is_well(tmp_path, settings)
    assert (set(settings.accounts), problems) == ({"ada@example.com", "bob@example.com"}, ())
    assert settings == load(tmp_path)
    bob.write_text("address: bob@example.com\nprovider: [gmail]\n")
    after, problems = load_what_is_well(tmp_path, settings)
    assert after == settings, "what the file said before"
    assert len(problems) == 1
    assert load_what_is_well(tmp_path, after)[0] == settings, "and is remembered"
    ada.write_text("address: bob@example.com\nprovider: gmail\n")
    after, _ = load_what_is_well(tmp_path, settings)
    assert set(after.accounts) == {"bob@example.com"}, "a file that is well may take the address"
    bob.unlink()
    ada.write_text("address: ada@example.com\nprovider: gmial\n")
    assert set(load_what_is_well(tmp_path, settings)[0].accounts) == {"ada@example.com"}
    with pytest.raises(ConfigErrors):
        load_what_is_well(tmp_path)
    (tmp_path / "proxyd.yaml").write_text("listne: {}\n")
    with pytest.raises(ConfigErrors) as caught:
        load_what_is_well(tmp_path, settings)
    assert len(caught.value.problems) == 2, "the daemon's own, and every other"
