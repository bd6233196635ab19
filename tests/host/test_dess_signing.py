"""What is signed is what is sent, byte for byte."""

import hashlib
import json

import pytest

from wattlog_host.dess import signing

ODD_NAMES = (
    "demo",
    "space user",
    "a+b@example.org",
    "José",
    "a&b=c#d%e/f?g",
    "100%",
    "~._-",
    "日本",
)


def sha1(text):
    return hashlib.sha1(text.encode()).hexdigest()


@pytest.mark.parametrize("name", ODD_NAMES)
def test_a_login_signs_salt_digest_and_the_encoded_action(name):
    query = signing.login_query([("action", "authSource"), ("usr", name)], "pw ñ", "1718000000000")
    sent = query[query.index("&action=") :]
    assert query.startswith(
        f"sign={sha1('1718000000000' + sha1('pw ñ') + sent)}&salt=1718000000000&"
    )
    assert "pw" not in query


@pytest.mark.parametrize("name", ODD_NAMES)
def test_a_call_signs_secret_and_token_before_the_encoded_action(name):
    query = signing.call_query([("action", "x"), ("val", name)], "s" * 40, "t" * 64, "12345678")
    sent = query[query.index("&action=") :]
    assert query.startswith(
        f"sign={sha1('12345678' + 's' * 40 + 't' * 64 + sent)}&salt=12345678&token=ttt"
    )
    assert "sss" not in query


def test_every_known_answer(facts):
    vectors = json.loads((facts / "dessmonitor-sign-vectors.json").read_text())["vectors"]
    assert len(vectors) >= 10
    for vector in vectors:
        if "params" not in vector:  # the vendor's own example gives its text only
            pairs = [tuple(part.split("=")) for part in vector["action_string"][1:].split("&")]
        else:
            pairs = [tuple(pair) for pair in vector["params"]]
        assert signing.action_string(pairs) == vector["action_string"], vector["name"]
        if vector["kind"] == "auth":
            assert signing.password_digest(vector["password"]) == vector["password_sha1"]
            query = signing.login_query(pairs, vector["password"], vector["salt"])
        else:
            query = signing.call_query(pairs, vector["secret"], vector["token"], vector["salt"])
        assert query == vector["query"], vector["name"]
        assert f"sign={vector['sign']}&" in query, vector["name"]
