"""`python -m tapedeck`."""

from tapedeck.cli.main import main

if __name__ == "__main__":
    main()
