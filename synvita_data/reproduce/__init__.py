"""The paper's Table 3 recomputed from released checkpoints: `synvita reproduce table3`.

`expected` reads what is to be run and how far off a number may be; `inputs` looks for what is there; `checkpoints`
downloads and converts; `cells` evaluates one cell and compares it; `run` does all cells; `report` writes the tables.
`plans` prices the tables that need training.
"""
