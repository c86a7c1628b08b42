"""The report page in a real browser: complete, quiet, small, and safe against names in files."""

import re
import shutil
import struct
import subprocess
import zlib

import numpy as np
import pytest

import ckptconv
from ckptconv.errors import CkptconvError
from ckptconv.verification.page.page import page, write_page
from ckptconv.verification.results.network import NetworkResult, OutputRun
from ckptconv.verification.results.run import Run, outputs_differ
from ckptconv.verification.verify import verify
from tests.conftest import HANGS

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--hide-scrollbars", "--disable-background-networking", "--disable-component-update"),
    *("--disable-sync", "--enable-logging=stderr"),
]
needs_browser = pytest.mark.skipif(
    BROWSER is None, reason="no chromium or google-chrome is installed"
)


def browse(path, tmp_path, *flags):
    """Open a page; return what it prints and what its console says."""
    profile = f"--user-data-dir={tmp_path / 'profile'}"
    command = [BROWSER, *FLAGS, profile, *flags, path.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=HANGS, check=True)
    return done.stdout, re.findall(r".*CONSOLE.*", done.stderr)


def proof(tmp_path, names=("lstm", "gru")):
    rng = np.random.default_rng(3)
    arrays = {}
    for name, gates in zip(names, (4, 3), strict=True):
        shapes = {"weight_ih_l0": (gates * 5, 3), "weight_hh_l0": (gates * 5, 5)}
        shapes |= {f"bias_{part}_l0": (gates * 5,) for part in ("ih", "hh")}
        for param, shape in shapes.items():
            arrays[f"{name}.{param}"] = rng.uniform(-1, 1, shape).astype(np.float32)
    source, target = tmp_path / "m.safetensors", tmp_path / "m.h5"
    ckptconv.save(ckptconv.from_state_dict(arrays, "torch"), source, to="torch")
    ckptconv.convert(source, target, to="keras")
    return verify(source, target)


@needs_browser
def test_page_in_a_browser(tmp_path):
    path = tmp_path / "report.html"
    write_page(path, proof(tmp_path))
    assert path.stat().st_size < 1 << 20
    dom, console = browse(path, tmp_path, "--dump-dom")
    assert console == []
    assert "Yes: weights equal; 2 of 2 layers computed." in dom
    for text in ("sum of the biases", "identical"):
        assert text in dom
    # Four gates and three, weights of inputs and of states, before and after.
    assert dom.count("<image ") == 2 * 2 * (4 + 3)
    assert dom.count('class="path"') == 2 * (4 + 3)
    assert not re.search(r"(?:href|src)=\"(?!data:)", dom)


@needs_browser
def test_the_console_is_heard(tmp_path):
    path = tmp_path / "broken.html"
    path.write_text("<!doctype html><script>missing()</script>")
    assert browse(path, tmp_path, "--dump-dom")[1]


@needs_browser
@pytest.mark.parametrize("width", [390, 1100])
def test_fits_the_screen(tmp_path, width):
    """The page is as wide as its window, on a phone too."""
    path = tmp_path / "report.html"
    write_page(path, proof(tmp_path))
    frame = tmp_path / "frame.html"
    # A window has a least width; a frame in it has none.
    frame.write_text(
        f'<!doctype html><iframe src="report.html" style="width:{width}px" onload="document.title ='
        ' this.contentDocument.documentElement.scrollWidth"></iframe>'
    )
    dom, console = browse(frame, tmp_path, "--dump-dom", "--allow-file-access-from-files")
    assert console == []
    assert int(re.search(r"<title>(\d+)", dom)[1]) <= width


@needs_browser
@pytest.mark.parametrize("dark", [True, False])
def test_screenshot_has_the_colours_asked_for(tmp_path, dark):
    write_page(tmp_path / "report.html", proof(tmp_path))
    shot = tmp_path / "shot.png"
    scheme = f"--blink-settings=preferredColorScheme={0 if dark else 1}"
    browse(
        tmp_path / "report.html", tmp_path, scheme, "--window-size=600,600", f"--screenshot={shot}"
    )
    data = shot.read_bytes()
    assert struct.unpack(">II", data[16:24]) == (600, 600)
    assert (corner(data) < 60) == dark


def corner(png):
    """Return the brightness of the first pixel of an 8-bit PNG."""
    body, at = b"", 8
    while at < len(png):
        length, name = struct.unpack(">I4s", png[at : at + 8])
        body += png[at + 8 : at + 8 + length] if name == b"IDAT" else b""
        at += length + 12
    return zlib.decompress(body)[1]


def test_failure_is_shown(tmp_path):
    found = proof(tmp_path)
    graph = ckptconv.load(tmp_path / "m.safetensors")
    arrays = ckptconv.to_state_dict(graph, "torch")
    arrays["gru.weight_hh_l0"] = arrays["gru.weight_hh_l0"] + np.float32(0.01)
    ckptconv.save(ckptconv.from_state_dict(arrays, "torch"), tmp_path / "bad.pt", to="torch")
    text = page(verify(tmp_path / "bad.pt", tmp_path / "m.h5"))
    assert "No: gru: weights differ: gru/gru/gru_cell/recurrent_kernel:0 (differ in r,z,n)." in text
    layers = text[text.index("<tbody>") :]
    assert layers.index("FAILED") < layers.index(">ok<")
    assert "weights that differ" in text
    assert found.ok


def test_names_from_files_are_text(tmp_path):
    found = proof(tmp_path, ("<script>alert(1)</script>", "$title"))
    text = page(found)
    assert "<script" not in text
    assert "&lt;script&gt;alert(1)" in text
    assert "$title.weight_ih_l0" in text


def test_never_overwrites(tmp_path):
    found = proof(tmp_path)
    (tmp_path / "r.html").write_text("mine")
    with pytest.raises(CkptconvError, match="exists already"):
        write_page(tmp_path / "r.html", found)
    assert (tmp_path / "r.html").read_text() == "mine"


def test_drawn_from_what_was_loaded(tmp_path):
    """Two models in one file: the page needs no option to find the one that was compared."""
    torch = pytest.importorskip("torch")
    parts = {n: torch.nn.ModuleDict({"rnn": torch.nn.LSTM(3, 4)}).state_dict() for n in "ab"}
    torch.save(parts, tmp_path / "m.pt")
    ckptconv.convert(tmp_path / "m.pt", tmp_path / "m.ckpt", to="mindspore", select="b")
    text = page(verify(tmp_path / "m.pt", tmp_path / "m.ckpt", select="b"))
    assert text.count("<image") == 2 * 2 * 4


@pytest.mark.parametrize("to", ["m.ckpt", "m.h5"])
def test_exchanged_gates_are_drawn_as_such(tmp_path, to):
    """What stands where is found by the rows themselves, not by the order that should be."""
    proof(tmp_path)
    arrays = ckptconv.to_state_dict(ckptconv.load(tmp_path / "m.safetensors"), "torch")
    ckptconv.save(ckptconv.from_state_dict(arrays, "torch"), tmp_path / "good.pt", to="torch")
    blocks = np.split(arrays["lstm.weight_hh_l0"], 4)
    arrays["lstm.weight_hh_l0"] = np.concatenate([blocks[i] for i in (0, 3, 2, 1)])
    framework = "keras" if to == "m.h5" else "mindspore"
    wrong = ckptconv.from_state_dict(arrays, "torch")
    ckptconv.save(wrong, tmp_path / f"bad_{to}", to=framework)
    found = verify(tmp_path / "good.pt", tmp_path / f"bad_{to}")
    text = page(found, command="ckptconv verify good.pt bad")
    assert "No: lstm: weights differ" in text
    assert text.count('class="path wrong"') == 2
    assert "Gates are exchanged: f in the place of o, o in the place of f." in text
    assert text.index("gates, before and after") < text.index(">tensors")
    assert "lost" not in text.replace("svg .lost", "")
    assert ("transposed: each gate" in text) == (to == "m.h5")
    assert text.count("<code>") == 3  # the command, and a digest of each file
    arrays["lstm.weight_hh_l0"][:5] += 1
    ckptconv.save(ckptconv.from_state_dict(arrays, "torch"), tmp_path / f"worse_{to}", to=framework)
    text = page(verify(tmp_path / "good.pt", tmp_path / f"worse_{to}"))
    assert text.count('class="path wrong lost"') == 1


def test_what_failed_is_read_first_and_bars_beyond_the_tolerance_are_failures(tmp_path):
    found = proof(tmp_path)
    off = outputs_differ(np.array([0.0, 1.0, 2.0]), np.array([1e-9, 1.0, 2.1]))
    assert page(found).index(">layers ") < page(found).index(">outputs and final states ")
    found.network = NetworkResult("net.py", "0" * 64, [("batch 4", {})], cause="output 0 is off")
    found.network.runs.append(OutputRun(0, "y", 0, Run("torch", "target", "source", off, 1e-6)))
    text = page(found)
    first = text.index("<h2>the network net.py")
    assert first < text.index("<h2>how far outputs are apart") < text.index("<h2>layers ")
    drawn = text.partition("<figcaption>output 0 y, batch 4: target in torch against source")[0]
    assert drawn.rpartition("<figure")[2].count('"bar over"') == 7  # of 1e-6 to 1, as one is
