"""What keeps a secret in memory alone."""

import subprocess
import sys

import pytest

PROGRAM = """
import ctypes, resource
from auditor.secret import forbid_dumps
forbid_dumps()
print(resource.getrlimit(resource.RLIMIT_CORE), ctypes.CDLL(None).prctl(3))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="prctl is Linux's")
def test_a_process_leaves_no_image_of_its_memory() -> None:
    """No core file, and not dumpable (PR_GET_DUMPABLE), so that no other process of the user reads it."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["(0,", "0)", "0"]
