"""`python -m sepiola` is the command line."""

from sepiola.cli.app import main

main()
