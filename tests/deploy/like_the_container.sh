#!/bin/sh
# Runs what the image runs as it would run there, without Docker: as a user without rights, on a root
# file system that cannot be written to, with a small tmpfs, and with a network of its own.
#
# like_the_container.sh MODELS PICTURE PYTHON USER START-COMMAND HEALTH-COMMAND
# It is root's, and takes a mount and a network namespace of its own: unshare --mount --net.
set -eu
models=$1 picture=$2 python=$3 user=$4 start=$5 health=$6

mount --make-rprivate /
mkdir -p /run/fleetnet-image
mount -t tmpfs -o mode=755 tmpfs /run/fleetnet-image
mkdir /run/fleetnet-image/models /run/fleetnet-image/base
mount --bind "$models" /run/fleetnet-image/models
cp "$picture" /run/fleetnet-image/picture
chmod -R a+rX /run/fleetnet-image/models /run/fleetnet-image/picture

# Python may be installed in root's home, where nobody else may look.
base=$("$python" -c 'import sys; print(sys.base_prefix)')
case $base in /root/*)
    mount --bind "$base" /run/fleetnet-image/base
    mount -t tmpfs -o mode=755 tmpfs /root
    mkdir -p "$base"
    mount --bind /run/fleetnet-image/base "$base"
esac

mount -t tmpfs -o size=64m,mode=1777,noexec,nosuid,nodev tmpfs /tmp
# Everything but the tmpfs is now read-only: every mount, for a bind of / has only itself.
while read -r _ place kind _; do
    case $place in /tmp|/proc*|/sys*|/dev*) continue; esac
    case $kind in proc|sysfs|devpts|mqueue) continue; esac
    mount -o remount,bind,ro "$place" 2>/dev/null || true
done < /proc/self/mounts
"$python" -c '
import fcntl, socket, struct
with socket.socket() as any:
    fcntl.ioctl(any, 0x8914, struct.pack("16sh", b"lo", 1))  # SIOCSIFFLAGS, IFF_UP
'

cd /run/fleetnet-image/models
alone() {  # always with & or in a subshell: it does not return
    exec setpriv --reuid="$user" --regid="$user" --clear-groups --inh-caps=-all \
        --bounding-set=-all --no-new-privs env -i HOME=/tmp FLEETNET_CACHE=/tmp/fleetnet \
        PYTHONDONTWRITEBYTECODE=1 PATH="$(dirname "$python"):/usr/bin:/bin" sh -c "$1"
}
for place in / "$PWD" "$(dirname "$python")"; do
    if (alone "touch $place/written") 2>/dev/null; then echo "$place can be written to"; exit 1; fi
done
alone "exec $start" & server=$!
tries=0
until (alone "$health") 2>/dev/null; do
    tries=$((tries + 1))
    if [ $tries -gt 300 ] || ! kill -0 $server 2>/dev/null; then echo "never healthy"; kill $server; exit 1; fi
    sleep 0.2
done
echo healthy
"$python" -c '
import sys, urllib.request as request
with open(sys.argv[1], "rb") as file:
    body = file.read()
with request.urlopen(request.Request("http://127.0.0.1:8000/classify", body)) as answer:
    print(answer.read().decode())
' /run/fleetnet-image/picture
echo "written: $(find /tmp -type f | wc -l)"
# Each of setpriv, env and the shell became the next, so this is the server itself.
kill -TERM $server
wait $server && echo "ended: 0" || echo "ended: $?"
