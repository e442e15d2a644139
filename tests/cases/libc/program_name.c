// program_invocation_name and its short form are taken from argv[0].
//#Spec: 8, 61
//#Expect: ./prog prog
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
int main(void) { printf("%s %s\n", program_invocation_name, program_invocation_short_name); }
