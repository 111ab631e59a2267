__version__ = "1.3.0"

import os, sys

if 'torch' not in sys.modules: # whose libraries read it when they are loaded: see nbs/00_core.ipynb, threads
    os.environ.setdefault('GOMP_SPINCOUNT', '3000')
    os.environ.setdefault('KMP_BLOCKTIME', '1')
