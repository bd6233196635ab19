"""Fetch umqtt.simple from the package index: fetch_umqtt.py FOLDER gives FOLDER/umqtt/simple.py.

pip cannot do it: the archive is of 2017 and can only be unpacked, not built. unearth is a client
of the same indexes that stops after the download; it gets the settings pip has on this machine.
"""

import ast
import hashlib
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

REQUIREMENT = "micropython-umqtt.simple==1.3.4"
SHA256 = "b6a2520239e3992c63a7de9370ee9b3d9d27819a90359c521f1c0f7ccab8d12f"
MEMBER = "umqtt/simple.py"
ATTEMPT_S_MAX = 120


def pip_settings() -> dict[str, str]:
    """pip's settings by name; the environment wins over the [install] and [global] sections."""
    listing = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    sections: dict[str, dict[str, str]] = {}
    for line in listing.splitlines():
        key, _, value = line.partition("=")
        section, _, name = key.rpartition(".")
        sections.setdefault(section, {})[name] = str(ast.literal_eval(value))
    return {
        **sections.get("global", {}),
        **sections.get("install", {}),
        **sections.get(":env:", {}),
    }


def attempts(settings: dict[str, str]) -> list[list[str]]:
    """Options to try in turn: the main index (none given: the usual one), then further places."""
    trusted = []
    for host in settings.get("trusted-host", "").split():
        trusted += ["--trusted-host", host]
    main = [arg for url in settings.get("index-url", "").split() for arg in ("--index-url", url)]
    tries = [main]
    for url in settings.get("extra-index-url", "").split():
        tries.append(["--index-url", url])
    for location in settings.get("find-links", "").split():
        tries.append(["--find-link", location])
    return [places + trusted for places in tries]


def environment(settings: dict[str, str]) -> dict[str, str]:
    """Our environment plus pip's certificate file and proxy, where nothing else is set."""
    result = dict(os.environ)
    if "cert" in settings:
        result.setdefault("SSL_CERT_FILE", settings["cert"])
    if "proxy" in settings:
        result.setdefault("HTTPS_PROXY", settings["proxy"])
        result.setdefault("HTTP_PROXY", settings["proxy"])
    return result


def download(folder: str) -> bytes:
    """Return the archive with the pinned digest, or end with the reason in one line."""
    settings = pip_settings()
    reasons = []
    for options in attempts(settings):
        command = [sys.executable, "-m", "unearth", "--no-binary", "--download", folder]
        try:
            done = subprocess.run(
                [*command, *options, REQUIREMENT],
                env=environment(settings),
                capture_output=True,
                text=True,
                timeout=ATTEMPT_S_MAX,
                check=False,
            )
        except subprocess.TimeoutExpired:
            reasons.append(f"no answer within {ATTEMPT_S_MAX} s")
            continue
        if done.returncode != 0:
            lines = (done.stderr or done.stdout).strip().splitlines()
            reasons.append(lines[-1] if lines else f"unearth ended with {done.returncode}")
            continue
        for path in Path(folder).glob("*.tar.gz"):
            archive = path.read_bytes()
            digest = hashlib.sha256(archive).hexdigest()
            if digest == SHA256:
                return archive
            reasons.append(f"sha256 is {digest}, expected {SHA256}")
            path.unlink()
    raise SystemExit(f"wattlog: cannot get {REQUIREMENT}: {'; '.join(reasons)}")


def main() -> None:
    target = Path(sys.argv[1], MEMBER)
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder, "umqtt.tar.gz")
        archive.write_bytes(download(folder))
        with tarfile.open(archive) as tar:
            names = [name for name in tar.getnames() if name.endswith("/" + MEMBER)]
            member = tar.extractfile(names[0])
            assert member is not None, "the pinned archive holds it as a file"
            source = member.read()
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(source)


if __name__ == "__main__":
    main()
