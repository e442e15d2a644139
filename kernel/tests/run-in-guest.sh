#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Loads the module, unless it is built in, and runs its tests in a scratch
# folder on /disk (ext4) or else /tmp. Then the kernel must not have complained.
# For a machine that may crash. Prints TAP, at the end
# "MORSEL-TESTS: N passed, M failed". Arguments: part of a test's name.

here=$(cd "$(dirname "$0")" && pwd) || exit 2
passed=0
failed=0
result() { # STATUS NAME
  if [ "$1" -eq 0 ]; then
    passed=$((passed + 1))
    echo "ok - $2"
  else
    failed=$((failed + 1))
    echo "not ok - $2"
  fi
}

disk=/tmp
! grep -q ' /disk ' /proc/mounts || disk=/disk
work=$disk/morsel-tests
rm -rf "$work"
mkdir -p "$work" || exit 2
output=/tmp/morsel-tests.$$

dmesg -c >/dev/null
if [ ! -e /dev/morsel ]; then
  insmod "$here/../morsel.ko"
  result $? "the module loads"
  sleep 1
fi

: >"$output"
"$here/out/morsel-tests" "$work" "$@" >"$output" 2>&1 &
tests=$!
# Shows the results as they come.
tail -f "$output" &
shown=$!
wait $tests
status=$?
sleep 1
kill $shown
wait $shown 2>/dev/null
passed=$((passed + $(grep -c '^ok ' "$output")))
failed=$((failed + $(grep -c '^not ok ' "$output")))
# All of them ran if the plan is there.
grep -q '^1\.\.' "$output" && [ $status -le 1 ]
result $? "the tests came to their end"

if [ -d /sys/module/morsel/holders ]; then
  rmmod morsel
  result $? "the module goes"
  insmod "$here/../morsel.ko" && rmmod morsel
  result $? "the module comes and goes again"
fi

complaints=$(dmesg | grep -E 'BUG|WARNING|Oops|KASAN|lockdep|Bad page|Bad rss|shared page table|page-table entry|frozen page|general protection|blocked for more|RCU.*stall|rcu.*stall')
[ -z "$complaints" ]
result $? "the kernel did not complain"
[ -z "$complaints" ] || dmesg | tail -n 200 | sed 's/^/# /'

rm -rf "$work" "$output"
echo "MORSEL-TESTS: $passed passed, $failed failed"
[ $failed -eq 0 ]
