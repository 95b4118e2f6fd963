"""`python -m tuningfork`."""

from .cli import main

main()
