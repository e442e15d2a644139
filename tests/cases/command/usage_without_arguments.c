// The loader without arguments, or with an unknown option, prints its usage and exits with 1.
//#Spec: 5, 6
//#Only: direct
//#Normalise: version
//#Run: for o in "" --nonsense --listing --; do {ld} $o; echo "exit $?"; done
//#Run: {ld} --library-path; echo "exit $?"
//#Expect: exit 1
//#Expect: exit 1
//#Expect: exit 1
//#Expect: exit 1
//#Expect: exit 1
//#Expect-err-match: ^(musl libc \(x86_64\)\nVersion \$VERSION\nDynamic Program Loader\nUsage: \$LD \[options\] \[--\] pathname \[args\]\n){5}$
int main(void) {}
