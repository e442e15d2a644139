// Thousands of arguments and variables arrive.
//#Spec: 5
//#Run: i=0; while [ $i -lt 3000 ]; do export V$i=$i; i=$((i + 1)); done; {start} $(seq 5000)
//#Expect: 5001 arguments, last 5000, V2999=2999
#include <stdio.h>
#include <stdlib.h>
int main(int argc, char **argv) { printf("%d arguments, last %s, V2999=%s\n", argc, argv[argc - 1], getenv("V2999")); }
