"""`python -m sepiola` is the command line."""

from sepiola.cli import main

main()
