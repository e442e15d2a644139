// A program of more segments than usual, which needs libc only, starts.
//#Spec: 1, 5
//#Prog: -Wl,--section-start=.one=0x200000,--section-start=.two=0x300000,--section-start=.three=0x400000,--section-start=.four=0x500000
//#Make: readelf -lW prog | grep -c '^  LOAD' > segments
//#Run: test $(cat segments) -ge 8 && {start}
//#Expect: 1 2 3 4
#include <stdio.h>
#define IN(name) __attribute__((section(name))) volatile int
IN(".one") one = 1;
IN(".two") two = 2;
IN(".three") three = 3;
IN(".four") four = 4;
int main(void) { printf("%d %d %d %d\n", one, two, three, four); }
