"""A worker that does not exit: it reads no messages, and lives on when its standard input ends.

python stubborn.py MODE PIPE     MODE: deaf, or silent: it closes its pipe too
"""

import os
import sys
import threading

mode, pipe = sys.argv[1], int(sys.argv[2])
sys.stdin.buffer.readline()
os.write(pipe, b'{"started": 1}\n')
if mode == "silent":
    os.close(pipe)
threading.Event().wait()
