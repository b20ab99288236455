"""The command line: flags and modes."""
