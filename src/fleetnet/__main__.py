"""``python -m fleetnet``."""

from fleetnet.cli import main

main()
