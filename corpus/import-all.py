# Imports all scientific packages of the corpus and, with an argument, writes the list of mapped shared objects to that file.
import sys
import numpy, scipy.linalg, scipy.stats, scipy.signal, scipy.optimize, scipy.sparse, scipy.ndimage
import scipy.interpolate, scipy.spatial, pandas, matplotlib.pyplot, PIL.Image, lxml.etree, grpc
import cryptography.hazmat.bindings._rust
objects = dict.fromkeys(line.split()[5] for line in open("/proc/self/maps") if ".so" in line)
print("objects", len(objects))
if len(sys.argv) > 1:
    with open(sys.argv[1], "w") as f:
        f.write("\n".join(objects))
