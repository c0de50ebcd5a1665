import email
import email.policy
import hashlib
from pathlib import Path

from proxyd.crm.storm import storm


def test_each_message_is_there_once(tmp_path: Path) -> None:
    mails = tmp_path / "mails"

    def there() -> list[tuple[str, list[str]]]:
        found = []
        for path in mails.glob("*.eml"):
            message = email.message_from_bytes(path.read_bytes(), policy=email.policy.default)
            parts = [part.get_content() for part in message.iter_attachments()]
            found.append((message["Message-ID"], [hashlib.sha256(each).hexdigest() for each in parts]))
        return found

    storm(tmp_path / "storm", {"folder": {"path": str(mails)}}, there, messages=10)
