// Under a name that ends in "ldd" the usage names no arguments.
//#Spec: 5, 6
//#Only: direct
//#Normalise: version
//#Make: ln -s {interp} xldd
//#Run: ./xldd; echo "exit $?"
//#Expect: exit 1
//#Expect-err: musl libc (x86_64)
//#Expect-err: Version $VERSION
//#Expect-err: Dynamic Program Loader
//#Expect-err: Usage: ./xldd [options] [--] pathname
int main(void) {}
