"""Campaigns: what takes hours, run for as long as one likes, with figures that are summed over runs.

    make campaign MINUTES=10          # all of them, ten minutes in all
    PYTHONPATH=tests .venv/bin/python -m campaigns fuzz --minutes 5 --target triplets-csv --seed 7

`fuzz` gives every reader inputs with mutated structure, `kills` kills every long command and runs it again, `others`
reads while a command replaces, lets two write at once and fills disks. docs/development.md tells the rest.
"""
