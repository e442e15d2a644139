#!/bin/sh
# apk runs it with those of the APKBUILD's directories in which something has changed.
exec /usr/lib/ld-morsel/refresh-images
