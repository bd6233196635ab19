"""What test_update.py has a head do, under MicroPython: updates on a file system that may lose its
power at any write, and the loader that has to start something afterwards. run("") runs the tests.
"""

import hashlib
import os
import sys

import loader
import vfs

import run as runner
from wattlog import msgpack
from wattlog_esp32 import slots, trial, update
from wattlog_esp32.start import forget

BLOCK_BYTES = 4096
BLOCKS = 24
KEY = bytes(range(32))
MPY = sys.implementation._mpy & 0xFF
OLD = {"order": b"old\n", "release": b"0.1.0+4\n", "wattlog/crc.mpy": b"M\x06old"}
NEW = {
    "order": b"wattlog_esp32.main\n",
    "release": b"0.1.0+5\n",
    "wattlog/crc.mpy": b"M\x06" + b"new" * 500,
    "wattlog/sml.mpy": b"",
    "wattlog_esp32/main.mpy": b"M\x06" + bytes(range(256)) * 16,
}


OLD_MAIN = b"def run():\n    f = open('/ran', 'w'); f.write('old'); f.close()\n"


class Disk:
    """A flash whose power goes in the middle of the n-th write or erase: what follows is not done."""

    def __init__(self, image=None):
        self.image = image or bytearray(b"\xff" * BLOCK_BYTES * BLOCKS)
        self.operations = 0
        self.cut_at = 0

    def readblocks(self, block, buf, offset=0):
        at = block * BLOCK_BYTES + offset
        buf[:] = memoryview(self.image)[at : at + len(buf)]

    def writeblocks(self, block, buf, offset=None):
        if offset is None:
            self.ioctl(6, block)
            offset = 0
        size = self._done(len(buf))
        at = block * BLOCK_BYTES + offset
        self.image[at : at + size] = buf[:size]

    def ioctl(self, op, arg):
        if op == 6:
            size = self._done(BLOCK_BYTES)
            at = arg * BLOCK_BYTES
            self.image[at : at + size] = b"\xff" * size
        return {4: BLOCKS, 5: BLOCK_BYTES}.get(op, 0)

    def _done(self, size):
        self.operations += 1
        if not self.cut_at or self.operations < self.cut_at:
            return size
        return size // 2 if self.operations == self.cut_at else 0


class Link:
    def __init__(self):
        self.told = []

    def publish(self, topic, payload, retain):
        assert topic == "wattlog/1/cellar/u" and not retain
        self.told.append(msgpack.unpack(payload))


def mount(disk):
    vfs.umount("/")
    vfs.mount(vfs.VfsLfs2(disk), "/")
    os.chdir("/")


def write(folder, files):
    for path, data in files.items():
        at = folder
        for name in path.split("/")[:-1]:
            is_there = name in os.listdir(at)
            at += "/" + name
            if not is_there:
                os.mkdir(at)
        with open(folder + "/" + path, "wb") as file:
            file.write(data)


def read(folder, at=""):
    found = {}
    for row in os.ilistdir(folder + at):
        path = at + "/" + row[0]
        if row[1] == 0x4000:
            found.update(read(folder, path))
        else:
            with open(folder + path, "rb") as file:
                found[path[1:]] = file.read()
    return found


def new_head(key=KEY):
    """A head that runs OLD; there is something from long ago in the other folder."""
    disk = Disk()
    vfs.VfsLfs2.mkfs(disk)
    mount(disk)
    for folder in ("/lib", "/lib2"):
        os.mkdir(folder)
    write("/lib", OLD)
    write("/lib2", {"wattlog/gone.mpy": b"long ago", "order": b"gone"})
    with open("/wattlog.json", "w") as file:
        file.write(
            '{"agent.id": "cellar"%s}' % (', "update.key": "%s"' % key.hex() if key else "")
        )
    sys.path[:] = ["/rom", "/rom/lib", ".frozen", "/lib"]
    disk.operations = 0
    return disk


def body_of(files):
    return b"".join(b"%s %d\n" % (path.encode(), len(files[path])) + files[path] for path in files)


def offer_of(body, release="0.1.0+5", mpy=MPY, key=KEY, size=None, digest=None):
    digest = digest or hashlib.sha256(body).digest()
    size = len(body) if size is None else size
    mac = update.mac_of(key, update.vouched(release, mpy, size, digest))
    return msgpack.pack([2, "update", release, mpy, size, digest, mac])


def take(body, offer=None, chunk_bytes=256):
    """Have a head take this; return the job and what it said last."""
    link = Link()
    job = update.Job([], "cellar", 5, link)
    job.on_command(offer or offer_of(body), 0)
    now_ms = 0
    while job.step(now_ms) and not job.wants_restart:
        asked = link.told[-1]
        assert asked[:5] == [2, "cellar", 5, now_ms, "0.1.0+5"], asked
        piece = body[asked[5] : asked[5] + chunk_bytes]
        job.on_command(msgpack.pack([2, "chunk", "0.1.0+5", asked[5], piece]), now_ms)
        now_ms += 1
    return job, link.told[-1][6]


def test_the_mac_is_the_one_that_everybody_has():
    # Case 2 of RFC 4231.
    mac = update.mac_of(b"Jefe", b"what do ya want for nothing?")
    assert mac.hex() == "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"


def test_an_update_is_taken_whole_and_started_on_trial():
    for chunk_bytes in (1, 7, 256, 5_000):
        new_head()
        job, said = take(body_of(NEW), chunk_bytes=chunk_bytes)
        assert (said, job.wants_restart) == ("trial", True)
        assert read("/lib2") == NEW, [(k, len(v)) for k, v in read("/lib2").items()]
        assert read("/lib") == OLD
        assert loader.read() == ("lib2", 3)
        assert slots.read_state() == (False, None), "what runs is not on trial"


def test_what_is_wrong_is_refused_in_words_and_nothing_changes():
    body = body_of(NEW)
    for words, offer, sent in (
        ("its signature is not of this head's update.key", offer_of(body, key=b"x" * 32), body),
        ("it is not newer than 0.1.0+4", offer_of(body, "0.1.0+4"), body),
        ("it is not newer than 0.1.0+4", offer_of(body, "0.0.9+99"), body),
        ("its release is no release", offer_of(body, "new"), body),
        ("its byte code is version 5, the firmware's %d" % MPY, offer_of(body, mpy=5), body),
        ("its size", offer_of(body, size=0), body),
        ("its size", offer_of(body, size=1_000_000), body),
        ("it came damaged", offer_of(body), body[:-1] + b"x"),
        ("it came damaged", offer_of(body[:-1]), body[:-1]),
        ("it is longer than was offered", offer_of(body, size=300), body),
        ("it is not made as an update is", offer_of(b"x" * 99), b"x" * 99),
        ("it is not made as an update is", offer_of(b"x y\n"), b"x y\n"),
        ("it is not made as an update is", offer_of(b"\xff 1\n"), b"\xff 1\n"),
        ("a path in it leads elsewhere", offer_of(b"../main.py 1\nx"), b"../main.py 1\nx"),
        ("a path in it leads elsewhere", offer_of(b"/main.py 1\nx"), b"/main.py 1\nx"),
        ("a path in it leads elsewhere", offer_of(b"a/../../b 1\nx"), b"a/../../b 1\nx"),
        ("a path in it leads elsewhere", offer_of(b"A 1\nx"), b"A 1\nx"),
    ):
        new_head()
        job, said = take(sent, offer)
        assert (said, job.wants_restart) == (words, False), (words, said)
        assert read("/lib") == OLD
        assert loader.read() == ("lib", None)


def test_without_a_key_there_are_no_updates():
    new_head(None)
    job, said = take(body_of(NEW))
    assert (said, job.wants_restart) == ("this head has no update.key", False)


def test_while_one_is_on_trial_there_is_no_other():
    new_head()
    slots.write_state("lib 2")
    assert take(body_of(NEW))[1] == "the last one is still on trial"


def test_pieces_that_come_twice_or_late_or_from_elsewhere_mean_nothing():
    new_head()
    body = body_of(NEW)
    link = Link()
    job = update.Job([], "cellar", 5, link)
    job.on_command(offer_of(body), 0)
    job.on_command(offer_of(body, "0.1.0+6"), 0)  # another one meanwhile
    at = now_ms = 0
    while not job.wants_restart:
        assert job.step(now_ms)
        piece = body[at : at + 100]
        for wrong in (
            [2, "chunk", "0.1.0+5", at + 1, piece],
            [2, "chunk", "0.1.0+6", at, piece],
            [2, "chunk", "0.1.0+5", at, b""],
            [2, "chunk", "0.1.0+5", at, "text"],
            [3, "chunk", "0.1.0+5", at, piece],
            [2, "chunk", "0.1.0+5", at],
            [2, "update", 1, 2, 3, 4, 5],
            7,
        ):
            job.on_command(msgpack.pack(wrong), now_ms)
        job.on_command(b"\xc1", now_ms)
        for _ in range(2):
            job.on_command(msgpack.pack([2, "chunk", "0.1.0+5", at, piece]), now_ms)
        at += len(piece)
        now_ms += 10
    assert read("/lib2") == NEW


def test_it_asks_again_and_gives_up():
    new_head()
    link = Link()
    job = update.Job([], "cellar", 5, link)
    job.on_command(offer_of(body_of(NEW)), 1_000)
    asked = []
    now_ms = 1_000
    while job.step(now_ms):
        if link.told:
            asked.append(now_ms)
            link.told.clear()
        now_ms += 500
    assert asked[:3] == [1_000, 6_000, 11_000]
    assert now_ms == 1_000 + update.GIVE_UP_MS
    assert link.told[-1][6] == "nobody answers"


def test_an_offer_that_is_played_again_and_again_does_not_wear_the_flash():
    # Whoever can write to the broker can do that; without the bytes of it nothing more is written.
    disk = new_head()
    offer = offer_of(body_of(NEW))
    link = Link()
    for turn in range(20):
        job = update.Job([], "cellar", 5, link)
        job.on_command(offer, 0)
        if turn == 0:
            operations = disk.operations
        assert job.step(0), "it asks for the first piece"
        assert not job.step(update.GIVE_UP_MS), "and gives up"
    assert operations > 0, "what lay there from long ago is gone"
    assert disk.operations == operations


def test_a_power_cut_at_any_write_leaves_one_that_starts():
    body = body_of(NEW)
    disk = new_head()
    fresh = bytes(disk.image)
    take(body)
    writes = disk.operations
    assert writes > 30, writes
    outcomes = set()
    for cut_at in range(1, writes + 1):
        sys.path[:] = ["/rom", "/rom/lib", ".frozen", "/lib"]
        disk = Disk(bytearray(fresh))
        disk.cut_at = cut_at
        mount(disk)
        take(body)
        mount(Disk(disk.image))
        slot, left = loader.read()
        outcomes.add(slot)
        assert read("/" + slot) == {"lib": OLD, "lib2": NEW}[slot], cut_at
        assert left == {"lib": None, "lib2": 3}[slot], cut_at
    assert outcomes == {"lib", "lib2"} or outcomes == {"lib"}, outcomes
    print("%d writes cut" % writes)


def test_a_power_cut_in_the_state_leaves_the_old_one_or_the_new_one():
    for write_one in (slots.write_state, loader.write):
        for cut_at in range(1, 40):
            disk = new_head()
            slots.write_state("lib2 3")
            disk.operations = 0
            disk.cut_at = cut_at
            try:
                write_one("lib2")
            except OSError as err:
                assert disk.operations >= cut_at, err  # it sees that nothing is kept any more
            done = disk.operations < cut_at
            mount(Disk(disk.image))
            state = loader.read()
            assert state in (("lib2", 3), ("lib2", None)), (cut_at, state)
            if done:
                assert state == ("lib2", None)
                break
        else:
            raise AssertionError("it never ends")


def test_a_size_that_is_none_is_refused():
    for line in (b"a -5\n", b"a -500\n", b"a 999999\n", b"a %d\n" % (1 << 70)):
        body = line + b"xyz" * 9
        new_head()
        assert take(body, offer_of(body))[1] == "it is not made as an update is", line


def test_folders_that_nest_and_files_without_number_are_refused():
    # What is not signed can still arrive: the checksum comes last, and the next offer has to clear.
    deep = b"/".join([b"a"] * 38) + b" 0\n"
    many = b"".join(b"%d 0\n" % number for number in range(300))
    for body in (deep, many):
        new_head()
        assert take(body, offer_of(body))[1] == "it is not made as an update is"
        assert take(body_of(NEW))[1] == "trial"


def test_a_file_system_that_is_full_ends_the_update_in_words():
    body = body_of({"a": bytes(150_000)})
    new_head()
    said = take(body)[1]
    assert said.startswith("the file system fails"), said
    assert loader.read() == ("lib", None)
    assert take(body_of(NEW))[1] == "trial"


class FullDisk(Disk):
    def _done(self, size):
        raise OSError(28)


def test_a_file_system_that_cannot_be_written_starts_what_is_whole():
    main = b"import loader\ndef run():\n    loader.ran = __file__[1:5].strip('/')\n"
    for state, ran in (("lib2 0", "lib"), ("lib2 2", "lib"), ("lib2", "lib2"), ("lib", "lib")):
        disk = new_head()
        for folder in ("/lib", "/lib2"):
            write(folder, {"order": b"wattlog_esp32.main\n", "wattlog_esp32/__init__.py": b"",
                           "wattlog_esp32/main.py": main})  # fmt: skip
        loader.write(state)
        mount(FullDisk(disk.image))
        loader.ran = None
        start_loader()
        assert loader.ran == ran, (state, loader.ran)


def test_what_the_loader_left_without_writing_it_is_not_on_trial():
    new_head()
    slots.write_state("lib2 0")
    assert slots.read_state() == (False, None)
    update.Job([], "cellar", 5, Link()).on_command(offer_of(b"x"), 0)
    assert loader.read() == ("lib", None), "before the other folder is cleared"


def test_a_state_that_nobody_writes_starts_something():
    new_head()
    for data in (b"\xff\xfe", b"", b"lib3 2", b"\0" * 50, b"lib2 \xc3"):
        with open("/slot", "wb") as file:
            file.write(data)
        assert loader.read() == ("lib", None), data
        assert slots.read_state() == (False, None), data


class Reset(Exception):
    pass


def reset():
    raise Reset


def start(
    order="wattlog_esp32.main\n",
    main="f = open('/ran', 'w'); f.write(__file__); f.close()",
    state=None,
):
    """Start what is in /lib2; return where it ran, and the state afterwards."""
    write("/lib2", {"order": order.encode(), "wattlog_esp32/__init__.py": b"",
                    "wattlog_esp32/main.py": ("def run():\n    %s" % main).encode()})  # fmt: skip
    if state:
        loader.write(state)
    ran = start_loader()
    if ran is None:
        with open("/ran") as file:
            ran = file.read()
    with open("/slot") as file:
        return ran, file.read()


def start_loader():
    sys.path[:] = ["", ".frozen", "/lib"]
    kept = {name: sys.modules.pop(name) for name in list(sys.modules) if name[:8] == "wattlog_"}
    loader.machine.reset = reset
    loader.machine.WDT = lambda timeout: None
    try:
        loader.start()
    except Reset:
        return "reset"
    finally:
        for name in [name for name in sys.modules if name[:8] == "wattlog_"]:
            del sys.modules[name]
        sys.modules.update(kept)
        sys.path[:] = ["/rom", "/rom/lib", ".frozen", "/lib"]
    return None


def test_the_loader_counts_the_starts_of_an_update_and_leaves_one_that_raises():
    new_head()
    assert start(state="lib2 3") == ("/lib2/wattlog_esp32/main.py", "lib2 2")
    assert start(state="lib2 1") == ("/lib2/wattlog_esp32/main.py", "lib2 0")
    assert start(state="lib2") == ("/lib2/wattlog_esp32/main.py", "lib2")
    ran, state = start(main="raise ValueError(7)\n", state="lib2 3")
    assert (ran, state) == ("reset", "lib failed ValueError(7,)")
    assert slots.read_state() == (False, "left: ValueError(7,)")
    assert start(order="no_such\n", state="lib2 2")[1].startswith("lib failed ImportError")


def test_what_is_kept_and_raises_is_started_again_after_a_while():
    new_head()
    slept = []
    loader.time.sleep_ms = slept.append
    assert start(main="raise ValueError(7)\n", state="lib2") == ("reset", "lib2")
    assert slept == [60_000]


def test_an_update_that_could_not_take_the_next_one_is_left():
    new_head()
    sys.path.append("/lib2")
    slots.write_state("lib2 2")
    agent = Agent()
    agent.meters[0].reading, agent.uplink.acked = object(), 1
    job = trial.Job(agent)
    if "wattlog_esp32.update" in sys.modules:
        forget("update")
    package = sys.modules["wattlog_esp32"]
    path, package.__path__ = package.__path__, "/lib2/gone"
    try:
        assert job.step(0)
    finally:
        package.__path__ = path
    assert job.wants_restart
    assert "ImportError" in slots.read_state()[1]


def test_the_loader_goes_back_when_the_starts_are_used_up():
    new_head()
    write("/lib", {"order": b"wattlog_esp32.main\n", "wattlog_esp32/__init__.py": b"",
                   "wattlog_esp32/main.py": OLD_MAIN})  # fmt: skip
    assert start(state="lib2 0") == ("old", "lib failed it did not prove itself")
    for state in ("", "nonsense 3", "lib7 2"):
        assert start(state=state or " ")[0] == "old", state


class Meter:
    reading = None


class Uplink:
    acked = 0
    refused = 0
    announced = 0

    def announce(self):
        self.announced += 1


class Agent:
    def __init__(self):
        self.uplink = Uplink()
        self.meters = [Meter(), Meter()]


def test_a_trial_ends_with_a_frame_and_a_batch_or_with_its_time():
    new_head()
    sys.path.append("/lib2")
    for reading, acked, refused, want in (
        (True, 3, 2, (False, False, "lib2")),
        (True, 0, 0, (True, True, "lib failed no batch was acknowledged")),
        (True, 3, 3, (True, True, "lib failed no batch was acknowledged")),
        (False, 3, 0, (True, True, "lib failed no frame")),
    ):
        slots.write_state("lib2 2")
        agent = Agent()
        job = trial.Job(agent)
        assert job.step(trial.PROVE_MS - 1)
        assert not job.wants_restart
        agent.meters[1].reading = object() if reading else None
        agent.uplink.acked = acked
        agent.uplink.refused = refused
        is_running = job.step(trial.PROVE_MS)
        with open("/slot") as file:
            assert (is_running, job.wants_restart, file.read()) == want
        assert agent.uplink.announced == (not is_running)


def test_a_trial_whose_end_cannot_be_written_raises_nothing():
    disk = new_head()
    sys.path.append("/lib2")
    slots.write_state("lib2 2")
    mount(FullDisk(disk.image))
    agent = Agent()
    job = trial.Job(agent)
    assert job.step(trial.PROVE_MS)
    assert job.wants_restart
    agent.meters[0].reading = object()
    agent.uplink.acked = 1
    job = trial.Job(agent)
    assert job.step(5)
    assert not job.wants_restart
    mount(Disk(disk.image))
    assert job.step(5 + trial.WRITE_AGAIN_MS - 1)
    assert not job.step(5 + trial.WRITE_AGAIN_MS)
    assert loader.read() == ("lib2", None)


def run(_argument):
    sys.exit(runner.run("board_update_tests"))
