// The segments of a program need not be in the order of their addresses.
//#Spec: 1, 5
//#Prog:
//#Make: python3 reorder.py prog
//#Expect: 7
#include <stdio.h>
volatile int seven = 7;
int main(void) { printf("%d\n", seven); }
//#File: reorder.py
import struct, sys
# The segment with the data goes in front of the one with the read-only data.
with open(sys.argv[1], "r+b") as program:
    header = program.read(64)
    start, count = struct.unpack_from("<Q", header, 32)[0], struct.unpack_from("<H", header, 56)[0]
    program.seek(start)
    table = [program.read(56) for _ in range(count)]
    loads = [at for at, entry in enumerate(table) if struct.unpack_from("<I", entry)[0] == 1]
    one, other = loads[-2:]
    table[one], table[other] = table[other], table[one]
    program.seek(start)
    program.write(b"".join(table))
