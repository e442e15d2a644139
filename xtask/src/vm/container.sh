#!/bin/sh
# container DEVICES PROGRAM...: runs a program as containers are: an ordinary user in namespaces of its own, on an
# overlay of the root, with a /dev that has only what is passed in. Paths, because busybox has lesser commands of these names.
if [ "$$" != 1 ]; then
  exec /usr/bin/unshare --mount --pid --fork --ipc --uts --net -- "$0" "$@"
fi
devices=$1
shift
here=/tmp/container
root=$here/layers/root
mkdir -p $here && mount -t tmpfs tmpfs $here &&
  mkdir -p $root $here/layers/upper $here/layers/work &&
  mount -t overlay -o lowerdir=/,upperdir=$here/layers/upper,workdir=$here/layers/work overlay $root &&
  mount -t proc proc $root/proc && mount -t tmpfs tmpfs $root/dev || exit
for device in $devices; do
  : >$root/dev/$device && mount -o bind /dev/$device $root/dev/$device || exit
done
exec chroot $root /usr/bin/setpriv --reuid 1000 --regid 1000 --clear-groups -- "$@"
