from __future__ import annotations

import base64

from ops.scrub import MASK, Scrubber

SECRET = "abc/DEF+ghi=jkl0123456789"


def test_scrub_when_a_known_secret_is_anywhere_in_a_value_masks_it() -> None:
    scrubber = Scrubber({"AWS_SECRET_ACCESS_KEY": SECRET})
    value = {"a": [f"x{SECRET}y", 1, None, True], SECRET: ("abc%2FDEF%2Bghi%3Djkl0123456789",)}
    assert scrubber.value(value) == {"a": [f"x{MASK}y", 1, None, True], MASK: [MASK]}


def test_scrub_when_one_secret_begins_another_masks_the_longer_whole() -> None:
    scrubber = Scrubber({"MY_TOKEN": SECRET, "MY_PASSWORD": SECRET + "tail"})
    assert scrubber.text(f"{SECRET}tail") == MASK


def test_scrub_when_the_value_is_short_or_a_location_leaves_it() -> None:
    environment = {
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_WEB_IDENTITY_TOKEN_FILE": "/var/run/secrets/token",
        "HOME": "/root",
    }
    assert Scrubber(environment).text("a test in /var/run/secrets/token of /root") == (
        "a test in /var/run/secrets/token of /root"
    )


def test_scrub_when_a_secret_is_only_labelled_masks_it() -> None:
    text = 'aws_secret_access_key = AKxx/0123456789abcdef, "SessionToken": "IQoJb3JpZ2luX2VjEXAMPLE=="'
    scrubbed = Scrubber({}).text(text)
    assert "0123456789abcdef" not in scrubbed
    assert "IQoJ" not in scrubbed


def test_scrub_when_a_web_token_or_a_clients_secret_is_shown_masks_it() -> None:
    header, claims = (base64.urlsafe_b64encode(part).decode().rstrip("=") for part in (b'{"alg":"RS256"}', b'{"a":1}'))
    text = f'Authorization: Bearer {header}.{claims}.c2ln, {{"client_id": "a", "client_secret": "{SECRET}"}}'
    assert Scrubber({}).text(text) == f'Authorization: Bearer {MASK}, {{"client_id": "a", "client_secret": "{MASK}"}}'
