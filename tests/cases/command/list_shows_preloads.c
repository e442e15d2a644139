// --list prints the preloaded libraries first.
//#Spec: 8, 21
//#Only: direct
//#Normalise: addresses
//#Lib: libpre.so = pre.c
//#Run: {ld} --preload ./libpre.so --list ./prog
//#Expect: \t$LD (0xADDR)
//#Expect: \t./libpre.so => ./libpre.so (0xADDR)
//#Expect: \tlibc.so => $LD (0xADDR)
int main(void) {}
//#File: pre.c
int pre;
