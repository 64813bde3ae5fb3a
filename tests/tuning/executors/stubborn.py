"""A worker that will not go: it neither reads what it is told nor ends when nobody tells it anything.

python stubborn.py HOW PIPE     HOW: deaf, or silent: it lets go of its pipe too
"""

import os
import sys
import threading

how, pipe = sys.argv[1], int(sys.argv[2])
sys.stdin.buffer.readline()
os.write(pipe, b'{"begun": 1}\n')
if how == "silent":
    os.close(pipe)
threading.Event().wait()
