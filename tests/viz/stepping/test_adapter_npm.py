"""Microsoft's own client (`@vscode/debugadapter-testsupport` from npm) steps through a demo, where node has it.

To have it: `npm install @vscode/debugadapter-testsupport` in some folder, and `NODE_PATH=<that folder>/node_modules`;
`.ci/run` does so.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


def has_the_client() -> bool:
    node = shutil.which("node")
    if node is None:
        return False
    asks = [node, "-e", "require.resolve('@vscode/debugadapter-testsupport')"]
    return subprocess.run(asks, capture_output=True, check=False).returncode == 0


@pytest.mark.slow
@pytest.mark.debuggers
def test_microsofts_client_steps_forth_and_back():
    if not has_the_client():
        pytest.skip("node with @vscode/debugadapter-testsupport is not installed")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    adapter = subprocess.Popen([sys.executable, "-m", "viz", "dap", "--port", "0"], cwd=ROOT, env=environment,
                               stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)  # fmt: skip
    try:
        port = adapter.stderr.readline().rpartition(":")[2].strip()
        client = ["node", str(Path(__file__).with_name("adapter_client.js")), port, str(ROOT / "demos" / "step.py")]
        done = subprocess.run(client, capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode, done.stdout.strip()) == (0, "all is well"), done.stderr
        assert adapter.wait(30) == 0
        assert not adapter.stderr.read()
    finally:
        adapter.kill()
        adapter.wait()
        adapter.stderr.close()
