"""Where the tools of `make setup` are; a missing one skips loudly, or fails where CI is set."""

import os
import select
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ROOT / ".tools"
WASM_RUN = ROOT / "tools/setup/wasm_run.mjs"


def unavailable(reason: str) -> None:
    """Skip this test with the reason; in CI a missing tool is a failure."""
    if os.environ.get("CI"):
        pytest.fail(f"{reason} (CI allows no missing tool)", pytrace=False)
    pytest.skip(reason)


def require(tool: str) -> Path:
    """Return the .tools folder, if the set-up could provide the tool of that name."""
    if not (TOOLS / f"{tool}.stamp").exists():
        missing = TOOLS / f"{tool}.missing"
        reason = missing.read_text().strip() if missing.exists() else "run: make setup"
        unavailable(f"{tool} is missing: {reason}")
    return TOOLS


def micropython_facts() -> dict[str, str]:
    """What .tools/micropython.env says: VERSION, PACKAGE, WORD_BITS, HEAP."""
    lines = (require("micropython") / "micropython.env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines)


def find_corpus() -> Path | None:
    """The folder of real captures: WATTLOG_CORPUS, else the one beside the project."""
    given = os.environ.get("WATTLOG_CORPUS")
    folder = Path(given) if given else ROOT.parent / "shared/corpus/sml"
    return folder if (folder / "golden.json").is_file() else None


def find_facts() -> Path | None:
    """The folder of facts about the solar cloud: WATTLOG_FACTS, else the one beside the project."""
    given = os.environ.get("WATTLOG_FACTS")
    folder = Path(given) if given else ROOT.parent / "shared/facts"
    return folder if (folder / "dessmonitor-devcodes.json").is_file() else None


def select_briefly() -> None:
    """Wait 20 ms for a program of another process, which cannot tell us when it is ready."""
    select.select([], [], [], 0.02)
