"""The documents keep their word: samples load, commands exist, links lead somewhere."""

import re
import subprocess
import sys

import pytest

from layers import ROOT
from wattlog.quirks import QUIRKS

DOCUMENTS = sorted(
    path for path in (*ROOT.glob("*.md"), *ROOT.glob("*/*.md")) if ".venv" not in path.parts
)
COMMANDS = {
    "wattlog-agent": "wattlog_pi",
    "wattlog-host": "wattlog_host",
    "wattlog-tools": "wattlog_tools",
}
HELP_S_MAX = 30


def samples():
    """(document, which file it is a sample of, its text) of every TOML block."""
    for document in DOCUMENTS:
        for text in re.findall(r"^```toml\n(.*?)^```", document.read_text(), re.M | re.S):
            name = re.match(r"# (\w+\.toml)\n", text)
            assert name, f"{document.name}: a sample says in its first line which file it is"
            yield pytest.param(name[1], text, id=f"{document.name} {name[1]}")


@pytest.mark.parametrize(("name", "text"), list(samples()))
def test_a_sample_configuration_is_accepted(tmp_path, name, text):
    # Data go where the test may write; secrets are files beside the configuration.
    path = tmp_path / name
    path.write_text(re.sub(r'^data = ".*"', f'data = "{tmp_path}/data"', text, flags=re.M))
    for secret in re.findall(r'_file = "(.*?)"', text):
        (tmp_path / secret).write_text("x\n")
    module = {"agent.toml": "wattlog_pi", "host.toml": "wattlog_host"}[name]
    done = subprocess.run(
        [sys.executable, "-m", module, "--config", str(path), "--check-config"],
        capture_output=True,
        timeout=HELP_S_MAX,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document):
    for target in re.findall(r"\]\(([^)#]+)\)", document.read_text()):
        if "://" not in target:
            assert (document.parent / target).exists(), target


def test_every_quirk_is_in_the_table_of_meters():
    design = (ROOT / "agent/DESIGN.md").read_text()
    for quirk in QUIRKS:
        assert f"`{quirk.name}`" in design, quirk.name


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_tests_that_a_document_names_exist(document):
    tests = {path: path.read_text() for path in (ROOT / "tests").rglob("*.py")}
    for name in re.findall(r"`(?:[\w/]*/)?(test_\w+(?:\.py)?)`", document.read_text()):
        if name.endswith(".py"):
            assert any(path.name == name for path in tests), name
        else:
            assert any(f"def {name}(" in text for text in tests.values()), name


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_explains_itself(command):
    done = subprocess.run(
        [sys.executable, "-m", COMMANDS[command], "--help"],
        capture_output=True,
        timeout=HELP_S_MAX,
        check=False,
    )
    assert done.returncode == 0
    assert done.stdout.decode().startswith(f"usage: {command}")


def test_options_named_in_the_readme_exist():
    helps = {}
    for line in (ROOT / "README.md").read_text().splitlines():
        match = re.match(r"    (?:\.venv/bin/)?(wattlog-\w+)(?: (decode))?(.*)", line)
        if not match:
            continue
        command, sub, rest = match.groups()
        arguments = [sys.executable, "-m", COMMANDS[command], *([sub] if sub else []), "--help"]
        if (command, sub) not in helps:
            helps[command, sub] = subprocess.run(
                arguments, capture_output=True, timeout=HELP_S_MAX, check=True
            ).stdout.decode()
        for option in re.findall(r"--[a-z-]+", rest):
            assert option in helps[command, sub], option
    assert helps


def test_make_targets_named_in_the_readme_exist():
    makefile = (ROOT / "Makefile").read_text()
    for target in set(re.findall(r"make ([a-z][a-z-]*)", (ROOT / "README.md").read_text())):
        assert re.search(rf"^{target}:", makefile, re.M), target
