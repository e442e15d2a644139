# Runs programs of the corpus on the guest's disk as if it were the root (see loader.rs).
mount -t proc proc /disk/proc
mount -t sysfs sysfs /disk/sys
mount -o bind /dev /disk/dev
mount -t tmpfs tmpfs /disk/dev/shm
chroot /disk /bin/busybox --install -s /bin 2>/dev/null

# run CASE MODE FOLDER SETTINGS COMMAND: prints what the command printed, between lines that begin with @.
run() {
  rm -rf /disk/tmp/run && mkdir -p /disk/tmp/run
  chroot /disk /bin/env -i PATH=/bin HOME=/tmp/run TMP=/tmp/run LC_ALL=C $4 \
    /bin/bash -c "cd $3; $5" >/tmp/stdout 2>/tmp/stderr
  status=$?
  echo "@run $1 $2"
  cat /tmp/stdout
  echo "@stderr"
  cat /tmp/stderr
  echo "@exit $status"
}
