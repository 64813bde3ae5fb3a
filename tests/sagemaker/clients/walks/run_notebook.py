"""The cells of a notebook, from first to last, in one process: python run_notebook.py NOTEBOOK SHARED NAME...

SHARED: folder with the data.  NAME: variables that are printed as JSON at the end.
"""

import ast
import json
import os
import sys
import time

notebook, shared, *names = sys.argv[1:]
os.environ["CLEARSIGHT_SHARED"] = shared
with open(notebook, encoding="utf-8") as file:
    cells = ["".join(cell["source"]) for cell in json.load(file)["cells"] if cell["cell_type"] == "code"]
variables = {"__name__": "__main__"}
for number, source in enumerate(cells, 1):
    started = time.monotonic()
    tree = ast.parse(source, f"cell {number}")
    # As Jupyter shows it: the value of a last expression.
    shown = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, f"cell {number}", "exec"), variables)
    if shown is not None:
        value = eval(compile(ast.Expression(shown.value), f"cell {number}", "eval"), variables)
        if value is not None:
            print(value)
    print(f"CELL {number} of {len(cells)}: {time.monotonic() - started:.1f} s", flush=True)
print("VARIABLES", json.dumps({name: variables[name] for name in names}))
