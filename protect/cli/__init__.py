"""The command line: flags to a config, config to a recipe, result to words and an exit code.

Imports no torch, so that `--help` and a bad flag are answered at once; commands import their recipe
when they are run.
"""
