"""``python -m ckptconv``."""

from ckptconv.cli import main

main()
