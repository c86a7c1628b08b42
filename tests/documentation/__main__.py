"""Write outputs into pages as they are, to read the difference afterwards.

python -m tests.documentation [PAGE...]
"""

import os
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "torch")
os.environ.setdefault("GLOG_v", "3")

from tests.documentation.generated import filled
from tests.documentation.pages import PAGES, run

for page in [Path(name).resolve() for name in sys.argv[1:]] or PAGES:
    with tempfile.TemporaryDirectory() as folder:
        page.write_text(filled(run(page, Path(folder))), encoding="utf-8")
