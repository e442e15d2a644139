#!/bin/busybox sh
# The first process of a guest. The second serial port takes what the script prints and, at the end, the line that
# says how it ended; the first is the kernel's console.
/bin/busybox --install -s
mount -t devtmpfs dev /dev
exec >/dev/console 2>&1
stty raw </dev/ttyS1

finish() {
  echo "$END $1" >/dev/ttyS1
  sync
  poweroff -f
}
fail() {
  echo "the guest could not start: $*" >/dev/ttyS1
  finish 125
}

mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
mount -t tmpfs tmpfs /tmp
mount -t proc proc /proc || fail "no /proc"
mount -t sysfs sysfs /sys || fail "no /sys"
[ ! -d /sys/kernel/debug ] || mount -t debugfs debugfs /sys/kernel/debug
ip link set lo up 2>/dev/null
for module in /modules/*.ko; do
  [ ! -e "$module" ] || insmod "$module" || fail "cannot load $module"
done
mount -t ext4 /dev/vda /disk || fail "no disk"

cd /
sh /script </dev/null >/dev/ttyS1 2>&1
finish $?
