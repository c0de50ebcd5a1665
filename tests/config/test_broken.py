"""broken/: what people write by mistake, each with every error that it must give.

A case is `NAME.yaml` (an account's file, or proxyd.yaml where NAME begins with "daemon-"), or a whole folder `NAME/`.
`NAME.expected` holds the problems as `proxyd check` prints them, files named from the configuration's folder on.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from proxyd.config import ConfigErrors, load

BROKEN = Path(__file__).parent / "broken"
CASES = sorted(path.stem for path in BROKEN.glob("*.expected"))


def laid_out(name: str, folder: Path) -> Path:
    """The case as a configuration's folder."""
    config = folder / "config"
    if (BROKEN / name).is_dir():
        shutil.copytree(BROKEN / name, config)
        return config
    target = config / ("proxyd.yaml" if name.startswith("daemon-") else "accounts.d/ada.yaml")
    target.parent.mkdir(parents=True)
    shutil.copy(BROKEN / f"{name}.yaml", target)
    return config


def told(config: Path) -> str:
    with pytest.raises(ConfigErrors) as caught:
        load(config)
    assert str(caught.value) == "\n".join(str(problem) for problem in caught.value.problems)
    return "".join(f"{problem}\n" for problem in caught.value.problems).replace(f"{config}/", "")


@pytest.mark.parametrize("name", CASES)
def test_a_broken_configuration_gives_these_errors(name: str, tmp_path: Path) -> None:
    assert told(laid_out(name, tmp_path)) == (BROKEN / f"{name}.expected").read_text(encoding="utf-8")


def test_every_case_has_its_expected_errors() -> None:
    cases = {path.stem for path in BROKEN.glob("*.yaml")} | {path.name for path in BROKEN.iterdir() if path.is_dir()}
    assert cases == set(CASES)
    assert len(CASES) >= 80


@pytest.mark.parametrize("name", CASES)
def test_no_message_repeats_a_secret(name: str, tmp_path: Path) -> None:
    text = told(laid_out(name, tmp_path))
    assert "hunter2" not in text
    assert "8675309" not in text
    assert all(line.isprintable() for line in text.splitlines())
