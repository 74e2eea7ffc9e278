"""Many threads that decode a type for the first time at once get its values, and the process lives."""

import subprocess
import sys

RACE = """
import sys, threading, msgspec
from recsys_assets.decoders import decoder_of
sys.setswitchinterval(1e-6)
DATA = b'{"refs":[{"kind":"a","size":1}],"facts":{"a":null}}'
for _ in range(1500):
    ref = msgspec.defstruct("Ref", [("kind", str), ("size", int)], frozen=True)
    release = msgspec.defstruct("Release", [("refs", tuple[ref, ...]), ("facts", dict[str, str | None])], frozen=True)
    together, found = threading.Barrier(6), []
    def decode():
        together.wait()
        found.append(decoder_of(release).decode(DATA))
    threads = [threading.Thread(target=decode) for _ in range(6)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    assert [one.refs[0].size for one in found] == [1] * 6
"""


def test_threads_that_decode_a_type_first_all_get_its_values():
    """Where each makes a decoder of its own, msgspec 0.22 dies here of a segmentation fault."""
    done = subprocess.run([sys.executable, "-c", RACE], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, (done.returncode, done.stderr[-2000:])
